//! The ledger: one row per webhook received and worked.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::delivery::Delivery;
use domain::id::DeliveryId;
use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::types::Json;

use super::row::{column, get, integer, storable, strange};
use super::unit::Db;
use crate::queue::Job;
use crate::store::tx::LedgerRow;
use crate::store::{LedgerOutcome, StoreError};

/// What took effect stays `processed`: a second look at the same delivery finds a duplicate, or fails, and neither is
/// news about it.
const WRITE: &str = "
INSERT INTO delivery (id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order,
                      size_bytes, body_digest, late, metadata, body, outcome, reason, attempts, retry_at, row_count,
                      settled_at, unread, class, fingerprint, replay_id)
SELECT id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order,
       size_bytes, body_digest, late, metadata, body, outcome, reason, attempts, retry_at, row_count, settled_at, unread,
       class, fingerprint, replay_id
  FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
              $9::bigint[], $10::bytea[], $11::boolean[], $12::jsonb[], $13::bytea[], $14::text[], $15::text[],
              $16::integer[], $17::timestamptz[], $18::integer[], $19::timestamptz[], $20::jsonb[], $21::text[],
              $22::text[], $23::uuid[])
       AS settled (id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order,
                   size_bytes, body_digest, late, metadata, body, outcome, reason, attempts, retry_at, row_count,
                   settled_at, unread, class, fingerprint, replay_id)
 ORDER BY received_at, id
    ON CONFLICT (received_at, id) DO UPDATE
   SET type_name = excluded.type_name, terra_user_id = excluded.terra_user_id, size_bytes = excluded.size_bytes,
       metadata = excluded.metadata, body = excluded.body, outcome = excluded.outcome, reason = excluded.reason, attempts = excluded.attempts,
       retry_at = excluded.retry_at, locked_until = NULL, crashes = 0,
       row_count = excluded.row_count + CASE WHEN excluded.replay_id IS NULL THEN 0 ELSE delivery.row_count END,
       settled_at = CASE WHEN excluded.replay_id IS NOT NULL AND excluded.row_count = 0
                              AND delivery.outcome = 'processed'
                         THEN delivery.settled_at ELSE excluded.settled_at END,
       unread = excluded.unread, class = excluded.class, fingerprint = excluded.fingerprint,
       replay_id = coalesce(excluded.replay_id, delivery.replay_id), discarded_by = NULL, discard_reason = NULL
 WHERE delivery.outcome <> 'processed' OR excluded.outcome = 'processed'";

pub(super) async fn write(db: &Db, rows: &[LedgerRow<'_>]) -> Result<(), StoreError> {
    let rows = once_each(rows);
    if rows.is_empty() {
        return Ok(());
    }
    let metadata = rows.iter().map(|row| metadata(row.delivery)).collect::<Result<Vec<Value>, _>>()?;
    let trouble = column(&rows, |row| row.trouble());
    db.execute(
        WRITE,
        &[
            &column(&rows, |row| row.delivery.id.0),
            &column(&rows, |row| row.delivery.received_at),
            &column(&rows, |row| row.delivery.environment.as_str()),
            &column(&rows, |row| row.delivery.headers.trace_id.as_deref()),
            &column(&rows, |row| row.delivery.headers.reference.as_deref()),
            &column(&rows, |row| row.delivery.type_name.as_deref()),
            &column(&rows, |row| row.delivery.terra_user_id.as_deref()),
            &column(&rows, |row| row.delivery.order().as_bytes().to_vec()),
            &column(&rows, |row| i64::try_from(row.delivery.size_bytes).unwrap_or(i64::MAX)),
            &column(&rows, |row| row.delivery.body_digest.as_slice()),
            &column(&rows, |row| row.delivery.admission != domain::delivery::Admission::Fresh),
            &metadata,
            &column(&rows, |row| row.body.0.as_ref()),
            &column(&rows, |row| row.outcome.label()),
            &column(&rows, |row| row.reason.as_deref()),
            &column(&rows, |row| integer(row.attempts)),
            &column(&rows, |row| row.retry_at),
            &column(&rows, |row| integer(row.rows)),
            &column(&rows, |row| row.at),
            &column(&rows, |row| row.unread.map(Json)),
            &column(&trouble, |trouble| trouble.as_ref().map(|(class, _)| class.label())),
            &column(&trouble, |trouble| trouble.as_ref().map(|(_, fingerprint)| fingerprint.as_str())),
            &column(&rows, |row| row.replay.map(|run| run.0)),
        ],
    )
    .await?;
    Ok(())
}

const OUTCOMES: &str = "
SELECT delivery.id, delivery.outcome
  FROM unnest($1::uuid[], $2::timestamptz[]) AS asked (id, received_at)
  JOIN delivery ON delivery.received_at = asked.received_at AND delivery.id = asked.id";

pub(super) async fn outcomes(
    db: &Db,
    deliveries: &[(DeliveryId, Timestamp)],
) -> Result<BTreeMap<DeliveryId, LedgerOutcome>, StoreError> {
    if deliveries.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = db.rows(OUTCOMES, &[&column(deliveries, |(id, _)| id.0), &column(deliveries, |(_, at)| *at)]).await?;
    rows.iter()
        .map(|row| {
            let outcome = LedgerOutcome::parse(get(row, "outcome")?).ok_or_else(|| strange("outcome"))?;
            Ok((DeliveryId(get(row, "id")?), outcome))
        })
        .collect()
}

/// The same delivery may stand in one batch twice, when the queue gave it out again: what it did counts.
fn once_each<'r, 'a>(rows: &'r [LedgerRow<'a>]) -> Vec<&'r LedgerRow<'a>> {
    let mut kept: HashMap<DeliveryId, &LedgerRow<'_>> = HashMap::new();
    for row in rows {
        let slot = kept.entry(row.delivery.id).or_insert(row);
        if slot.outcome != LedgerOutcome::Processed {
            *slot = row;
        }
    }
    kept.into_values().collect()
}

fn metadata(delivery: &Delivery) -> Result<Value, StoreError> {
    serde_json::to_value(delivery).map(storable).map_err(|_| strange("metadata"))
}

const KNOWN: &str = "SELECT id FROM delivery WHERE id = ANY ($1)";

pub(super) async fn hand_over(db: &Db, jobs: &[Job], reason: &str, now: Timestamp) -> Result<(), StoreError> {
    let known = db.rows(KNOWN, &[&column(jobs, |job| job.delivery.id.0)]).await?;
    let known = known.iter().map(|row| get(row, "id")).collect::<Result<HashSet<uuid::Uuid>, _>>()?;
    let waiting = jobs.iter().filter(|job| !known.contains(&job.delivery.id.0));
    write(db, &waiting.map(|job| LedgerRow::waiting(job, reason, now)).collect::<Vec<_>>()).await
}
