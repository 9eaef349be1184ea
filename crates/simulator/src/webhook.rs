//! One webhook on the wire: sign it, send it once, report what came back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Client;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::signature::{sign, spoil};

/// What of an answer is worth keeping; a destination that answers with a book is cut short.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// A delivery as every one of its tries sees it.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) kind: String,
    pub(crate) trace_id: Option<String>,
    /// The request that caused it; all chunks of one request share it.
    pub(crate) reference: Option<String>,
    /// Unix milliseconds of its making; the same in every try.
    pub(crate) ordering_ms: Option<i64>,
    /// Terra's id in its event log, for a resend under another trace id.
    pub(crate) event_id: Option<String>,
    pub(crate) subject: Subject,
    pub(crate) body: Bytes,
}

/// Whom an event is about, as the event log tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) user_id: Option<String>,
    pub(crate) reference_id: Option<String>,
    pub(crate) provider: Option<String>,
}

impl Subject {
    pub(crate) fn of(event: &Value) -> Self {
        let user = if event["user"].is_object() { &event["user"] } else { &event["new_user"] };
        let text = |name: &str| user[name].as_str().map(str::to_owned);
        Self { user_id: text("user_id"), reference_id: text("reference_id"), provider: text("provider") }
    }
}

/// What belongs to one try alone.
#[derive(Debug, Clone)]
pub(crate) struct Try<'a> {
    pub(crate) url: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) t: i64,
    pub(crate) bad_signature: bool,
    pub(crate) timeout: Duration,
    /// Only what the older platform sends: `Terra-Signature` and `Terra-Reference`.
    pub(crate) older_headers: bool,
}

/// What the destination answered.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    pub trace_id: Option<String>,
    /// The `t` that was signed.
    pub t: i64,
    pub status: u16,
    pub body: String,
    pub elapsed_ms: u64,
}

impl Sent {
    /// Terra takes 2xx and nothing else for an acknowledgement.
    #[must_use]
    pub fn accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

#[derive(Debug, Error)]
pub enum SendError {
    #[error("no destination is set")]
    NoDestination,
    #[error("send a webhook to {url}")]
    Unreachable { url: String, source: reqwest::Error },
    #[error("the simulator is stopping")]
    Stopping,
}

impl SendError {
    /// The whole chain in one line, for the delivery log.
    pub(crate) fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

pub(crate) async fn post(client: &Client, parcel: &Parcel, attempt: &Try<'_>) -> Result<Sent, SendError> {
    let started = Instant::now();
    let unreachable = |source| SendError::Unreachable { url: attempt.url.to_owned(), source };
    let answer = request(client, parcel, attempt).send().await.map_err(unreachable)?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await.map_err(unreachable)?;
    Ok(Sent {
        trace_id: parcel.trace_id.clone(),
        t: attempt.t,
        status,
        body: String::from_utf8_lossy(&body[..body.len().min(ANSWER_BYTES_MAX)]).into_owned(),
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

fn request(client: &Client, parcel: &Parcel, attempt: &Try<'_>) -> reqwest::RequestBuilder {
    let mut signature = sign(attempt.secret, attempt.t, &parcel.body);
    if attempt.bad_signature {
        signature = spoil(&signature);
    }
    let mut request = client
        .post(attempt.url)
        .timeout(attempt.timeout)
        .header("Content-Type", "application/json")
        .header("Terra-Signature", &signature);
    if !attempt.older_headers {
        // The newer platform still sends the older spelling too.
        request = request.header("X-Terra-Signature", &signature);
        if let Some(trace_id) = &parcel.trace_id {
            request = request.header("X-Terra-Trace-Id", trace_id);
        }
        if let Some(ordering_ms) = parcel.ordering_ms {
            request = request.header("X-Terra-Ordering-Timestamp", ordering_ms);
        }
    }
    if let Some(reference) = &parcel.reference {
        request = request.header("Terra-Reference", reference);
    }
    request.body(parcel.body.clone())
}
