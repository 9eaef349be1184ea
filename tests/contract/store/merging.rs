//! Merging: what is kept is a function of what was sent, never of when it came. Compared with a small model.

use std::collections::BTreeMap;

use adapters::store::{Applied, DeliveryFilter, FetchFilter, Reprojection, Span, Store};
use domain::id::UserId;
use domain::record::Fingerprint;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use terra::event::DataKind;
use terra::record::{Scalar, score_value};

use super::support::{Sent, activity, apply_one, at, auth, everything, log, reauth, sent, stored, user};

fn ada() -> Value {
    user("u", Some("ada"))
}

fn day(steps: u64, scores: Value) -> Value {
    json!({
        "metadata": { "start_time": "2026-02-03T00:00:00.000000+13:00", "end_time": "2026-02-04T00:00:00.000000+13:00", "upload_type": 1 },
        "distance_data": { "steps": steps },
        "data_enrichment": scores,
    })
}

fn daily(user: Value, items: Vec<Value>) -> Value {
    json!({ "type": "daily", "user": user, "data": items })
}

/// In order by its header, whenever it is signed.
fn ordered(body: Value, seconds: i64) -> Sent {
    Sent { ordering: Some(seconds), ..sent(body, 50) }
}

async fn number(store: &dyn Store, kind: DataKind, name: &str) -> Option<f64> {
    let listing = store.records(&UserId::new("ada"), kind, Span::default(), &everything()).await.unwrap();
    match listing.items.first()?.value(name) {
        Some(Scalar::Number(number)) => Some(*number),
        Some(Scalar::Integer(integer)) => Some(*integer as f64),
        Some(Scalar::Text(_) | Scalar::Flag(_)) | None => None,
    }
}

pub(crate) async fn a_null_erases_no_score_and_a_late_one_still_counts(store: &dyn Store) {
    let score = async || number(store, DataKind::Daily, "strain_index").await;
    apply_one(store, &ordered(daily(ada(), vec![day(10, json!({ "strain_index": 1.5 }))]), 10)).await;
    apply_one(store, &ordered(daily(ada(), vec![day(20, json!({ "strain_index": null, "immune_index": 2 }))]), 30))
        .await;
    assert_eq!((number(store, DataKind::Daily, "steps").await, score().await), (Some(20.0), Some(1.5)));
    // Older than the row, newer than the score.
    let late = ordered(daily(ada(), vec![day(15, json!({ "strain_index": 3 }))]), 20);
    assert_eq!(apply_one(store, &late).await, stored(1));
    assert_eq!((number(store, DataKind::Daily, "steps").await, score().await), (Some(20.0), Some(3.0)));
    assert_eq!(number(store, DataKind::Daily, "immune_index").await, Some(2.0));
    let changed: Vec<Value> = log(store).await.into_iter().map(|event| event.data["changed"].clone()).collect();
    let both = json!(["distance_data", "data_enrichment.immune_index"]);
    assert_eq!(changed, [Value::Null, both, json!(["data_enrichment.strain_index"])]);
}

pub(crate) async fn a_score_stays_when_the_person_gets_a_new_id(store: &dyn Store) {
    apply_one(store, &ordered(daily(ada(), vec![day(10, json!({ "strain_index": 1.5 }))]), 10)).await;
    apply_one(store, &sent(reauth(ada(), user("v", Some("ada"))), 20)).await;
    apply_one(store, &ordered(daily(user("v", Some("ada")), vec![day(20, json!({ "strain_index": null }))]), 30)).await;
    assert_eq!(number(store, DataKind::Daily, "steps").await, Some(20.0));
    assert_eq!(number(store, DataKind::Daily, "strain_index").await, Some(1.5));
}

pub(crate) async fn versions_that_cannot_be_ordered_are_asked_for_once(store: &dyn Store) {
    apply_one(store, &sent(auth(ada()), 0)).await;
    let asked = async || store.fetches(&FetchFilter::default(), &everything()).await.unwrap().items;
    for (round, steps) in [(10, 1), (20, 2), (30, 2), (40, 3)] {
        apply_one(store, &sent(daily(ada(), vec![day(steps, json!({}))]), round)).await;
    }
    let jobs = asked().await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(
        (jobs[0].kind.as_str(), jobs[0].start.as_str(), jobs[0].end.as_str()),
        ("daily", "2026-02-03", "2026-02-04")
    );
    assert!(jobs[0].run_at > at(600), "when the day's totals have settled");
    let listing = store.records(&UserId::new("ada"), DataKind::Daily, Span::default(), &everything()).await.unwrap();
    assert!(listing.items[0].order_inferred);
    // With an ordering header there is no doubt.
    for (round, metres) in [(50, 1.0), (60, 2.0)] {
        apply_one(store, &ordered(activity(ada(), "run", metres), round)).await;
    }
    assert_eq!(asked().await.len(), 1);
}

pub(crate) async fn a_lab_report_belongs_to_whom_its_uploader_named(store: &dyn Store) {
    let report = |event: &str, data: Value| json!({ "type": "lab_report.completed", "event_id": event, "occurred_at": "2026-02-03T08:00:00Z", "data": data });
    let data = json!({ "session_id": "297405620317847552", "reference_id": "ada", "results_count": 1, "results": [{ "biomarker": { "key": null } }] });
    apply_one(store, &sent(report("e1", data), 10)).await;
    let failed = json!({ "type": "lab_report.failed", "event_id": "e2", "data": { "session_id": "297405620317847552", "reference_id": "ada", "error": { "code": "internal", "message": "m", "retriable": true } } });
    apply_one(store, &sent(failed, 20)).await;
    let listing =
        store.records(&UserId::new("ada"), DataKind::LabReport, Span::default(), &everything()).await.unwrap();
    let mut keys: Vec<&str> = listing.items.iter().map(|view| view.key.as_str()).collect();
    keys.sort();
    assert_eq!(keys, ["297405620317847552", "failed:297405620317847552"], "reading it again harms nothing");
    let codes: Vec<_> = listing.items.iter().filter_map(|view| view.value("failure_code")).collect();
    assert_eq!(codes, [&Scalar::Text("internal".into())]);
    let subjects: Vec<_> = log(store).await.into_iter().filter_map(|event| event.subject).collect();
    assert!(!subjects.is_empty() && subjects.iter().all(|subject| subject.as_str() == "ada"));
}

pub(crate) async fn what_could_not_be_read_is_named_and_the_rest_applied(store: &dyn Store) {
    let mut items: Vec<Value> =
        (0..10_000).map(|day| json!({ "timestamp": format!("2026-02-03T08:00:{day}Z"), "lh_mIU_per_ml": 7 })).collect();
    items[3] = json!(7);
    items[4]["timestamp"] = json!(null);
    items[5]["lh_mIU_per_ml"] = json!({ "a": 1 });
    let body = json!({ "type": "hormone", "user": ada(), "data": items });
    assert_eq!(apply_one(store, &sent(body, 10)).await, stored(10_000));
    let ledger = store.deliveries(&DeliveryFilter::default(), &everything()).await.unwrap().items;
    let unread = ledger[0].unread.as_ref().unwrap();
    let named: Vec<_> = unread.first.iter().map(|part| (part.item.unwrap(), json!(part.part.problem))).collect();
    assert!(named.contains(&(3, json!("not_an_object"))) && named.contains(&(4, json!("no_natural_key"))), "{named:?}");
    assert!(named.contains(&(5, json!("wrong_shape"))), "{named:?}");
}

pub(crate) async fn columns_are_refilled_from_documents(store: &dyn Store) {
    apply_one(store, &ordered(daily(ada(), vec![day(10, json!({ "strain_index": 1.5 }))]), 10)).await;
    let stored = store.documents(DataKind::Daily, None, 10).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert!(store.documents(DataKind::Daily, Some(stored[0].id), 10).await.unwrap().is_empty());
    let emptied = |order| Reprojection {
        id: stored[0].id,
        order,
        fingerprint: Fingerprint::default(),
        scores: Default::default(),
        start_time: None,
        values: vec![None; terra::record::columns(DataKind::Daily).len()],
    };
    let older = domain::order::Order::at(0);
    assert_eq!(store.reproject(DataKind::Daily, &[emptied(older)]).await.unwrap(), 0, "a newer row stays as it is");
    assert_eq!(store.reproject(DataKind::Daily, &[emptied(stored[0].order)]).await.unwrap(), 1);
    assert_eq!(number(store, DataKind::Daily, "steps").await, None);
    let reading = terra::record::read(DataKind::Daily, &day(10, json!({ "strain_index": 1.5 })).to_string());
    let filled = Reprojection {
        start_time: reading.start_time,
        values: reading.values,
        scores: stored[0].scores.clone(),
        ..emptied(stored[0].order)
    };
    assert_eq!(store.reproject(DataKind::Daily, &[filled]).await.unwrap(), 1);
    assert_eq!(number(store, DataKind::Daily, "steps").await, Some(10.0));
    assert_eq!(number(store, DataKind::Daily, "strain_index").await, Some(1.5));
}

/// One delivery of the random kind.
#[derive(Debug, Clone)]
struct Version {
    order: i64,
    alias: u8,
    key: u8,
    steps: u64,
    strain: Option<u8>,
    rcrs: Option<u8>,
    deleted: bool,
}

impl Version {
    fn sent(&self) -> Sent {
        let item = json!({
            "metadata": { "summary_id": format!("run-{}", self.key), "start_time": "2026-02-03T07:00:00Z", "upload_type": if self.deleted { 4 } else { 1 } },
            "distance_data": { "summary": { "steps": self.steps } },
            "data_enrichment": { "strain_score": self.strain, "rcrs_score": self.rcrs },
        });
        let user = user(if self.alias == 0 { "u" } else { "v" }, Some("ada"));
        ordered(json!({ "type": "activity", "user": user, "data": [item] }), self.order)
    }
}

fn version() -> impl Strategy<Value = Version> {
    let score = || prop::option::of(0..3_u8);
    (0..2_u8, 0..3_u8, 0..4_u64, score(), score(), prop::bool::weighted(0.2)).prop_map(
        |(alias, key, steps, strain, rcrs, deleted)| Version { order: 0, alias, key, steps, strain, rcrs, deleted },
    )
}

/// Versions in the order in which they were made, and places in which they arrive, some twice.
fn story() -> impl Strategy<Value = (Vec<Version>, Vec<usize>)> {
    prop::collection::vec(version(), 1..10).prop_flat_map(|mut versions| {
        for (place, version) in versions.iter_mut().enumerate() {
            version.order = i64::try_from(place).unwrap();
        }
        let count = versions.len();
        let again = prop::collection::vec(0..count, 0..5);
        (Just(versions), again.prop_map(move |again| (0..count).chain(again).collect::<Vec<_>>()).prop_shuffle())
    })
}

type Rows = BTreeMap<String, (Option<i64>, Option<f64>, Option<f64>)>;

/// The greatest order per key over both aliases, unless that is a tombstone; each score the last one that was said.
fn model(versions: &[Version]) -> Rows {
    let mut rows = Rows::new();
    for key in 0..3 {
        let of_key: Vec<&Version> = versions.iter().filter(|version| version.key == key).collect();
        let Some(last) = of_key.last().filter(|last| !last.deleted) else { continue };
        let said =
            |pick: fn(&Version) -> Option<u8>| of_key.iter().rev().find_map(|version| pick(version)).map(f64::from);
        let row = (i64::try_from(last.steps).ok(), said(|version| version.strain), said(|version| version.rcrs));
        rows.insert(format!("run-{key}"), row);
    }
    rows
}

async fn rows(store: &dyn Store) -> Rows {
    let listing = store.records(&UserId::new("ada"), DataKind::Activity, Span::default(), &everything()).await.unwrap();
    let value = |name: &str, raw: Option<&Scalar>| {
        let column = terra::record::columns(DataKind::Activity).iter().find(|column| column.name() == name).unwrap();
        raw.and_then(|scalar| score_value(column, &json!(scalar).to_string()))
    };
    let number = |scalar: Option<Scalar>| scalar.and_then(|scalar| json!(scalar).as_f64());
    let row = |view: &adapters::store::RecordView| {
        let steps = json!(view.value("steps")).as_i64();
        let score = |name: &str| number(value(name, view.value(name)));
        (view.key.clone(), (steps, score("strain_score"), score("rcrs_score")))
    };
    listing.items.iter().map(row).collect()
}

pub(crate) async fn random_deliveries_in_random_order_end_as_the_model_says(store: &dyn Store) {
    let mut runner = TestRunner::deterministic();
    for round in 0..30 {
        let (versions, arrivals) = story().new_tree(&mut runner).unwrap().current();
        // People of their own in every round; the second alias joins the first at a random moment.
        let person = |sent: Sent| {
            let text = sent.body.to_string();
            let renamed = text.replace("\"u\"", &format!("\"u{round}\"")).replace("\"v\"", &format!("\"v{round}\""));
            Sent { body: serde_json::from_str(&renamed.replace("run-", &format!("{round}-run-"))).unwrap(), ..sent }
        };
        let all: Vec<Sent> = versions.iter().map(|version| person(version.sent())).collect();
        let joined = person(sent(reauth(user("u", Some("ada")), user("v", Some("ada"))), 60));
        let mut batch: Vec<Sent> = Vec::new();
        for (place, arrival) in arrivals.iter().enumerate() {
            batch.push(if place % 2 == 0 { all[*arrival].clone() } else { all[*arrival].again() });
            if place == arrivals.len() / 2 {
                batch.push(joined.clone());
            }
            if place % 3 == 0 {
                let taken = std::mem::take(&mut batch);
                super::support::apply(store, &taken.iter().collect::<Vec<_>>()).await;
            }
        }
        super::support::apply(store, &batch.iter().collect::<Vec<_>>()).await;
        let expected: Rows = model(&versions).into_iter().map(|(key, row)| (format!("{round}-{key}"), row)).collect();
        let mut found = rows(store).await;
        found.retain(|key, _| key.starts_with(&format!("{round}-")));
        assert_eq!(found, expected, "round {round}: {versions:?} arrived as {arrivals:?}");
    }
    assert!(matches!(apply_one(store, &sent(auth(ada()), 99)).await, Applied::Stored { .. }));
}
