//! What the cases are made of: stores to try, and webhooks as Terra would send them, planned by the real planner.

use std::sync::Arc;

use adapters::payloads::Sealed;
use adapters::store::{Applied, Holder, Page, Prepared, RecordView, ReferencePolicy, Span, Store};
use bytes::Bytes;
use domain::delivery::{Admission, Delivery, Receipt};
use domain::id::{DeliveryId, Environment, UserId};
use domain::outgoing::Published;
use domain::plan::{Context, plan};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use terra::event::DataKind;
use terra::headers::DeliveryHeaders;
use terra::record::Scalar;
use uuid::Uuid;

pub(crate) const DAY: i64 = 86_400;

/// Rows of history a connect asks for.
pub(crate) const BACKFILL_DAYS: u32 = 28;

/// Jobs that this makes: two windows (the days lie in two months) of each kind, and one profile.
pub(crate) const BACKFILL_JOBS: usize = 13;

/// A moment of the tests' own time, in seconds after its beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    let beginning: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    beginning.checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

pub(crate) fn environment() -> Environment {
    Environment::new("default")
}

/// A store for one test, and what has to go when it is over.
pub(crate) struct Sandbox {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) dir: Option<tempfile::TempDir>,
    #[cfg(feature = "services")]
    pub(crate) database: Option<super::database::Database>,
}

impl Sandbox {
    pub(crate) async fn embedded(policy: ReferencePolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let embedded = adapters::embedded::Embedded::open(dir.path()).unwrap();
        let store: Arc<dyn Store> = Arc::new(adapters::store::embedded::EmbeddedStore::new(embedded, policy));
        store.migrate().await.unwrap();
        Sandbox {
            store,
            dir: Some(dir),
            #[cfg(feature = "services")]
            database: None,
        }
    }

    #[cfg(feature = "services")]
    pub(crate) async fn postgres(policy: ReferencePolicy) -> Self {
        let database = super::database::Database::create().await;
        let store: Arc<dyn Store> = Arc::new(database.store(policy));
        store.migrate().await.unwrap();
        Sandbox { store, dir: None, database: Some(database) }
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.dir.is_some()
    }

    pub(crate) async fn end(self) {
        self.store.close().await;
        #[cfg(feature = "services")]
        if let Some(database) = self.database {
            database.remove().await;
        }
    }
}

/// One webhook. Times are in seconds after the beginning.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) id: DeliveryId,
    pub(crate) body: Value,
    pub(crate) environment: Environment,
    pub(crate) trace_id: Option<String>,
    pub(crate) reference: Option<String>,
    /// Of `X-Terra-Ordering-Timestamp`.
    pub(crate) ordering: Option<i64>,
    /// The signed time.
    pub(crate) t: i64,
    pub(crate) received: i64,
    pub(crate) admission: Admission,
}

pub(crate) fn sent(body: Value, seconds: i64) -> Sent {
    let id = Uuid::now_v7();
    Sent {
        id: DeliveryId(id),
        body,
        environment: environment(),
        trace_id: Some(format!("trace-{id}")),
        reference: None,
        ordering: None,
        t: seconds,
        received: seconds,
        admission: Admission::Fresh,
    }
}

impl Sent {
    /// The same webhook sent once more: another delivery to us, nothing new to Terra.
    pub(crate) fn again(&self) -> Sent {
        Sent { id: DeliveryId(Uuid::now_v7()), ..self.clone() }
    }

    pub(crate) fn delivery(&self) -> Delivery {
        let body = self.body.to_string();
        let t_seconds = at(self.t).as_second();
        let signed = Sha256::digest(format!("{t_seconds}.{body}"));
        let receipt = Receipt {
            id: self.id,
            environment: self.environment.clone(),
            received_at: at(self.received),
            t_seconds,
            headers: DeliveryHeaders {
                trace_id: self.trace_id.clone(),
                reference: self.reference.clone(),
                ordering_ms: self.ordering.map(|seconds| at(seconds).as_millisecond()),
            },
            body_digest: Sha256::digest(&body).into(),
            signed_digest: signed.into(),
            size_bytes: body.len() as u64,
            admission: self.admission,
        };
        Delivery::new(receipt, terra::event::peek(body.as_bytes()))
    }

    pub(crate) fn prepare(&self) -> Prepared {
        let body = self.body.to_string();
        let context = Context { backfill_days: BACKFILL_DAYS, ..Context::default() };
        let body = Bytes::from(body);
        let plan = plan(self.delivery(), &body, &context);
        let documents = plan.records.iter().map(|record| seal(&record.document)).collect();
        Prepared { plan, body: seal(&body), documents, attempt: 1, replay: None }
    }
}

/// The form of a payload as it came.
pub(crate) fn seal(bytes: &[u8]) -> Sealed {
    Sealed(Bytes::from([&[0], bytes].concat()))
}

pub(crate) fn user(id: &str, reference: Option<&str>) -> Value {
    json!({ "user_id": id, "provider": "GARMIN", "reference_id": reference, "scopes": "activity,sleep" })
}

pub(crate) fn auth(user: Value) -> Value {
    json!({ "type": "auth", "status": "success", "user": user })
}

/// The `auth` of somebody whom Terra has known for no more than minutes.
pub(crate) fn auth_of_new(id: &str, reference: &str) -> Value {
    let mut user = user(id, Some(reference));
    user["created_at"] = json!(at(-60).to_string());
    auth(user)
}

pub(crate) fn deauth(user: Value) -> Value {
    json!({ "type": "deauth", "status": "success", "user": user })
}

pub(crate) fn reauth(old: Value, new: Value) -> Value {
    json!({ "type": "user_reauth", "status": "warning", "old_user": old, "new_user": new })
}

pub(crate) fn activities(user: Value, items: Vec<Value>) -> Value {
    json!({ "type": "activity", "user": user, "data": items })
}

/// One activity: its key, and metres by which it is told from others.
pub(crate) fn item(key: &str, metres: f64) -> Value {
    json!({
        "metadata": { "summary_id": key, "start_time": "2026-02-03T07:00:00.000000+01:00", "end_time": "2026-02-03T08:00:00.000000+01:00", "type": 8, "upload_type": 1 },
        "distance_data": { "summary": { "distance_meters": metres } }
    })
}

pub(crate) fn activity(user: Value, key: &str, metres: f64) -> Value {
    activities(user, vec![item(key, metres)])
}

/// The same activity as Terra sends it when it is to be deleted.
pub(crate) fn tombstone(user: Value, key: &str) -> Value {
    let mut gone = item(key, 0.0);
    gone["metadata"]["upload_type"] = json!(4);
    activities(user, vec![gone])
}

pub(crate) async fn apply(store: &dyn Store, batch: &[&Sent]) -> Vec<Applied> {
    let now = batch.iter().map(|sent| sent.received).max().unwrap_or_default();
    let batch: Vec<Prepared> = batch.iter().map(|sent| sent.prepare()).collect();
    store.apply(&batch, at(now)).await.unwrap()
}

pub(crate) async fn apply_one(store: &dyn Store, sent: &Sent) -> Applied {
    apply(store, &[sent]).await.remove(0)
}

pub(crate) fn stored(rows: u32) -> Applied {
    Applied::Stored { rows }
}

pub(crate) fn everything() -> Page {
    Page { after: None, limit: 1_000 }
}

/// Key and metres of what a user sees, in ascending order.
pub(crate) async fn seen_by(store: &dyn Store, user: &str) -> Vec<(String, f64)> {
    let listing = store.records(&UserId::new(user), DataKind::Activity, Span::default(), &everything()).await.unwrap();
    let mut seen: Vec<(String, f64)> =
        listing.items.into_iter().map(|view| (view.key.clone(), metres(&view).unwrap_or(-1.0))).collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    seen
}

pub(crate) fn metres(view: &RecordView) -> Option<f64> {
    match view.value("distance_meters") {
        Some(Scalar::Number(metres)) => Some(*metres),
        Some(Scalar::Integer(_) | Scalar::Text(_) | Scalar::Flag(_)) | None => None,
    }
}

/// Numbers what is committed and reads the log from its beginning.
pub(crate) async fn log(store: &dyn Store) -> Vec<Published> {
    let relay = Holder { name: "relay", holder: Uuid::from_u128(1) };
    assert!(store.hold(relay, at(0), at(DAY)).await.unwrap());
    while store.number_events(relay, 500).await.unwrap() > 0 {}
    store.events_after(0, 100_000).await.unwrap()
}

/// `<entity>.<verb>` and subject of every event in the log.
pub(crate) async fn told(store: &dyn Store) -> Vec<(String, Option<String>)> {
    let line =
        |event: Published| (format!("{}.{}", event.entity, event.verb), event.subject.map(|user| user.to_string()));
    log(store).await.into_iter().map(line).collect()
}

pub(crate) fn line(event: &str, subject: &str) -> (String, Option<String>) {
    (event.to_owned(), Some(subject.to_owned()))
}
