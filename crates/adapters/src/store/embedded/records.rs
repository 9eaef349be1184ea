//! Records: the greatest order per key stays.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::RecordId;
use domain::order::Order;
use domain::record::{Kept, RecordKey, Scores};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use terra::event::DataKind;
use terra::record::Scalar;

use super::column::{json, json_option, json_text, ms};
use super::record_sql::statements;
use crate::payloads::Sealed;
use crate::store::StoreError;
use crate::store::record_table::{instant, scored};
use crate::store::tx::{KeptRow, RecordWrite, Reprojection, ScoreWrite};

pub(super) fn kept(connection: &Connection, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, KeptRow>, StoreError> {
    let row = |row: &Row<'_>| {
        let kept = Kept {
            order: Order::from_bytes(row.get("record_order")?),
            order_inferred: row.get("order_inferred")?,
            deleted: row.get("deleted")?,
            fingerprint: json(row, "fingerprint")?,
            scores: json_option(row, "enrichment")?.unwrap_or_default(),
        };
        let short = row.get::<_, Option<Vec<u8>>>("short")?.map(|short| Sealed(short.into()));
        Ok(KeptRow { kept, stored: short.filter(Sealed::is_stored) })
    };
    let mut kept = BTreeMap::new();
    for key in keys {
        let mut statement = connection.prepare_cached(&statements(key.kind).kept)?;
        if let Some(found) = statement.query_row([key.id().0.as_bytes()], row).optional()? {
            kept.insert(key.clone(), found);
        }
    }
    Ok(kept)
}

pub(super) fn write(connection: &Connection, writes: &[RecordWrite<'_>]) -> Result<BTreeSet<RecordId>, StoreError> {
    let mut written = BTreeSet::new();
    for write in writes {
        let id = write.record.key.id();
        let mut statement = connection.prepare_cached(&statements(write.record.key.kind).write)?;
        if statement.execute(params_from_iter(row(id, write)))? > 0 {
            written.insert(id);
        }
    }
    Ok(written)
}

fn row(id: RecordId, write: &RecordWrite<'_>) -> Vec<Value> {
    let record = write.record;
    let reading = &record.reading;
    let mut row = vec![
        bytes(id.0.as_bytes()),
        text(record.key.alias.environment.as_str()),
        text(record.key.alias.terra_user_id.as_str()),
        text(&record.key.natural),
        bytes(record.order.as_bytes()),
        Value::from(record.order_inferred),
        Value::from(record.is_deleted()),
        Value::from(reading.start_time.as_deref().and_then(instant).map(ms)),
        Value::from(reading.start_time.clone()),
        Value::from(reading.end_time.clone()),
        Value::from(json_text(&record.fingerprint)),
        enrichment(write.scores),
        bytes(&write.document.0),
        Value::from(ms(write.at)),
    ];
    row.extend(write.values.iter().map(|value| scalar(value.as_ref())));
    row
}

pub(super) fn write_scores(connection: &Connection, writes: &[ScoreWrite<'_>]) -> Result<(), StoreError> {
    for write in writes {
        let mut row = vec![bytes(write.key.id().0.as_bytes()), enrichment(write.scores), Value::from(ms(write.at))];
        row.extend(scored(write.key.kind).into_iter().map(|(place, _)| scalar(write.values[place].as_ref())));
        connection.prepare_cached(&statements(write.key.kind).write_scores)?.execute(params_from_iter(row))?;
    }
    Ok(())
}

/// Refills columns from documents that were read again; answers how many rows were still the same.
pub(super) fn reproject(connection: &Connection, kind: DataKind, rows: &[Reprojection]) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(&statements(kind).reproject)?;
    let mut same = 0;
    for one in rows {
        let mut row = vec![
            bytes(one.id.0.as_bytes()),
            bytes(one.order.as_bytes()),
            Value::from(json_text(&one.fingerprint)),
            enrichment(&one.scores),
            Value::from(one.start_time.as_deref().and_then(instant).map(ms)),
        ];
        row.extend(one.values.iter().map(|value| scalar(value.as_ref())));
        same += statement.execute(params_from_iter(row))? as u64;
    }
    Ok(same)
}

fn enrichment(scores: &Scores) -> Value {
    Value::from((!scores.is_empty()).then(|| json_text(scores)))
}

fn scalar(value: Option<&Scalar>) -> Value {
    match value {
        None => Value::Null,
        Some(Scalar::Number(number)) => Value::Real(*number),
        Some(Scalar::Integer(integer)) => Value::Integer(*integer),
        Some(Scalar::Text(text)) => Value::Text(text.clone()),
        Some(Scalar::Flag(flag)) => Value::from(*flag),
    }
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Blob(bytes.to_vec())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
