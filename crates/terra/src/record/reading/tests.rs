//! What is read of an item, and what is named when it cannot be.

use super::*;
use crate::record::columns;

fn get(reading: &Reading, name: &str) -> Option<Scalar> {
    let column = columns(reading.kind).iter().position(|column| column.name() == name).unwrap();
    reading.values[column].clone()
}

#[track_caller]
fn check_unread(kind: DataKind, text: &str, expected: &[(&str, Problem)]) {
    let expected: Vec<Unread> =
        expected.iter().map(|(path, problem)| Unread { path: (*path).to_owned(), problem: *problem }).collect();
    assert_eq!(read(kind, text).unread, expected, "{text}");
}

#[test]
fn values_stand_under_their_names_wherever_terra_has_them() {
    let reading = read(
        DataKind::Daily,
        r#"{"metadata":{"start_time":"2026-03-01T00:00:00+02:00","end_time":"2026-03-02T00:00:00+02:00","upload_type":1.0},
            "distance_data":{"steps":8001.0,"distance_meters":"5400.5"},"scores":{"sleep":81},
            "data_enrichment":{"strain_index":3.5,"strain_traffic_light":"amber","immune_index":null}}"#,
    );
    assert_eq!(get(&reading, "steps"), Some(Scalar::Integer(8_001)));
    assert_eq!(get(&reading, "distance_meters"), Some(Scalar::Number(5_400.5)));
    assert_eq!(get(&reading, "provider_sleep_score"), Some(Scalar::Number(81.0)));
    assert_eq!(get(&reading, "strain_traffic_light"), Some(Scalar::Text("amber".into())));
    assert_eq!(get(&reading, "immune_index"), None);
    assert_eq!(reading.key.as_ref().map(NaturalKey::as_str), Some("2026-03-01"));
    assert_eq!(reading.scores.keys().collect::<Vec<_>>(), ["strain_index", "strain_traffic_light"]);
    assert_eq!((reading.unread.len(), reading.deleted), (0, false));
}

#[test]
fn only_activities_and_days_are_deleted_by_upload_type() {
    for kind in DataKind::ALL {
        let deleted =
            |upload_type: &str| read(kind, &format!(r#"{{"metadata":{{"upload_type":{upload_type}}}}}"#)).deleted;
        assert_eq!(deleted("4"), matches!(kind, DataKind::Activity | DataKind::Daily), "{kind:?}");
        assert_eq!(deleted("4.0"), deleted("4"));
        assert!(!deleted("3") && !deleted("null"));
    }
}

#[test]
fn what_cannot_be_read_is_named_and_harms_nothing_else() {
    let daily = |rest: &str| format!(r#"{{"metadata":{{"start_time":"2026-03-01T00:00:00Z"}},{rest}}}"#);
    check_unread(DataKind::Daily, &daily(r#""distance_data":{"steps":7}"#), &[]);
    check_unread(
        DataKind::Daily,
        &daily(&format!(r#""distance_data":{{"steps":1{}}}"#, "0".repeat(400))),
        &[("distance_data.steps", Problem::NumberOutOfRange)],
    );
    check_unread(
        DataKind::Daily,
        &daily(r#""distance_data":{"distance_meters":1e400,"steps":{"a":1}}"#),
        &[("distance_data.steps", Problem::WrongShape), ("distance_data.distance_meters", Problem::NumberOutOfRange)],
    );
    check_unread(
        DataKind::Daily,
        &daily(r#""device_data":{"name":"a\u0000b","manufacturer":"\ud800"}"#),
        &[("device_data.name", Problem::UnprintableText), ("device_data.manufacturer", Problem::UnprintableText)],
    );
    check_unread(DataKind::Daily, &daily(r#""q":1,"q":2"#), &[("q", Problem::DuplicateName)]);
    check_unread(
        DataKind::Daily,
        r#"{"metadata":{"start_time":"2026-02-30T00:00:00Z"}}"#,
        &[("start_time", Problem::ImpossibleDate), ("", Problem::NoNaturalKey)],
    );
    check_unread(DataKind::Daily, "7", &[("", Problem::NotAnObject), ("", Problem::NoNaturalKey)]);
    let reading = read(DataKind::Daily, &daily(r#""distance_data":{"steps":12,"distance_meters":1e400}"#));
    assert_eq!(get(&reading, "steps"), Some(Scalar::Integer(12)));
}

#[test]
fn a_lab_report_reads_the_same_in_both_shapes() {
    let data = r#""session_id":"297405620317847552","reference_id":"r","results_count":1,"results":[{"biomarker":{"key":null}}]"#;
    let newer = format!(
        r#"{{"type":"lab_report.completed","event_id":"evt","occurred_at":"2026-03-01T08:00:00Z","data":{{{data}}}}}"#
    );
    let older = format!(r#"{{"type":"lab_report","event_id":"evt","occurred_at":"2026-03-01T08:00:00Z",{data}}}"#);
    let [newer, older] = [newer, older].map(|text| read(DataKind::LabReport, &text));
    assert_eq!(newer.values, older.values);
    assert_eq!(newer.key, older.key);
    assert_eq!(get(&newer, "session_id"), Some(Scalar::Text("297405620317847552".into())));
    assert_eq!((newer.unread, newer.strange), (vec![], vec![]));
}

#[test]
fn no_value_shows_in_debug_output() {
    let reading = read(DataKind::Body, r#"{"measurements_data":{"measurements":[{"weight_kg":71.5}]}}"#);
    assert_eq!(format!("{reading:?}"), "Reading(body, 1 values, 1 unread)");
}
