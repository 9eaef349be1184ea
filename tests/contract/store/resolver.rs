//! References that are not users: a resolver says whose they are. These cases run with `ReferencePolicy::Resolved`.

use std::time::Duration;

use adapters::store::{OpenReference, ReferenceAnswer, Store};
use domain::id::UserId;
use domain::identity::Status;

use super::identity::connections_of;
use super::support::{DAY, activity, apply_one, at, auth, line, reauth, seen_by, sent, told, user};

async fn lease(store: &dyn Store, seconds: i64) -> Vec<OpenReference> {
    store.lease_references(at(seconds), at(seconds + 60), 10).await.unwrap()
}

fn found(user: &str) -> ReferenceAnswer {
    ReferenceAnswer::Found(UserId::new(user))
}

pub(crate) async fn a_reference_waits_for_its_resolver(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ref"))), 10)).await;
    apply_one(store, &sent(activity(user("u", Some("ref")), "run", 1.0), 20)).await;
    assert_eq!(connections_of(store, "u").await[0].status, Status::Unresolved);
    assert_eq!(told(store).await, []);
    assert_eq!(store.stats(at(30)).await.unwrap().open_references, 1);

    let open = lease(store, 30).await;
    assert_eq!(open.iter().map(|open| open.reference.as_str()).collect::<Vec<_>>(), ["ref"]);
    assert_eq!(lease(store, 31).await, [], "hidden while leased");
    store.resolve(&open[0], &found("ada"), at(32)).await.unwrap();
    assert_eq!(lease(store, 1_000).await, []);
    let connection = &connections_of(store, "u").await[0];
    assert_eq!((connection.status, connection.user.as_ref().map(UserId::as_str)), (Status::Active, Some("ada")));
    assert_eq!(seen_by(store, "ada").await.len(), 1);
    assert!(told(store).await.contains(&line("activity.upserted", "ada")));
    // An answer holds for whoever names the reference later.
    apply_one(store, &sent(auth(user("v", Some("ref"))), 40)).await;
    assert_eq!(connections_of(store, "v").await[0].user.as_ref().map(UserId::as_str), Some("ada"));
}

pub(crate) async fn an_unknown_reference_is_asked_again_later(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ref"))), 10)).await;
    let open = lease(store, 20).await.remove(0);
    store.resolve(&open, &ReferenceAnswer::Unknown { again_at: at(100) }, at(21)).await.unwrap();
    assert_eq!(lease(store, 99).await, []);
    let open = lease(store, 100).await.remove(0);
    assert_eq!(open.attempts, 1);
    store.resolve(&open, &ReferenceAnswer::Unavailable { again_at: at(200) }, at(101)).await.unwrap();
    let open = lease(store, 200).await.remove(0);
    assert_eq!(open.attempts, 1, "an outage is no answer");
    assert_eq!(lease(store, 261).await.len(), 1, "a resolver that died loses its lease");
}

pub(crate) async fn a_clock_a_day_ahead_keeps_no_question_for_a_day(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ref"))), 10)).await;
    assert_eq!(lease(store, DAY).await.len(), 1);
    assert_eq!(lease(store, 20).await, [], "hidden by a clock that is wrong");
    store.upkeep(at(30), Duration::from_secs(14 * DAY.unsigned_abs())).await.unwrap();
    assert_eq!(lease(store, 31).await.len(), 1);
}

pub(crate) async fn two_references_of_one_user_join(store: &dyn Store) {
    apply_one(store, &sent(auth(user("old", Some("ref1"))), 10)).await;
    apply_one(store, &sent(auth(user("new", Some("ref2"))), 20)).await;
    apply_one(store, &sent(reauth(user("old", Some("ref1")), user("new", Some("ref2"))), 30)).await;
    for open in lease(store, 40).await {
        assert_ne!(
            connections_of(store, "old").await[0].id,
            connections_of(store, "new").await[0].id,
            "not before both are known"
        );
        store.resolve(&open, &found("ada"), at(41)).await.unwrap();
    }
    assert_eq!(connections_of(store, "old").await[0].id, connections_of(store, "new").await[0].id);
}

pub(crate) async fn two_references_of_two_users_are_in_dispute(store: &dyn Store) {
    apply_one(store, &sent(reauth(user("old", Some("ref1")), user("new", Some("ref2"))), 30)).await;
    apply_one(store, &sent(activity(user("new", Some("ref2")), "run", 1.0), 35)).await;
    for (open, person) in lease(store, 40).await.iter().zip(["ada", "bob"]) {
        store.resolve(open, &found(person), at(41)).await.unwrap();
    }
    assert_eq!(connections_of(store, "old").await[0].status, Status::Disputed);
    assert_eq!(connections_of(store, "new").await[0].status, Status::Disputed);
    assert!(told(store).await.iter().all(|(event, _)| event != "activity.upserted"));
}
