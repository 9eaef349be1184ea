//! What is particular to this engine; what all stores promise is in the contract suite.

use std::time::Duration;

use bytes::Bytes;
use domain::delivery::{Admission, Delivery, Receipt};
use domain::fetch::{FetchJob, Reaction};
use domain::id::{ConnectionId, DeliveryId, Environment, SessionId, UserId};
use domain::identity::Status;
use domain::outgoing::Published;
use domain::plan::{Context, plan};
use domain::session::{ConnectSession, SessionState};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest, Sha256};
use terra::event::DataKind;
use terra::headers::DeliveryHeaders;
use terra::record::Scalar;
use uuid::Uuid;

use super::*;
use crate::embedded::scratch::Scratch;
use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::*;

mod connect;
mod log;
mod people;
mod rates;

const RELAY: Holder<'static> = Holder { name: "relay", holder: Uuid::from_u128(1) };

struct Bench {
    store: EmbeddedStore,
    _scratch: Scratch,
}

impl Bench {
    fn new(policy: ReferencePolicy) -> Self {
        let scratch = Scratch::new();
        Bench { store: EmbeddedStore::new(Embedded::open(scratch.path()).unwrap(), policy), _scratch: scratch }
    }

    async fn apply(&self, prepared: Prepared) -> Applied {
        self.store.apply(&[prepared], at(1_000)).await.unwrap().remove(0)
    }

    /// All events that have a position once the relay has been here.
    async fn log(&self) -> Vec<(i64, String, Option<String>)> {
        assert!(self.store.hold(RELAY, at(0), at(1_000_000)).await.unwrap());
        while self.store.number_events(RELAY, 2).await.unwrap() > 0 {}
        let events = self.store.events_after(0, 100).await.unwrap();
        let line =
            |event: Published| (event.position, event.event_type(), event.subject.map(|subject| subject.to_string()));
        events.into_iter().map(line).collect()
    }

    async fn only_connection(&self) -> ConnectionView {
        let mut all = self.store.connections(&ConnectionFilter::default(), &Page::default()).await.unwrap().items;
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    async fn activities(&self, user: &str, page: &Page) -> Listing<RecordView> {
        self.store.records(&UserId::new(user), DataKind::Activity, Span::default(), page).await.unwrap()
    }
}

use super::super::ConnectionFilter;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A delivery made at `seconds`, under a trace id of its own.
fn delivery(body: &serde_json::Value, seconds: i64) -> Prepared {
    let body = body.to_string();
    let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    let id = Uuid::new_v5(&Uuid::nil(), format!("{seconds}{body}").as_bytes());
    let receipt = Receipt {
        id: DeliveryId(id),
        environment: Environment::new("default"),
        received_at: at(seconds),
        t_seconds: seconds,
        headers: DeliveryHeaders {
            trace_id: Some(id.to_string()),
            reference: None,
            ordering_ms: Some(seconds * 1_000),
        },
        body_digest: digest,
        signed_digest: digest,
        size_bytes: body.len() as u64,
        admission: Admission::Fresh,
    };
    let delivery = Delivery::new(receipt, terra::event::peek(body.as_bytes()));
    let plan = plan(delivery, &Bytes::from(body.clone()), &Context { backfill_days: 28, ..Context::default() });
    let documents = plan.records.iter().map(|record| Sealed(record.document.clone())).collect();
    Prepared { plan, body: Sealed(Bytes::from(body)), documents, attempt: 1, replay: None }
}

fn user(id: &str, reference: Option<&str>) -> serde_json::Value {
    json!({ "user_id": id, "provider": "GARMIN", "reference_id": reference, "scopes": "activity" })
}

fn auth(id: &str, reference: Option<&str>, seconds: i64) -> Prepared {
    let body = json!({ "type": "auth", "status": "success", "user": user(id, reference), "reference_id": reference });
    delivery(&body, seconds)
}

fn activity(id: &str, summary: &str, start: Option<&str>, distance: f64, seconds: i64) -> Prepared {
    let item = json!({
        "metadata": { "summary_id": summary, "start_time": start, "end_time": start, "type": 8 },
        "distance_data": { "summary": { "distance_meters": distance } },
    });
    delivery(&json!({ "type": "activity", "user": user(id, None), "data": [item] }), seconds)
}

#[tokio::test]
async fn a_duplicate_delivery_writes_nothing() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    let first = activity("u", "s", None, 1.0, 10);
    assert_eq!(bench.apply(first.clone()).await, Applied::Stored { rows: 1 });
    assert_eq!(bench.apply(first.clone()).await, Applied::AlreadyProcessed);
    assert_eq!(bench.store.stats(at(0)).await.unwrap().events_held, 1);
    let ledger = bench.store.deliveries(&DeliveryFilter::default(), &Page::default()).await.unwrap().items;
    assert_eq!(ledger.len(), 1);
    assert_eq!((ledger[0].outcome, ledger[0].rows), (LedgerOutcome::Processed, 1), "what took effect stays so");
}

#[tokio::test]
async fn an_older_delivery_changes_no_record_whenever_it_arrives() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    bench.apply(auth("u", Some("ann"), 5)).await;
    let start = Some("2026-01-02T08:00:00+02:00");
    for (distance, seconds, rows) in [(2.0, 20, 1), (1.0, 10, 0), (3.0, 30, 1)] {
        assert_eq!(bench.apply(activity("u", "s", start, distance, seconds)).await, Applied::Stored { rows });
    }
    let found = bench.activities("ann", &Page::default()).await.items.remove(0);
    assert_eq!(found.value("distance_meters"), Some(&Scalar::Number(3.0)));
    assert_eq!(found.value("activity_type"), Some(&Scalar::Integer(8)));
    assert_eq!(found.start_at, Some("2026-01-02T06:00:00Z".parse().unwrap()));
    let document = bench.store.record_document(found.id).await.unwrap().unwrap();
    assert!(document.0.0.windows(3).any(|window| window == b"3.0"));
}

#[tokio::test]
async fn pages_go_from_the_newest_start_to_records_without_one() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    bench.apply(auth("u", Some("ann"), 5)).await;
    let starts = [
        Some("2026-01-01T00:00:00Z"),
        Some("2026-01-03T00:00:00Z"),
        None,
        Some("2026-01-03T00:00:00Z"),
        Some("soon"),
        None,
    ];
    for (number, start) in starts.into_iter().enumerate() {
        bench.apply(activity("u", &format!("s{number}"), start, 1.0, 10)).await;
    }
    let mut page = Page { after: None, limit: 2 };
    let mut seen = Vec::new();
    loop {
        let listing = bench.activities("ann", &page).await;
        seen.extend(listing.items.into_iter().map(|view| (view.start_at, view.key)));
        let Some(next) = listing.next else { break };
        page.after = Some(next);
    }
    assert_eq!(seen.len(), starts.len());
    let days: Vec<_> = seen.iter().map(|(start, _)| start.map(|at| at.to_string())).collect();
    assert_eq!(
        days[..3],
        ["2026-01-03T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"].map(|day| Some(day.to_owned()))
    );
    assert!(days[3..].iter().all(Option::is_none));
    let keys: std::collections::BTreeSet<_> = seen.iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), starts.len(), "each once");

    page.after = Some("not ours".into());
    let refused = bench.store.records(&UserId::new("ann"), DataKind::Activity, Span::default(), &page).await;
    assert!(matches!(refused, Err(StoreError::BadCursor)));
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_refused_without_its_value() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    let refused = bench.store.write(|connection| {
        connection.execute("INSERT INTO lease (name, holder, held_until) VALUES ('secret', x'00', 1)", [])?;
        Ok(())
    });
    match refused.await {
        Err(StoreError::Rejected { constraint }) => assert_eq!(constraint, "length(holder) = 16"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn upkeep_deletes_in_steps_and_names_payloads_that_nothing_needs() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    let mut batch: Vec<Prepared> =
        (0..700).map(|number| activity("u", &format!("s{number}"), None, 1.0, number)).collect();
    batch[3].body = Sealed(Bytes::from_static(b"\x02{}"));
    assert!(batch[3].body.is_stored());
    let pointer = batch[3].body.clone();
    bench.store.apply(&batch, at(1_000)).await.unwrap();
    bench.store.upkeep(at(1_650), Duration::from_secs(1_000)).await.unwrap();
    let unneeded = bench.store.unneeded_payloads(10).await.unwrap();
    assert_eq!(unneeded.into_iter().map(|(_, payload)| payload).collect::<Vec<_>>(), [pointer]);
    let page = Page { after: None, limit: 1_000 };
    assert_eq!(bench.store.deliveries(&DeliveryFilter::default(), &page).await.unwrap().items.len(), 50);
    bench.store.upkeep(at(1_000) + SignedDuration::from_hours(91 * 24), Duration::from_secs(1)).await.unwrap();
    assert_eq!(bench.apply(batch[0].clone()).await, Applied::Stored { rows: 0 }, "forgotten, and still not newer");
}

#[tokio::test]
async fn the_schema_fits_and_migrating_again_does_nothing() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    assert_eq!(bench.store.schema().await.unwrap(), Schema::Fits { version: crate::store::SCHEMA_VERSION });
    assert_eq!(bench.store.migrate().await.unwrap(), (1..=crate::store::SCHEMA_VERSION).collect::<Vec<_>>());
    assert!(bench.store.migrate().await.unwrap().is_empty());
    bench.store.ping().await.unwrap();
    bench.store.close().await;
    assert!(bench.store.ping().await.is_err());
    assert!(matches!(bench.store.session(SessionId(Uuid::nil())).await, Err(StoreError::Unavailable(_))));
}
