//! Turning the dials of a running simulator.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::dials::Dials;
use crate::lock::lock;
use crate::payload::Ping;
use crate::settings::{Amount, AuthWebhook, Dialect};
use crate::world::World;

/// What is absent stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// `null` takes the destination away.
    #[serde(default, deserialize_with = "present")]
    webhook_url: Option<Option<String>>,
    destination_active: Option<bool>,
    dialect: Option<Dialect>,
    older_headers: Option<bool>,
    auth_webhook: Option<AuthWebhook>,
    retry_factor: Option<f64>,
    retry_first_ms: Option<u64>,
    retries_max: Option<u32>,
    timeout_ms: Option<u64>,
    restamp: Option<bool>,
    webhook_delay_ms: Option<u64>,
    after_redirect_ms: Option<u64>,
    copies: Option<u32>,
    shuffle: Option<bool>,
    history_days: Option<u32>,
    data: Option<Amount>,
    budget_window_seconds: Option<f64>,
    budget_days: Option<i64>,
    budget_request_days: Option<i64>,
    /// `null` ends ping mode.
    #[serde(default, deserialize_with = "present")]
    ping: Option<Option<Ping>>,
    legacy_widget_gone: Option<bool>,
    providers: Option<Vec<String>>,
    signing_secret: Option<String>,
    admin_token: Option<String>,
    event_ids_are_trace_ids: Option<bool>,
    resend_keeps_trace_id: Option<bool>,
    resend_copies: Option<u32>,
}

/// Tells `null` from nothing.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

pub(crate) async fn show(world: web::Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(shown(&world.dials()))
}

pub(crate) async fn change(world: web::Data<World>, change: web::Json<Change>) -> HttpResponse {
    apply(&mut lock(&world.dials), change.into_inner());
    show(world).await
}

fn apply(dials: &mut Dials, change: Change) {
    set(&mut dials.webhook_url, change.webhook_url);
    set(&mut dials.destination_active, change.destination_active);
    set(&mut dials.dialect, change.dialect);
    set(&mut dials.older_headers, change.older_headers);
    set(&mut dials.auth_webhook, change.auth_webhook);
    set(&mut dials.retry.factor, change.retry_factor);
    set(&mut dials.retry.first, change.retry_first_ms.map(Duration::from_millis));
    set(&mut dials.retry.retries_max, change.retries_max);
    set(&mut dials.retry.timeout, change.timeout_ms.map(Duration::from_millis));
    set(&mut dials.restamp, change.restamp);
    set(&mut dials.webhook_delay, change.webhook_delay_ms.map(Duration::from_millis));
    set(&mut dials.after_redirect, change.after_redirect_ms.map(Duration::from_millis));
    set(&mut dials.copies, change.copies);
    set(&mut dials.shuffle, change.shuffle);
    set(&mut dials.history_days, change.history_days);
    set(&mut dials.data, change.data);
    // Less than a millisecond is no window.
    let window_ms = change.budget_window_seconds.map(|seconds| ((seconds * 1_000.0) as i64).max(1));
    set(&mut dials.budget.window_ms, window_ms);
    set(&mut dials.budget.days_per_window, change.budget_days);
    set(&mut dials.budget.days_per_request, change.budget_request_days);
    set(&mut dials.ping, change.ping);
    set(&mut dials.legacy_widget_gone, change.legacy_widget_gone);
    set(&mut dials.providers, change.providers);
    set(&mut dials.signing_secret, change.signing_secret);
    set(&mut dials.admin_token, change.admin_token);
    set(&mut dials.event_ids_are_trace_ids, change.event_ids_are_trace_ids);
    set(&mut dials.resend_keeps_trace_id, change.resend_keeps_trace_id);
    set(&mut dials.resend_copies, change.resend_copies);
}

fn set<T>(dial: &mut T, wanted: Option<T>) {
    if let Some(wanted) = wanted {
        *dial = wanted;
    }
}

/// The signing secret and the admin token can be set and are not shown.
fn shown(dials: &Dials) -> Value {
    let ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    json!({
        "webhook_url": dials.webhook_url,
        "destination_active": dials.destination_active,
        "dialect": dials.dialect,
        "older_headers": dials.older_headers,
        "auth_webhook": dials.auth_webhook,
        "retry_factor": dials.retry.factor,
        "retry_first_ms": ms(dials.retry.first),
        "retries_max": dials.retry.retries_max,
        "timeout_ms": ms(dials.retry.timeout),
        "restamp": dials.restamp,
        "webhook_delay_ms": ms(dials.webhook_delay),
        "after_redirect_ms": ms(dials.after_redirect),
        "copies": dials.copies,
        "shuffle": dials.shuffle,
        "history_days": dials.history_days,
        "data": dials.data,
        "budget_window_seconds": dials.budget.window_ms as f64 / 1_000.0,
        "budget_days": dials.budget.days_per_window,
        "budget_request_days": dials.budget.days_per_request,
        "ping": dials.ping,
        "legacy_widget_gone": dials.legacy_widget_gone,
        "providers": dials.providers,
        "event_ids_are_trace_ids": dials.event_ids_are_trace_ids,
        "resend_keeps_trace_id": dials.resend_keeps_trace_id,
        "resend_copies": dials.resend_copies,
    })
}
