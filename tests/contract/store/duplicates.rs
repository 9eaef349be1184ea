//! Exactly once in effect: what was processed is known, however it comes again.

use std::time::Duration;

use adapters::store::{Applied, DeliveryFilter, LedgerOutcome, Store};
use domain::delivery::Admission;
use domain::id::Environment;
use futures_util::future::join_all;
use serde_json::json;

use super::support::{DAY, activity, apply, apply_one, at, auth, everything, log, seen_by, sent, stored, user};

pub(crate) async fn a_duplicate_delivery_writes_nothing(store: &dyn Store) {
    let first = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    assert_eq!(apply_one(store, &first).await, stored(1));
    let told = log(store).await.len();
    assert_eq!(apply_one(store, &first.again()).await, Applied::AlreadyProcessed);
    assert_eq!(log(store).await.len(), told);
    assert_eq!(seen_by(store, "ada").await, [("run".to_owned(), 1.0)]);
}

pub(crate) async fn a_duplicate_is_known_after_midnight(store: &dyn Store) {
    let first = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    apply_one(store, &first).await;
    let mut later = first.again();
    (later.t, later.received) = (DAY + 10, DAY + 10);
    assert_eq!(apply_one(store, &later).await, Applied::AlreadyProcessed);
}

pub(crate) async fn a_duplicate_is_known_after_its_day_of_the_ledger_was_dropped(store: &dyn Store) {
    let first = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    // The day has a partition of its own, where there are partitions.
    store.upkeep(at(0), Duration::from_secs(14 * 86_400)).await.unwrap();
    apply_one(store, &first).await;
    store.upkeep(at(30 * DAY), Duration::from_secs(14 * 86_400)).await.unwrap();
    assert!(store.delivery(first.id).await.unwrap().is_none(), "the ledger forgets");
    let mut later = first.again();
    later.received = 30 * DAY;
    assert_eq!(apply_one(store, &later).await, Applied::AlreadyProcessed);
    store.upkeep(at(92 * DAY), Duration::from_secs(14 * 86_400)).await.unwrap();
    assert!(
        matches!(apply_one(store, &first.again()).await, Applied::Stored { rows: 0 }),
        "forgotten, and still older than what is kept"
    );
}

pub(crate) async fn the_same_trace_id_with_another_body_keeps_both(store: &dyn Store) {
    let first = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    let mut forged = sent(activity(user("u", Some("ada")), "ride", 2.0), 20);
    forged.trace_id.clone_from(&first.trace_id);
    assert_eq!(apply_one(store, &first).await, stored(1));
    assert_eq!(apply_one(store, &forged).await, stored(1));
    assert_eq!(
        apply(store, &[&first.again(), &forged.again()]).await,
        [Applied::AlreadyProcessed, Applied::AlreadyProcessed]
    );
    assert_eq!(seen_by(store, "ada").await.len(), 2);
}

pub(crate) async fn two_bodies_under_one_trace_id_in_one_batch_are_both_kept(store: &dyn Store) {
    let first = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    let mut other = sent(activity(user("u", Some("ada")), "ride", 2.0), 20);
    other.trace_id.clone_from(&first.trace_id);
    let applied = apply(store, &[&first, &other, &other.again()]).await;
    assert_eq!(applied, [stored(1), stored(1), Applied::AlreadyProcessed]);
}

pub(crate) async fn a_late_delivery_is_known_by_its_signed_bytes(store: &dyn Store) {
    let first = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    apply_one(store, &first).await;
    let mut replayed = first.again();
    replayed.trace_id = Some("made-up".into());
    replayed.admission = Admission::Late;
    replayed.received = 4_000;
    assert_eq!(apply_one(store, &replayed).await, Applied::AlreadyProcessed);
    let mut genuine = sent(activity(user("u", Some("ada")), "ride", 2.0), 20);
    genuine.admission = Admission::Late;
    assert_eq!(apply_one(store, &genuine).await, stored(1));
}

pub(crate) async fn duplicates_within_one_batch_count_once(store: &dyn Store) {
    let one = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    let applied = apply(store, &[&one, &one.again(), &one]).await;
    assert_eq!(applied, [stored(1), Applied::AlreadyProcessed, Applied::AlreadyProcessed]);
}

pub(crate) async fn a_trace_id_counts_within_its_environment(store: &dyn Store) {
    let here = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    let mut there = here.again();
    there.environment = Environment::new("sandbox");
    assert_eq!(apply(store, &[&here, &there]).await, [stored(1), stored(1)]);
}

pub(crate) async fn copies_that_race_take_effect_once(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ada"))), 1)).await;
    for round in 0..10 {
        let one = sent(activity(user("u", Some("ada")), &format!("run-{round}"), 1.0), 10 + round);
        let copies: Vec<_> = (0..6).map(|_| one.again()).collect();
        let applied = join_all(copies.iter().map(|copy| apply_one(store, copy))).await;
        assert_eq!(applied.iter().filter(|applied| **applied == stored(1)).count(), 1, "{applied:?}");
        assert_eq!(applied.iter().filter(|applied| **applied == Applied::AlreadyProcessed).count(), 5, "{applied:?}");
    }
    let upserts = log(store).await.iter().filter(|event| event.entity == "activity").count();
    assert_eq!(upserts, 10);
}

pub(crate) async fn a_delivery_that_the_queue_gives_out_again_stays_processed(store: &dyn Store) {
    let one = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    apply(store, &[&one, &one]).await;
    apply_one(store, &one).await;
    let kept = store.delivery(one.id).await.unwrap().unwrap();
    assert_eq!((kept.outcome, kept.rows), (LedgerOutcome::Processed, 1));
}

pub(crate) async fn what_cannot_be_read_is_set_aside_and_what_is_too_old_quarantined(store: &dyn Store) {
    let unreadable = sent(json!(["no", "event"]), 10);
    let mut old = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    old.admission = Admission::Quarantined;
    let applied = apply(store, &[&unreadable, &old]).await;
    assert!(matches!(applied[0], Applied::SetAside { .. }), "{applied:?}");
    assert!(matches!(applied[1], Applied::Quarantined { .. }), "{applied:?}");
    assert_eq!(seen_by(store, "ada").await, []);
    let filter = DeliveryFilter { outcome: Some(LedgerOutcome::Quarantined), ..DeliveryFilter::default() };
    let kept = store.deliveries(&filter, &everything()).await.unwrap().items;
    assert_eq!(kept.iter().map(|view| view.id).collect::<Vec<_>>(), [old.id]);
    // Neither took the key: the real one may still come.
    assert_eq!(
        apply_one(store, &{
            let mut fresh = old.again();
            fresh.admission = Admission::Fresh;
            fresh
        })
        .await,
        stored(1)
    );
}
