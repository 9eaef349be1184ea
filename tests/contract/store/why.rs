//! What an explanation reads: connections by any name, records of a day with their tombstones, events about them.

use adapters::store::Store;
use domain::id::{ConnectionId, RecordId};
use domain::outgoing::record_event_id;
use jiff::civil::{Date, date};
use serde_json::{Value, json};
use terra::event::DataKind;

use super::support::{
    activity, apply_one, at, auth, environment, everything, item, log, reauth, sent, tombstone, user,
};

const DAY: Date = date(2026, 2, 3);

async fn connections(store: &dyn Store, name: &str) -> Vec<ConnectionId> {
    store.named(name, &[environment()], 10).await.unwrap()
}

async fn one(store: &dyn Store, name: &str) -> ConnectionId {
    let found = connections(store, name).await;
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

fn daily(day: &str) -> Value {
    json!({ "type": "daily", "user": user("u", Some("ada")), "data": [{
        "metadata": { "start_time": format!("{day}T00:00:00.000000+13:00"), "end_time": format!("{day}T23:59:59.000000+13:00") },
        "distance_data": { "steps": 10 },
    }] })
}

pub(crate) async fn a_person_is_found_by_user_reference_and_terra_user(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ada"))), 10)).await;
    apply_one(store, &sent(auth(user("other", None)), 10)).await;
    let ada = one(store, "ada").await;
    assert_eq!(one(store, "u").await, ada);
    assert_ne!(one(store, "other").await, ada);
    assert!(connections(store, "nobody").await.is_empty());
    apply_one(store, &sent(auth(user("u2", Some("ada"))), 20)).await;
    assert_eq!(connections(store, "ada").await.len(), 2);
    assert_eq!(store.named("ada", &[environment()], 1).await.unwrap().len(), 1);
    assert_eq!(store.named("ada", &[], 10).await.unwrap().len(), 2, "a user is one in all environments");
    assert!(store.named("u", &[], 10).await.unwrap().is_empty());
}

pub(crate) async fn records_of_a_day_are_the_newest_versions_and_tombstones_too(store: &dyn Store) {
    let ada = || user("u", Some("ada"));
    apply_one(store, &sent(activity(ada(), "run", 1.0), 10)).await;
    apply_one(store, &sent(daily("2026-02-03"), 10)).await;
    let connection = one(store, "ada").await;
    let of = async |kind, day| store.records_of_day(connection, kind, day).await.unwrap();
    let runs = of(DataKind::Activity, DAY).await;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].key.as_str(), runs[0].deleted, runs[0].sent_at), ("run", false, at(10)));
    assert!(runs[0].order_inferred);
    for day in [date(2026, 2, 2), date(2026, 2, 4)] {
        assert!(of(DataKind::Activity, day).await.is_empty());
        assert!(of(DataKind::Daily, day).await.is_empty());
    }
    assert_eq!(of(DataKind::Daily, DAY).await[0].key, "2026-02-03", "the day on the person's calendar");
    assert!(of(DataKind::Sleep, DAY).await.is_empty());

    apply_one(store, &sent(reauth(ada(), user("v", Some("ada"))), 20)).await;
    apply_one(store, &sent(tombstone(user("v", Some("ada")), "run"), 30)).await;
    let connection = one(store, "ada").await;
    let runs = store.records_of_day(connection, DataKind::Activity, DAY).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.deleted).collect::<Vec<_>>(), [true], "the older alias's is hidden");
}

pub(crate) async fn what_goes_over_midnight_is_of_both_days(store: &dyn Store) {
    let mut night = item("night", 1.0);
    night["metadata"]["start_time"] = json!("2026-02-02T23:00:00.000000-08:00");
    night["metadata"]["end_time"] = json!("2026-02-03T01:00:00.000000-08:00");
    let body = json!({ "type": "activity", "user": user("u", Some("ada")), "data": [night] });
    apply_one(store, &sent(body, 10)).await;
    let connection = one(store, "ada").await;
    for (day, count) in [(date(2026, 2, 1), 0), (date(2026, 2, 2), 1), (DAY, 1), (date(2026, 2, 4), 0)] {
        let found = store.records_of_day(connection, DataKind::Activity, day).await.unwrap();
        assert_eq!(found.len(), count, "{day}");
    }
}

pub(crate) async fn events_about_a_record_are_found_by_id_and_while_they_are_held(store: &dyn Store) {
    let nobody = sent(activity(user("u", None), "run", 1.0), 10);
    apply_one(store, &nobody).await;
    let connection = one(store, "u").await;
    let run: RecordId = store.records_of_day(connection, DataKind::Activity, DAY).await.unwrap()[0].id;
    let upserted = record_event_id(nobody.id.0.as_bytes(), "activity", "upserted", run);
    for (events, records) in [(&[upserted][..], &[][..]), (&[], &[run]), (&[upserted], &[run])] {
        let found = store.events_about(events, records).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].record, found[0].verb.as_str(), found[0].held), (run, "upserted", true));
        assert_eq!((found[0].position, &found[0].subject), (None, &None));
    }
    store.assign(connection, &domain::id::UserId::new("ada"), "a person", at(20)).await.unwrap();
    assert!(store.events_about(&[], &[run]).await.unwrap().is_empty(), "it is held no more");
    let position = log(store).await.iter().find(|event| event.entity == "activity").unwrap().position;
    let found = store.events_about(&[upserted], &[run]).await.unwrap();
    assert_eq!((found.len(), found[0].position, found[0].held), (1, Some(position), false));
    assert_eq!(found[0].subject.as_ref().map(|user| user.as_str()), Some("ada"));
    // The delivery that wrote a record has its time: so the ledger leads to the event.
    let row = store.deliveries(&Default::default(), &everything()).await.unwrap().items.remove(0);
    let record = &store.records_of_day(connection, DataKind::Activity, DAY).await.unwrap()[0];
    assert_eq!((row.id, row.settled_at), (nobody.id, record.updated_at));
}
