//! Whose it is: held events, a person's decisions, moved connections.

use adapters::store::{AuthEventFilter, ConnectionFilter, ConnectionView, Decided, Found, Store};
use domain::id::{ConnectionId, UserId};
use domain::identity::Status;
use serde_json::json;

use super::support::{
    activity, apply, apply_one, at, auth, deauth, everything, line, log, reauth, seen_by, sent, told, user,
};

pub(crate) async fn connections_of(store: &dyn Store, terra_user_id: &str) -> Vec<ConnectionView> {
    let filter = ConnectionFilter { terra_user_id: Some(terra_user_id.into()), ..ConnectionFilter::default() };
    store.connections(&filter, &everything()).await.unwrap().items
}

async fn connection_of(store: &dyn Store, terra_user_id: &str) -> ConnectionView {
    let mut found = connections_of(store, terra_user_id).await;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

pub(crate) async fn an_assigned_connection_lets_its_held_events_go(store: &dyn Store) {
    apply_one(store, &sent(activity(user("u", None), "run", 1.0), 10)).await;
    apply_one(store, &sent(activity(user("u", None), "ride", 2.0), 20)).await;
    assert_eq!(told(store).await, [], "nobody knows whose they are");
    assert_eq!(store.stats(at(30)).await.unwrap().events_held, 2);
    let connection = connection_of(store, "u").await;
    assert_eq!((connection.status, connection.user), (Status::Unresolved, None));

    let decided = store.assign(connection.id, &UserId::new("ada"), "eve", at(40)).await.unwrap();
    assert_eq!(decided, Decided::Done { connection: connection.id });
    assert_eq!(told(store).await, [line("activity.upserted", "ada"), line("activity.upserted", "ada")]);
    assert!(log(store).await.iter().all(|event| event.data["connection"] == json!(connection.id)));
    assert_eq!(seen_by(store, "ada").await.len(), 2);
    assert_eq!(store.stats(at(50)).await.unwrap().events_held, 0);

    // From now on nothing is held.
    apply_one(store, &sent(activity(user("u", None), "swim", 3.0), 60)).await;
    assert_eq!(told(store).await.len(), 3);
}

pub(crate) async fn a_held_event_gives_way_to_a_later_one_about_the_same_record(store: &dyn Store) {
    for step in 1..=3 {
        apply_one(store, &sent(activity(user("u", None), "run", f64::from(step)), i64::from(step) * 10)).await;
    }
    apply_one(store, &sent(activity(user("u", None), "ride", 1.0), 50)).await;
    assert_eq!(store.stats(at(60)).await.unwrap().events_held, 2);
    let connection = connection_of(store, "u").await.id;
    store.assign(connection, &UserId::new("ada"), "eve", at(70)).await.unwrap();
    assert_eq!(told(store).await.len(), 2);
}

pub(crate) async fn a_reference_that_comes_late_lets_held_events_go(store: &dyn Store) {
    apply_one(store, &sent(activity(user("u", None), "run", 1.0), 10)).await;
    apply_one(store, &sent(auth(user("u", Some("ada"))), 20)).await;
    let told = told(store).await;
    assert!(told.contains(&line("activity.upserted", "ada")), "{told:?}");
    assert!(told.contains(&line("connection.connected", "ada")), "{told:?}");
}

pub(crate) async fn a_connection_that_joined_another_answers_where_it_went(store: &dyn Store) {
    apply_one(store, &sent(auth(user("old", Some("ada"))), 10)).await;
    apply_one(store, &sent(auth(user("new", Some("ada"))), 20)).await;
    let (old, new) = (connection_of(store, "old").await.id, connection_of(store, "new").await.id);
    assert_ne!(old, new);
    apply_one(store, &sent(reauth(user("old", Some("ada")), user("new", Some("ada"))), 30)).await;
    let joined = connection_of(store, "new").await;
    assert_eq!(
        (joined.id, joined.aliases.len(), joined.terra_user_id.as_str()),
        (old, 2, "new"),
        "the older id survives"
    );
    assert!(matches!(store.connection(old).await.unwrap(), Found::Here(view) if view.aliases.len() == 2));
    assert!(matches!(store.connection(new).await.unwrap(), Found::Moved { to } if to == old));
    assert!(matches!(store.connection(ConnectionId(uuid::Uuid::nil())).await.unwrap(), Found::Unknown));
    assert!(told(store).await.contains(&line("connection.merged", "ada")));
}

pub(crate) async fn split_parts_what_was_joined_for_good(store: &dyn Store) {
    apply_one(store, &sent(auth(user("old", Some("ada"))), 10)).await;
    apply_one(store, &sent(reauth(user("old", Some("ada")), user("new", Some("ada"))), 20)).await;
    let joined = connection_of(store, "new").await.id;
    assert_eq!(store.split(joined, "eve", at(30)).await.unwrap(), Decided::Done { connection: joined });
    assert_ne!(connection_of(store, "old").await.id, connection_of(store, "new").await.id);
    assert!(told(store).await.contains(&line("connection.split", "ada")));
    // Hearing of the same re-authentication again joins nothing.
    apply_one(store, &sent(reauth(user("old", Some("ada")), user("new", Some("ada"))), 40)).await;
    assert_ne!(connection_of(store, "old").await.id, connection_of(store, "new").await.id);
}

pub(crate) async fn what_is_unknown_or_indivisible_is_said_so(store: &dyn Store) {
    let nowhere = ConnectionId(uuid::Uuid::nil());
    assert_eq!(store.assign(nowhere, &UserId::new("ada"), "eve", at(1)).await.unwrap(), Decided::UnknownConnection);
    assert_eq!(store.split(nowhere, "eve", at(1)).await.unwrap(), Decided::UnknownConnection);
    apply_one(store, &sent(auth(user("u", Some("ada"))), 10)).await;
    let alone = connection_of(store, "u").await.id;
    assert_eq!(store.split(alone, "eve", at(20)).await.unwrap(), Decided::Indivisible);
}

pub(crate) async fn a_dispute_holds_events_until_a_person_decides(store: &dyn Store) {
    apply_one(store, &sent(auth(user("old", Some("ada"))), 10)).await;
    apply_one(store, &sent(auth(user("new", Some("bob"))), 20)).await;
    apply_one(store, &sent(reauth(user("old", Some("ada")), user("new", Some("bob"))), 30)).await;
    assert_eq!(connection_of(store, "new").await.status, Status::Disputed);
    apply_one(store, &sent(activity(user("new", Some("bob")), "run", 1.0), 40)).await;
    assert!(told(store).await.iter().all(|(event, _)| event != "activity.upserted"));

    let disputed = connection_of(store, "new").await.id;
    let decided = store.assign(disputed, &UserId::new("ada"), "eve", at(50)).await.unwrap();
    let joined = connection_of(store, "new").await;
    assert_eq!(decided, Decided::Done { connection: joined.id });
    assert_eq!((joined.status, joined.aliases.len()), (Status::Active, 2));
    assert!(told(store).await.contains(&line("activity.upserted", "ada")));
    assert_eq!(seen_by(store, "bob").await, []);
}

pub(crate) async fn connections_are_filtered_and_paged(store: &dyn Store) {
    for index in 0..5 {
        apply_one(store, &sent(auth(user(&format!("u{index}"), Some(&format!("user{}", index % 2)))), 10 + index))
            .await;
    }
    apply_one(store, &sent(deauth(user("u0", Some("user0"))), 30)).await;
    let count = async |filter: ConnectionFilter| store.connections(&filter, &everything()).await.unwrap().items.len();
    assert_eq!(count(ConnectionFilter { user: Some(UserId::new("user0")), ..Default::default() }).await, 3);
    assert_eq!(count(ConnectionFilter { status: Some(Status::Revoked), ..Default::default() }).await, 1);
    assert_eq!(count(ConnectionFilter { provider: Some("GARMIN".into()), ..Default::default() }).await, 5);
    assert_eq!(count(ConnectionFilter { provider: Some("OURA".into()), ..Default::default() }).await, 0);

    let mut page = adapters::store::Page { after: None, limit: 2 };
    let mut ids = Vec::new();
    loop {
        let listing = store.connections(&ConnectionFilter::default(), &page).await.unwrap();
        ids.extend(listing.items.iter().map(|view| view.id));
        match listing.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 5);
    let numbers = store.stats(at(40)).await.unwrap().connections;
    assert_eq!(numbers.iter().map(|(.., count)| count).sum::<u64>(), 5);
}

pub(crate) async fn history_is_kept_in_the_order_of_processing(store: &dyn Store) {
    let failed = json!({ "type": "auth", "status": "error", "reason": "cancelled", "reference_id": "ada" });
    apply(store, &[&sent(auth(user("u", Some("ada"))), 10), &sent(failed, 15)]).await;
    apply_one(store, &sent(deauth(user("u", Some("ada"))), 20)).await;
    let events = store.auth_events(&AuthEventFilter::default(), &everything()).await.unwrap().items;
    let lines: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.succeeded)).collect();
    assert_eq!(lines, [("auth", true), ("auth", false), ("deauth", true)]);
    assert_eq!(events[0].happened_at, at(10));
    let of_ada = AuthEventFilter { user: Some(UserId::new("ada")), ..AuthEventFilter::default() };
    assert_eq!(store.auth_events(&of_ada, &everything()).await.unwrap().items.len(), 2);
    let deauths = AuthEventFilter { kind: Some("deauth".into()), ..AuthEventFilter::default() };
    assert_eq!(store.auth_events(&deauths, &everything()).await.unwrap().items.len(), 1);
}
