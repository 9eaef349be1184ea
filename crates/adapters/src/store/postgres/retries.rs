//! Deliveries that are due again. A try is counted when it is leased, before the work: what kills its worker is counted
//! as well. Each range has its own scan of an index: however much waits, only what is leased is read.

use bytes::Bytes;
use domain::id::DeliveryId;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::row::{column, get, small, strange};
use super::unit::Db;
use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::{LEASE_MAX, Retry, RetryOf, SETTLED_AHEAD_MAX, StoreError};

const LEASE: &str = "
WITH due AS (
    SELECT received_at, id
      FROM delivery
     WHERE outcome = 'retry' AND locked_until IS NULL
       AND coalesce(type_name IN ('s3_payload', 's3_upload'), false) = $4 AND retry_at <= $1
     ORDER BY retry_at
     LIMIT $3
       FOR UPDATE SKIP LOCKED
), far AS (
    SELECT received_at, id
      FROM delivery
     WHERE outcome = 'retry' AND locked_until IS NULL
       AND coalesce(type_name IN ('s3_payload', 's3_upload'), false) = $4 AND settled_at > $5 AND retry_at > $1
     LIMIT $3
       FOR UPDATE SKIP LOCKED
), chosen AS (
    SELECT * FROM due UNION ALL SELECT * FROM far LIMIT $3
)
UPDATE delivery SET locked_until = $2, attempts = delivery.attempts + 1
  FROM chosen
 WHERE delivery.received_at = chosen.received_at AND delivery.id = chosen.id
RETURNING delivery.metadata, delivery.body, delivery.attempts, delivery.crashes";

pub(super) async fn lease(
    db: &Db,
    of: RetryOf,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Retry>, StoreError> {
    let leased = db
        .rows(LEASE, &[&now, &until, &i64::from(limit), &(of == RetryOf::Download), &(now + SETTLED_AHEAD_MAX)])
        .await?;
    leased.iter().map(retry).collect()
}

const LEASE_SUSPECT: &str = "
WITH over AS (
    SELECT received_at, id
      FROM delivery
     WHERE outcome = 'retry' AND locked_until IS NOT NULL
       AND coalesce(type_name IN ('s3_payload', 's3_upload'), false) = $3 AND locked_until <= $1
     ORDER BY locked_until
     LIMIT 1
       FOR UPDATE SKIP LOCKED
), far AS (
    SELECT received_at, id
      FROM delivery
     WHERE outcome = 'retry' AND locked_until IS NOT NULL
       AND coalesce(type_name IN ('s3_payload', 's3_upload'), false) = $3 AND locked_until > $4
     LIMIT 1
       FOR UPDATE SKIP LOCKED
), suspect AS (
    SELECT * FROM over UNION ALL SELECT * FROM far LIMIT 1
)
UPDATE delivery SET locked_until = $2, attempts = delivery.attempts + 1, crashes = delivery.crashes + 1
  FROM suspect
 WHERE delivery.received_at = suspect.received_at AND delivery.id = suspect.id
RETURNING delivery.metadata, delivery.body, delivery.attempts, delivery.crashes";

pub(super) async fn lease_suspect(
    db: &Db,
    of: RetryOf,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Retry>, StoreError> {
    let leased = db.row(LEASE_SUSPECT, &[&now, &until, &(of == RetryOf::Download), &(now + LEASE_MAX)]).await?;
    leased.as_ref().map(retry).transpose()
}

const RENEW: &str =
    "UPDATE delivery SET locked_until = $2 WHERE id = ANY ($1) AND outcome = 'retry' AND locked_until IS NOT NULL";

pub(super) async fn renew(db: &Db, deliveries: &[DeliveryId], until: Timestamp) -> Result<(), StoreError> {
    db.execute(RENEW, &[&column(deliveries, |id| id.0), &until]).await.map(drop)
}

const RELEASE: &str = "
UPDATE delivery
   SET locked_until = CASE WHEN crashes > 0 THEN $2::timestamptz END,
       crashes = greatest(crashes - 1, 0), attempts = greatest(attempts - 1, 0)
 WHERE id = ANY ($1) AND outcome = 'retry' AND locked_until IS NOT NULL";

pub(super) async fn release(db: &Db, deliveries: &[DeliveryId], now: Timestamp) -> Result<(), StoreError> {
    db.execute(RELEASE, &[&column(deliveries, |id| id.0), &now]).await.map(drop)
}

fn retry(row: &Row) -> Result<Retry, StoreError> {
    let delivery = serde_json::from_value(get(row, "metadata")?).map_err(|_| strange("metadata"))?;
    let body = Sealed(Bytes::from(get::<Vec<u8>>(row, "body")?));
    Ok(Retry { job: Job { delivery, body }, attempts: small(row, "attempts")?, crashes: small(row, "crashes")? })
}
