//! The calls to Landfall that an app makes.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Demo;
use super::view::{Activity, ActivityRow, ConnectionRow};

const WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Landfall<'a> {
    demo: &'a Demo,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LandfallError {
    #[error("Landfall is not reachable")]
    Unreachable,
    #[error("{detail} ({code})")]
    Refused { code: String, detail: String },
    #[error("Landfall's answer could not be read")]
    Unreadable,
}

impl LandfallError {
    /// What a person can do.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            LandfallError::Unreachable => "Is `landfall dev` still running? Start it, then load this page again.",
            LandfallError::Refused { code, .. } if code == "unknown_session" || code == "bad_parameter" => {
                "This page belongs to a connect session that is not there any more."
            }
            LandfallError::Refused { code, .. } if code.starts_with("terra_") => {
                "Terra, or the simulator that stands in for it, refused. The line below says what to change."
            }
            LandfallError::Refused { .. } | LandfallError::Unreadable => {
                "Something is not as this app expects. Load this page again; if it stays, look at Landfall's log."
            }
        }
    }
}

/// A walk through the widget, as Landfall tells of it.
#[derive(Debug, Deserialize)]
pub(super) struct Session {
    pub(super) user: String,
    pub(super) status: String,
    pub(super) terra_user_id: Option<String>,
    pub(super) connection: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) reason: Option<String>,
}

impl Session {
    pub(super) fn is_connected(&self) -> bool {
        self.status == "connected"
    }

    /// True while something may still come.
    pub(super) fn is_open(&self) -> bool {
        self.is_connected() || self.status == "pending"
    }
}

#[derive(Deserialize)]
struct Opened {
    url: String,
}

#[derive(Deserialize)]
struct Listing<T> {
    items: Vec<T>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    code: String,
    detail: String,
}

impl Landfall<'_> {
    pub(super) fn new(demo: &Demo) -> Landfall<'_> {
        Landfall { demo }
    }

    /// Answers where to send the browser. Landfall adds `session` to `success_url` when it sends the browser back.
    pub(super) async fn create_session(&self, user: &str, success_url: &str) -> Result<String, LandfallError> {
        let wanted = json!({ "user": user, "success_url": success_url });
        let opened: Opened = self.ask(client()?.post(self.url("connect-sessions")).json(&wanted)).await?;
        Ok(opened.url)
    }

    pub(super) async fn session(&self, id: &str) -> Result<Session, LandfallError> {
        self.ask(client()?.get(self.url(&format!("connect-sessions/{}", segment(id))))).await
    }

    pub(super) async fn connections(&self, user: &str) -> Result<Vec<ConnectionRow>, LandfallError> {
        let url = self.url(&format!("users/{}/connections", segment(user)));
        let listing: Listing<ConnectionRow> = self.ask(client()?.get(url)).await?;
        Ok(listing.items)
    }

    pub(super) async fn activities(&self, user: &str, limit: u32) -> Result<Vec<ActivityRow>, LandfallError> {
        let url = self.url(&format!("users/{}/activities", segment(user)));
        let listing: Listing<Activity> = self.ask(client()?.get(url).query(&[("limit", limit)])).await?;
        Ok(listing.items.into_iter().map(ActivityRow::from).collect())
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.demo.api_url)
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, LandfallError> {
        let request = match &self.demo.api_token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.timeout(WITHIN).send().await.map_err(|_| LandfallError::Unreachable)?;
        if answer.status().is_success() {
            return answer.json().await.map_err(|_| LandfallError::Unreadable);
        }
        let refusal: Refusal = answer.json().await.unwrap_or_default();
        Err(LandfallError::Refused { code: refusal.code, detail: refusal.detail })
    }
}

/// A user id as one segment of a path, whatever is in it.
fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// One client for all requests: it keeps its connections.
fn client() -> Result<&'static Client, LandfallError> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    let client = Client::builder().no_proxy().build().map_err(|_| LandfallError::Unreachable)?;
    Ok(CLIENT.get_or_init(|| client))
}
