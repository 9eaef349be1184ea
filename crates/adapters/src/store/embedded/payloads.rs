//! Payloads in the payload store that no row needs any more, and deliveries of which nobody knows whose they are.

use domain::id::{DeliveryId, Environment, RecordId};
use rusqlite::{Connection, OptionalExtension, params};
use terra::event::DataKind;
use uuid::Uuid;

use super::column::{json, time, uuid};
use super::record_sql::statements;
use crate::payloads::Sealed;
use crate::store::tx::Unneeded;
use crate::store::{Nameless, StoreError};

pub(super) fn let_go(connection: &Connection, unneeded: &[Unneeded]) -> Result<(), StoreError> {
    const LET_GO: &str = "INSERT INTO unneeded_payload (kind, record_id, pointer) VALUES (?1, ?2, ?3)";
    let mut statement = connection.prepare_cached(LET_GO)?;
    for one in unneeded.iter().filter(|one| one.payload.is_stored()) {
        let (kind, record) = one.record.map(|(kind, id)| (kind.label(), *id.0.as_bytes())).unzip();
        statement.execute(params![kind, record, one.payload.0.as_ref()])?;
    }
    Ok(())
}

/// What a record points to (again) is none of them: it is struck off.
pub(super) fn unneeded(connection: &Connection, limit: u32) -> Result<Vec<(i64, Sealed)>, StoreError> {
    const UNNEEDED: &str = "SELECT id, kind, record_id, pointer FROM unneeded_payload ORDER BY id LIMIT ?1";
    let mut statement = connection.prepare_cached(UNNEEDED)?;
    let rows = statement.query_map([limit], |row| {
        let kind = row.get::<_, Option<String>>("kind")?.as_deref().and_then(DataKind::parse);
        let record = row.get::<_, Option<[u8; 16]>>("record_id")?.map(|id| RecordId(Uuid::from_bytes(id)));
        let pointer = Sealed(row.get::<_, Vec<u8>>("pointer")?.into());
        Ok((row.get::<_, i64>("id")?, kind.zip(record), pointer))
    })?;
    let (mut unneeded, mut needed) = (Vec::new(), Vec::new());
    for row in rows {
        let (id, record, pointer) = row?;
        let current = record.map(|(kind, record)| document(connection, kind, record)).transpose()?.flatten();
        if current.as_ref() == Some(&pointer) { needed.push(id) } else { unneeded.push((id, pointer)) }
    }
    gone(connection, &needed)?;
    Ok(unneeded)
}

fn document(connection: &Connection, kind: DataKind, id: RecordId) -> Result<Option<Sealed>, StoreError> {
    let mut statement = connection.prepare_cached(&statements(kind).document)?;
    let body = statement.query_row([id.0.as_bytes()], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    Ok(body.map(|body| Sealed(body.into())))
}

pub(super) fn gone(connection: &Connection, payloads: &[i64]) -> Result<(), StoreError> {
    const GONE: &str = "DELETE FROM unneeded_payload WHERE id = ?1";
    let mut statement = connection.prepare_cached(GONE)?;
    for id in payloads {
        statement.execute([id])?;
    }
    Ok(())
}

pub(super) fn nameless(
    connection: &Connection,
    after: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Nameless>, StoreError> {
    const NAMELESS: &str = "
        SELECT id, received_at, environment, metadata, body FROM delivery
        WHERE terra_user_id IS NULL AND outcome <> 'erased' AND id > ?1 ORDER BY id LIMIT ?2";
    let after = after.map_or(Uuid::nil(), |id| id.0);
    let mut statement = connection.prepare_cached(NAMELESS)?;
    let rows = statement.query_map(params![after.as_bytes(), limit], |row| {
        Ok(Nameless {
            id: DeliveryId(uuid(row, "id")?),
            received_at: time(row, "received_at")?,
            environment: Environment::new(row.get::<_, String>("environment")?),
            delivery: json(row, "metadata").ok(),
            body: Sealed(row.get::<_, Vec<u8>>("body")?.into()),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
