//! Records: what is kept of them, and what a newer delivery makes of them.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::RecordId;
use domain::record::{Fingerprint, Kept, RecordKey};
use terra::event::DataKind;
use terra::record::{Column, Scalar, Shape, columns};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use super::record_sql::statements;
use super::row::{column, get, order};
use super::unit::Db;
use crate::payloads::Sealed;
use crate::store::StoreError;
use crate::store::record_table::{instant, scored};
use crate::store::tx::{KeptRow, RecordWrite, Reprojection, ScoreWrite};

pub(super) type Arrays<'a> = Vec<Box<dyn ToSql + Sync + Send + 'a>>;

/// Locks what it finds, and remembers what it does not.
pub(super) async fn kept(db: &mut Db, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, KeptRow>, StoreError> {
    let kept = found(db, keys, |kind| &statements(kind).kept).await?;
    db.unseen = keys.iter().filter(|key| !kept.contains_key(*key)).map(RecordKey::id).collect();
    Ok(kept)
}

pub(super) async fn seen(db: &Db, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, Kept>, StoreError> {
    let seen = found(db, keys, |kind| &statements(kind).seen).await?;
    Ok(seen.into_iter().map(|(key, row)| (key, row.kept)).collect())
}

async fn found(
    db: &Db,
    keys: &[RecordKey],
    statement: fn(DataKind) -> &'static str,
) -> Result<BTreeMap<RecordKey, KeptRow>, StoreError> {
    let by_id: BTreeMap<RecordId, &RecordKey> = keys.iter().map(|key| (key.id(), key)).collect();
    let mut found = BTreeMap::new();
    for kind in DataKind::ALL {
        let ids: Vec<_> = by_id.iter().filter(|(_, key)| key.kind == kind).map(|(id, _)| id.0).collect();
        if ids.is_empty() {
            continue;
        }
        for row in db.rows(statement(kind), &[&ids]).await? {
            if let Some(key) = by_id.get(&RecordId(get(&row, "id")?)) {
                found.insert((*key).clone(), kept_row(&row)?);
            }
        }
    }
    Ok(found)
}

fn kept_row(row: &Row) -> Result<KeptRow, StoreError> {
    let fingerprint: Json<Fingerprint> = get(row, "fingerprint")?;
    let enrichment: Option<Json<_>> = get(row, "enrichment")?;
    let kept = Kept {
        order: order(row, "record_order")?,
        order_inferred: get(row, "order_inferred")?,
        deleted: get(row, "deleted")?,
        fingerprint: fingerprint.0,
        scores: enrichment.map(|Json(scores)| scores).unwrap_or_default(),
    };
    let short = get::<Option<Vec<u8>>>(row, "short")?.map(|short| Sealed(short.into()));
    Ok(KeptRow { kept, stored: short.filter(Sealed::is_stored) })
}

pub(super) async fn write(db: &Db, writes: &[RecordWrite<'_>]) -> Result<BTreeSet<RecordId>, StoreError> {
    let (mut written, mut new) = (BTreeSet::new(), BTreeSet::new());
    for kind in DataKind::ALL {
        let of_kind: Vec<&RecordWrite<'_>> = writes.iter().filter(|write| write.record.key.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        for row in db.rows(&statements(kind).write, &parameters(&arrays(kind, &of_kind))).await? {
            let id = RecordId(get(&row, "id")?);
            written.insert(id);
            if get(&row, "is_new")? {
                new.insert(id);
            }
        }
    }
    // Somebody inserted one of these after we had looked: what its events say would be wrong.
    let overtaken =
        writes.iter().map(|write| write.record.key.id()).any(|id| db.unseen.contains(&id) && !new.contains(&id));
    if overtaken { Err(StoreError::Contention) } else { Ok(written) }
}

pub(super) async fn write_scores(db: &Db, writes: &[ScoreWrite<'_>]) -> Result<(), StoreError> {
    for kind in DataKind::ALL {
        let of_kind: Vec<&ScoreWrite<'_>> = writes.iter().filter(|write| write.key.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let mut arrays: Arrays<'_> = vec![
            Box::new(column(&of_kind, |write| write.key.id().0)),
            Box::new(column(&of_kind, |write| Json(write.scores))),
            Box::new(column(&of_kind, |write| write.at)),
        ];
        for (place, score) in scored(kind) {
            arrays.push(array(score, &of_kind, |write| write.values[place].as_ref()));
        }
        db.rows(&statements(kind).write_scores, &parameters(&arrays)).await?;
    }
    Ok(())
}

/// Refills columns from documents that were read again; answers how many rows were still the same.
pub(super) async fn reproject(db: &Db, kind: DataKind, rows: &[Reprojection]) -> Result<u64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let rows: Vec<&Reprojection> = rows.iter().collect();
    let mut arrays: Arrays<'_> = vec![
        Box::new(column(&rows, |row| row.id.0)),
        Box::new(column(&rows, |row| row.order.as_bytes().as_slice())),
        Box::new(column(&rows, |row| Json(&row.fingerprint))),
        Box::new(column(&rows, |row| (!row.scores.is_empty()).then_some(Json(&row.scores)))),
        Box::new(column(&rows, |row| row.start_time.as_deref().and_then(instant))),
    ];
    for (place, one) in columns(kind).iter().enumerate() {
        arrays.push(array(one, &rows, |row| row.values[place].as_ref()));
    }
    Ok(db.rows(&statements(kind).reproject, &parameters(&arrays)).await?.len() as u64)
}

pub(super) fn parameters<'p>(arrays: &'p Arrays<'_>) -> Vec<&'p (dyn ToSql + Sync)> {
    arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect()
}

fn arrays<'a>(kind: DataKind, writes: &'a [&'a RecordWrite<'a>]) -> Arrays<'a> {
    let mut arrays: Arrays<'a> = vec![
        Box::new(column(writes, |write| write.record.key.id().0)),
        Box::new(column(writes, |write| write.record.key.alias.environment.as_str())),
        Box::new(column(writes, |write| write.record.key.alias.terra_user_id.as_str())),
        Box::new(column(writes, |write| write.record.key.natural.as_str())),
        Box::new(column(writes, |write| write.record.order.as_bytes().as_slice())),
        Box::new(column(writes, |write| write.record.order_inferred)),
        Box::new(column(writes, |write| write.record.is_deleted())),
        Box::new(column(writes, |write| write.record.reading.start_time.as_deref().and_then(instant))),
        Box::new(column(writes, |write| write.record.reading.start_time.as_deref())),
        Box::new(column(writes, |write| write.record.reading.end_time.as_deref())),
        Box::new(column(writes, |write| Json(&write.record.fingerprint))),
        Box::new(column(writes, |write| (!write.scores.is_empty()).then_some(Json(write.scores)))),
        Box::new(column(writes, |write| write.document.0.as_ref())),
        Box::new(column(writes, |write| write.at)),
    ];
    for (place, one) in columns(kind).iter().enumerate() {
        arrays.push(array(one, writes, |write| write.values[place].as_ref()));
    }
    arrays
}

/// One typed column of every row; a value of another shape than its column's counts as none.
fn array<'a, R: Sync>(
    one: &Column,
    rows: &'a [&'a R],
    value: impl Fn(&'a R) -> Option<&'a Scalar>,
) -> Box<dyn ToSql + Sync + Send + 'a> {
    match one.shape {
        Shape::Number => Box::new(column(rows, |row| match value(row) {
            Some(Scalar::Number(number)) => Some(*number),
            _ => None,
        })),
        Shape::Integer => Box::new(column(rows, |row| match value(row) {
            Some(Scalar::Integer(integer)) => Some(*integer),
            _ => None,
        })),
        Shape::Text => Box::new(column(rows, |row| match value(row) {
            Some(Scalar::Text(text)) => Some(text.as_str()),
            _ => None,
        })),
        Shape::Flag => Box::new(column(rows, |row| match value(row) {
            Some(Scalar::Flag(flag)) => Some(*flag),
            _ => None,
        })),
    }
}
