//! Events about requests and about Terra itself.

use serde_json::{Value, json};

use crate::event::VERSION;
use crate::user::User;

pub(crate) fn large_request_processing(user: &User, reference: &str) -> Value {
    json!({
        "type": "large_request_processing",
        "status": "processing",
        "message": "Large request is being processed",
        "user": user.to_json(),
        "reference": reference,
        "version": VERSION,
    })
}

/// Announces how many events with data follow under the same reference.
pub(crate) fn large_request_sending(user: &User, reference: &str, payloads: usize) -> Value {
    json!({
        "type": "large_request_sending",
        "message": "Large request is being sent",
        "user": user.to_json(),
        "reference": reference,
        "expected_payloads": payloads,
        "version": VERSION,
    })
}

pub(crate) fn processing(user: &User) -> Value {
    json!({
        "type": "processing",
        "status": "success",
        "message": "Data is being fetched from the provider",
        "user": user.to_json(),
        "retry_after_seconds": 60,
        "version": VERSION,
    })
}

/// The provider refused data of these days; Terra asks again by itself.
pub(crate) fn rate_limit_hit(user: &User, start_date: &str, end_date: &str, retrying_at: &str) -> Value {
    json!({
        "type": "rate_limit_hit",
        "user": user.to_json(),
        "start_date": start_date,
        "end_date": end_date,
        "retrying_at": retrying_at,
        "message": "Provider rate limit hit; the request will be retried",
        "version": VERSION,
    })
}

pub(crate) fn google_no_datasource(user: &User) -> Value {
    json!({
        "type": "google_no_datasource",
        "status": "warning",
        "user": user.to_json(),
        "message": "User has no data source in Google Fit",
        "version": VERSION,
    })
}

/// It concerns no user.
pub(crate) fn healthcheck(now: &str) -> Value {
    json!({
        "type": "healthcheck",
        "status": "healthy",
        "creation_timestamp": now,
        "trend_percentage": 2,
        "sent_webhooks_last_hour": 120,
        "version": VERSION,
    })
}

/// The payload itself waits behind the URL; whose it is stands only in there.
pub(crate) fn s3_payload(url: &str, expires_in: u64) -> Value {
    json!({ "type": "s3_payload", "status": "success", "url": url, "expires_in": expires_in })
}

/// `upload_id` is missing for reports from before uploads had ids.
pub(crate) fn lab_report_completed(event_id: &str, upload_id: Option<&str>, now: &str, data: &Value) -> Value {
    lab_report("lab_report.completed", event_id, upload_id, now, data)
}

fn lab_report(kind: &str, event_id: &str, upload_id: Option<&str>, now: &str, data: &Value) -> Value {
    let mut event = json!({ "type": kind, "event_id": event_id, "occurred_at": now, "data": data });
    if let Some(upload_id) = upload_id {
        event["upload_id"] = json!(upload_id);
    }
    event
}

/// The shape that Terra sent before the envelope: no event id, the report at top level.
pub(crate) fn lab_report_flat(now: &str, data: &Value) -> Value {
    let mut event = json!({ "type": "lab_report", "status": "success", "timestamp": now });
    for (name, value) in data.as_object().into_iter().flatten() {
        event[name] = value.clone();
    }
    event
}

pub(crate) fn lab_report_failed(event_id: &str, upload_id: Option<&str>, now: &str, session_id: &str) -> Value {
    let data = json!({
        "session_id": session_id,
        "error": {
            "code": "extraction_failed",
            "message": "No results could be read from the file",
            "retriable": true,
        },
    });
    lab_report("lab_report.failed", event_id, upload_id, now, &data)
}
