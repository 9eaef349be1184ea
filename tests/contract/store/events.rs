//! The event log: positions without gaps, given by one relay at a time.

use adapters::store::{Holder, Store};
use futures_util::future::join_all;
use uuid::Uuid;

use super::support::{activity, apply_one, at, auth, sent, user};

const RELAY: Holder<'static> = Holder { name: "relay", holder: Uuid::from_u128(1) };
const OTHER: Holder<'static> = Holder { name: "relay", holder: Uuid::from_u128(2) };

async fn write(store: &dyn Store, index: i64) {
    apply_one(store, &sent(activity(user("u", Some("ada")), &format!("run-{index}"), 1.0), 10 + index)).await;
}

pub(crate) async fn positions_have_no_gaps_under_concurrency(store: &dyn Store) {
    const EVENTS: i64 = 60;
    apply_one(store, &sent(auth(user("u", Some("ada"))), 1)).await;
    assert!(store.hold(RELAY, at(0), at(1_000)).await.unwrap());
    let reading = async {
        let mut seen: Vec<i64> = Vec::new();
        while seen.len() < EVENTS as usize + 1 {
            store.number_events(RELAY, 7).await.unwrap();
            let last = seen.last().copied().unwrap_or(0);
            seen.extend(store.events_after(last, 100).await.unwrap().iter().map(|event| event.position));
        }
        seen
    };
    let writing = async {
        for round in 0..EVENTS / 6 {
            join_all((0..6).map(|index| write(store, round * 6 + index))).await;
        }
    };
    let (seen, ()) = futures_util::future::join(reading, writing).await;
    assert_eq!(seen, (1..=EVENTS + 1).collect::<Vec<_>>());
}

pub(crate) async fn only_the_holder_numbers_events(store: &dyn Store) {
    write(store, 1).await;
    assert_eq!(store.number_events(RELAY, 10).await.unwrap(), 0, "nobody holds the lease");
    assert!(store.hold(RELAY, at(0), at(10)).await.unwrap());
    assert_eq!(store.number_events(OTHER, 10).await.unwrap(), 0);
    assert_eq!(store.number_events(RELAY, 10).await.unwrap(), 1);
    assert!(store.hold(OTHER, at(11), at(20)).await.unwrap());
    write(store, 2).await;
    assert_eq!(store.number_events(RELAY, 10).await.unwrap(), 0, "it lost the lease and does not know");
    store.mark_published(RELAY, 1).await.unwrap();
    assert_eq!(store.unpublished_events(10).await.unwrap().len(), 1);
    assert_eq!(store.number_events(OTHER, 10).await.unwrap(), 1);
}

pub(crate) async fn a_lease_passes_on_when_it_ends_or_is_let_go(store: &dyn Store) {
    assert!(store.hold(RELAY, at(0), at(10)).await.unwrap());
    assert!(!store.hold(OTHER, at(9), at(20)).await.unwrap());
    assert!(store.hold(RELAY, at(9), at(20)).await.unwrap(), "renewed");
    assert!(!store.hold(OTHER, at(15), at(30)).await.unwrap());
    assert!(store.hold(Holder { name: "upkeep", ..OTHER }, at(15), at(30)).await.unwrap(), "another thing");
    store.let_go(OTHER).await.unwrap();
    assert!(!store.hold(OTHER, at(16), at(30)).await.unwrap(), "nobody lets go what another holds");
    store.let_go(RELAY).await.unwrap();
    assert!(store.hold(OTHER, at(17), at(30)).await.unwrap());
    assert!(store.hold(RELAY, at(30), at(40)).await.unwrap(), "it ends by itself");
}

pub(crate) async fn of_many_that_want_a_lease_one_gets_it(store: &dyn Store) {
    let holders: Vec<Uuid> = (1..=8).map(Uuid::from_u128).collect();
    let got =
        join_all(holders.iter().map(|holder| store.hold(Holder { name: "relay", holder: *holder }, at(0), at(10))))
            .await;
    assert_eq!(got.into_iter().filter(|got| *got.as_ref().unwrap()).count(), 1);
}

pub(crate) async fn what_is_published_is_not_offered_again(store: &dyn Store) {
    for index in 0..3 {
        write(store, index).await;
    }
    assert!(store.hold(RELAY, at(0), at(1_000)).await.unwrap());
    assert_eq!(store.number_events(RELAY, 2).await.unwrap(), 2);
    let stats = store.stats(at(1)).await.unwrap();
    assert_eq!(stats.outbox_pending, 3);
    let offered = store.unpublished_events(10).await.unwrap();
    assert_eq!(offered.iter().map(|event| event.position).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(offered[0].routing_key(), "activity.upserted.garmin");
    store.mark_published(RELAY, 1).await.unwrap();
    assert_eq!(store.number_events(RELAY, 10).await.unwrap(), 1);
    let offered: Vec<_> = store.unpublished_events(10).await.unwrap().iter().map(|event| event.position).collect();
    assert_eq!(offered, [2, 3]);
    store.mark_published(RELAY, 3).await.unwrap();
    store.mark_published(RELAY, 2).await.unwrap();
    assert_eq!(store.unpublished_events(10).await.unwrap(), [], "it never goes back");
    assert_eq!(store.events_after(1, 1).await.unwrap()[0].position, 2, "the log stays");
    assert_eq!(store.stats(at(1)).await.unwrap().outbox_pending, 0);
}
