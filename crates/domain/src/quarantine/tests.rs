//! Whose secret fits, what counts as the same request, and how one comes in later.

use terra::signature::sign;

use super::*;

const BODY: &[u8] = br#"{"type":"sleep","user":{"user_id":"u"}}"#;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes()).unwrap()
}

fn signed(with: &str, body: &[u8]) -> SignatureHeader {
    SignatureHeader::parse(sign(&secret(with), 1_000, body).as_bytes()).unwrap()
}

/// A request to the address of `staging`, while `production` is set up as well.
fn found(with: &str, before: &[u8], came: &[u8]) -> (Part, Option<String>, Option<Change>) {
    let (staging, production) = (Environment::new("staging"), Environment::new("production"));
    let (of_staging, of_production) = ([secret("secret-of-staging")], [secret("secret-of-production")]);
    let secrets = Secrets { expected: vec![(&staging, &of_staging)], others: vec![(&production, &of_production)] };
    let refused = Refused::Signature(SignatureError::Mismatch);
    let why = why(refused, Some(&signed(with, before)), Some(came), &secrets, true);
    (why.part, why.environment.map(|environment| environment.to_string()), why.change)
}

#[test]
fn the_part_that_is_wrong_is_named() {
    let spaced = br#"{"type": "sleep", "user": {"user_id": "u"}}"#;
    let (staging, production) = (Some("staging".to_owned()), Some("production".to_owned()));
    assert_eq!(found("secret-of-production", BODY, BODY), (Part::OtherEnvironment, production.clone(), None));
    let reserialised = Some(Change::Reserialised);
    assert_eq!(found("secret-of-staging", spaced, BODY), (Part::BodyChanged, staging.clone(), reserialised));
    let line_break = Some(Change::BlanksAdded);
    assert_eq!(found("secret-of-staging", BODY, &[BODY, b"\n"].concat()), (Part::BodyChanged, staging, line_break));
    assert_eq!(found("secret-of-production", spaced, BODY), (Part::OtherEnvironment, production, reserialised));
    assert_eq!(found("secret-of-nobody-here", BODY, BODY), (Part::SecretOrBody, None, None));
    assert_eq!(found("secret-of-staging", b"something else", BODY), (Part::SecretOrBody, None, None));
}

#[test]
fn what_is_not_undone_is_not_guessed_at() {
    let environment = Environment::new("default");
    let own = [secret("secret-of-staging")];
    let secrets = Secrets { expected: vec![(&environment, &own)], others: vec![] };
    let refused = Refused::Signature(SignatureError::Mismatch);
    let (header, came) = (signed("secret-of-staging", BODY), [BODY, b"\n"].concat());
    let part = |undo: bool| why(refused, Some(&header), Some(&came), &secrets, undo).part;
    assert_eq!((part(true), part(false)), (Part::BodyChanged, Part::SecretOrBody));
}

#[test]
fn what_the_door_saw_is_believed_where_nothing_can_be_tried() {
    let secrets = Secrets { expected: vec![], others: vec![] };
    for (refused, part) in [
        (Refused::Signature(SignatureError::Missing), Part::HeaderMissing),
        (Refused::Signature(SignatureError::Conflicting), Part::HeaderConflicting),
        (Refused::Signature(SignatureError::Malformed), Part::HeaderMalformed),
        (Refused::Signature(SignatureError::Mismatch), Part::SecretOrBody),
        (Refused::Future, Part::TimeFuture),
        (Refused::Stale, Part::TimeStale),
    ] {
        assert_eq!(why(refused, None, None, &secrets, true), Why::of(part));
    }
}

#[test]
fn every_reason_says_what_to_do_and_labels_are_read_back() {
    for part in Part::ALL {
        let text = Why { part, environment: Some(Environment::new("staging")), change: Some(Change::Charset) }.text();
        assert!(text.len() > 30, "{text}");
        assert_eq!(Part::parse(part.label()), Some(part));
    }
}

#[test]
fn the_same_bytes_are_one_request_whatever_time_they_carry() {
    let mismatch = Refused::Signature(SignatureError::Mismatch);
    let digest = [7; 32];
    let one = fingerprint(mismatch, None, Some(&digest), Some("trace-1"), Some(10));
    assert_eq!(one, fingerprint(mismatch, None, Some(&digest), Some("trace-2"), Some(10)));
    let staging = Environment::new("staging");
    let missing = Refused::Signature(SignatureError::Missing);
    let others = [
        fingerprint(mismatch, None, Some(&[8; 32]), Some("trace-1"), Some(10)),
        fingerprint(mismatch, Some(&staging), Some(&digest), Some("trace-1"), Some(10)),
        fingerprint(Refused::Future, None, Some(&digest), Some("trace-1"), Some(10)),
        fingerprint(missing, None, None, Some("trace-1"), Some(10)),
        fingerprint(missing, None, None, Some("trace-2"), Some(10)),
        fingerprint(missing, None, None, Some("trace-1"), None),
    ];
    let different: std::collections::BTreeSet<_> = others.iter().chain([&one]).collect();
    assert_eq!(different.len(), 7);
}

#[test]
fn only_a_header_of_terras_with_an_event_of_terras_looks_like_terra() {
    let none = DeliveryHeaders::default();
    let traced = DeliveryHeaders { trace_id: Some("t".into()), ..DeliveryHeaders::default() };
    assert!(looks_like_terra(true, &none, Some(Kind::Sleep)));
    assert!(looks_like_terra(false, &traced, None), "not read");
    assert!(!looks_like_terra(false, &none, Some(Kind::Sleep)));
    assert!(!looks_like_terra(true, &traced, Some(Kind::Other)));
}

#[track_caller]
fn check_readmit(t: i64, came: i64, now: i64, expected: Option<Admission>) {
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    let late = |by: Duration| (by < Duration::from_secs(1_000)).then_some(Admission::Quarantined);
    assert_eq!(readmit(t, at(came), at(now), Duration::from_secs(300), late), expected);
}

#[test]
fn the_time_counts_that_it_came_and_never_as_fresh() {
    check_readmit(10_000, 10_010, 10_020, Some(Admission::Late));
    check_readmit(10_000, 10_010, 200_000, Some(Admission::Late));
    check_readmit(10_000, 9_000, 10_000, Some(Admission::Late));
    check_readmit(10_000, 9_000, 9_100, None);
    check_readmit(10_000, 10_900, 11_000, Some(Admission::Quarantined));
    check_readmit(10_000, 12_000, 12_001, None);
}
