//! What can go wrong with Terra, and what to do about it. No text holds a payload, a token or a key.

use std::time::Duration;

/// No whole answer came: refused, reset, or too slow.
#[derive(Debug, thiserror::Error)]
#[error("Terra is not reachable")]
pub struct Unreachable(#[source] reqwest::Error);

impl From<reqwest::Error> for Unreachable {
    fn from(error: reqwest::Error) -> Self {
        // Its URL names the user.
        Unreachable(error.without_url())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TerraError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(
        "Terra refuses the credentials: dev id and API key do not belong to one environment; copy both from the same \
         environment of Terra's dashboard"
    )]
    Credentials,
    #[error("Terra has retired this endpoint for the account: use the session endpoint (LANDFALL_WIDGET=session)")]
    Gone,
    #[error("Terra has no source enabled in this environment: enable one on its dashboard, under Connections")]
    NoSource,
    /// Terra's own words may repeat what was asked, names and ids included: they are not part of the text.
    #[error("Terra answered {status}")]
    Refused { status: u16, message: Option<String> },
    #[error("Terra asks to wait{}", wait(*.retry_after))]
    Limited { retry_after: Option<Duration> },
    #[error("Terra's answer could not be read")]
    Unreadable,
    #[error("the HTTP client could not be set up")]
    Client(#[source] reqwest::Error),
}

fn wait(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| format!(" for {} s", wait.as_secs()))
}
