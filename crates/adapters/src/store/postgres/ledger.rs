//! The ledger: one row per webhook received and worked, and the failed ones that are due again.

use std::collections::HashMap;

use bytes::Bytes;
use domain::delivery::Delivery;
use domain::id::{DeliveryId, EventId, derived_uuid};
use domain::outgoing::Outgoing;
use domain::settle::Settlement;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_postgres::types::Json;

use super::row::{column, get, integer, small, storable, strange};
use super::unit::Db;
use super::{events, identity};
use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::tx::LedgerRow;
use crate::store::{LedgerOutcome, Recorded, Retry, StoreError, apply};

/// What took effect stays `processed`: a second look at the same delivery finds a duplicate, or fails, and neither is
/// news about it.
const WRITE: &str = "
INSERT INTO delivery (id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order,
                      size_bytes, body_digest, late, metadata, body, outcome, reason, attempts, retry_at, row_count,
                      settled_at, unread)
SELECT id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order,
       size_bytes, body_digest, late, metadata, body, outcome, reason, attempts, retry_at, row_count, settled_at, unread
  FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
              $9::bigint[], $10::bytea[], $11::boolean[], $12::jsonb[], $13::bytea[], $14::text[], $15::text[],
              $16::integer[], $17::timestamptz[], $18::integer[], $19::timestamptz[], $20::jsonb[])
       AS settled (id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order,
                   size_bytes, body_digest, late, metadata, body, outcome, reason, attempts, retry_at, row_count,
                   settled_at, unread)
 ORDER BY received_at, id
    ON CONFLICT (received_at, id) DO UPDATE
   SET type_name = excluded.type_name, terra_user_id = excluded.terra_user_id, size_bytes = excluded.size_bytes,
       body = excluded.body, outcome = excluded.outcome, reason = excluded.reason, attempts = excluded.attempts,
       retry_at = excluded.retry_at, locked_until = NULL, row_count = excluded.row_count,
       settled_at = excluded.settled_at, unread = excluded.unread
 WHERE delivery.outcome <> 'processed' OR excluded.outcome = 'processed'";

pub(super) async fn write(db: &Db, rows: &[LedgerRow<'_>]) -> Result<(), StoreError> {
    let rows = once_each(rows);
    if rows.is_empty() {
        return Ok(());
    }
    let metadata = rows.iter().map(|row| metadata(row.delivery)).collect::<Result<Vec<Value>, _>>()?;
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
        ],
    )
    .await?;
    Ok(())
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

pub(super) async fn record_failure(
    db: &mut Db,
    job: &Job,
    attempt: u32,
    settlement: &Settlement,
    reason: &str,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    identity::lock(db, false).await?;
    if apply::erased::drop_failed(db, job, attempt, now).await? {
        return Ok(Recorded::Erased);
    }
    let (outcome, retry_at) = match settlement {
        Settlement::RetryAt(at) => (LedgerOutcome::Retry, Some(*at)),
        Settlement::Dead { .. } => (LedgerOutcome::Dead, None),
    };
    let row = LedgerRow {
        delivery: &job.delivery,
        body: &job.body,
        outcome,
        reason: Some(reason.to_owned()),
        attempts: attempt,
        retry_at,
        rows: 0,
        unread: None,
        at: now,
    };
    write(db, &[row]).await?;
    match settlement {
        Settlement::RetryAt(_) => {}
        Settlement::Dead { reason } => events::insert(db, &[dead(&job.delivery, attempt, reason, now)]).await?,
    }
    Ok(Recorded::Kept)
}

/// Tells the company's services of a delivery that nobody will try again by itself.
fn dead(delivery: &Delivery, attempts: u32, reason: &str, now: Timestamp) -> Outgoing {
    Outgoing {
        id: EventId(derived_uuid(&[b"event", delivery.id.0.as_bytes(), b"delivery", b"dead", &attempts.to_be_bytes()])),
        alias: None,
        environment: delivery.environment.clone(),
        connection: None,
        subject: None,
        entity: "delivery".into(),
        verb: "dead".into(),
        provider: None,
        record: None,
        time: now,
        data: json!({
            "delivery": delivery.id,
            "type": delivery.type_name,
            "terra_user_id": delivery.terra_user_id,
            "reason": reason,
            "attempts": attempts,
        }),
    }
}

const LEASE: &str = "
WITH due AS (
    SELECT received_at, id
      FROM delivery
     WHERE outcome = 'retry' AND retry_at <= $1 AND (locked_until IS NULL OR locked_until <= $1)
       AND coalesce(type_name IN ('s3_payload', 's3_upload'), false) = $4
     ORDER BY retry_at
     LIMIT $3
       FOR UPDATE SKIP LOCKED
)
UPDATE delivery SET locked_until = $2
  FROM due
 WHERE delivery.received_at = due.received_at AND delivery.id = due.id
RETURNING delivery.metadata, delivery.body, delivery.attempts";

/// `downloads`: those whose payload lies in storage, or all others.
pub(super) async fn lease(
    db: &Db,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
    downloads: bool,
) -> Result<Vec<Retry>, StoreError> {
    let leased = db.rows(LEASE, &[&now, &until, &i64::from(limit), &downloads]).await?;
    leased
        .iter()
        .map(|row| {
            let delivery = serde_json::from_value(get(row, "metadata")?).map_err(|_| strange("metadata"))?;
            let body = Sealed(Bytes::from(get::<Vec<u8>>(row, "body")?));
            Ok(Retry { job: Job { delivery, body }, attempts: small(row, "attempts")? })
        })
        .collect()
}
