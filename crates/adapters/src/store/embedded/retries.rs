//! Deliveries that are due again. A try is counted when it is leased, before the work: what kills its worker is counted
//! as well. Each range has its own scan of an index: however much waits, only what is leased is read.

use bytes::Bytes;
use domain::id::DeliveryId;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::column::{json, ms};
use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::{LEASE_MAX, Retry, RetryOf, SETTLED_AHEAD_MAX, StoreError};

pub(super) fn lease(
    connection: &Connection,
    of: RetryOf,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Retry>, StoreError> {
    const LEASE: &str = "
        UPDATE delivery SET locked_until = ?2, attempts = attempts + 1
        WHERE id IN (
            SELECT id FROM (
                SELECT id FROM delivery
                WHERE outcome = 'retry' AND locked_until IS NULL
                  AND coalesce(type_name IN ('s3_payload', 's3_upload'), 0) = ?4 AND retry_at <= ?1
                ORDER BY retry_at LIMIT ?3)
            UNION ALL
            SELECT id FROM (
                SELECT id FROM delivery
                WHERE outcome = 'retry' AND locked_until IS NULL
                  AND coalesce(type_name IN ('s3_payload', 's3_upload'), 0) = ?4 AND settled_at > ?5 AND retry_at > ?1
                LIMIT ?3)
            LIMIT ?3)
        RETURNING metadata, body, attempts, crashes";
    let mut statement = connection.prepare_cached(LEASE)?;
    let leased = statement
        .query_map(params![ms(now), ms(until), limit, of == RetryOf::Download, ms(now + SETTLED_AHEAD_MAX)], retry)?;
    Ok(leased.collect::<rusqlite::Result<Vec<Retry>>>()?)
}

pub(super) fn lease_suspect(
    connection: &Connection,
    of: RetryOf,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Retry>, StoreError> {
    const LEASE_SUSPECT: &str = "
        UPDATE delivery SET locked_until = ?2, attempts = attempts + 1, crashes = crashes + 1
        WHERE id = (
            SELECT id FROM (
                SELECT id FROM delivery
                WHERE outcome = 'retry' AND locked_until IS NOT NULL
                  AND coalesce(type_name IN ('s3_payload', 's3_upload'), 0) = ?3 AND locked_until <= ?1
                ORDER BY locked_until LIMIT 1)
            UNION ALL
            SELECT id FROM (
                SELECT id FROM delivery
                WHERE outcome = 'retry' AND locked_until IS NOT NULL
                  AND coalesce(type_name IN ('s3_payload', 's3_upload'), 0) = ?3 AND locked_until > ?4
                LIMIT 1)
            LIMIT 1)
        RETURNING metadata, body, attempts, crashes";
    let mut statement = connection.prepare_cached(LEASE_SUSPECT)?;
    Ok(statement
        .query_row(params![ms(now), ms(until), of == RetryOf::Download, ms(now + LEASE_MAX)], retry)
        .optional()?)
}

pub(super) fn renew(connection: &Connection, deliveries: &[DeliveryId], until: Timestamp) -> Result<(), StoreError> {
    const RENEW: &str =
        "UPDATE delivery SET locked_until = ?2 WHERE id = ?1 AND outcome = 'retry' AND locked_until IS NOT NULL";
    let mut statement = connection.prepare_cached(RENEW)?;
    for id in deliveries {
        statement.execute(params![id.0.as_bytes(), ms(until)])?;
    }
    Ok(())
}

pub(super) fn release(connection: &Connection, deliveries: &[DeliveryId], now: Timestamp) -> Result<(), StoreError> {
    const RELEASE: &str = "
        UPDATE delivery
        SET locked_until = iif(crashes > 0, ?2, NULL), crashes = max(crashes - 1, 0), attempts = max(attempts - 1, 0)
        WHERE id = ?1 AND outcome = 'retry' AND locked_until IS NOT NULL";
    let mut statement = connection.prepare_cached(RELEASE)?;
    for id in deliveries {
        statement.execute(params![id.0.as_bytes(), ms(now)])?;
    }
    Ok(())
}

fn retry(row: &Row<'_>) -> rusqlite::Result<Retry> {
    let body = Sealed(Bytes::from(row.get::<_, Vec<u8>>("body")?));
    let job = Job { delivery: json(row, "metadata")?, body };
    Ok(Retry { job, attempts: row.get("attempts")?, crashes: row.get("crashes")? })
}
