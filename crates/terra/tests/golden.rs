//! One event of every type that Terra's specification lists, in both dialects: what is read of it, value by value.
//!
//! The events are the simulator's (`crates/simulator/tests/golden`), written from Terra's specification by code that
//! shares nothing with ours. What we read of them is checked in beside this file; after a change that is meant,
//! `UPDATE_GOLDEN=1` writes it anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![expect(clippy::disallowed_methods, reason = "the events and what is read of them are files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use terra::event::{DataKind, Event, Kind, User, decode};
use terra::record::{Reading, columns, read};

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// One event of every type, from `sleep.newer` to its text.
fn events() -> BTreeMap<String, String> {
    texts("../simulator/tests/golden")
}

/// What no single event of the simulator has: members that exclude one another, and those that Terra documents for a
/// report when it is asked for. From the examples in Terra's schemas (tryterra/openapi, Apache-2.0).
fn specimens() -> BTreeMap<String, String> {
    texts("tests/specimens")
}

/// By the name of the file without its ending.
fn texts(folder: &str) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(here(folder)).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| (file.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&file).unwrap()))
        .collect()
}

/// The type that the name of a file stands for: without its dialect.
fn type_of(name: &str) -> &str {
    name.rsplit_once('.').unwrap().0
}

/// What an event carries as records: each item with what was read of it.
fn readings(event: &Event<'_>) -> Vec<Reading> {
    match event {
        Event::Data { kind, items, .. } => items.iter().map(|item| read(*kind, item)).collect(),
        Event::LabReport { item, .. } => vec![read(DataKind::LabReport, item)],
        Event::AuthSucceeded { .. }
        | Event::AuthFailed { .. }
        | Event::UserReauth { .. }
        | Event::Deauth { .. }
        | Event::AccessRevoked { .. }
        | Event::ConnectionError { .. }
        | Event::PermissionChange { .. }
        | Event::LargeRequestProcessing { .. }
        | Event::LargeRequestSending { .. }
        | Event::S3Payload { .. }
        | Event::Informational { .. }
        | Event::Unknown { .. } => Vec::new(),
    }
}

fn user(user: &User) -> Value {
    json!({
        "user_id": user.user_id,
        "provider": user.provider,
        "reference_id": user.reference_id,
        "scopes": user.scopes,
        "active": user.active,
        "created_at": user.created_at,
        "last_webhook_update": user.last_webhook_update,
    })
}

/// The variant of an event, and all it says but its items.
fn said(event: &Event<'_>) -> (&'static str, Value) {
    let maybe = |found: &Option<User>| found.as_ref().map(user);
    match event {
        Event::AuthSucceeded { user: found, widget_session_id } => {
            ("AuthSucceeded", json!({ "user": user(found), "widget_session_id": widget_session_id }))
        }
        Event::AuthFailed { user_id, provider, reference_id, reason, widget_session_id } => (
            "AuthFailed",
            json!({
                "user_id": user_id, "provider": provider, "reference_id": reference_id, "reason": reason,
                "widget_session_id": widget_session_id,
            }),
        ),
        Event::UserReauth { old, new } => ("UserReauth", json!({ "old": maybe(old), "new": user(new) })),
        Event::Deauth { user: found } => ("Deauth", json!({ "user": user(found) })),
        Event::AccessRevoked { user: found } => ("AccessRevoked", json!({ "user": user(found) })),
        Event::ConnectionError { user: found } => ("ConnectionError", json!({ "user": user(found) })),
        Event::PermissionChange { user: found, added, removed } => {
            ("PermissionChange", json!({ "user": user(found), "added": added, "removed": removed }))
        }
        Event::Data { kind, user, items, lone } => {
            ("Data", json!({ "kind": kind.label(), "user": maybe(user), "items": items.len(), "lone": lone }))
        }
        Event::LabReport { event_id, reference_id, session_id, failed, .. } => (
            "LabReport",
            json!({ "event_id": event_id, "reference_id": reference_id, "session_id": session_id, "failed": failed }),
        ),
        Event::LargeRequestProcessing { user, reference } => {
            ("LargeRequestProcessing", json!({ "user": maybe(user), "reference": reference }))
        }
        Event::LargeRequestSending { user, reference, expected_payloads } => (
            "LargeRequestSending",
            json!({ "user": maybe(user), "reference": reference, "expected_payloads": expected_payloads }),
        ),
        Event::S3Payload { url, expires_in_seconds, user_id, reference_id } => (
            "S3Payload",
            json!({
                "url": url, "expires_in_seconds": expires_in_seconds, "user_id": user_id, "reference_id": reference_id,
            }),
        ),
        Event::Informational { kind, user } => ("Informational", json!({ "kind": kind.label(), "user": maybe(user) })),
        Event::Unknown { name, user } => ("Unknown", json!({ "name": name, "user": maybe(user) })),
    }
}

/// An item as it was read, in names: fit to be compared by eye with what Terra sent.
fn shown(reading: &Reading) -> Value {
    let named = columns(reading.kind).iter().zip(&reading.values);
    let values: Map<String, Value> =
        named.map(|(column, value)| (column.name().to_owned(), json!(value.as_ref()))).collect();
    json!({
        "key": reading.key.as_ref().map(|key| key.as_str()),
        "start_time": reading.start_time,
        "end_time": reading.end_time,
        "deleted": reading.deleted,
        "values": values,
        "scores": reading.scores,
        "fingerprint": reading.fingerprint.keys().collect::<Vec<_>>(),
        "unread": reading.unread,
        "strange": reading.strange.iter().map(|strange| format!("{}: {}", strange.path, strange.found)).collect::<Vec<_>>(),
    })
}

/// The variant that each type must become.
fn variant(name: &str) -> &'static str {
    match type_of(name) {
        "auth" => "AuthSucceeded",
        "auth_error" | "auth_cancelled" => "AuthFailed",
        "user_reauth" => "UserReauth",
        "deauth" => "Deauth",
        "access_revoked" => "AccessRevoked",
        "connection_error" => "ConnectionError",
        "permission_change" => "PermissionChange",
        "lab_report" | "lab_report.completed" | "lab_report.failed" => "LabReport",
        "large_request_processing" => "LargeRequestProcessing",
        "large_request_sending" => "LargeRequestSending",
        "s3_payload" | "s3_upload" => "S3Payload",
        "processing" | "rate_limit_hit" | "healthcheck" | "google_no_datasource" => "Informational",
        data => {
            assert!(DataKind::parse(data).is_some(), "{name} has no variant");
            "Data"
        }
    }
}

#[test]
fn every_event_is_read_as_it_was_accepted() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut changed = Vec::new();
    for (name, text) in events() {
        let event = decode(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (found, says) = said(&event);
        assert_eq!(found, variant(&name), "{name}");
        let items: Vec<Value> = readings(&event).iter().map(shown).collect();
        let read = json!({ "event": found, "says": says, "items": items });
        let read = format!("{}\n", serde_json::to_string_pretty(&read).unwrap());
        let file = here("tests/golden").join(format!("{name}.json"));
        if update {
            std::fs::write(&file, &read).unwrap();
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != read {
            changed.push(name);
        }
    }
    assert!(changed.is_empty(), "run with UPDATE_GOLDEN=1 and read the differences: {changed:?}");
}

#[test]
fn what_was_accepted_belongs_to_an_event() {
    let accepted = std::fs::read_dir(here("tests/golden")).unwrap().map(|entry| entry.unwrap().path());
    let accepted: BTreeSet<String> =
        accepted.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(accepted, events().into_keys().collect());
}

#[test]
fn every_kind_that_we_know_has_an_event() {
    let seen: BTreeSet<Kind> = events()
        .values()
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["type"].as_str().map(Kind::parse).unwrap())
        .collect();
    let missing: Vec<Kind> =
        Kind::ALL.into_iter().filter(|kind| *kind != Kind::Other && !seen.contains(kind)).collect();
    assert_eq!(missing, []);
    assert!(!seen.contains(&Kind::Other), "a type of Terra's specification that we do not know");
}

#[test]
fn every_item_is_read_whole_and_has_its_key() {
    let mut items = 0;
    for (name, text) in events().into_iter().chain(specimens()) {
        let event = decode(text.as_bytes()).unwrap();
        let readings = readings(&event);
        assert_eq!(readings.is_empty(), !matches!(said(&event).0, "Data" | "LabReport"), "{name}");
        for reading in readings {
            items += 1;
            assert!(reading.key.is_some(), "{name} has no key");
            assert_eq!(reading.unread, [], "{name}");
            assert_eq!(reading.strange, [], "{name}");
            assert!(!reading.deleted, "{name}");
        }
    }
    assert!(items >= 21, "{items} items");
}

#[test]
fn every_column_is_filled_by_some_event() {
    let mut filled: BTreeSet<(DataKind, &str)> = BTreeSet::new();
    let texts: Vec<String> = events().into_values().chain(specimens().into_values()).collect();
    for text in &texts {
        for reading in readings(&decode(text.as_bytes()).unwrap()) {
            let named = columns(reading.kind).iter().zip(&reading.values);
            filled.extend(named.filter(|(_, value)| value.is_some()).map(|(column, _)| (reading.kind, column.name())));
        }
    }
    let all = DataKind::ALL.into_iter().flat_map(|kind| columns(kind).iter().map(move |column| (kind, column.name())));
    let empty: Vec<String> = all
        .filter(|column| !filled.contains(column))
        .map(|(kind, column)| format!("{}.{column}", kind.label()))
        .collect();
    assert!(empty.is_empty(), "no event fills {empty:?}");
}
