//! Every event in both dialects, and bodies that are none: what the files below share.

mod connection;
mod data;
mod hostile;

use super::*;

const OLDER_USER: &str =
    r#"{"user_id":"u-1","provider":"GARMIN","last_webhook_update":null,"scopes":"HEALTH_EXPORT,ACTIVITY_EXPORT"}"#;
const NEWER_USER: &str = r#"{"user_id":"u-1","provider":"GARMIN","reference_id":"r-1","created_at":"2026-01-15T09:30:00Z","active":true,"scopes":"sleep,activity","last_webhook_update":"2026-01-20T11:00:00Z"}"#;

/// Decodes after putting the two users where their names stand.
fn decode_text(body: &str) -> Result<Event<'static>, Unreadable> {
    let body = body.replace("OLDER_USER", OLDER_USER).replace("NEWER_USER", NEWER_USER);
    decode(Box::leak(body.into_boxed_str()).as_bytes())
}

#[track_caller]
fn event(body: &str) -> Event<'static> {
    decode_text(body).unwrap()
}

#[track_caller]
fn check_unreadable(body: &[u8], expected: Unreadable) {
    match decode(body) {
        Err(unreadable) => assert_eq!(unreadable, expected),
        Ok(event) => panic!("{event:?}"),
    }
}

fn older(reference_id: Option<&str>) -> User {
    User {
        user_id: "u-1".into(),
        provider: Some("GARMIN".into()),
        reference_id: reference_id.map(str::to_owned),
        scopes: Some(vec!["ACTIVITY_EXPORT".into(), "HEALTH_EXPORT".into()]),
        active: None,
        created_at: None,
        last_webhook_update: None,
    }
}

fn newer() -> User {
    User {
        user_id: "u-1".into(),
        provider: Some("GARMIN".into()),
        reference_id: Some("r-1".into()),
        scopes: Some(vec!["activity".into(), "sleep".into()]),
        active: Some(true),
        created_at: Some("2026-01-15T09:30:00Z".parse().unwrap()),
        last_webhook_update: Some("2026-01-20T11:00:00Z".into()),
    }
}
