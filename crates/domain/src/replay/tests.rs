//! Replays as data: predictions, orders, steps, sentences.

use bytes::Bytes;
use serde_json::{Value, json};
use terra::event::peek;
use terra::headers::DeliveryHeaders;

use super::words::preview;
use super::*;
use crate::delivery::Receipt;
use crate::id::Environment;
use crate::order::Order as RecordOrder;
use crate::plan::{Context, plan};
use crate::record::Record;

fn run(state: State) -> Replay {
    Replay {
        id: ReplayId(Uuid::from_u128(1)),
        selection: Selection::default(),
        state,
        dry_run: true,
        actor: "ops".into(),
        rate: 100,
        requested_at: Timestamp::UNIX_EPOCH,
        started_at: None,
        finished_at: None,
        position: None,
        progress: Progress { counted: true, proven: true, ..Progress::default() },
        reason: None,
    }
}

fn planned(body: &Value, admission: Admission) -> Plan {
    let bytes = Bytes::from(body.to_string());
    let receipt = Receipt {
        id: DeliveryId(Uuid::from_u128(7)),
        environment: Environment::new("default"),
        received_at: Timestamp::from_second(1_000_000).unwrap(),
        t_seconds: 1_000_000,
        headers: DeliveryHeaders { trace_id: None, reference: None, ordering_ms: Some(1_000_000_000) },
        body_digest: [1; 32],
        signed_digest: [2; 32],
        size_bytes: bytes.len() as u64,
        admission,
    };
    plan(admitted(Delivery::new(receipt, peek(&bytes))), &bytes, &Context::default())
}

fn activity() -> Value {
    json!({ "type": "activity", "user": { "user_id": "u", "provider": "GARMIN" }, "data": [
        { "metadata": { "summary_id": "run", "start_time": "2026-02-03T07:00:00Z", "end_time": "2026-02-03T08:00:00Z" } }
    ] })
}

fn kept(record: &Record, order: RecordOrder) -> BTreeMap<RecordKey, Kept> {
    let kept = Kept {
        order,
        order_inferred: false,
        deleted: false,
        fingerprint: record.fingerprint.clone(),
        scores: crate::record::Scores::default(),
    };
    [(record.key.clone(), kept)].into()
}

#[test]
fn what_changes_no_record_is_predicted_to_do_nothing() {
    let plan = planned(&activity(), Admission::Fresh);
    let record = plan.records[0].clone();
    assert_eq!(predict(&plan, &BTreeMap::new(), false), Predicted::Change);
    assert_eq!(
        predict(&plan, &BTreeMap::new(), true),
        Predicted::Change,
        "it was processed, and the record is missing"
    );
    assert_eq!(predict(&plan, &kept(&record, record.order), true), Predicted::Nothing);
    assert_eq!(predict(&plan, &kept(&record, RecordOrder::at(i64::MAX)), false), Predicted::Nothing);
    let deauth = json!({ "type": "deauth", "status": "success", "user": { "user_id": "u" } });
    assert_eq!(predict(&planned(&deauth, Admission::Fresh), &BTreeMap::new(), false), Predicted::Change);
    assert_eq!(predict(&planned(&deauth, Admission::Fresh), &BTreeMap::new(), true), Predicted::Nothing);
    assert_eq!(predict(&planned(&json!([]), Admission::Fresh), &BTreeMap::new(), false), Predicted::Kept);
}

#[test]
fn a_person_vouches_for_what_came_too_late() {
    assert_eq!(planned(&activity(), Admission::Quarantined).disposition, Disposition::Process);
}

#[test]
fn what_has_had_its_effect_happens_no_second_time() {
    let auth = json!({ "type": "auth", "status": "success", "user": { "user_id": "u", "reference_id": "ann" } });
    let plan = planned(&auth, Admission::Fresh);
    assert!(plan.auth_event.is_some() && plan.backfill.is_some() && plan.session.is_some());
    let again = again(&plan);
    assert!(again.auth_event.is_none() && again.backfill.is_none() && again.session.is_none());
    assert_eq!(again.facts, plan.facts);
    let cancelled = json!({ "type": "auth_cancelled", "reference_id": "ann", "reason": "closed" });
    assert!(super::again(&planned(&cancelled, Admission::Fresh)).notices.is_empty());
}

#[test]
fn a_run_is_started_and_cancelled_where_that_makes_sense() {
    let at = Timestamp::UNIX_EPOCH;
    for state in State::ALL {
        let started = run(state).ordered(Order::Start, at).map(|run| run.state);
        let cancelled = run(state).ordered(Order::Cancel, at).map(|run| run.state);
        let (starts, cancels) = match state {
            State::Previewed => (true, true),
            State::Cancelled | State::Failed => (true, false),
            State::Counting | State::Running => (false, true),
            State::Done => (false, false),
        };
        assert_eq!(started, starts.then_some(State::Running), "{state:?}");
        assert_eq!(cancelled, cancels.then_some(State::Cancelled), "{state:?}");
        assert_eq!(State::parse(state.label()), Some(state));
    }
    let mut half = run(State::Cancelled);
    half.progress.counted = false;
    assert_eq!(
        half.ordered(Order::Start, at).map(|run| run.state),
        Some(State::Counting),
        "it was not counted to its end"
    );
}

#[test]
fn one_goes_first_and_the_rest_at_its_rate() {
    let mut run = run(State::Running);
    assert_eq!(run.step(), 10);
    run.rate = 3;
    assert_eq!(run.step(), 1);
    run.rate = 100_000;
    assert_eq!(run.step(), 50);
    let again = Replay { state: State::Cancelled, ..run }.ordered(Order::Start, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(again.step(), 1, "after a pause one goes first again");
    assert_eq!(again.last_start(), Start { run: again.id, number: 1 }, "and its documents have other names");
}

#[test]
fn a_run_says_what_it_is_about() {
    let mut run = run(State::Previewed);
    assert_eq!(sentence(&run), "Nothing matches.");
    run.progress.deliveries = 3;
    run.progress.users = 1;
    run.progress.predicted = Predictions { change: 1, nothing: 1, kept: 0, fail: 1, unknown: 0 };
    run.progress.by_type = [("sleep".to_owned(), 3)].into();
    run.progress.by_class = [("poison".to_owned(), 2)].into();
    assert_eq!(
        sentence(&run),
        "3 deliveries of 1 Terra user (3 sleep; 2 poison): 1 would change something, 1 nothing, 1 would fail again."
    );
    run.state = State::Done;
    run.progress.items = Items { changed: 1, unchanged: 1, failed: 1, ..Items::default() };
    assert_eq!(sentence(&run), "Done: 2 of 3 replayed: 1 changed something, 1 nothing, 1 failed.");
    run.state = State::Failed;
    run.reason = Some("panicked".into());
    run.progress.items = Items { pending: 2, failed: 1, ..Items::default() };
    assert_eq!(sentence(&run), "Stopped: the first one failed again (panicked); 2 of 3 were not touched.");
    run.progress.items = Items { pending: 0, failed: 3, ..Items::default() };
    assert_eq!(sentence(&run), "Stopped: the first 3 failed again (panicked); 0 of 3 were not touched.");
    run.progress.predicted = Predictions { unknown: 3, ..Predictions::default() };
    assert!(preview(&run.progress).ends_with("0 nothing, 3 unknown, because they ended their process before."));
}
