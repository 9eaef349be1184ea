//! One event of any type, for who wants to see what his code makes of it.

use jiff::civil::Date;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dice::Dice;
use crate::event::{
    access_revoked, athlete_event, auth_failed, auth_success, connection_error, data_event, deauth,
    lab_report_completed, lab_report_flat, large_request_processing, large_request_sending, other, permission_change,
    rate_limit_hit, s3_payload, user_reauth,
};
use crate::generate::{Detail, lab_results, record};
use crate::settings::Dialect;
use crate::user::User;

/// Every type that [`sample`] can make.
pub const EVENT_TYPES: [&str; 29] = [
    "access_revoked",
    "activity",
    "athlete",
    "auth",
    "auth_cancelled",
    "auth_error",
    "body",
    "connection_error",
    "daily",
    "deauth",
    "google_no_datasource",
    "health_observation",
    "healthcheck",
    "hormone",
    "lab_report",
    "lab_report.completed",
    "lab_report.failed",
    "large_request_processing",
    "large_request_sending",
    "menstruation",
    "nutrition",
    "permission_change",
    "planned_workout",
    "processing",
    "rate_limit_hit",
    "s3_payload",
    "s3_upload",
    "sleep",
    "user_reauth",
];

#[derive(Debug, Clone)]
pub struct SampleInput<'a> {
    pub seed: u64,
    pub dialect: Dialect,
    pub user: &'a User,
    /// The day that records are about.
    pub date: Date,
    /// Now, as it stands in the event.
    pub now: &'a str,
    pub detail: Detail,
    /// For types that point elsewhere or name a request: the URL or the reference.
    pub reference: &'a str,
}

/// An event of a type; none if there is no such type. `auth_error` and `auth_cancelled` are one
/// failure as the older and the newer platform tell it.
#[must_use]
pub fn sample(kind: &str, input: &SampleInput<'_>) -> Option<Value> {
    let user = input.user;
    let event = match kind {
        "auth" => auth_success(input.dialect, user, None),
        "auth_error" => auth_failed(Dialect::Older, user, None, "access_denied"),
        "auth_cancelled" => auth_failed(Dialect::Newer, user, None, "access_denied"),
        "user_reauth" => user_reauth(Some(&predecessor(input)), user),
        "deauth" => deauth(user),
        "access_revoked" => access_revoked(user),
        "connection_error" => connection_error(user),
        "permission_change" => permission_change(user, &["body:read".to_owned()], &[]),
        "large_request_processing" => large_request_processing(user, input.reference),
        "large_request_sending" => large_request_sending(user, input.reference, 3),
        "processing" => other::processing(user),
        "rate_limit_hit" => {
            let date = input.date.to_string();
            rate_limit_hit(user, &date, &date, input.now)
        }
        "google_no_datasource" => other::google_no_datasource(user),
        "healthcheck" => other::healthcheck(input.now),
        "s3_payload" => s3_payload(input.reference, 300),
        "lab_report.completed" => {
            lab_report_completed(&event_id(input), Some(&upload_id(input)), input.now, &report(input))
        }
        "lab_report.failed" => {
            other::lab_report_failed(&event_id(input), Some(&upload_id(input)), input.now, &session_id(input))
        }
        "athlete" => athlete_event(user, record(kind, input.seed, &user.user_id, input.date, input.detail)?),
        "lab_report" => lab_report_flat(input.now, &report(input)),
        "s3_upload" => {
            let mut event = s3_payload(input.reference, 300);
            event["type"] = json!(kind);
            event
        }
        _ => {
            let record = record(kind, input.seed, &user.user_id, input.date, input.detail)?;
            data_event(kind, user, vec![record])
        }
    };
    Some(event)
}

/// The connection that a re-authentication replaces.
fn predecessor(input: &SampleInput<'_>) -> User {
    let mut dice = Dice::of(input.seed, &["predecessor", &input.user.user_id]);
    User { user_id: dice.uuid().to_string(), ..input.user.clone() }
}

fn report(input: &SampleInput<'_>) -> Value {
    let session_id = session_id(input);
    let mut data = lab_results(input.seed, &session_id, input.date);
    data["reference_id"] = json!(input.user.reference_id);
    data
}

/// Numbers too large for a float, so they are strings.
fn session_id(input: &SampleInput<'_>) -> String {
    let names = ["lab session", &input.user.user_id, &input.date.to_string()];
    Dice::of(input.seed, &names).whole(200_000_000_000_000_000, 900_000_000_000_000_000).to_string()
}

fn upload_id(input: &SampleInput<'_>) -> String {
    Dice::of(input.seed, &["lab upload", &input.user.user_id, input.now]).uuid().to_string()
}

fn event_id(input: &SampleInput<'_>) -> String {
    let id: Uuid = Dice::of(input.seed, &["lab event", &input.user.user_id, input.now]).uuid();
    format!("evt_{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_type_makes_an_event_of_its_type() {
        let user = User {
            user_id: "user-1".to_owned(),
            provider: "GARMIN".to_owned(),
            reference_id: Some("person-1".to_owned()),
            scopes: vec!["activity:read".to_owned()],
            active: true,
            created_at: "2026-03-14T09:00:00.000000+00:00".to_owned(),
            last_webhook_update: None,
        };
        let input = SampleInput {
            seed: 1,
            dialect: Dialect::Newer,
            user: &user,
            date: jiff::civil::date(2026, 3, 14),
            now: "2026-03-14T09:00:00.000000+00:00",
            detail: Detail::Summary,
            reference: "r-1",
        };
        for kind in EVENT_TYPES {
            let event = sample(kind, &input).unwrap();
            let expected = if kind == "auth_error" { "auth" } else { kind };
            assert_eq!(event["type"], expected);
        }
        assert!(sample("no_such_type", &input).is_none());
    }
}
