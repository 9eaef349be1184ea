//! Payloads in the payload store that no row needs any more, and deliveries of which nobody knows whose they are.

use domain::id::{DeliveryId, RecordId};
use terra::event::DataKind;
use uuid::Uuid;

use super::record_sql::statements;
use super::row::{column, environment, get};
use super::unit::Db;
use crate::payloads::Sealed;
use crate::store::tx::Unneeded;
use crate::store::{Nameless, StoreError};

const LET_GO: &str = "
INSERT INTO unneeded_payload (kind, record_id, pointer)
SELECT kind, record_id, pointer FROM unnest($1::text[], $2::uuid[], $3::bytea[]) AS gone (kind, record_id, pointer)";

pub(super) async fn let_go(db: &Db, unneeded: &[Unneeded]) -> Result<(), StoreError> {
    let stored: Vec<&Unneeded> = unneeded.iter().filter(|one| one.payload.is_stored()).collect();
    if stored.is_empty() {
        return Ok(());
    }
    db.execute(
        LET_GO,
        &[
            &column(&stored, |one| one.record.map(|(kind, _)| kind.label())),
            &column(&stored, |one| one.record.map(|(_, id)| id.0)),
            &column(&stored, |one| one.payload.0.as_ref()),
        ],
    )
    .await?;
    Ok(())
}

const UNNEEDED: &str = "SELECT id, kind, record_id, pointer FROM unneeded_payload ORDER BY id LIMIT $1";

/// What a record points to (again) is none of them: it is struck off.
pub(super) async fn unneeded(db: &Db, limit: u32) -> Result<Vec<(i64, Sealed)>, StoreError> {
    let (mut unneeded, mut needed) = (Vec::new(), Vec::new());
    for row in db.rows(UNNEEDED, &[&i64::from(limit)]).await? {
        let id: i64 = get(&row, "id")?;
        let pointer = Sealed(get::<Vec<u8>>(&row, "pointer")?.into());
        let kind = get::<Option<&str>>(&row, "kind")?.and_then(DataKind::parse);
        let record = get::<Option<Uuid>>(&row, "record_id")?.map(RecordId);
        match kind.zip(record) {
            Some((kind, record)) if document(db, kind, record).await?.as_ref() == Some(&pointer) => needed.push(id),
            Some(_) | None => unneeded.push((id, pointer)),
        }
    }
    gone(db, &needed).await?;
    Ok(unneeded)
}

async fn document(db: &Db, kind: DataKind, id: RecordId) -> Result<Option<Sealed>, StoreError> {
    let row = db.row(&statements(kind).document, &[&id.0]).await?;
    row.map(|row| Ok(Sealed(get::<Vec<u8>>(&row, "document")?.into()))).transpose()
}

pub(super) async fn gone(db: &Db, payloads: &[i64]) -> Result<(), StoreError> {
    if !payloads.is_empty() {
        db.execute("DELETE FROM unneeded_payload WHERE id = ANY ($1)", &[&payloads]).await?;
    }
    Ok(())
}

const NAMELESS: &str = "
SELECT id, received_at, environment, metadata, body
  FROM delivery
 WHERE terra_user_id IS NULL AND outcome <> 'erased' AND ($1::uuid IS NULL OR id > $1)
 ORDER BY id
 LIMIT $2";

pub(super) async fn nameless(db: &Db, after: Option<DeliveryId>, limit: u32) -> Result<Vec<Nameless>, StoreError> {
    let rows = db.rows(NAMELESS, &[&after.map(|id| id.0), &i64::from(limit)]).await?;
    rows.iter()
        .map(|row| {
            Ok(Nameless {
                id: DeliveryId(get(row, "id")?),
                received_at: get(row, "received_at")?,
                environment: environment(row)?,
                delivery: serde_json::from_value(get(row, "metadata")?).ok(),
                body: Sealed(get::<Vec<u8>>(row, "body")?.into()),
            })
        })
        .collect()
}
