//! Records: what is kept of them, and what a newer delivery makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use domain::id::RecordId;
use domain::record::{Columns, Fingerprint, Kept, Record, RecordKey};
use jiff::{Timestamp, Unit};
use terra::event::DataKind;
use terra::record::Activity;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::activity;
use super::row::{column, get, order};
use super::unit::Db;
use crate::store::StoreError;
use crate::store::tx::RecordWrite;

const KEPT_ACTIVITIES: &str = "
SELECT id, record_order, deleted, fingerprint FROM activity WHERE id = ANY ($1) ORDER BY id FOR UPDATE";

const KEPT_DOCUMENTS: &str = "
SELECT id, record_order, deleted, fingerprint FROM document_record WHERE id = ANY ($1) ORDER BY id FOR UPDATE";

pub(super) async fn kept(db: &mut Db, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, Kept>, StoreError> {
    let by_id: BTreeMap<RecordId, &RecordKey> = keys.iter().map(|key| (key.id(), key)).collect();
    let (activities, documents): (Vec<_>, Vec<_>) = by_id.iter().partition(|(_, key)| key.kind == DataKind::Activity);
    let mut kept = BTreeMap::new();
    for (sql, ids) in [(KEPT_ACTIVITIES, activities), (KEPT_DOCUMENTS, documents)] {
        if ids.is_empty() {
            continue;
        }
        for row in db.rows(sql, &[&column(&ids, |(id, _)| id.0)]).await? {
            if let Some(key) = by_id.get(&RecordId(get(&row, "id")?)) {
                kept.insert((*key).clone(), kept_row(&row)?);
            }
        }
    }
    db.unseen = by_id.iter().filter(|(_, key)| !kept.contains_key(**key)).map(|(id, _)| *id).collect();
    Ok(kept)
}

fn kept_row(row: &Row) -> Result<Kept, StoreError> {
    let fingerprint: Json<Fingerprint> = get(row, "fingerprint")?;
    Ok(Kept { order: order(row, "record_order")?, deleted: get(row, "deleted")?, fingerprint: fingerprint.0 })
}

/// One record as its columns take it.
pub(super) struct Written<'a> {
    pub(super) id: RecordId,
    pub(super) environment: &'a str,
    pub(super) terra_user_id: &'a str,
    pub(super) kind: &'static str,
    pub(super) natural_key: &'a str,
    pub(super) order: &'a [u8],
    pub(super) order_inferred: bool,
    pub(super) deleted: bool,
    pub(super) start_at: Option<Timestamp>,
    pub(super) start_time: Option<&'a str>,
    pub(super) end_time: Option<&'a str>,
    pub(super) fingerprint: Json<&'a Fingerprint>,
    pub(super) document: &'a [u8],
    pub(super) updated_at: Timestamp,
}

impl<'a> Written<'a> {
    fn new(write: &RecordWrite<'a>) -> Self {
        let Record { key, order, order_inferred, deleted, fingerprint, columns, .. } = write.record;
        let (start_time, end_time) = match columns {
            Columns::Activity(activity) => (activity.start_time.as_deref(), activity.end_time.as_deref()),
            Columns::Document { start_time, end_time } => (start_time.as_deref(), end_time.as_deref()),
        };
        Written {
            id: key.id(),
            environment: key.alias.environment.as_str(),
            terra_user_id: key.alias.terra_user_id.as_str(),
            kind: key.kind.label(),
            natural_key: &key.natural,
            order: order.as_bytes(),
            order_inferred: *order_inferred,
            deleted: *deleted,
            start_at: start_time.and_then(instant),
            start_time,
            end_time,
            fingerprint: Json(fingerprint),
            document: &write.document.0,
            updated_at: write.at,
        }
    }
}

/// The moment of a time as delivered; `None` where it has no offset. Whole milliseconds, as cursors have them.
fn instant(text: &str) -> Option<Timestamp> {
    let exact = Timestamp::from_str(text).ok()?;
    exact.round(jiff::TimestampRound::new().smallest(Unit::Millisecond).mode(jiff::RoundMode::Trunc)).ok()
}

const WRITE_DOCUMENTS: &str = "
INSERT INTO document_record (id, environment, terra_user_id, kind, natural_key, record_order, order_inferred, deleted,
                             start_at, start_time, end_time, fingerprint, document, updated_at)
SELECT id, environment, terra_user_id, kind, natural_key, record_order, order_inferred, deleted, start_at, start_time,
       end_time, fingerprint, document, updated_at
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::boolean[], $8::boolean[],
              $9::timestamptz[], $10::text[], $11::text[], $12::json[], $13::bytea[], $14::timestamptz[])
       AS written (id, environment, terra_user_id, kind, natural_key, record_order, order_inferred, deleted, start_at,
                   start_time, end_time, fingerprint, document, updated_at)
 ORDER BY id
    ON CONFLICT (id) DO UPDATE
   SET record_order = excluded.record_order, order_inferred = excluded.order_inferred, deleted = excluded.deleted,
       start_at = excluded.start_at, start_time = excluded.start_time, end_time = excluded.end_time,
       fingerprint = excluded.fingerprint, document = excluded.document, updated_at = excluded.updated_at
 WHERE document_record.record_order < excluded.record_order
RETURNING id, xmax = 0 AS is_new";

async fn write_documents(db: &Db, writes: &[Written<'_>]) -> Result<Vec<Row>, StoreError> {
    db.rows(
        WRITE_DOCUMENTS,
        &[
            &column(writes, |write| write.id.0),
            &column(writes, |write| write.environment),
            &column(writes, |write| write.terra_user_id),
            &column(writes, |write| write.kind),
            &column(writes, |write| write.natural_key),
            &column(writes, |write| write.order),
            &column(writes, |write| write.order_inferred),
            &column(writes, |write| write.deleted),
            &column(writes, |write| write.start_at),
            &column(writes, |write| write.start_time),
            &column(writes, |write| write.end_time),
            &column(writes, |write| &write.fingerprint),
            &column(writes, |write| write.document),
            &column(writes, |write| write.updated_at),
        ],
    )
    .await
}

pub(super) async fn write(db: &Db, writes: &[RecordWrite<'_>]) -> Result<BTreeSet<RecordId>, StoreError> {
    // An item of an activity event that is no object has no columns; it is kept where its kind is looked for.
    let empty = Activity::default();
    let mut activities: Vec<&Activity> = Vec::new();
    let (typed, documents): (Vec<_>, Vec<_>) =
        writes.iter().partition(|write| write.record.key.kind == DataKind::Activity);
    for write in &typed {
        activities.push(match &write.record.columns {
            Columns::Activity(activity) => activity,
            Columns::Document { .. } => &empty,
        });
    }
    let mut rows = Vec::new();
    if !typed.is_empty() {
        let typed: Vec<Written<'_>> = typed.into_iter().map(Written::new).collect();
        rows.extend(activity::write(db, &typed, &activities).await?);
    }
    if !documents.is_empty() {
        let documents: Vec<Written<'_>> = documents.into_iter().map(Written::new).collect();
        rows.extend(write_documents(db, &documents).await?);
    }
    let (mut written, mut new) = (BTreeSet::new(), BTreeSet::new());
    for row in &rows {
        let id = RecordId(get(row, "id")?);
        written.insert(id);
        if get(row, "is_new")? {
            new.insert(id);
        }
    }
    // Somebody inserted one of these after we had looked: what its events say would be wrong.
    let overtaken =
        writes.iter().map(|write| write.record.key.id()).any(|id| db.unseen.contains(&id) && !new.contains(&id));
    if overtaken { Err(StoreError::Contention) } else { Ok(written) }
}
