//! Replays: once per run, newest data kept, nothing counted or remembered twice; and the runs themselves.

use adapters::queue::Job;
use adapters::store::{
    Applied, Audit, AuditFilter, AuthEventFilter, Counted, LedgerOutcome, Page, Prepared, Store, Turn, UsageBy,
    UsageFilter,
};
use domain::delivery::Admission;
use domain::fetch::HISTORY_KINDS;
use domain::id::{DeliveryId, EventId};
use domain::outgoing::record_event_id;
use domain::replay::{ItemState, Items, Predicted, Progress, Replay, ReplayId, Selection, State};
use domain::settle::Settlement;
use futures_util::future::join_all;
use jiff::civil::date;
use serde_json::json;
use uuid::Uuid;

use super::support::{
    DAY, Sent, activity, apply_one, at, auth, auth_of_new, deauth, everything, log, seal, seen_by, sent, stored, user,
};

pub(super) fn job(sent: &Sent) -> Job {
    Job { delivery: sent.delivery(), body: seal(sent.body.to_string().as_bytes()) }
}

pub(super) async fn bury(store: &dyn Store, sent: &Sent, reason: &str) {
    let dead = Settlement::Dead { reason: reason.into() };
    store.record_failure(&job(sent), 12, &dead, reason, at(sent.received + 1)).await.unwrap();
}

fn wanted(seconds: i64) -> Replay {
    Replay {
        id: ReplayId(Uuid::now_v7()),
        selection: Selection { type_name: Some("activity".into()), from: Some(at(0)), ..Selection::default() },
        state: State::Counting,
        dry_run: false,
        actor: "ops".into(),
        rate: 100,
        requested_at: at(seconds),
        started_at: None,
        finished_at: None,
        position: None,
        progress: Progress::default(),
        reason: None,
    }
}

/// One whose filter names somebody.
pub(super) fn wanted_of(user: &str, terra_user_id: &str, seconds: i64) -> Replay {
    let mut run = wanted(seconds);
    run.selection.user = Some(user.into());
    run.selection.terra_user_id = Some(terra_user_id.into());
    run
}

/// A run of these deliveries, ready to be worked.
async fn run_of(store: &dyn Store, chosen: &[&Sent]) -> Replay {
    let run = wanted(1_000);
    assert!(store.write_replay(&run, None, None, at(1_000)).await.unwrap());
    let mut items = Vec::new();
    for sent in chosen {
        let outcome = store.delivery(sent.id).await.unwrap().map_or(LedgerOutcome::Processed, |view| view.outcome);
        let (received_at, predicted) = (at(sent.received), Predicted::Nothing);
        items.push(Counted { delivery: sent.id, received_at, outcome, predicted });
    }
    assert!(store.add_replay_items(&run, &items, at(1_000)).await.unwrap());
    run
}

async fn replay(store: &dyn Store, run: &Replay, sent: &Sent) -> Applied {
    let prepared = Prepared { replay: Some(run.id), attempt: 2, ..sent.prepare() };
    store.apply(&[prepared], at(2_000)).await.unwrap().remove(0)
}

async fn history(store: &dyn Store) -> usize {
    store.auth_events(&AuthEventFilter::default(), &everything()).await.unwrap().items.len()
}

/// Deliveries, further deliveries of the same event, and bytes that were counted for the bill.
async fn billed(store: &dyn Store) -> (u64, u64, u64) {
    let totals = store.usage_totals(date(2026, 3, 1), 0).await.unwrap();
    (totals.tally.deliveries, totals.tally.duplicates, totals.tally.bytes)
}

async fn outcome(store: &dyn Store, sent: &Sent) -> LedgerOutcome {
    store.delivery(sent.id).await.unwrap().unwrap().outcome
}

pub(crate) async fn what_is_discarded_during_a_run_is_left_out(store: &dyn Store) {
    let all: Vec<Sent> =
        (0..4).map(|index| sent(activity(user("u", Some("ann")), &format!("run-{index}"), 1.0), index)).collect();
    for one in &all {
        bury(store, one, "panicked").await;
    }
    let discard = async |one: &Sent, seconds: i64| {
        let only = Selection { ids: vec![one.id], ..Selection::default() };
        let entry = Audit { actor: "ops".into(), action: "dead.discard", subject: String::new(), detail: json!({}) };
        assert_eq!(store.discard(&only, "test data", &entry, 10, at(seconds)).await.unwrap(), 1);
    };
    discard(&all[0], 900).await;
    let run = run_of(store, &all.iter().collect::<Vec<_>>()).await;
    // By a clock that is behind.
    discard(&all[1], 990).await;
    let items = store.replay_items(run.id, 10).await.unwrap();
    let found: Vec<bool> = items.iter().map(|item| item.turn != Turn::Discarded).collect();
    assert_eq!(found, [true, false, true, true], "who asked for the run knew of the first");
    store.leave_replay(run.id, all[1].id, ItemState::Discarded).await.unwrap();
    // In the middle of the step that has taken them.
    for one in &all[2..] {
        discard(one, 2_000).await;
    }
    assert_eq!(replay(store, &run, &all[2]).await, Applied::AlreadyProcessed);
    store.fail_replay(run.id, &job(&all[3]), "panicked", at(2_001)).await.unwrap();
    assert_eq!(replay(store, &run, &all[0]).await, stored(1), "as asked for");
    let counts = store.replay_counts(run.id).await.unwrap();
    assert_eq!(counts, Items { changed: 1, discarded: 3, ..Items::default() });
    for one in &all[1..] {
        let view = store.delivery(one.id).await.unwrap().unwrap();
        assert_eq!((view.outcome, view.discard_reason.as_deref()), (LedgerOutcome::Discarded, Some("test data")));
        assert_eq!((view.reason.as_deref(), view.replay), (Some("panicked"), None), "as it was");
    }
    assert_eq!(seen_by(store, "ann").await.len(), 1);
}

pub(crate) async fn what_is_likely_to_fail_or_failed_before_comes_last(store: &dyn Store) {
    let all: Vec<Sent> =
        (0..5).map(|index| sent(activity(user("u", Some("ann")), &format!("run-{index}"), 1.0), index)).collect();
    for (one, reason) in all.iter().zip(["panicked", "panicked", "rejected:a", "crashed", "rejected:b"]) {
        bury(store, one, reason).await;
    }
    let run = wanted(1_000);
    assert!(store.write_replay(&run, None, None, at(1_000)).await.unwrap());
    let predicted = |index| if index == 3 { Predicted::Unknown } else { Predicted::Change };
    let counted = |(index, one): (usize, &Sent)| Counted {
        delivery: one.id,
        received_at: at(one.received),
        outcome: LedgerOutcome::Dead,
        predicted: predicted(index),
    };
    let items: Vec<Counted> = all.iter().enumerate().map(counted).collect();
    assert!(store.add_replay_items(&run, &items, at(1_000)).await.unwrap());
    let line = async || {
        let items = store.replay_items(run.id, 10).await.unwrap();
        let place = |id: DeliveryId| all.iter().position(|one| one.id == id).unwrap();
        items.iter().map(|item| (place(item.delivery), item.at_risk)).collect::<Vec<_>>()
    };
    assert_eq!(line().await, [(0, false), (1, false), (2, false), (4, false), (3, true)]);
    let first = async || store.replay_first(run.id).await.unwrap().map(|item| item.delivery);
    let fails = async |index: usize, reason: &str| {
        store.fail_replay(run.id, &job(&all[index]), reason, at(2_000)).await.unwrap();
    };
    assert_eq!(first().await, Some(all[0].id));
    fails(0, "panicked").await;
    assert_eq!(first().await, Some(all[2].id), "one with another cause");
    fails(2, "rejected:a").await;
    fails(4, "rejected:b").await;
    assert_eq!(first().await, Some(all[3].id));
    fails(3, "crashed").await;
    assert_eq!(first().await, Some(all[1].id), "there is no other cause left");
    store.retry_failed_items(run.id).await.unwrap();
    assert_eq!(line().await, [(1, false), (0, false), (2, false), (4, false), (3, true)]);
    for index in 0..5 {
        fails(index, "panicked").await;
    }
    assert_eq!(first().await, None);
}

pub(crate) async fn what_was_processed_is_replayed_without_a_second_effect(store: &dyn Store) {
    let connect = sent(auth_of_new("u", "ann"), 5);
    let ride = sent(activity(user("u", Some("ann")), "run", 1.0), 10);
    let left = sent(deauth(user("v", Some("bob"))), 12);
    let failed = sent(json!({ "type": "auth_cancelled", "reference_id": "cy", "reason": "closed" }), 14);
    let all = [&connect, &ride, &left, &failed];
    for one in all {
        apply_one(store, one).await;
    }
    let before = (billed(store).await, history(store).await, log(store).await.len(), seen_by(store, "ann").await);
    let jobs = store.fetches(&Default::default(), &everything()).await.unwrap().items.len();
    assert!(jobs > HISTORY_KINDS.len() / 2, "the connect asked for history");
    for _ in 0..2 {
        let run = run_of(store, &all).await;
        for one in all {
            assert_eq!(replay(store, &run, one).await, stored(0));
            assert_eq!(outcome(store, one).await, LedgerOutcome::Processed);
        }
        let counts = store.replay_counts(run.id).await.unwrap();
        assert_eq!(counts, Items { unchanged: 4, ..Items::default() });
    }
    let after = (billed(store).await, history(store).await, log(store).await.len(), seen_by(store, "ann").await);
    assert_eq!(before, after);
    assert_eq!(store.fetches(&Default::default(), &everything()).await.unwrap().items.len(), jobs);
    let view = store.delivery(ride.id).await.unwrap().unwrap();
    assert_eq!((view.rows, view.settled_at), (1, at(10)), "the effects stay those of the first time");
}

pub(crate) async fn a_dead_letter_takes_effect_once_and_is_told_as_a_replay(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ann"))), 1)).await;
    let one = sent(activity(user("u", Some("ann")), "run", 7.0), 10);
    bury(store, &one, "panicked").await;
    let billed_before = billed(store).await;
    let run = run_of(store, &[&one]).await;
    assert_eq!(replay(store, &run, &one).await, stored(1));
    assert_eq!(replay(store, &run, &one).await, Applied::AlreadyProcessed, "once per run");
    assert_eq!(store.replay_counts(run.id).await.unwrap(), Items { changed: 1, ..Items::default() });
    assert_eq!(store.stats(at(0)).await.unwrap().dead_letters, 0);
    let view = store.delivery(one.id).await.unwrap().unwrap();
    assert_eq!((view.outcome, view.rows, view.replay, view.class), (LedgerOutcome::Processed, 1, Some(run.id), None));
    assert_eq!(seen_by(store, "ann").await, [("run".to_owned(), 7.0)]);
    let told: Vec<_> = log(store).await.into_iter().filter(|event| event.entity == "activity").collect();
    assert_eq!((told.len(), &told[0].data["origin"]), (1, &json!("replay")));
    let record = serde_json::from_value(told[0].data["record"].clone()).unwrap();
    let id: EventId = record_event_id(run.id.cause(one.id).as_bytes(), "activity", "upserted", record);
    assert_eq!(told[0].id, id, "a run makes ids of its own");
    let size = one.body.to_string().len() as u64;
    assert_eq!(billed(store).await, (billed_before.0 + 1, 0, billed_before.2 + size), "Terra sent it once");
    let by_kind = UsageFilter { month: date(2026, 3, 1), by: UsageBy::Kind, above: 0 };
    let rows = store.usage(&by_kind, &everything()).await.unwrap().items;
    assert!(rows.iter().any(|row| row.kind.as_deref() == Some("activity") && row.live == 1), "and nobody asked");
    let again = run_of(store, &[&one]).await;
    assert_eq!(replay(store, &again, &one).await, stored(0), "another run finds it done");
    assert_eq!(apply_one(store, &one.again()).await, Applied::AlreadyProcessed, "and Terra's own retry too");
}

pub(crate) async fn a_dead_connect_is_history_once_however_often_it_is_replayed(store: &dyn Store) {
    let one = sent(auth_of_new("u", "ann"), 10);
    bury(store, &one, "rejected:alias_rule").await;
    for _ in 0..2 {
        let run = run_of(store, &[&one]).await;
        // Two workers of one run, the second of which was taken for dead.
        let workers = join_all((0..4).map(|_| replay(store, &run, &one))).await;
        assert_eq!(workers.iter().filter(|applied| **applied == stored(0)).count(), 1, "{workers:?}");
    }
    assert_eq!(history(store).await, 1);
    let told = log(store).await;
    assert_eq!(told.iter().filter(|event| event.verb == "connected").count(), 1);
    assert_eq!(billed(store).await.0, 1);
    assert_eq!(outcome(store, &one).await, LedgerOutcome::Processed);
}

pub(crate) async fn newer_data_survives_a_replay(store: &dyn Store) {
    let old = sent(activity(user("u", Some("ann")), "run", 1.0), 10);
    let dead = sent(activity(user("u", Some("ann")), "run", 2.0), 20);
    let new = sent(activity(user("u", Some("ann")), "run", 3.0), 30);
    bury(store, &dead, "panicked").await;
    for one in [&old, &new] {
        apply_one(store, one).await;
    }
    let told = log(store).await.len();
    let run = run_of(store, &[&old, &dead, &new]).await;
    for one in [&new, &dead, &old] {
        assert_eq!(replay(store, &run, one).await, stored(0));
    }
    assert_eq!(seen_by(store, "ann").await, [("run".to_owned(), 3.0)]);
    assert_eq!(log(store).await.len(), told, "nothing changed, so nothing is told");
    assert_eq!(outcome(store, &dead).await, LedgerOutcome::Processed, "it is dead no more");
}

pub(crate) async fn a_replay_changes_what_it_can_change(store: &dyn Store) {
    let one = sent(activity(user("u", Some("ann")), "run", 1.0), 10);
    apply_one(store, &one).await;
    // As if the planner of that time had read less of it.
    let mended = Sent { body: activity(user("u", Some("ann")), "another", 2.0), ..one.clone() };
    let run = run_of(store, &[&one]).await;
    assert_eq!(replay(store, &run, &mended).await, stored(1));
    assert_eq!(store.replay_counts(run.id).await.unwrap(), Items { changed: 1, ..Items::default() });
    assert_eq!(seen_by(store, "ann").await.len(), 2);
    assert_eq!(store.delivery(one.id).await.unwrap().unwrap().rows, 2, "what both times changed");
}

pub(crate) async fn a_dead_copy_of_what_was_processed_is_a_duplicate_after_its_replay(store: &dyn Store) {
    let first = sent(auth(user("u", Some("ann"))), 10);
    let copy = first.again();
    bury(store, &copy, "payload_lost").await;
    apply_one(store, &first).await;
    let run = run_of(store, &[&copy]).await;
    assert_eq!(replay(store, &run, &copy).await, stored(0));
    assert_eq!(outcome(store, &copy).await, LedgerOutcome::Duplicate);
    assert_eq!((history(store).await, billed(store).await.0, billed(store).await.1), (1, 1, 1));
}

pub(crate) async fn what_was_set_aside_or_too_old_takes_effect_when_it_can(store: &dyn Store) {
    let aside = sent(json!({ "type": "activity", "data": [] }), 10);
    let old = Sent { admission: Admission::Quarantined, ..sent(activity(user("u", Some("ann")), "run", 1.0), 20) };
    for one in [&aside, &old] {
        apply_one(store, one).await;
    }
    let counted = billed(store).await;
    for (one, class) in [(&aside, "identity"), (&old, "transient")] {
        let view = store.delivery(one.id).await.unwrap().unwrap();
        assert_eq!((view.class.as_deref(), view.fingerprint.map(|text| text.len())), (Some(class), Some(12)));
    }
    let run = run_of(store, &[&aside, &old]).await;
    assert_eq!(replay(store, &run, &aside).await, Applied::SetAside { reason: "missing_user".into() });
    // As the shell plans a replay: a person vouches for what came too late.
    let admitted = Sent { admission: Admission::Late, ..old.clone() };
    assert_eq!(replay(store, &run, &admitted).await, stored(1));
    assert_eq!(store.replay_counts(run.id).await.unwrap(), Items { changed: 1, kept: 1, ..Items::default() });
    assert_eq!(seen_by(store, "ann").await.len(), 1);
    assert_eq!(billed(store).await, counted, "both were counted when they came");
    let again = run_of(store, &[&old]).await;
    assert_eq!(replay(store, &again, &admitted).await, stored(0));
}

pub(crate) async fn what_fails_again_stays_dead_with_its_new_reason(store: &dyn Store) {
    let dead = sent(activity(user("u", Some("ann")), "run", 1.0), 10);
    let done = sent(activity(user("u", Some("ann")), "ride", 1.0), 20);
    bury(store, &dead, "panicked").await;
    apply_one(store, &done).await;
    let told = log(store).await.len();
    let before = store.delivery(dead.id).await.unwrap().unwrap();
    let run = run_of(store, &[&dead, &done]).await;
    for one in [&dead, &done] {
        store.fail_replay(run.id, &job(one), "rejected:some_rule", at(2_000)).await.unwrap();
        store.fail_replay(run.id, &job(one), "payload_lost", at(2_001)).await.unwrap();
    }
    let after = store.delivery(dead.id).await.unwrap().unwrap();
    assert_eq!((after.outcome, after.reason.as_deref()), (LedgerOutcome::Dead, Some("rejected:some_rule")));
    assert_eq!((after.attempts, after.class.as_deref(), after.replay), (13, Some("contract"), Some(run.id)));
    assert_ne!(after.fingerprint, before.fingerprint);
    assert_eq!(outcome(store, &done).await, LedgerOutcome::Processed);
    assert_eq!(log(store).await.len(), told, "it was dead before: nobody is told again");
    assert_eq!(store.replay_counts(run.id).await.unwrap(), Items { failed: 2, ..Items::default() });
    let page = Page { after: None, limit: 1 };
    let first = store.replayed(run.id, Some(ItemState::Failed), &page).await.unwrap();
    let (one, next) = (&first.items[0], Page { after: first.next.clone(), limit: 1 });
    assert_eq!((one.delivery, one.state.as_str(), one.predicted.as_str()), (dead.id, "failed", "nothing"));
    assert_eq!((one.received_at, one.reason.as_deref()), (at(10), Some("rejected:some_rule")));
    let second = store.replayed(run.id, Some(ItemState::Failed), &next).await.unwrap();
    assert_eq!((second.items[0].delivery, second.next), (done.id, None));
    assert!(store.replayed(run.id, Some(ItemState::Changed), &page).await.unwrap().items.is_empty());
    store.retry_failed_items(run.id).await.unwrap();
    assert_eq!(store.replay_counts(run.id).await.unwrap(), Items { pending: 2, ..Items::default() });
    assert_eq!(replay(store, &run, &dead).await, stored(1));
}

pub(crate) async fn a_run_is_kept_and_changed_only_from_where_it_was(store: &dyn Store) {
    let (first, second) = (wanted(1), Replay { dry_run: true, ..wanted(2) });
    let entry =
        Audit { actor: "ops".into(), action: "replay.create", subject: first.id.to_string(), detail: json!({}) };
    assert!(store.write_replay(&first, None, Some(&entry), at(1)).await.unwrap());
    assert!(store.write_replay(&second, None, None, at(2)).await.unwrap());
    assert_eq!(store.next_replay().await.unwrap().unwrap(), first);
    let running = Replay {
        state: State::Running,
        started_at: Some(at(3)),
        position: Some(DeliveryId(Uuid::now_v7())),
        progress: Progress { counted: true, deliveries: 9, first_at: Some(at(1)), ..Progress::default() },
        reason: Some("why".into()),
        ..first.clone()
    };
    assert!(store.write_replay(&running, Some(State::Counting), None, at(3)).await.unwrap());
    assert_eq!(store.next_replay().await.unwrap().unwrap(), second, "a count goes before a run");
    let cancelled = Replay { state: State::Cancelled, finished_at: Some(at(4)), ..running.clone() };
    assert!(store.write_replay(&cancelled, Some(State::Running), Some(&entry), at(4)).await.unwrap());
    assert!(
        !store.write_replay(&running, Some(State::Running), Some(&entry), at(5)).await.unwrap(),
        "it was cancelled"
    );
    assert!(!store.add_replay_items(&running, &[], at(5)).await.unwrap());
    assert_eq!(store.replay(first.id).await.unwrap().unwrap(), cancelled);
    let audited = store.audits(&AuditFilter { actor: Some("ops".into()), ..Default::default() }, &everything()).await;
    assert_eq!(audited.unwrap().items.len(), 2, "what was not kept is not remembered");
    let listed = store.replays(&everything()).await.unwrap().items;
    assert_eq!(listed.iter().map(|run| run.id).collect::<Vec<_>>(), [second.id, first.id]);
    assert_eq!(store.replay(ReplayId(Uuid::nil())).await.unwrap(), None);
}

pub(crate) async fn deliveries_of_a_run_come_in_order_and_the_lost_ones_are_named(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ann"))), 1)).await;
    let runs: Vec<Sent> =
        (0..4).map(|index| sent(activity(user("u", Some("ann")), &format!("run-{index}"), 1.0), 10 + index)).collect();
    for one in &runs[..3] {
        apply_one(store, one).await;
    }
    bury(store, &runs[3], "panicked").await;
    let never_kept = sent(activity(user("u", Some("ann")), "never", 1.0), 50);
    let run = run_of(store, &runs.iter().chain([&never_kept]).collect::<Vec<_>>()).await;
    let preview = store.replay_preview(run.id).await.unwrap();
    assert_eq!((preview.deliveries, preview.users, preview.predicted.nothing), (4, 1, 4));
    assert_eq!((preview.first_at, preview.last_at), (Some(at(10)), Some(at(13))));
    assert_eq!((preview.by_outcome["dead"], preview.by_type["activity"], preview.by_class["poison"]), (1, 4, 1));
    let items = store.replay_items(run.id, 2).await.unwrap();
    assert_eq!(items.iter().map(|item| item.delivery).collect::<Vec<_>>(), [runs[0].id, runs[1].id]);
    assert_eq!(items[0].turn, Turn::Work(Box::new(job(&runs[0])), 1), "the delivery as it was");
    replay(store, &run, &runs[0]).await;
    assert_eq!(store.replay_items(run.id, 1).await.unwrap()[0].delivery, runs[1].id);
    let last = store.replay_items(run.id, 10).await.unwrap().pop().unwrap();
    assert!(last.delivery == never_kept.id && last.turn == Turn::Gone);
    store.leave_replay(run.id, never_kept.id, ItemState::Gone).await.unwrap();
    let counts = store.replay_counts(run.id).await.unwrap();
    assert_eq!(counts, Items { pending: 3, unchanged: 1, gone: 1, ..Items::default() });
    let done = Replay { state: State::Done, finished_at: Some(at(2_000)), ..run.clone() };
    assert!(store.write_replay(&done, Some(State::Counting), None, at(2_000)).await.unwrap());
    store.upkeep(at(29 * DAY), std::time::Duration::from_secs(365 * 86_400)).await.unwrap();
    assert_eq!(store.replay_counts(run.id).await.unwrap().gone, 1);
    store.upkeep(at(31 * DAY), std::time::Duration::from_secs(365 * 86_400)).await.unwrap();
    assert_eq!(store.replay_counts(run.id).await.unwrap(), Items::default(), "a month later only the run is left");
    assert!(store.replay(run.id).await.unwrap().is_some());
}
