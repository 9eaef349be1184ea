//! Records: the greatest order wins, whatever arrives last; and what comes back is what went in.

use adapters::store::{Applied, Page, Span, Store, StoreError};
use domain::id::{AliasKey, RecordId, UserId};
use domain::record::RecordKey;
use futures_util::future::join_all;
use serde_json::{Value, json};
use terra::event::DataKind;

use super::support::{
    activities, activity, apply, apply_one, auth, environment, everything, item, line, log, reauth, seal, seen_by,
    sent, stored, told, tombstone, user,
};

fn ada() -> Value {
    user("u", Some("ada"))
}

fn id_of(kind: DataKind, natural: &str) -> RecordId {
    RecordKey { alias: AliasKey::new(&environment(), "u"), kind, natural: natural.into() }.id()
}

pub(crate) async fn the_greater_order_wins_whatever_arrives_last(store: &dyn Store) {
    let newer = sent(activity(ada(), "run", 2.0), 20);
    let older = sent(activity(ada(), "run", 1.0), 10);
    assert_eq!(apply_one(store, &newer).await, stored(1));
    assert_eq!(apply_one(store, &older).await, stored(0));
    assert_eq!(seen_by(store, "ada").await, [("run".to_owned(), 2.0)]);
    let newest = sent(activity(ada(), "run", 3.0), 30);
    let in_between = sent(activity(ada(), "run", 2.5), 25);
    assert_eq!(apply(store, &[&newest, &in_between]).await, [stored(1), stored(0)]);
    assert_eq!(seen_by(store, "ada").await, [("run".to_owned(), 3.0)]);
}

pub(crate) async fn the_ordering_header_outranks_the_signed_time(store: &dyn Store) {
    let mut older = sent(activity(ada(), "run", 1.0), 40);
    older.ordering = Some(10);
    let mut newer = sent(activity(ada(), "run", 2.0), 30);
    newer.ordering = Some(20);
    apply_one(store, &newer).await;
    assert_eq!(apply_one(store, &older).await, stored(0));
    let listing = store.records(&UserId::new("ada"), DataKind::Activity, Span::default(), &everything()).await.unwrap();
    assert!(!listing.items[0].order_inferred);
}

pub(crate) async fn a_tombstone_hides_a_record_until_a_newer_delivery_revives_it(store: &dyn Store) {
    apply_one(store, &sent(activity(ada(), "run", 1.0), 10)).await;
    assert_eq!(apply_one(store, &sent(tombstone(ada(), "run"), 20)).await, stored(1));
    assert_eq!(seen_by(store, "ada").await, []);
    assert!(store.record(id_of(DataKind::Activity, "run")).await.unwrap().unwrap().deleted);
    assert_eq!(apply_one(store, &sent(activity(ada(), "run", 1.5), 15)).await, stored(0));
    apply_one(store, &sent(activity(ada(), "run", 3.0), 30)).await;
    assert_eq!(seen_by(store, "ada").await, [("run".to_owned(), 3.0)]);
    let lines = [line("activity.upserted", "ada"), line("activity.deleted", "ada"), line("activity.upserted", "ada")];
    assert_eq!(told(store).await, lines);
}

pub(crate) async fn a_tombstone_before_its_record_buries_it_in_silence(store: &dyn Store) {
    apply_one(store, &sent(tombstone(ada(), "run"), 20)).await;
    assert_eq!(apply_one(store, &sent(activity(ada(), "run", 1.0), 10)).await, stored(0));
    assert_eq!(seen_by(store, "ada").await, []);
    assert_eq!(told(store).await, []);
}

pub(crate) async fn a_tombstone_of_the_newer_alias_hides_the_older_version(store: &dyn Store) {
    apply_one(store, &sent(activity(user("u", Some("ada")), "run", 1.0), 10)).await;
    apply_one(store, &sent(reauth(user("u", Some("ada")), user("v", Some("ada"))), 20)).await;
    apply_one(store, &sent(tombstone(user("v", Some("ada")), "run"), 30)).await;
    assert_eq!(seen_by(store, "ada").await, []);
}

pub(crate) async fn identical_content_emits_no_event(store: &dyn Store) {
    apply_one(store, &sent(activity(ada(), "run", 1.0), 10)).await;
    apply_one(store, &sent(activity(ada(), "run", 1.0), 20)).await;
    assert_eq!(told(store).await, [line("activity.upserted", "ada")]);
    // The order moved on all the same.
    assert_eq!(apply_one(store, &sent(activity(ada(), "run", 9.0), 15)).await, stored(0));
    apply_one(store, &sent(activity(ada(), "run", 2.0), 30)).await;
    let log = log(store).await;
    assert_eq!(log.len(), 2);
    assert_eq!(log[1].data["changed"], json!(["distance_data"]));
}

pub(crate) async fn two_versions_that_race_end_at_the_greater_order(store: &dyn Store) {
    apply_one(store, &sent(auth(ada()), 1)).await;
    for round in 0..20 {
        let key = format!("run-{round}");
        let upsert = sent(activity(ada(), &key, 1.0), 10);
        let burial = sent(tombstone(ada(), &key), 20);
        join_all([&upsert, &burial].map(|sent| apply_one(store, sent))).await;
    }
    assert_eq!(seen_by(store, "ada").await, []);
    // Whoever was told of a record was also told that it went.
    let told = told(store).await;
    let count = |verb: &str| told.iter().filter(|(event, _)| event == verb).count();
    assert_eq!(count("activity.upserted"), count("activity.deleted"), "{told:?}");
}

pub(crate) async fn columns_and_document_come_back_as_they_went_in(store: &dyn Store) {
    let mut full = item("run", 31_250.5);
    full["metadata"]["type"] = json!(0);
    full["metadata"]["name"] = json!("Ride é 😀 \\ \" , {}");
    full["distance_data"]["summary"]["steps"] = json!(i64::MAX);
    full["heart_rate_data"] = json!({ "summary": { "avg_hr_bpm": 141.25, "min_hr_bpm": -0.0 } });
    full["calories_data"] = json!({ "BMR_calories": 1e-300 });
    full["data_enrichment"] = json!({ "trimp_score": 120 });
    full["device_data"] = json!({ "name": "Edge", "manufacturer": "Garmin" });
    apply_one(store, &sent(activities(ada(), vec![full.clone()]), 10)).await;
    let listing = store.records(&UserId::new("ada"), DataKind::Activity, Span::default(), &everything()).await.unwrap();
    let view = &listing.items[0];
    assert_eq!(view.values, terra::record::read(DataKind::Activity, &full.to_string()).values);
    assert_eq!(view.id, id_of(DataKind::Activity, "run"));
    assert_eq!(view.provider.as_deref(), Some("GARMIN"));
    assert_eq!(view.start_at, Some("2026-02-03T06:00:00Z".parse().unwrap()));
    assert!(view.order_inferred);
    let document = store.record_document(view.id).await.unwrap().unwrap();
    assert_eq!(document.0, seal(full.to_string().as_bytes()));
}

pub(crate) async fn days_are_kept_by_the_day_on_the_persons_calendar(store: &dyn Store) {
    let day =
        |start: &str, steps: u64| json!({ "metadata": { "start_time": start, "end_time": start }, "steps": steps });
    let body = json!({ "type": "daily", "user": ada(), "data": [day("2026-02-03T00:00:00+01:00", 1), day("2026-02-04T00:00:00", 2)] });
    assert_eq!(apply_one(store, &sent(body, 10)).await, stored(2));
    let ada = UserId::new("ada");
    let listing = store.records(&ada, DataKind::Daily, Span::default(), &everything()).await.unwrap();
    let keys: Vec<_> = listing.items.iter().map(|view| (view.key.as_str(), view.start_at.is_some())).collect();
    assert_eq!(keys, [("2026-02-04", true), ("2026-02-03", true)]);
    assert!(store.records(&ada, DataKind::Sleep, Span::default(), &everything()).await.unwrap().items.is_empty());
    let one = store.record(id_of(DataKind::Daily, "2026-02-03")).await.unwrap().unwrap();
    assert_eq!((one.kind, one.terra_user_id.as_str()), (DataKind::Daily, "u"));
    assert!(store.record_document(one.id).await.unwrap().is_some());
    assert!(store.record(RecordId(uuid::Uuid::nil())).await.unwrap().is_none());
}

fn started(key: &str, start: &str) -> Value {
    let mut item = item(key, 1.0);
    item["metadata"]["start_time"] = json!(start);
    item
}

pub(crate) async fn activities_page_newest_first_through_equal_and_missing_starts(store: &dyn Store) {
    let starts = [
        "2026-02-01T10:00:00Z",
        "2026-02-02T10:00:00Z",
        "2026-02-02T10:00:00.000700Z",
        "2026-02-02T11:00:00+01:00",
        "soon",
        "2026-02-02",
    ];
    let items = starts.iter().enumerate().map(|(index, start)| started(&format!("run-{index}"), start)).collect();
    apply_one(store, &sent(activities(ada(), items), 10)).await;
    let ada = UserId::new("ada");
    let mut page = Page { after: None, limit: 1 };
    let mut keys = Vec::new();
    loop {
        let listing = store.records(&ada, DataKind::Activity, Span::default(), &page).await.unwrap();
        keys.extend(listing.items.iter().map(|view| (view.start_at, view.key.clone())));
        match listing.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(keys.len(), starts.len(), "{keys:?}");
    assert!(keys.windows(2).all(|pair| pair[0].0 >= pair[1].0), "newest first, without a start last: {keys:?}");
    let all = store.records(&ada, DataKind::Activity, Span::default(), &everything()).await.unwrap();
    assert_eq!(
        all.items.iter().map(|view| view.key.clone()).collect::<Vec<_>>(),
        keys.into_iter().map(|(_, key)| key).collect::<Vec<_>>()
    );
}

pub(crate) async fn a_span_includes_its_start_and_not_its_end(store: &dyn Store) {
    let items = vec![
        started("before", "2026-02-01T09:59:59Z"),
        started("first", "2026-02-01T10:00:00Z"),
        started("end", "2026-02-02T10:00:00Z"),
        started("never", "soon"),
    ];
    apply_one(store, &sent(activities(ada(), items), 10)).await;
    let span =
        Span { from: Some("2026-02-01T10:00:00Z".parse().unwrap()), to: Some("2026-02-02T10:00:00Z".parse().unwrap()) };
    let listing = store.records(&UserId::new("ada"), DataKind::Activity, span, &everything()).await.unwrap();
    assert_eq!(listing.items.iter().map(|view| view.key.as_str()).collect::<Vec<_>>(), ["first"]);
}

pub(crate) async fn a_newer_version_outside_the_span_leaves_no_older_one_inside(store: &dyn Store) {
    apply_one(store, &sent(activities(user("u", Some("ada")), vec![started("run", "2026-02-01T10:00:00Z")]), 10)).await;
    apply_one(store, &sent(reauth(user("u", Some("ada")), user("v", Some("ada"))), 20)).await;
    apply_one(store, &sent(activities(user("v", Some("ada")), vec![started("run", "2026-02-05T10:00:00Z")]), 30)).await;
    let span = Span { from: None, to: Some("2026-02-02T00:00:00Z".parse().unwrap()) };
    assert!(
        store.records(&UserId::new("ada"), DataKind::Activity, span, &everything()).await.unwrap().items.is_empty()
    );
    assert_eq!(seen_by(store, "ada").await.len(), 1);
}

pub(crate) async fn a_cursor_of_somebody_else_is_refused(store: &dyn Store) {
    let ada = UserId::new("ada");
    for cursor in ["", "1", "x:y", "1:2", ":", "null:"] {
        let page = Page { after: Some(cursor.into()), limit: 10 };
        let listed = store.records(&ada, DataKind::Activity, Span::default(), &page).await;
        assert!(
            matches!(listed, Err(StoreError::BadCursor)),
            "{cursor}: {:?}",
            listed.map(|listing| listing.items.len())
        );
        let listed = store.records(&ada, DataKind::Daily, Span::default(), &page).await;
        assert!(matches!(listed, Err(StoreError::BadCursor)), "{cursor}");
    }
    let page = Page { after: Some("no-id".into()), limit: 10 };
    assert!(matches!(store.connections(&Default::default(), &page).await, Err(StoreError::BadCursor)));
    assert!(matches!(store.deliveries(&Default::default(), &page).await, Err(StoreError::BadCursor)));
    assert!(matches!(store.auth_events(&Default::default(), &page).await, Err(StoreError::BadCursor)));
    assert!(matches!(store.fetches(&Default::default(), &page).await, Err(StoreError::BadCursor)));
}

pub(crate) async fn strange_content_is_kept_whole(store: &dyn Store) {
    let mut odd = item("run", 1.0);
    odd["a\u{0}b"] = json!("\u{0}\u{7}");
    odd["metadata"]["name"] = json!("a\u{0}b");
    let later = {
        let mut later = odd.clone();
        later["a\u{0}b"] = json!(2);
        later
    };
    let body = activities(ada(), vec![odd.clone(), json!(7), json!([1]), json!(null)]);
    assert!(matches!(apply_one(store, &sent(body, 10)).await, Applied::Stored { .. }));
    assert_eq!(
        store.record_document(id_of(DataKind::Activity, "run")).await.unwrap().map(|(document, _)| document),
        Some(seal(odd.to_string().as_bytes()))
    );
    assert_eq!(apply_one(store, &sent(activities(ada(), vec![odd]), 20)).await, stored(0));
    assert_eq!(apply_one(store, &sent(activities(ada(), vec![later]), 30)).await, stored(1));
    let about_run: Vec<_> = log(store).await.into_iter().filter(|event| event.data["key"] == json!("run")).collect();
    assert_eq!(about_run.len(), 2, "the second one said the same");
}
