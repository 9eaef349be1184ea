//! What is buried, what lives, and who follows.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::delivery::{Admission, Delivery, Receipt};
use crate::id::{DeliveryId, SessionId};
use crate::identity::{Alias, Edge};
use crate::order::Stamped;
use crate::plan::{Context, Disposition, Plan, confirmed, plan};

const SECOND: i64 = 1_000;

fn environment() -> Environment {
    Environment::new("default")
}

fn key(id: &str) -> AliasKey {
    AliasKey::new(&environment(), id)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A delivery of this body that Terra made at this second.
fn sent(body: &Value, seconds: i64) -> Plan {
    let body = body.to_string();
    let delivery = Delivery::new(receipt(&body, seconds), terra::event::peek(body.as_bytes()));
    plan(delivery, &Bytes::from(body), &Context::default())
}

fn receipt(body: &str, seconds: i64) -> Receipt {
    Receipt {
        id: DeliveryId(Uuid::from_u128(1)),
        environment: environment(),
        received_at: at(5_000),
        t_seconds: 5_000,
        headers: terra::headers::DeliveryHeaders {
            trace_id: Some("trace".into()),
            reference: Some("request".into()),
            ordering_ms: Some(seconds * SECOND),
        },
        body_digest: Sha256::digest(body).into(),
        signed_digest: [1; 32],
        size_bytes: body.len() as u64,
        admission: Admission::Fresh,
    }
}

fn user(id: &str, reference: Option<&str>) -> Value {
    json!({ "user_id": id, "provider": "GARMIN", "reference_id": reference })
}

fn activity(id: &str, reference: Option<&str>, seconds: i64) -> Plan {
    let item = json!({ "metadata": { "summary_id": "run", "start_time": "2026-02-03T07:00:00Z", "end_time": "2026-02-03T08:00:00Z" } });
    sent(&json!({ "type": "activity", "user": user(id, reference), "data": [item] }), seconds)
}

fn auth(id: &str, reference: Option<&str>, seconds: i64) -> Plan {
    sent(&json!({ "type": "auth", "status": "success", "user": user(id, reference) }), seconds)
}

fn reauth(old: &str, new: &str, seconds: i64) -> Plan {
    sent(&json!({ "type": "user_reauth", "old_user": user(old, None), "new_user": user(new, None) }), seconds)
}

const ERASURE: ErasureId = ErasureId(Uuid::from_u128(7));

/// `gone` and the reference `ann` were erased at second 1,000.
fn tombstones() -> Tombstones {
    let stone = Tombstone { erasure: ERASURE, erased: order_of(at(1_000)), reopened: None };
    Tombstones {
        aliases: [(key("gone"), stone)].into(),
        references: [((environment(), ReferenceId::new("ann")), stone)].into(),
    }
}

#[track_caller]
fn check(plan: &Plan, expected: Fate) {
    assert_eq!(judge(plan, &tombstones()).fate, expected);
}

#[test]
fn nothing_of_an_erased_terra_user_is_kept_however_late_or_new_it_is() {
    for seconds in [1, 1_000, 1_001, 4_000] {
        check(&activity("gone", None, seconds), Fate::Buried);
        check(&auth("gone", Some("bob"), seconds), Fate::Buried);
        check(
            &sent(&json!({ "type": "s3_payload", "user": user("gone", None), "url": "https://x" }), seconds),
            Fate::Buried,
        );
        check(&activity("other", None, seconds), Fate::Lives);
    }
}

#[test]
fn under_an_erased_reference_only_what_is_older_is_dropped() {
    check(&auth("another", Some("ann"), 999), Fate::Buried);
    check(&activity("another", Some("ann"), 1_000), Fate::Buried);
    check(&auth("another", Some("ann"), 1_001), Fate::Lives);
    let failed = json!({ "type": "auth", "status": "error", "reference_id": "ann", "reason": "x" });
    check(&sent(&failed, 999), Fate::Buried);
    check(&sent(&failed, 1_001), Fate::Lives);
}

#[test]
fn a_lab_report_is_judged_as_the_reference_it_is_under() {
    let report = |seconds| {
        let body = json!({ "type": "lab_report.completed", "reference_id": "ann", "session_id": "s", "event_id": "e" });
        sent(&body, seconds)
    };
    let mut stones = tombstones();
    stones.aliases.insert(key("lab-report:ann"), stones.aliases[&key("gone")]);
    assert_eq!(judge(&report(900), &stones).fate, Fate::Buried);
    assert_eq!(judge(&report(1_100), &stones).fate, Fate::Lives, "uploaded by somebody who came back");
}

#[test]
fn only_a_connect_that_terra_confirms_afterwards_opens_it_anew() {
    let user = terra::event::User {
        user_id: "gone".into(),
        provider: None,
        reference_id: Some("ann".into()),
        scopes: None,
        active: None,
        created_at: None,
        last_webhook_update: None,
    };
    let confirmed =
        |seconds| confirmed(SessionId(Uuid::nil()), &environment(), &user, at(seconds), &Context::default());
    let judged = judge(&confirmed(1_200), &tombstones());
    assert_eq!((judged.fate, judged.reopened), (Fate::Lives, vec![(key("gone"), Order::at(1_200_000))]));
    check(&confirmed(900), Fate::Buried);
    let mut reopened = tombstones();
    reopened.aliases.get_mut(&key("gone")).unwrap().reopened = Some(Order::at(1_200_000));
    assert_eq!(judge(&activity("gone", None, 1_300), &reopened).fate, Fate::Lives);
    assert_eq!(judge(&activity("gone", None, 1_100), &reopened).fate, Fate::Buried, "sent before they came back");
    assert_eq!(judge(&activity("gone", None, 900), &reopened).fate, Fate::Buried);
}

#[test]
fn a_re_authentication_that_we_learn_of_late_takes_the_new_id_along() {
    let judged = judge(&reauth("gone", "new", 900), &tombstones());
    assert_eq!((judged.fate, judged.follow), (Fate::Buried, vec![(ERASURE, key("new"))]));
    let judged = judge(&reauth("new", "gone", 900), &tombstones());
    assert_eq!((judged.fate, judged.follow), (Fate::Buried, vec![]));
}

#[test]
fn who_re_authenticates_after_the_erasure_is_new_and_the_old_id_is_not_named() {
    let plan = reauth("gone", "new", 1_500);
    let judged = judge(&plan, &tombstones());
    let Fate::Without(erased) = judged.fate else { panic!("{judged:?}") };
    let rest = plan.without(&erased);
    assert_eq!(rest.facts.len(), 1);
    assert_eq!(rest.facts[0].alias, key("new"));
    assert!(rest.edges.is_empty() && judged.follow.is_empty());
    assert!(!format!("{:?}", rest.auth_event).contains("gone"));
}

#[test]
fn what_is_left_of_a_buried_delivery_names_nobody() {
    let plan = activity("gone", Some("ann"), 900).buried();
    assert_eq!(plan.disposition, Disposition::Bury);
    assert!(plan.facts.is_empty() && plan.records.is_empty() && plan.noted.is_none());
    let crate::plan::Cause::Delivery(delivery) = &plan.cause else { panic!() };
    let text = serde_json::to_string(delivery).unwrap();
    for name in ["gone", "ann", "trace", "request"] {
        assert!(!text.contains(&format!("\"{name}\"")), "{name} in {text}");
    }
    assert_eq!(delivery.type_name.as_deref(), Some("activity"));
    let strange = sent(&json!({ "type": "about gone", "user": user("gone", None) }), 900).buried();
    assert!(!format!("{:?}", strange.cause).contains("about"), "a kind that is none of Terra's is a text of strangers");
}

#[test]
fn who_is_tied_to_a_person_and_was_never_anybodys_goes_along() {
    let alias = |id: &str, reference: Option<&str>| Alias {
        reference: reference.map(|name| Stamped { order: Order::at(1), value: ReferenceId::new(name) }),
        ..Alias::new(key(id), ConnectionId(Uuid::nil()))
    };
    let edge = |old: &str, new: &str, severed| Edge { old: key(old), new: key(new), order: Order::at(1), severed };
    let aliases = [
        alias("own", Some("ann")),
        alias("nobody", None),
        alias("next", None),
        alias("bob", Some("bob")),
        alias("cut", None),
    ];
    let edges = [
        edge("nobody", "own", false),
        edge("next", "nobody", false),
        edge("own", "bob", false),
        edge("own", "cut", true),
    ];
    let reached = reach(&[key("own")].into(), &aliases, &edges);
    assert_eq!(reached, BTreeSet::from([key("own"), key("nobody"), key("next")]));
}

#[test]
fn an_erasure_is_not_over_while_somebody_was_added() {
    let wish = Wish {
        id: ERASURE,
        whom: Whom::Connection(ConnectionId(Uuid::nil())),
        cause: Cause::Deauth,
        actor: "ops".into(),
    };
    let over = Erasure { state: State::Done, erased_at: Some(at(1)), finished_at: Some(at(2)), ..wish.begun(at(0)) };
    let after = |all_erased, all_told| {
        let kept = over.clone().as_far_as(all_erased, all_told);
        (kept.state, kept.erased_at.is_some(), kept.finished_at.is_some())
    };
    assert_eq!(after(true, true), (State::Done, true, true));
    assert_eq!(after(true, false), (State::Telling, true, false));
    assert_eq!(after(false, true), (State::Erasing, false, false));
    let telling = Erasure { state: State::Telling, ..over.clone() };
    assert_eq!(telling.clone().as_far_as(true, false).state, State::Telling);
    assert_eq!(telling.as_far_as(false, false).state, State::Erasing);
    assert_eq!(wish.begun(at(0)).as_far_as(true, true).state, State::Erasing, "the loop says when it is through");
}

/// Whether an erasure at second 1,000 of these finds a delivery that Terra made, and we got, at this second.
#[track_caller]
fn check_sought(targets: &[(TargetKind, &str)], body: &str, seconds: i64, expected: bool) {
    let target = |&(kind, name): &(TargetKind, &str)| Target { kind, ..Target::alias(&key(name), false) };
    let sought = Sought::new(&targets.iter().map(target).collect::<Vec<_>>(), at(1_000));
    let receipt = Receipt { received_at: at(seconds), ..receipt(body, seconds) };
    let delivery = Delivery::new(receipt, terra::event::peek(body.as_bytes()));
    let body = Bytes::from(body.to_owned());
    assert_eq!(sought.is_in(&environment(), Some(&delivery), &body), expected, "{body:?}");
    assert!(!sought.is_in(&Environment::new("other"), None, &body), "in another environment: {body:?}");
}

const ANN: [(TargetKind, &str); 2] = [(TargetKind::Reference, "ann"), (TargetKind::Alias, "lab-report:ann")];

#[test]
fn a_report_or_a_failed_connect_is_found_by_whose_it_is_however_that_is_spelled() {
    let report = |id: &str| format!(r#"{{"type":"lab_report.completed","data":{{"reference_id":{id}}}}}"#);
    let failed = |id: &str| format!(r#"{{"type":"auth","status":"error","reference_id":{id}}}"#);
    for body in [report(r#""ann""#), failed(r#""ann""#), report(r#""\u0061nn""#), failed(r#""an\u006E""#)] {
        check_sought(&ANN, &body, 10, true);
        check_sought(&[(TargetKind::Reference, "bob")], &body, 10, false);
    }
    let spelled =
        [("jörg", r#""j\u00f6rg""#), ("a/b", r#""a\/b""#), ("a\"b", r#""a\"b""#), ("5", "5"), ("5", r#""5""#)];
    for (name, id) in spelled {
        for body in [report(id), failed(id)] {
            check_sought(&[(TargetKind::Reference, name)], &body, 10, true);
        }
        check_sought(&[(TargetKind::Alias, &format!("lab-report:{name}"))], &report(id), 10, true);
        check_sought(&[(TargetKind::Alias, &format!("lab-report:{name}"))], &failed(id), 10, false);
    }
}

#[test]
fn a_report_without_a_reference_is_found_by_its_session() {
    let of_session = r#"{"type":"lab_report.completed","session_id":"s\u002d1","data":{"results":[]}}"#;
    check_sought(&[(TargetKind::Alias, "lab-report:session:s-1")], of_session, 10, true);
    check_sought(&[(TargetKind::Alias, "lab-report:session:s-2")], of_session, 10, false);
    let of_nobody = r#"{"type":"lab_report.completed","data":{"results":[]}}"#;
    let of_receipt = format!("lab-report:delivery:{}", DeliveryId(Uuid::from_u128(1)));
    let of_another = format!("lab-report:delivery:{}", DeliveryId(Uuid::from_u128(2)));
    check_sought(&[(TargetKind::Alias, &of_receipt)], of_nobody, 10, true);
    check_sought(&[(TargetKind::Alias, &of_another)], of_nobody, 10, false);
}

#[test]
fn what_merely_holds_a_name_is_somebody_elses() {
    let named = [
        (TargetKind::Reference, "5"),
        (TargetKind::Alias, "lab-report:unknown"),
        (TargetKind::Reference, "a-name-of-twenty-one"),
    ];
    for body in [
        r#"{"type":"lab_report.completed","reference_id":"bob","data":{"x":"5","y":5,"z":"unknown"}}"#,
        r#"{"type":"lab_report.completed","reference_id":"bob","data":{"user_id":"5","note":"a-name-of-twenty-one"}}"#,
        r#"{"type":"auth","status":"error","reference_id":"bob","reason":"a-name-of-twenty-one"}"#,
        r#"{"type":"rate_limit_hit","message":"5","of":"unknown","note":"a-name-of-twenty-one"}"#,
        r#"{"type":"never_seen","message":"5","of":"unknown","session_id":"unknown"}"#,
        r#"["5", 5, "unknown"]"#,
        r#""5" unknown"#,
        "",
    ] {
        check_sought(&named, body, 10, false);
    }
}

#[test]
fn an_event_that_states_nothing_of_anybody_is_found_by_what_it_calls_its_reference() {
    for body in [
        r#"{"type":"s3_payload","reference_id":"\u0061nn","url":"https://x"}"#,
        r#"{"type":"never_seen","about":[{"reference_id":"ann"}]}"#,
        r#"{"type":"activity","reference_id":"ann","data":[]}"#,
    ] {
        check_sought(&ANN, body, 10, true);
        check_sought(&[(TargetKind::Reference, "bob"), (TargetKind::Alias, "ann")], body, 10, false);
    }
    let body = r#"{"type":"never_seen","about":[{"user_id":"terra-ann"}]}"#;
    check_sought(&[(TargetKind::Alias, "terra-ann")], body, 10, true);
    check_sought(&[(TargetKind::Reference, "terra-ann")], body, 10, false);
}

#[test]
fn what_cannot_be_decoded_is_found_by_a_name_that_can_be_nobody_elses() {
    const LONG: &str = "jörg/müller@example.org";
    let names = [(TargetKind::Reference, LONG)];
    let deep = format!(r#"{{"a":{}"j\u00f6rg\/m\u00fcller@example.org"{}}}"#, "[".repeat(200), "]".repeat(200));
    for body in [r#"["jörg/müller@example.org"]"#, &deep, r#"{"x":"jörg\/müller@example.org", broken"#] {
        check_sought(&names, body, 10, true);
        check_sought(&[(TargetKind::Alias, &format!("lab-report:{LONG}"))], body, 10, true);
        check_sought(&[(TargetKind::Alias, &format!("lab-report:session:{LONG}"))], body, 10, true);
        check_sought(&[(TargetKind::User, LONG), (TargetKind::Partner, LONG)], body, 10, false);
    }
    check_sought(&names, r#"["jörg/müller@example.orgs", "x jörg/müller@example.org"]"#, 10, false);
    check_sought(&ANN, r#"{"reference_id":"ann", broken"#, 10, true);
    check_sought(&ANN, r#"["ann"]"#, 10, false);
}

#[test]
fn who_came_back_under_a_reference_keeps_what_came_since() {
    let report = r#"{"type":"lab_report.completed","reference_id":"ann","session_id":"s"}"#;
    check_sought(&ANN, report, 1_000, true);
    check_sought(&ANN, report, 1_001, false);
    check_sought(&ANN, r#"{"type":"s3_payload","reference_id":"ann"}"#, 1_001, false);
    let failed = r#"{"type":"auth","status":"error","reference_id":"ann","user":{"user_id":"gone"}}"#;
    check_sought(&[ANN[0], (TargetKind::Alias, "gone")], failed, 1_001, true);
}

#[test]
fn a_delivery_that_was_too_old_for_effects_is_found_all_the_same() {
    let body = r#"{"type":"lab_report.completed","reference_id":"ann"}"#;
    let receipt = Receipt { admission: Admission::Quarantined, ..receipt(body, 10) };
    let delivery = Delivery::new(receipt, terra::event::peek(body.as_bytes()));
    let sought = Sought::new(&[Target { kind: TargetKind::Reference, ..Target::alias(&key("ann"), false) }], at(1_000));
    assert!(sought.is_in(&environment(), Some(&delivery), &Bytes::from(body)));
    assert_eq!(sought.names(), 1);
}

#[test]
fn digests_tell_environments_and_names_apart() {
    let other = AliasKey::new(&Environment::new("other"), "gone");
    assert_ne!(alias_digest(&key("gone")), alias_digest(&other));
    assert_ne!(alias_digest(&key("ann")), reference_digest(&environment(), &ReferenceId::new("ann")));
}
