//! What a simulator is started with.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rate_limit::Budget;
use crate::retry::RetrySchedule;

/// Terra lives on two platforms whose events and errors look different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `access.tryterra.co`: problem documents, `auth_cancelled`, a bare array of users.
    #[default]
    Newer,
    /// `api.tryterra.co`: `{message, status}`, `auth` with `status: error`, `{users: []}`.
    Older,
}

/// When the `auth` webhook comes, seen from the browser's redirect. Terra promises neither order,
/// and each of the two may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthWebhook {
    /// It was tried once before the browser is sent on.
    #[default]
    Before,
    /// It is sent when the browser has had time to follow the redirect.
    After,
    /// There is a redirect and no webhook.
    Never,
    /// There is a webhook and no redirect: the person stays on Terra's page.
    Only,
}

/// How much data everybody has. Less is cheaper: thousands of users with years of history are asked
/// for in tests that look at requests and not at records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amount {
    /// A life: every day as the generators make it.
    #[default]
    Full,
    /// One brief record on the first of each month.
    Sparse,
    /// No records at all.
    Empty,
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// How browsers reach the widget when that is not `addr`: behind a proxy, or in a container.
    pub public_url: Option<String>,
    pub seed: u64,
    pub dev_id: String,
    pub api_key: String,
    pub signing_secret: String,
    /// Personal access token of the Admin API.
    pub admin_token: String,
    /// The destination. Without one, data asked for with `to_webhook=true` is refused.
    pub webhook_url: Option<String>,
    pub dialect: Dialect,
    pub auth_webhook: AuthWebhook,
    pub retry: RetrySchedule,
    /// Whether a retry is signed anew with its own `t`. Terra does not say which it does.
    pub restamp: bool,
    /// The wait before the first try of an event.
    pub webhook_delay: Duration,
    /// How long after the redirect `AuthWebhook::After` waits.
    pub after_redirect: Duration,
    /// How often each event is sent: at-least-once, made certain.
    pub copies: u32,
    /// Sends the events of one request in another order than they were made.
    pub shuffle: bool,
    /// Days of history that every user has.
    pub history_days: u32,
    pub data: Amount,
    /// How many days may be asked for.
    pub budget: Budget,
    /// Answers the legacy widget endpoint with 410, as it does for young accounts.
    pub legacy_widget_gone: bool,
    /// Providers that are enabled, in the order in which the widget shows them. None enabled: the
    /// widget endpoints break with an HTML page, as Terra's do.
    pub providers: Vec<String>,
    /// How often every connected user gets new data by itself; `None` for never.
    pub live_every: Option<Duration>,
    /// Where the clock starts. Set, every id is the same in each run. Not set, ids differ from run
    /// to run, because a receiver that remembers the last run would take them for duplicates.
    pub start_unix_seconds: Option<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            public_url: None,
            seed: 1,
            dev_id: "simulated-dev-id".to_owned(),
            api_key: "simulated-api-key".to_owned(),
            signing_secret: "simulated-signing-secret".to_owned(),
            admin_token: "terra_at_simulated".to_owned(),
            webhook_url: None,
            dialect: Dialect::default(),
            auth_webhook: AuthWebhook::default(),
            retry: RetrySchedule::default(),
            restamp: true,
            webhook_delay: Duration::ZERO,
            after_redirect: Duration::from_millis(500),
            copies: 1,
            shuffle: false,
            history_days: 400,
            data: Amount::default(),
            budget: Budget::default(),
            legacy_widget_gone: false,
            providers: ["GARMIN", "FITBIT", "OURA", "WITHINGS", "POLAR", "WHOOP"].map(str::to_owned).to_vec(),
            live_every: None,
            start_unix_seconds: None,
        }
    }
}
