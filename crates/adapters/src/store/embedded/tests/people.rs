//! Whose an alias is.

use super::*;

fn reauth(old: &str, new: &str, reference: Option<&str>, seconds: i64) -> Prepared {
    let body = json!({ "type": "user_reauth", "old_user": user(old, reference), "new_user": user(new, reference) });
    delivery(&body, seconds)
}

#[tokio::test]
async fn a_reauthentication_joins_and_the_younger_id_leads_to_the_older() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    bench.apply(auth("old", Some("ann"), 10)).await;
    bench.apply(activity("old", "s", None, 1.0, 11)).await;
    let before = bench.only_connection().await;
    bench.apply(auth("new", Some("ann"), 20)).await;
    bench.apply(activity("new", "s", None, 2.0, 21)).await;
    let page = bench.store.connections(&ConnectionFilter::default(), &Page::default()).await.unwrap();
    let younger = page.items.iter().find(|view| view.id != before.id).unwrap().id;
    bench.apply(reauth("old", "new", Some("ann"), 30)).await;

    let joined = bench.only_connection().await;
    assert_eq!((joined.id, joined.terra_user_id.as_str(), joined.aliases.len()), (before.id, "new", 2));
    assert!(matches!(bench.store.connection(younger).await.unwrap(), Found::Moved { to } if to == before.id));
    assert!(matches!(bench.store.connection(ConnectionId(Uuid::max())).await.unwrap(), Found::Unknown));
    let activities = bench.activities("ann", &Page::default()).await.items;
    assert_eq!(activities.len(), 1, "one record per key of a connection");
    assert_eq!(activities[0].value("distance_meters"), Some(&Scalar::Number(2.0)));

    let decided = bench.store.split(before.id, "ops", at(40)).await.unwrap();
    assert_eq!(decided, Decided::Done { connection: before.id });
    assert_eq!(bench.activities("ann", &Page::default()).await.items.len(), 2);
    assert_eq!(bench.store.split(before.id, "ops", at(41)).await.unwrap(), Decided::Indivisible);
}

#[tokio::test]
async fn a_resolver_is_asked_once_and_its_answer_lets_events_go() {
    let bench = Bench::new(ReferencePolicy::Resolved);
    bench.apply(auth("u", Some("r-1"), 10)).await;
    assert_eq!(bench.only_connection().await.status, Status::Unresolved);
    let lease = async |now, until| bench.store.lease_references(at(now), at(until), 10).await.unwrap();
    let asked = lease(1_000, 1_010).await.remove(0);
    assert!(lease(1_009, 1_020).await.is_empty());
    bench.store.resolve(&asked, &ReferenceAnswer::Unknown { again_at: at(1_060) }, at(1_001)).await.unwrap();
    assert!(lease(1_059, 1_070).await.is_empty());
    assert_eq!(lease(1_060, 1_070).await[0].attempts, 1);
    assert!(bench.log().await.is_empty());

    bench.store.resolve(&asked, &ReferenceAnswer::Found(UserId::new("ann")), at(1_061)).await.unwrap();
    let connection = bench.only_connection().await;
    assert_eq!((connection.status, connection.user), (Status::Active, Some(UserId::new("ann"))));
    assert_eq!(bench.log().await.len(), 1);
    assert!(lease(9_999, 10_000).await.is_empty());
    assert_eq!(bench.store.stats(at(0)).await.unwrap().open_references, 0);
}

#[tokio::test]
async fn a_persons_word_outranks_the_reference() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    bench.apply(auth("u", Some("ann"), 10)).await;
    let id = bench.only_connection().await.id;
    let decided = bench.store.assign(id, &UserId::new("bob"), "ops", at(20)).await.unwrap();
    assert_eq!(decided, Decided::Done { connection: id });
    bench.apply(auth("u", Some("ann"), 30)).await;
    assert_eq!(bench.only_connection().await.user, Some(UserId::new("bob")));
    let nobody = bench.store.assign(ConnectionId(Uuid::max()), &UserId::new("bob"), "ops", at(20)).await.unwrap();
    assert_eq!(nobody, Decided::UnknownConnection);
}

#[tokio::test]
async fn history_is_found_by_user() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    bench.apply(auth("u", Some("ann"), 10)).await;
    bench.apply(auth("v", Some("bob"), 11)).await;
    let filter = AuthEventFilter { user: Some(UserId::new("bob")), ..AuthEventFilter::default() };
    let events = bench.store.auth_events(&filter, &Page::default()).await.unwrap().items;
    assert_eq!(events.iter().map(|event| event.terra_user_id.as_deref()).collect::<Vec<_>>(), [Some("v")]);
    assert_eq!(events[0].happened_at, at(11));
}
