//! Records, reports, progress of requests, and events we only note.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names the one variant that it expects")]

use super::*;

#[track_caller]
fn check_items(body: &str, expected_kind: DataKind, expected_user: Option<&User>, expected: &[&str]) {
    match event(body) {
        Event::Data { kind, user, items, lone } => {
            assert_eq!(kind, expected_kind);
            assert_eq!(user.as_ref(), expected_user);
            assert_eq!(items, expected, "{body}");
            assert_eq!(lone, body.contains(r#""data":{"#) && kind != DataKind::Athlete, "{body}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_events_hand_on_their_items_as_text() {
    for kind in DataKind::ALL.into_iter().filter(|kind| *kind != DataKind::LabReport) {
        let name = kind.label();
        let items = r#"[{"metadata": {"a":1}}, null, {"b":[1e999,"\u0000"]}]"#;
        let body = format!(r#"{{"type":"{name}","data":{items},"user":NEWER_USER,"version":"2022-03-16"}}"#);
        check_items(&body, kind, Some(&newer()), &[r#"{"metadata": {"a":1}}"#, "null", r#"{"b":[1e999,"\u0000"]}"#]);
        let body = format!(r#"{{"type":"{name}","status":"success","data":{{"one":1}},"user":OLDER_USER}}"#);
        check_items(&body, kind, Some(&older(None)), &[r#"{"one":1}"#]);
    }
}

#[test]
fn data_may_be_absent_and_so_may_the_user() {
    for (body, user) in [
        (r#"{"type":"daily","user":NEWER_USER}"#, Some(newer())),
        (r#"{"type":"daily","data":null,"user":NEWER_USER}"#, Some(newer())),
        (r#"{"type":"daily","data":[]}"#, None),
        (r#"{"type":"daily","data":[],"user":"u-1"}"#, None),
        (r#"{"type":"daily","data":[],"user":{"provider":"GARMIN"}}"#, None),
    ] {
        check_items(body, DataKind::Daily, user.as_ref(), &[]);
    }
}

#[test]
fn an_athlete_is_its_own_object() {
    let user = newer();
    for body in [
        r#"{"type":"athlete","athlete":{"age":28},"user":NEWER_USER}"#,
        r#"{"type":"athlete","data":[{"age":28}],"user":NEWER_USER}"#,
        r#"{"type":"athlete","athlete":null,"data":{"age":28},"user":NEWER_USER}"#,
        r#"{"type":"athlete","athlete":{"age":28},"data":[],"user":NEWER_USER}"#,
    ] {
        check_items(body, DataKind::Athlete, Some(&user), &[r#"{"age":28}"#]);
    }
    check_items(r#"{"type":"athlete"}"#, DataKind::Athlete, None, &[]);
}

#[test]
fn data_of_another_shape_says_so() {
    for data in ["7", "true", r#""[]""#] {
        let body = format!(r#"{{"type":"sleep","data":{data},"user":{NEWER_USER}}}"#);
        check_unreadable(body.as_bytes(), Unreadable::WrongShape { kind: Kind::Sleep });
    }
    let many = format!(r#"{{"type":"sleep","data":[0{}]}}"#, ",0".repeat(ITEMS_MAX));
    check_unreadable(many.as_bytes(), Unreadable::WrongShape { kind: Kind::Sleep });
}

#[test]
fn lab_reports_are_kept_whole_in_both_shapes() {
    for (body, expected_event, expected_session, expected_reference, expected_failed) in [
        (
            r#"{"type":"lab_report.completed","event_id":"evt_1","data":{"session_id":"29740562","reference_id":"r"}}"#,
            Some("evt_1"),
            Some("29740562"),
            Some("r"),
            false,
        ),
        (
            r#"{"type":"lab_report.failed","event_id":"evt_2","upload_id":"up","data":{"error":{"code":"internal"}}}"#,
            Some("evt_2"),
            Some("up"),
            None,
            true,
        ),
        (r#"{"type":"lab_report","status":"failed","session_id":"2974"}"#, None, Some("2974"), None, true),
        (r#"{"type":"lab_report","session_id":"2974","reference_id":"r"}"#, None, Some("2974"), Some("r"), false),
    ] {
        match event(body) {
            Event::LabReport { event_id, reference_id, session_id, failed, item } => {
                assert_eq!((event_id.as_deref(), session_id.as_deref()), (expected_event, expected_session));
                assert_eq!((reference_id.as_deref(), failed, item), (expected_reference, expected_failed, body));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_large_request_is_followed_by_its_reference() {
    match event(
        r#"{"type":"large_request_processing","status":"processing","message":"m","user":NEWER_USER,"reference":"ref"}"#,
    ) {
        Event::LargeRequestProcessing { user, reference } => {
            assert_eq!((user, reference.as_deref()), (Some(newer()), Some("ref")));
        }
        other => panic!("{other:?}"),
    }
    for (count, expected) in
        [("12", Some(12)), (r#""12""#, Some(12)), ("12.0", Some(12)), ("-1", None), ("1e30", None), ("null", None)]
    {
        let body = format!(
            r#"{{"type":"large_request_sending","user":OLDER_USER,"reference":"ref","expected_payloads":{count}}}"#
        );
        match event(&body) {
            Event::LargeRequestSending { user, reference, expected_payloads } => {
                assert_eq!((user, reference.as_deref(), expected_payloads), (Some(older(None)), Some("ref"), expected));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stored_payload_is_found_under_both_names() {
    let webhook =
        r#"{"type":"s3_payload","status":"success","url":"https://bucket.example/p?x=1&y=2","expires_in":300}"#;
    let queue = r#"{"type":"s3_upload","url":"https://bucket.example/p?x=1&y=2","expires_in":"300","user_id":"u-1","reference_id":"r-1"}"#;
    let nested =
        r#"{"type":"s3_payload","url":"https://bucket.example/p?x=1\u0026y=2","expires_in":300.0,"user":NEWER_USER}"#;
    for (body, expected_user, expected_reference) in
        [(webhook, None, None), (queue, Some("u-1"), Some("r-1")), (nested, Some("u-1"), Some("r-1"))]
    {
        match event(body) {
            Event::S3Payload { url, expires_in_seconds, user_id, reference_id } => {
                assert_eq!(url.as_deref(), Some("https://bucket.example/p?x=1&y=2"));
                assert_eq!(expires_in_seconds, Some(300));
                assert_eq!((user_id.as_deref(), reference_id.as_deref()), (expected_user, expected_reference));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(event(r#"{"type":"s3_payload","url":"a\r\nb"}"#), Event::S3Payload { url: None, .. }));
}

#[test]
fn informational_events_are_recognised_with_or_without_user() {
    for (body, expected) in [
        (
            r#"{"type":"processing","status":"success","message":"m","user":OLDER_USER,"retry_after_seconds":10}"#,
            Kind::Processing,
        ),
        (r#"{"type":"rate_limit_hit","user":OLDER_USER,"retrying_at":"2026-11-22T10:00:00Z"}"#, Kind::RateLimitHit),
        (r#"{"type":"google_no_datasource","user":OLDER_USER,"message":"m"}"#, Kind::GoogleNoDatasource),
        (
            r#"{"type":"healthcheck","status":"ok","trend_percentage":1.5,"sent_webhooks_last_hour":7}"#,
            Kind::Healthcheck,
        ),
    ] {
        match event(body) {
            Event::Informational { kind, user } => {
                assert_eq!((kind, user), (expected, (expected != Kind::Healthcheck).then(|| older(None))));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_unknown_event_keeps_its_name_and_user() {
    for (body, expected_name, expected_user) in [
        (r#"{"type":"route","data":[],"user":NEWER_USER}"#, "route", Some(newer())),
        (r#"{"type":"coach.registered","message":"m","data":{}}"#, "coach.registered", None),
        (r#"{"type":"a\u001b[31m\nb"}"#, "a[31mb", None),
        (r#"{"type":"other"}"#, "other", None),
    ] {
        match event(body) {
            Event::Unknown { name, user } => {
                assert_eq!((name.as_str(), user), (expected_name, expected_user))
            }
            other => panic!("{other:?}"),
        }
    }
}
