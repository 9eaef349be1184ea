//! One answer of Terra's, taken whole.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use secrecy::{ExposeSecret, SecretString};
use terra::reply::{RateLimit, error_reply};

use super::{TerraError, Unreachable};

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) limit: RateLimit,
    /// `None` where it was too large.
    pub(super) body: Option<Bytes>,
    content_type: Option<String>,
}

impl Answer {
    /// Reads the answer to its end, but not beyond `bytes_max`.
    pub(super) async fn take(mut response: Response, bytes_max: usize) -> Result<Answer, Unreachable> {
        let headers = response.headers();
        let value = |name: &str| headers.get(name).map(|value| value.as_bytes());
        let limit = RateLimit::read(value);
        let content_type = value("content-type").map(|text| String::from_utf8_lossy(text).into_owned());
        let mut body = BytesMut::new();
        let mut fits = true;
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > bytes_max {
                fits = false;
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status().as_u16(), limit, body: fits.then(|| body.freeze()), content_type })
    }

    pub(super) fn is_html(&self) -> bool {
        error_reply(self.bytes(), self.content_type.as_deref()).html
    }

    /// What a 2xx answer says.
    pub(super) fn read<T>(&self, read: impl Fn(&[u8]) -> Option<T>) -> Result<T, TerraError> {
        read(self.bytes()).ok_or(TerraError::Unreadable)
    }

    /// What any other answer means. `api_key` is cut out of Terra's words, should they repeat it.
    pub(super) fn refusal(&self, api_key: &SecretString) -> TerraError {
        let retry_after = self.limit.retry_after_seconds.or(self.limit.reset_after_seconds);
        match self.status {
            401 => TerraError::Credentials,
            410 => TerraError::Gone,
            429 => TerraError::Limited { retry_after: retry_after.map(Duration::from_secs) },
            status => {
                let message = error_reply(self.bytes(), self.content_type.as_deref()).message;
                TerraError::Refused { status, message: message.map(|message| without(&message, api_key)) }
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }
}

fn without(message: &str, api_key: &SecretString) -> String {
    let api_key = api_key.expose_secret();
    if api_key.is_empty() { message.to_owned() } else { message.replace(api_key, "[x-api-key]") }
}
