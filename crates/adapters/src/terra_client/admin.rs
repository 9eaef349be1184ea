//! Terra's Admin API, as far as its log of deliveries goes: what it could not deliver, and sending it again; and where it
//! delivers to.
//!
//! Source: `tryterra/agent-skills` and `tryterra/terra-cli` name commands, filters and columns, the token's kind and the
//! 202 of a resend; they show no path. Base, path and `Authorization: Bearer` are those of the simulator. Not tried live.

use jiff::Timestamp;
use reqwest::{Client, Method, RequestBuilder, Response, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use terra::reply::{Destination, LogPage, LoggedEvent, destinations, event_log, logged_event};
use url::Url;

use super::answer::Answer;
use super::error::{TerraError, Unreachable};
use super::{CONNECT_TIMEOUT, TIMEOUT, below};

/// A page of the log is rows without payloads.
const ANSWER_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Rows of a page.
const PAGE_ROWS: usize = 500;

/// Access to the account, with a personal access token. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AdminClient {
    http: Client,
    base: Url,
    token: SecretString,
}

/// What Terra said to a wish to send an event again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resent {
    /// Queued; whether it arrives is another question.
    Queued,
    /// Terra does not have it any more, or it is not what we think.
    Unknown,
}

impl AdminClient {
    pub fn new(base: Url, token: SecretString) -> Result<AdminClient, TerraError> {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(TerraError::Client)?;
        Ok(AdminClient { http, base, token })
    }

    /// One page of the attempts that failed in this time, newest first; `types` empty: of every type.
    pub async fn failed_events(
        &self,
        dev_id: &str,
        since: Timestamp,
        until: Timestamp,
        types: &[String],
        cursor: Option<&str>,
    ) -> Result<LogPage, TerraError> {
        let mut query = vec![
            ("outcome", "failed".to_owned()),
            ("since", since.to_string()),
            ("until", until.to_string()),
            ("limit", PAGE_ROWS.to_string()),
        ];
        query.extend(types.iter().map(|kind| ("data_type", kind.clone())));
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        let answer = self.ask(self.request(Method::GET, dev_id, &[]).query(&query)).await?;
        match answer.status {
            200..=299 => answer.read(event_log),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Attempts, delivered or not, to deliver events of one kind and user in this time; the newest page of them.
    pub async fn events_of(
        &self,
        dev_id: &str,
        since: Timestamp,
        until: Timestamp,
        kind: &str,
        user_id: &str,
    ) -> Result<LogPage, TerraError> {
        let query = [
            ("data_type", kind.to_owned()),
            ("user_id", user_id.to_owned()),
            ("since", since.to_string()),
            ("until", until.to_string()),
            ("limit", PAGE_ROWS.to_string()),
        ];
        let answer = self.ask(self.request(Method::GET, dev_id, &[]).query(&query)).await?;
        match answer.status {
            200..=299 => answer.read(event_log),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Where Terra delivers the events of an environment to.
    pub async fn destinations(&self, dev_id: &str) -> Result<Vec<Destination>, TerraError> {
        let url = below(&self.base, &["environments", dev_id, "destinations"]);
        let request = self.http.get(url).bearer_auth(self.token.expose_secret());
        let answer = self.ask(request).await?;
        match answer.status {
            200..=299 => answer.read(destinations),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// The newest attempt of an event; `None` where Terra has it no more.
    pub async fn event(&self, dev_id: &str, event_id: &str) -> Result<Option<LoggedEvent>, TerraError> {
        let answer = self.ask(self.request(Method::GET, dev_id, &[event_id])).await?;
        match answer.status {
            200..=299 => answer.read(logged_event).map(Some),
            404 | 410 => Ok(None),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Asks for an event to be sent again; it may come twice.
    pub async fn resend(
        &self,
        dev_id: &str,
        event_id: &str,
        event_type: &str,
        user_id: &str,
    ) -> Result<Resent, TerraError> {
        let body = json!({ "event_id": event_id, "event_type": event_type, "user_id": user_id });
        let answer = self.ask(self.request(Method::POST, dev_id, &["resend"]).json(&body)).await?;
        match answer.status {
            200..=299 => Ok(Resent::Queued),
            404 | 410 => Ok(Resent::Unknown),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// A refused token is not the refused credentials of an environment.
    fn refusal(&self, answer: &Answer) -> TerraError {
        match answer.status {
            401 => TerraError::Refused { status: 401, message: None },
            _ => answer.refusal(&self.token),
        }
    }

    fn request(&self, method: Method, dev_id: &str, path: &[&str]) -> RequestBuilder {
        let url = below(&self.base, &[&["environments", dev_id, "events"], path].concat());
        self.http.request(method, url).bearer_auth(self.token.expose_secret())
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Unreachable> {
        let response: Response = request.send().await.map_err(Unreachable::from)?;
        Answer::take(response, ANSWER_BYTES_MAX).await
    }
}
