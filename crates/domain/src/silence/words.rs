//! Silence as events, and in words.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Channel, Quiet};
use crate::id::{EventId, derived_uuid};
use crate::outgoing::Outgoing;

/// `connection.stale` or `.fresh`; `heard_at` is the last delivery, and makes the event's id.
pub(super) fn of_connection(quiet: &Quiet, verb: &'static str, heard_at: Timestamp, now: Timestamp) -> Outgoing {
    Outgoing {
        id: EventId(derived_uuid(&[
            b"event",
            b"silence",
            verb.as_bytes(),
            quiet.connection.0.as_bytes(),
            &heard_at.as_millisecond().to_be_bytes(),
        ])),
        alias: None,
        environment: quiet.environment.clone(),
        connection: Some(quiet.connection),
        subject: quiet.user.clone(),
        entity: "connection".into(),
        verb: verb.into(),
        provider: quiet.provider.clone(),
        record: None,
        time: now,
        data: json!({
            "connection": quiet.connection,
            "terra_user_id": quiet.terra_user_id,
            "provider": quiet.provider,
            "last_data_at": heard_at,
            "expected_within_seconds": quiet.bound.as_secs(),
        }),
    }
}

/// `provider.silent` or `.resumed`.
pub(super) fn of_channel(
    channel: &Channel,
    verb: &'static str,
    users: u64,
    heard_at: Timestamp,
    bound: SignedDuration,
    now: Timestamp,
) -> Outgoing {
    let data: Value = json!({
        "provider": channel.provider,
        "type": channel.kind,
        "connections": users,
        "last_data_at": heard_at,
        "expected_within_seconds": bound.as_secs(),
    });
    Outgoing {
        id: EventId(derived_uuid(&[
            b"event",
            b"silence",
            verb.as_bytes(),
            channel.environment.as_str().as_bytes(),
            channel.provider.as_bytes(),
            channel.kind.as_bytes(),
            &heard_at.as_millisecond().to_be_bytes(),
        ])),
        alias: None,
        environment: channel.environment.clone(),
        connection: None,
        subject: None,
        entity: "provider".into(),
        verb: verb.into(),
        provider: Some(channel.provider.clone()),
        record: None,
        time: now,
        data,
    }
}

/// `no sleep from OURA for 6 h, 412 users`
pub fn silent(channel: &Channel, users: u64, quiet_for: SignedDuration) -> String {
    format!("no {} from {} for {}, {users} users", channel.kind, channel.provider, length(quiet_for))
}

/// `this user's GARMIN is stale 3 days`
pub fn stale(provider: Option<&str>, quiet_for: SignedDuration) -> String {
    format!("this user's {} is stale {}", provider.unwrap_or("device"), length(quiet_for))
}

/// A length of time in the largest unit that is not one or less of it.
pub fn length(time: SignedDuration) -> String {
    let minutes = time.as_mins().max(0);
    match minutes {
        0..=89 => format!("{minutes} min"),
        90..=2_879 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}
