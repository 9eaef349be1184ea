//! The bodies of Terra's webhooks.

mod change;
mod lifecycle;
mod other;
mod samples;

use serde_json::{Value, json};

pub(crate) use change::{null_scores, set_upload_type};
pub(crate) use lifecycle::{
    access_revoked, auth_failed, auth_success, connection_error, deauth, permission_change, user_reauth,
};
pub(crate) use other::{
    healthcheck, lab_report_completed, lab_report_flat, large_request_processing, large_request_sending, processing,
    rate_limit_hit, s3_payload,
};
pub use samples::{EVENT_TYPES, SampleInput, sample};

use crate::catalog::worn;
use crate::user::User;

/// The same on both platforms, so that nobody can tell them apart by it.
pub(crate) const VERSION: &str = "2022-03-16";

/// An event with records in `data`.
#[must_use]
pub fn data_event(kind: &str, user: &User, data: Vec<Value>) -> Value {
    let data: Vec<Value> = data.into_iter().map(|record| worn(record, &user.provider)).collect();
    json!({ "type": kind, "user": user.to_json(), "data": data, "version": VERSION })
}

/// The profile of a person comes in a field of its own.
#[must_use]
pub fn athlete_event(user: &User, athlete: Value) -> Value {
    json!({ "type": "athlete", "user": user.to_json(), "athlete": athlete, "version": VERSION })
}
