//! The ledger: what was received, what failed and comes again, what is dead; and the schema below it all.

use std::time::Duration;

use adapters::payloads::Sealed;
use adapters::queue::Job;
use adapters::store::{Applied, DeliveryFilter, Holder, LedgerOutcome, Page, RetryOf, SCHEMA_VERSION, Schema, Store};
use bytes::Bytes;
use domain::settle::Settlement;
use futures_util::future::join_all;

use super::support::{DAY, Sent, activity, apply_one, at, auth, everything, log, seal, sent, stored, told, user};

fn job(sent: &Sent) -> Job {
    Job { delivery: sent.delivery(), body: seal(sent.body.to_string().as_bytes()) }
}

async fn fail(store: &dyn Store, sent: &Sent, attempt: u32, again: i64, now: i64) {
    let settlement = Settlement::RetryAt(at(again));
    store.record_failure(&job(sent), attempt, &settlement, "rejected:some_rule", at(now)).await.unwrap();
}

pub(crate) async fn a_failed_delivery_comes_again_at_its_time(store: &dyn Store) {
    let one = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    fail(store, &one, 1, 100, 11).await;
    let waiting = store.delivery(one.id).await.unwrap().unwrap();
    assert_eq!((waiting.outcome, waiting.attempts, waiting.retry_at), (LedgerOutcome::Retry, 1, Some(at(100))));
    assert_eq!(store.stats(at(12)).await.unwrap().retries, [("live".to_owned(), 1)]);
    assert!(store.lease_retries(RetryOf::Work, at(99), at(200), 10).await.unwrap().is_empty());
    let due = store.lease_retries(RetryOf::Work, at(100), at(200), 10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!((&due[0].job, due[0].attempts), (&job(&one), 2), "the job as it was, this try counted");
    assert!(store.lease_retries(RetryOf::Work, at(199), at(300), 10).await.unwrap().is_empty(), "hidden while leased");
    assert!(store.lease_suspect(RetryOf::Work, at(199), at(300)).await.unwrap().is_none(), "its worker may live");
    assert!(store.lease_retries(RetryOf::Work, at(200), at(300), 10).await.unwrap().is_empty(), "not with others");
    let suspect = store.lease_suspect(RetryOf::Work, at(200), at(300)).await.unwrap().unwrap();
    assert_eq!((&suspect.job, suspect.attempts, suspect.crashes), (&job(&one), 3, 1));

    let mut prepared = one.prepare();
    prepared.attempt = 2;
    assert_eq!(store.apply(&[prepared], at(201)).await.unwrap(), [stored(1)]);
    let done = store.delivery(one.id).await.unwrap().unwrap();
    assert_eq!((done.outcome, done.attempts, done.retry_at, done.rows), (LedgerOutcome::Processed, 2, None, 1));
    assert!(store.lease_retries(RetryOf::Work, at(1_000), at(2_000), 10).await.unwrap().is_empty());
}

pub(crate) async fn a_worker_that_dies_is_counted_against_what_it_held(store: &dyn Store) {
    let jobs: Vec<Job> =
        (0..3).map(|index| job(&sent(activity(user("u", None), &format!("run-{index}"), 1.0), index))).collect();
    store.hand_over(&jobs, "held_before", at(10)).await.unwrap();
    let together = store.lease_retries(RetryOf::Work, at(10), at(40), 10).await.unwrap();
    assert_eq!(together.iter().map(|retry| (retry.attempts, retry.crashes)).collect::<Vec<_>>(), [(1, 0); 3]);
    store.hand_over(&jobs, "held_before", at(20)).await.unwrap();
    assert!(store.lease_retries(RetryOf::Work, at(20), at(40), 10).await.unwrap().is_empty(), "known, and held");
    // The worker dies of one of them, and so do its successors.
    let poison = jobs[1].delivery.id;
    let mut settled = 0;
    for round in 1..=6_i64 {
        let now = 10 + round * 30;
        while let Some(one) = store.lease_suspect(RetryOf::Work, at(now), at(now + 30)).await.unwrap() {
            if one.job.delivery.id == poison {
                assert_eq!(u32::try_from(round).unwrap(), one.crashes, "each death is counted");
                break;
            }
            assert_eq!((one.attempts, one.crashes), (2, 1), "it was alone and came to an end");
            let after = Settlement::RetryAt(at(1_000));
            store.record_failure(&one.job, one.attempts, &after, "payload_lost", at(now)).await.unwrap();
            settled += 1;
        }
    }
    assert_eq!(settled, 2, "neighbours are not taken along");
    let due = store.lease_retries(RetryOf::Work, at(1_000), at(1_030), 10).await.unwrap();
    assert_eq!(due.iter().map(|retry| (retry.attempts, retry.crashes)).collect::<Vec<_>>(), [(3, 0); 2]);
}

pub(crate) async fn a_lease_that_is_renewed_is_no_death(store: &dyn Store) {
    let one = sent(activity(user("u", None), "run", 1.0), 10);
    store.hand_over(&[job(&one)], "held_before", at(10)).await.unwrap();
    assert_eq!(store.lease_retries(RetryOf::Work, at(10), at(25), 10).await.unwrap().len(), 1);
    store.renew_retries(&[one.id], at(40)).await.unwrap();
    assert!(store.lease_suspect(RetryOf::Work, at(39), at(60)).await.unwrap().is_none());
    assert!(store.lease_suspect(RetryOf::Work, at(40), at(60)).await.unwrap().is_some());
    apply_one(store, &one).await;
    store.renew_retries(&[one.id], at(90)).await.unwrap();
    assert_eq!(store.delivery(one.id).await.unwrap().unwrap().outcome, LedgerOutcome::Processed);
    store.renew_retries(&[], at(90)).await.unwrap();
}

pub(crate) async fn what_is_given_back_was_not_tried(store: &dyn Store) {
    let jobs: Vec<Job> =
        (0..2).map(|index| job(&sent(activity(user("u", None), &format!("run-{index}"), 1.0), index))).collect();
    let ids: Vec<_> = jobs.iter().map(|job| job.delivery.id).collect();
    store.hand_over(&jobs, "held_before", at(10)).await.unwrap();
    assert_eq!(store.lease_retries(RetryOf::Work, at(10), at(40), 10).await.unwrap().len(), 2);
    store.release_retries(&ids, at(11)).await.unwrap();
    let again = store.lease_retries(RetryOf::Work, at(11), at(40), 10).await.unwrap();
    assert_eq!(again.iter().map(|retry| (retry.attempts, retry.crashes)).collect::<Vec<_>>(), [(1, 0); 2]);
    // A worker died of one of them; who tries it alone and stops has not died of it, nor shown it to be harmless.
    let suspect = store.lease_suspect(RetryOf::Work, at(40), at(60)).await.unwrap().unwrap();
    assert_eq!((suspect.attempts, suspect.crashes), (2, 1));
    store.release_retries(&[suspect.job.delivery.id], at(41)).await.unwrap();
    assert!(store.lease_retries(RetryOf::Work, at(41), at(60), 10).await.unwrap().is_empty(), "not with others");
    let mut alone = Vec::new();
    while let Some(one) = store.lease_suspect(RetryOf::Work, at(41), at(60)).await.unwrap() {
        alone.push((one.attempts, one.crashes));
    }
    assert_eq!(alone, [(2, 1); 2]);
    store.release_retries(&[], at(41)).await.unwrap();
}

/// What a link of Terra led to is worked under the webhook's own id: whoever takes it up again must not see the link.
pub(crate) async fn the_ledger_describes_what_was_downloaded(store: &dyn Store) {
    let event = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    let mut link = job(&event);
    link.delivery.type_name = Some("s3_payload".into());
    link.delivery.terra_user_id = None;
    store.hand_over(&[link], "payload_waits", at(10)).await.unwrap();
    assert_eq!(store.lease_retries(RetryOf::Download, at(10), at(40), 10).await.unwrap().len(), 1);
    fail(store, &event, 1, 50, 20).await;
    let due = store.lease_retries(RetryOf::Work, at(50), at(60), 10).await.unwrap();
    assert_eq!(due.iter().map(|retry| &retry.job).collect::<Vec<_>>(), [&job(&event)]);
}

pub(crate) async fn what_is_handed_over_leaves_what_was_settled_alone(store: &dyn Store) {
    let (done, new) = (sent(activity(user("u", None), "done", 1.0), 1), sent(activity(user("u", None), "new", 1.0), 2));
    apply_one(store, &done).await;
    store.hand_over(&[job(&done), job(&new)], "held_before", at(10)).await.unwrap();
    assert_eq!(store.delivery(done.id).await.unwrap().unwrap().outcome, LedgerOutcome::Processed);
    let waiting = store.delivery(new.id).await.unwrap().unwrap();
    assert_eq!((waiting.outcome, waiting.attempts, waiting.retry_at), (LedgerOutcome::Retry, 0, Some(at(10))));
    store.hand_over(&[], "held_before", at(10)).await.unwrap();
}

pub(crate) async fn a_clock_a_day_ahead_keeps_nothing_for_a_day(store: &dyn Store) {
    const HOUR: i64 = 3_600;
    let (one, two) =
        (sent(activity(user("u", None), "run", 1.0), 10), sent(activity(user("u", None), "walk", 1.0), 11));
    fail(store, &one, 1, DAY + 100, DAY + 11).await;
    // No further ahead than one that waits for its time.
    fail(store, &two, 1, HOUR + 12, HOUR + 11).await;
    let nearly = sent(activity(user("u", None), "swim", 1.0), 12);
    fail(store, &nearly, 1, 85, 75).await;
    let due = store.lease_retries(RetryOf::Work, at(20), at(DAY + 50), 10).await.unwrap();
    assert_eq!(due.len(), 2, "no clock that is ahead keeps a retry, but one that is a minute ahead");
    let due = store.lease_retries(RetryOf::Work, at(86), at(DAY + 50), 10).await.unwrap();
    assert_eq!(due.len(), 1);
    let suspect = store.lease_suspect(RetryOf::Work, at(21), at(30)).await.unwrap();
    assert!(suspect.is_some(), "and no lease lasts so long");
    let ahead = Holder { name: "relay", holder: uuid::Uuid::from_u128(1) };
    let right = Holder { name: "relay", holder: uuid::Uuid::from_u128(2) };
    assert!(store.hold(ahead, at(DAY), at(DAY + 15)).await.unwrap());
    assert!(store.hold(right, at(10), at(25)).await.unwrap());
}

pub(crate) async fn workers_side_by_side_lease_different_retries(store: &dyn Store) {
    let failed: Vec<Sent> =
        (0..12).map(|index| sent(activity(user("u", None), &format!("run-{index}"), 1.0), index)).collect();
    for one in &failed {
        fail(store, one, 1, 50, 20).await;
    }
    let leases = join_all((0..4).map(|_| store.lease_retries(RetryOf::Work, at(60), at(90), 3))).await;
    let mut ids: Vec<_> = leases.into_iter().flat_map(Result::unwrap).map(|retry| retry.job.delivery.id).collect();
    let leased = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), leased);
}

pub(crate) async fn a_dead_delivery_is_told_once_and_may_be_revived(store: &dyn Store) {
    let one = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    let dead = Settlement::Dead { reason: "rejected:some_rule".into() };
    store.record_failure(&job(&one), 12, &dead, "rejected:some_rule", at(20)).await.unwrap();
    store.record_failure(&job(&one), 12, &dead, "rejected:some_rule", at(20)).await.unwrap();
    assert_eq!(told(store).await, [("delivery.dead".to_owned(), None)]);
    assert!(log(store).await[0].data.to_string().contains("some_rule"));
    assert_eq!(store.stats(at(21)).await.unwrap().dead_letters, 1);
    assert!(store.lease_retries(RetryOf::Work, at(10_000), at(20_000), 10).await.unwrap().is_empty());
    assert_eq!(store.delivery_body(one.id).await.unwrap(), Some(job(&one).body));
    assert_eq!(apply_one(store, &one).await, stored(1), "it had no effect, so its key is free");
    assert_eq!(store.stats(at(22)).await.unwrap().dead_letters, 0);
}

pub(crate) async fn a_failure_told_late_does_not_undo_what_was_processed(store: &dyn Store) {
    let one = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    apply_one(store, &one).await;
    fail(store, &one, 1, 100, 11).await;
    assert_eq!(store.delivery(one.id).await.unwrap().unwrap().outcome, LedgerOutcome::Processed);
    assert!(store.lease_retries(RetryOf::Work, at(100), at(200), 10).await.unwrap().is_empty());
}

pub(crate) async fn deliveries_are_listed_newest_first_and_filtered(store: &dyn Store) {
    let auth = sent(auth(user("u", Some("ada"))), 10);
    let run = sent(activity(user("u", Some("ada")), "run", 1.0), 20);
    let ride = sent(activity(user("v", Some("bob")), "ride", 1.0), 30);
    for one in [&auth, &run, &ride] {
        apply_one(store, one).await;
    }
    let list = async |filter: DeliveryFilter| {
        let mut page = Page { after: None, limit: 1 };
        let mut ids = Vec::new();
        loop {
            let listing = store.deliveries(&filter, &page).await.unwrap();
            ids.extend(listing.items.iter().map(|view| view.id));
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return ids,
            }
        }
    };
    assert_eq!(list(DeliveryFilter::default()).await, [ride.id, run.id, auth.id]);
    assert_eq!(
        list(DeliveryFilter { type_name: Some("activity".into()), ..Default::default() }).await,
        [ride.id, run.id]
    );
    assert_eq!(list(DeliveryFilter { terra_user_id: Some("u".into()), ..Default::default() }).await, [run.id, auth.id]);
    assert_eq!(list(DeliveryFilter { trace_id: ride.trace_id.clone(), ..Default::default() }).await, [ride.id]);
    assert_eq!(list(DeliveryFilter { outcome: Some(LedgerOutcome::Dead), ..Default::default() }).await, []);
    assert_eq!(
        list(DeliveryFilter { environment: Some(run.environment.clone()), ..Default::default() }).await.len(),
        3
    );
    let view = store.delivery(run.id).await.unwrap().unwrap();
    assert_eq!(
        (view.type_name.as_deref(), view.rows, view.late, view.received_at),
        (Some("activity"), 1, false, at(20))
    );
    assert_eq!(view.body_digest, hex::encode(run.delivery().body_digest));
    assert_eq!(store.delivery_body(run.id).await.unwrap(), Some(job(&run).body));
}

pub(crate) async fn upkeep_names_the_payloads_that_nothing_needs_any_more(store: &dyn Store) {
    let small = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    let large = sent(activity(user("u", Some("ada")), "ride", 1.0), 20);
    let pointer = Sealed(Bytes::from_static(b"\x02{\"key\":\"k\"}"));
    assert!(pointer.is_stored());
    store.upkeep(at(0), Duration::from_secs(14 * 86_400)).await.unwrap();
    apply_one(store, &small).await;
    let mut prepared = large.prepare();
    prepared.body = pointer.clone();
    store.apply(&[prepared], at(20)).await.unwrap();
    // Written long after the partitions that exist: goes wherever the engine puts such rows.
    let mut far = large.again();
    far.received = 10 * DAY;
    apply_one(store, &far).await;

    let keep = Duration::from_secs(14 * 86_400);
    let unneeded = async || store.unneeded_payloads(10).await.unwrap();
    store.upkeep(at(13 * DAY), keep).await.unwrap();
    assert_eq!(unneeded().await, []);
    store.upkeep(at(16 * DAY), keep).await.unwrap();
    let (number, payload) = unneeded().await.remove(0);
    assert_eq!(payload, pointer);
    assert_eq!(store.stats(at(16 * DAY)).await.unwrap().unneeded_payloads, 1, "until somebody has deleted it");
    store.gone(&[number]).await.unwrap();
    assert!(store.delivery(small.id).await.unwrap().is_none());
    assert!(store.delivery(far.id).await.unwrap().is_some());
    store.upkeep(at(40 * DAY), keep).await.unwrap();
    assert_eq!(unneeded().await, []);
    assert!(store.delivery(far.id).await.unwrap().is_none());
}

/// Whatever became of a delivery, its bytes end with the retention; that it took effect is known for 90 days.
pub(crate) async fn payloads_go_with_the_retention_and_keys_after_ninety_days(store: &dyn Store) {
    let keep = Duration::from_secs(35 * 86_400);
    store.upkeep(at(0), keep).await.unwrap();
    let done = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    apply_one(store, &done).await;
    let strange = sent(serde_json::json!([]), 11);
    apply_one(store, &strange).await;
    let old = Sent { admission: domain::delivery::Admission::Quarantined, ..sent(auth(user("u", None)), 12) };
    apply_one(store, &old).await;
    let waiting = sent(activity(user("u", Some("ada")), "ride", 1.0), 13);
    fail(store, &waiting, 1, 100, 13).await;
    let dead = sent(activity(user("u", Some("ada")), "walk", 1.0), 14);
    let settlement = Settlement::Dead { reason: "panicked".into() };
    store.record_failure(&job(&dead), 12, &settlement, "panicked", at(14)).await.unwrap();
    let all = [&done, &strange, &old, &waiting, &dead];
    store.upkeep(at(34 * DAY), keep).await.unwrap();
    for one in all {
        assert!(store.delivery_body(one.id).await.unwrap().is_some());
    }
    assert_eq!(store.stats(at(34 * DAY)).await.unwrap().dead_letters, 1);
    store.upkeep(at(37 * DAY), keep).await.unwrap();
    for one in all {
        assert!(
            store.delivery(one.id).await.unwrap().is_none() && store.delivery_body(one.id).await.unwrap().is_none()
        );
    }
    let stats = store.stats(at(37 * DAY)).await.unwrap();
    assert_eq!((stats.dead_letters, stats.retries), (0, vec![]));
    store.upkeep(at(89 * DAY), keep).await.unwrap();
    let copy = Sent { received: 89 * DAY, ..done.again() };
    assert_eq!(apply_one(store, &copy).await, Applied::AlreadyProcessed);
    store.upkeep(at(91 * DAY), keep).await.unwrap();
    let copy = Sent { received: 91 * DAY, ..done.again() };
    assert_eq!(apply_one(store, &copy).await, stored(0), "known no more; it changes nothing all the same");
}

pub(crate) async fn migrating_again_applies_nothing_and_the_schema_fits(store: &dyn Store) {
    assert_eq!(store.migrate().await.unwrap(), [] as [u32; 0]);
    assert_eq!(store.schema().await.unwrap(), Schema::Fits { version: SCHEMA_VERSION });
    store.ping().await.unwrap();
}

pub(crate) async fn an_empty_batch_is_nothing_to_do(store: &dyn Store) {
    assert_eq!(store.apply(&[], at(0)).await.unwrap(), [] as [Applied; 0]);
    store.enqueue_fetches(&[], at(0)).await.unwrap();
    assert_eq!(store.events_after(0, 10).await.unwrap(), []);
    assert!(store.connections(&Default::default(), &everything()).await.unwrap().items.is_empty());
}
