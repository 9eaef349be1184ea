//! Terra's REST API over HTTP. It asks once and says what came back: whoever calls decides about asking again.

pub mod admin;
mod answer;
mod error;

use std::time::Duration;

use bytes::Bytes;
use domain::fetch::Window;
use jiff::Timestamp;
use reqwest::{Client, Method, RequestBuilder, Response, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use terra::event::DataKind;
use terra::event::User;
use terra::headers::{API_KEY, DEV_ID};
use terra::reply::{self, AuthToken, Integration, RateLimit, UserInfo, UserPage, WidgetSession};
use url::Url;

use answer::Answer;
pub use error::{TerraError, Unreachable};

/// The largest answer we take: inline data of a month with samples has some ten MB.
pub const ANSWER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Terra itself gives up on an answer after about this long.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where each surface of Terra lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bases {
    /// `https://access.tryterra.co/api/v2`
    pub api_url: Url,
    /// The whole endpoint: `https://access.tryterra.co/api/widget/session`
    pub widget_url: Url,
    /// `https://api.tryterra.co/v2`
    pub legacy_url: Url,
}

/// What one Terra environment knows us by.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub dev_id: String,
    pub api_key: SecretString,
}

/// Which endpoint opens widget sessions (`LANDFALL_WIDGET`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WidgetMode {
    Session,
    /// Planned to end on 2026-11-03; younger accounts get 410.
    Legacy,
}

/// What a widget session is opened with; what is `None` is left to Terra.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WidgetRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_id: Option<String>,
    /// Upper-case codes; empty leaves the choice to Terra's dashboard.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "comma_list")]
    pub providers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(rename = "auth_success_redirect_url", skip_serializing_if = "Option::is_none")]
    pub success_url: Option<String>,
    #[serde(rename = "auth_failure_redirect_url", skip_serializing_if = "Option::is_none")]
    pub failure_url: Option<String>,
}

/// One request for data.
#[derive(Debug, Clone, Copy)]
pub struct DataRequest<'a> {
    pub kind: DataKind,
    pub terra_user_id: &'a str,
    pub window: Window,
    /// True: the data comes as webhooks. False: in the answer.
    pub to_webhook: bool,
    pub with_samples: bool,
}

/// What came back, whatever its status; `domain::fetch::react` says what to make of it.
#[derive(Clone, PartialEq, Eq)]
pub struct DataAnswer {
    pub status: u16,
    /// Empty where it was larger than [`ANSWER_BYTES_MAX`].
    pub body: Bytes,
    pub limit: RateLimit,
}

/// One environment's access. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TerraClient {
    http: Client,
    bases: Bases,
    credentials: Credentials,
}

impl TerraClient {
    /// Needs rustls' process-wide provider to be installed; `main` does that first thing.
    pub fn new(bases: Bases, credentials: Credentials) -> Result<TerraClient, TerraError> {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(TerraError::Client)?;
        Ok(TerraClient { http, bases, credentials })
    }

    /// The same connections, for another environment.
    pub fn with_credentials(&self, credentials: Credentials) -> TerraClient {
        TerraClient { credentials, ..self.clone() }
    }

    /// Opens a page of Terra's on which one person connects.
    pub async fn widget_session(&self, mode: WidgetMode, request: &WidgetRequest) -> Result<WidgetSession, TerraError> {
        let url = match mode {
            WidgetMode::Session => self.bases.widget_url.clone(),
            WidgetMode::Legacy => below(&self.bases.legacy_url, &["auth", "generateWidgetSession"]),
        };
        let answer = self.ask(self.request(Method::POST, url).json(request)).await?;
        match answer.status {
            200..=299 => answer.read(reply::widget_session),
            // The newer endpoint says 403 where the others say 401.
            403 => Err(TerraError::Credentials),
            500 if answer.is_html() => Err(TerraError::NoSource),
            _ => Err(answer.refusal(&self.credentials.api_key)),
        }
    }

    /// What Terra knows of one of its users; `None` where it knows nobody by this id.
    pub async fn user_info(&self, terra_user_id: &str, deadline: Duration) -> Result<Option<UserInfo>, TerraError> {
        let request = self.get(&["userInfo"]).query(&[("user_id", terra_user_id)]);
        let answer = self.ask(request.timeout(deadline)).await?;
        match answer.status {
            200..=299 => answer.read(reply::user_info).map(Some),
            404 => Ok(None),
            _ => Err(answer.refusal(&self.credentials.api_key)),
        }
    }

    /// Every connection that carries our own id of a person.
    pub async fn users_by_reference(&self, reference_id: &str) -> Result<Vec<User>, TerraError> {
        let answer = self.ask(self.get(&["userInfo"]).query(&[("reference_id", reference_id)])).await?;
        match answer.status {
            200..=299 => answer.read(reply::users_by_reference),
            404 => Ok(Vec::new()),
            _ => Err(answer.refusal(&self.credentials.api_key)),
        }
    }

    /// One page of all users, counted from zero. Terra warns that it is a heavy request: `deadline` may be long.
    pub async fn subscriptions(&self, page: u32, per_page: usize, deadline: Duration) -> Result<UserPage, TerraError> {
        let query = [("page", page.to_string()), ("per_page", per_page.to_string())];
        let answer = self.ask(self.get(&["subscriptions"]).query(&query).timeout(deadline)).await?;
        match answer.status {
            200..=299 => answer.read(reply::subscriptions),
            _ => Err(answer.refusal(&self.credentials.api_key)),
        }
    }

    /// Terra's own time, as the `Date` of an answer says, to the second; `None` where it does not.
    pub async fn clock(&self) -> Result<Option<Timestamp>, Unreachable> {
        let response = self.http.get(self.bases.api_url.clone()).timeout(CONNECT_TIMEOUT).send().await?;
        let date = response.headers().get("date").and_then(|value| value.to_str().ok());
        let date = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        Ok(date.map(|date| date.timestamp()))
    }

    /// A token for one phone.
    pub async fn auth_token(&self) -> Result<AuthToken, TerraError> {
        let url = below(&self.bases.api_url, &["auth", "generateAuthToken"]);
        let answer = self.ask(self.request(Method::POST, url).body("{}")).await?;
        match answer.status {
            200..=299 => answer.read(reply::auth_token),
            // The older platform's word for an unknown dev-id.
            404 => Err(TerraError::Credentials),
            _ => Err(answer.refusal(&self.credentials.api_key)),
        }
    }

    /// Disconnects a user and erases everything Terra holds of them. Somebody unknown counts as done.
    pub async fn deauthenticate(&self, terra_user_id: &str) -> Result<(), TerraError> {
        let url = below(&self.bases.api_url, &["auth", "deauthenticateUser"]);
        let request = self.request(Method::DELETE, url);
        let answer = self.ask(request.query(&[("user_id", terra_user_id)])).await?;
        match answer.status {
            200..=299 | 404 => Ok(()),
            _ => Err(answer.refusal(&self.credentials.api_key)),
        }
    }

    /// All providers, and which of them this environment has enabled.
    pub async fn integrations(&self) -> Result<Vec<Integration>, TerraError> {
        let answer = self.ask(self.get(&["integrations", "detailed"])).await?;
        match answer.status {
            200..=299 => answer.read(reply::integrations_detailed),
            _ => Err(answer.refusal(&self.credentials.api_key)),
        }
    }

    /// Asks for data of one user. `athlete` has no window.
    pub async fn data(&self, request: DataRequest<'_>) -> Result<DataAnswer, Unreachable> {
        let flag = |flag: bool| if flag { "true" } else { "false" }.to_owned();
        let mut query = vec![
            ("user_id", request.terra_user_id.to_owned()),
            // Left out, it would be true.
            ("to_webhook", flag(request.to_webhook)),
        ];
        if request.kind != DataKind::Athlete {
            query.push(("start_date", request.window.start.to_string()));
            query.push(("end_date", request.window.end.to_string()));
            query.push(("with_samples", flag(request.with_samples)));
        }
        if request.to_webhook {
            // Where the provider's quota is used up, Terra asks again by itself and delivers later.
            query.push(("retry_if_rate_limited", flag(true)));
        }
        let answer = self.ask(self.get(&[request.kind.label()]).query(&query)).await?;
        Ok(DataAnswer { status: answer.status, body: answer.body.unwrap_or_default(), limit: answer.limit })
    }

    fn get(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::GET, below(&self.bases.api_url, path))
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let is_post = method == Method::POST;
        let request = self
            .http
            .request(method, url)
            .header(DEV_ID, &self.credentials.dev_id)
            .header(API_KEY, self.credentials.api_key.expose_secret());
        // Without it Terra ignores the body of a POST, redirects included.
        if is_post { request.header("content-type", "application/json") } else { request }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Unreachable> {
        let response: Response = request.send().await.map_err(Unreachable::from)?;
        Answer::take(response, ANSWER_BYTES_MAX).await
    }
}

fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

fn comma_list<S: serde::Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&list.join(","))
}

#[cfg(test)]
mod tests;
