//! The event log and the ledger.

use domain::settle::Settlement;

use super::*;
use crate::store::RetryOf;

#[tokio::test]
async fn events_wait_for_their_user_and_then_get_gapless_positions() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    for (summary, distance, seconds) in [("a", 1.0, 10), ("b", 1.0, 11), ("a", 2.0, 12)] {
        bench.apply(activity("u", summary, None, distance, seconds)).await;
    }
    assert!(bench.log().await.is_empty());
    let stats = bench.store.stats(at(0)).await.unwrap();
    assert_eq!((stats.events_held, stats.outbox_pending), (2, 0), "the latest of each record");

    bench.apply(auth("u", Some("ann"), 20)).await;
    let log = bench.log().await;
    let upserted = "landfall.activity.upserted.v1";
    let ann = || Some("ann".to_owned());
    assert_eq!(
        log,
        [
            (1, upserted.to_owned(), ann()),
            (2, upserted.to_owned(), ann()),
            (3, "landfall.connection.connected.v1".to_owned(), ann())
        ]
    );
    let connection = bench.only_connection().await.id.to_string();
    let events = bench.store.events_after(0, 10).await.unwrap();
    assert!(events.iter().all(|event| event.data["connection"] == connection.as_str()));

    assert_eq!(bench.store.unpublished_events(2).await.unwrap().len(), 2);
    bench.store.mark_published(RELAY, 2).await.unwrap();
    assert_eq!(bench.store.unpublished_events(10).await.unwrap(), events[2..]);
    assert_eq!(bench.store.stats(at(0)).await.unwrap().outbox_pending, 1);
}

#[tokio::test]
async fn without_the_lease_nothing_is_numbered() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    bench.apply(auth("u", Some("ann"), 20)).await;
    let other = Holder { name: "relay", holder: Uuid::from_u128(2) };
    assert!(bench.store.hold(RELAY, at(0), at(10)).await.unwrap());
    assert!(!bench.store.hold(other, at(9), at(19)).await.unwrap());
    assert_eq!(bench.store.number_events(other, 10).await.unwrap(), 0);
    assert!(bench.store.hold(other, at(10), at(20)).await.unwrap(), "its time is over");
    assert_eq!(bench.store.number_events(RELAY, 10).await.unwrap(), 0);
    assert_eq!(bench.store.number_events(other, 10).await.unwrap(), 1);
    bench.store.mark_published(RELAY, 1).await.unwrap();
    assert_eq!(bench.store.unpublished_events(10).await.unwrap().len(), 1);
    bench.store.let_go(other).await.unwrap();
    assert!(bench.store.hold(RELAY, at(11), at(21)).await.unwrap());
}

#[tokio::test]
async fn a_failed_delivery_comes_back_when_it_is_due_and_a_dead_one_is_told() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    let prepared = activity("u", "s", None, 1.0, 10);
    let domain::plan::Cause::Delivery(delivery) = prepared.plan.cause.clone() else { panic!() };
    let job = Job { delivery: *delivery, body: prepared.body.clone() };
    bench.store.record_failure(&job, 1, &Settlement::RetryAt(at(50)), "panicked", at(10)).await.unwrap();
    assert!(bench.store.lease_retries(RetryOf::Work, at(49), at(60), 10).await.unwrap().is_empty());
    let retry = bench.store.lease_retries(RetryOf::Work, at(50), at(60), 10).await.unwrap().remove(0);
    assert_eq!((retry.job, retry.attempts), (job.clone(), 2));
    assert!(
        bench.store.lease_retries(RetryOf::Work, at(59), at(70), 10).await.unwrap().is_empty(),
        "hidden while leased"
    );
    assert_eq!(bench.store.lease_suspect(RetryOf::Work, at(60), at(70)).await.unwrap().unwrap().crashes, 1);
    assert_eq!(bench.store.stats(at(60)).await.unwrap().retries, [("live".to_owned(), 1)]);

    let dead = Settlement::Dead { reason: "panicked".into() };
    bench.store.record_failure(&job, 12, &dead, "panicked", at(70)).await.unwrap();
    assert_eq!(bench.log().await, [(1, "landfall.delivery.dead.v1".to_owned(), None)]);
    let filter = DeliveryFilter { outcome: Some(LedgerOutcome::Dead), ..DeliveryFilter::default() };
    let ledger = bench.store.deliveries(&filter, &Page::default()).await.unwrap().items;
    assert_eq!((ledger[0].attempts, ledger[0].reason.as_deref()), (12, Some("panicked")));
    assert_eq!(bench.store.delivery_body(ledger[0].id).await.unwrap(), Some(prepared.body));
    assert_eq!(bench.store.stats(at(70)).await.unwrap().dead_letters, 1);
}
