//! One event of every type in both dialects, byte for byte as it was looked at and accepted.
//!
//! After a change that is meant, `UPDATE_GOLDEN=1` writes the files anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::civil::date;
use simulator::event::{SampleInput, sample};
use simulator::generate::Detail;
use simulator::{Dialect, User};

/// As the newer platform's specification lists its events.
const NEWER: [&str; 22] = [
    "access_revoked",
    "activity",
    "athlete",
    "auth",
    "auth_cancelled",
    "body",
    "connection_error",
    "daily",
    "deauth",
    "health_observation",
    "hormone",
    "lab_report.completed",
    "lab_report.failed",
    "large_request_processing",
    "large_request_sending",
    "menstruation",
    "nutrition",
    "permission_change",
    "planned_workout",
    "s3_payload",
    "sleep",
    "user_reauth",
];

/// As the older platform's specification lists them, and the shapes that documents of its time show:
/// the flat laboratory report, and the other spelling of `s3_payload`.
const OLDER: [&str; 22] = [
    "access_revoked",
    "activity",
    "athlete",
    "auth",
    "auth_error",
    "body",
    "connection_error",
    "daily",
    "deauth",
    "google_no_datasource",
    "healthcheck",
    "lab_report",
    "large_request_processing",
    "large_request_sending",
    "menstruation",
    "nutrition",
    "permission_change",
    "processing",
    "rate_limit_hit",
    "s3_upload",
    "sleep",
    "user_reauth",
];

const SEED: u64 = 7;

pub(crate) fn user() -> User {
    User {
        user_id: "0b7f4f3e-6d5a-4c5e-9a53-0d7c1f6f2a11".to_owned(),
        provider: "GARMIN".to_owned(),
        reference_id: Some("person-1".to_owned()),
        scopes: vec!["activity:read".to_owned(), "daily:read".to_owned()],
        active: true,
        created_at: "2026-03-01T09:00:00.000000+00:00".to_owned(),
        last_webhook_update: Some("2026-03-14T21:30:00.000000+00:00".to_owned()),
    }
}

fn made(kind: &str, dialect: Dialect) -> String {
    let user = user();
    let input = SampleInput {
        seed: SEED,
        dialect,
        user: &user,
        date: date(2026, 3, 14),
        now: "2026-03-15T09:00:00.000000+00:00",
        detail: Detail::Complete,
        reference: "https://terra-payload-bucket.s3.eu-west-2.amazonaws.com/9d1c?X-Amz-Expires=300",
    };
    let mut text = serde_json::to_string_pretty(&sample(kind, &input).unwrap()).unwrap();
    text.push('\n');
    text
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn all() -> Vec<(String, String)> {
    let of = |dialect, name: &'static str| move |kind: &&str| (format!("{kind}.{name}.json"), made(kind, dialect));
    let newer = NEWER.iter().map(of(Dialect::Newer, "newer"));
    newer.chain(OLDER.iter().map(of(Dialect::Older, "older"))).collect()
}

#[test]
fn every_type_looks_as_it_was_accepted() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut changed = Vec::new();
    for (name, text) in all() {
        let path = folder().join(&name);
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != text {
            changed.push(name);
        }
    }
    assert!(changed.is_empty(), "run with UPDATE_GOLDEN=1 and read the differences: {changed:?}");
}

#[test]
fn every_golden_file_belongs_to_a_type() {
    let known: BTreeSet<String> = all().into_iter().map(|(name, _)| name).collect();
    let there = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<String>>(), known);
}
