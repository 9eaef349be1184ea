//! What may be turned while the simulator runs.

use std::time::Duration;

use crate::payload::Ping;
use crate::rate_limit::Budget;
use crate::retry::RetrySchedule;
use crate::settings::{Amount, AuthWebhook, Dialect, Settings};

#[derive(Debug, Clone)]
pub(crate) struct Dials {
    pub(crate) webhook_url: Option<String>,
    /// Terra gives up on a destination that failed for a day; then nothing is delivered.
    pub(crate) destination_active: bool,
    pub(crate) dialect: Dialect,
    /// Whether webhooks carry only the headers of the older platform.
    pub(crate) older_headers: bool,
    pub(crate) auth_webhook: AuthWebhook,
    pub(crate) retry: RetrySchedule,
    pub(crate) restamp: bool,
    pub(crate) webhook_delay: Duration,
    pub(crate) after_redirect: Duration,
    pub(crate) copies: u32,
    pub(crate) shuffle: bool,
    pub(crate) history_days: u32,
    pub(crate) data: Amount,
    pub(crate) budget: Budget,
    /// Ping mode of the destination, if it is in it.
    pub(crate) ping: Option<Ping>,
    pub(crate) legacy_widget_gone: bool,
    pub(crate) providers: Vec<String>,
    pub(crate) signing_secret: String,
    pub(crate) admin_token: String,
    /// Whether the event log names an event as its deliveries do.
    pub(crate) event_ids_are_trace_ids: bool,
    pub(crate) resend_keeps_trace_id: bool,
    pub(crate) resend_copies: u32,
}

impl Dials {
    /// Where webhooks go, if they go anywhere.
    pub(crate) fn destination(&self) -> Option<&str> {
        self.webhook_url.as_deref().filter(|_| self.destination_active)
    }
}

impl From<&Settings> for Dials {
    fn from(settings: &Settings) -> Self {
        Self {
            webhook_url: settings.webhook_url.clone(),
            destination_active: true,
            dialect: settings.dialect,
            older_headers: false,
            auth_webhook: settings.auth_webhook,
            retry: settings.retry.clone(),
            restamp: settings.restamp,
            webhook_delay: settings.webhook_delay,
            after_redirect: settings.after_redirect,
            copies: settings.copies,
            shuffle: settings.shuffle,
            history_days: settings.history_days,
            data: settings.data,
            budget: settings.budget,
            ping: None,
            legacy_widget_gone: settings.legacy_widget_gone,
            providers: settings.providers.clone(),
            signing_secret: settings.signing_secret.clone(),
            admin_token: settings.admin_token.clone(),
            event_ids_are_trace_ids: true,
            resend_keeps_trace_id: true,
            resend_copies: 1,
        }
    }
}
