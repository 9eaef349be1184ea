//! What was processed, and what became of every delivery.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use domain::id::{DeliveryId, Environment, EventId, derived_uuid};
use domain::outgoing::Outgoing;
use domain::settle::Settlement;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::column::{json, json_text, ms};
use super::events;
use super::tx::{SqliteTx, at_once};
use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::tx::{LedgerRow, ProcessedRow};
use crate::store::{LedgerOutcome, Recorded, Retry, StoreError, apply};

pub(super) fn claim(
    connection: &Connection,
    rows: &[ProcessedRow],
) -> Result<BTreeSet<(Environment, String)>, StoreError> {
    const CLAIM: &str = "
        INSERT INTO processed (environment, dedupe_key, body_digest, signed_digest, delivery_id, processed_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
    let mut statement = connection.prepare_cached(CLAIM)?;
    let mut claimed = BTreeSet::new();
    for row in rows {
        let inserted = statement.execute(params![
            row.environment.as_str(),
            row.key,
            row.body_digest,
            row.signed_digest,
            row.delivery.0.as_bytes(),
            ms(row.processed_at),
        ])?;
        if inserted > 0 {
            claimed.insert((row.environment.clone(), row.key.clone()));
        }
    }
    Ok(claimed)
}

pub(super) fn claimed(
    connection: &Connection,
    keys: &[(Environment, String)],
) -> Result<BTreeMap<(Environment, String), [u8; 32]>, StoreError> {
    const CLAIMED: &str = "SELECT body_digest FROM processed WHERE environment = ?1 AND dedupe_key = ?2";
    let mut statement = connection.prepare_cached(CLAIMED)?;
    let mut digests = BTreeMap::new();
    for key in keys {
        if let Some(digest) = statement.query_row([key.0.as_str(), &key.1], |row| row.get(0)).optional()? {
            digests.insert(key.clone(), digest);
        }
    }
    Ok(digests)
}

pub(super) fn signed_seen(
    connection: &Connection,
    digests: &[(Environment, [u8; 32])],
) -> Result<BTreeSet<(Environment, [u8; 32])>, StoreError> {
    const SEEN: &str = "SELECT 1 FROM processed WHERE signed_digest = ?1 AND environment = ?2 LIMIT 1";
    let mut statement = connection.prepare_cached(SEEN)?;
    let mut seen = BTreeSet::new();
    for (environment, digest) in digests {
        if statement.query_row(params![digest, environment.as_str()], |_| Ok(())).optional()?.is_some() {
            seen.insert((environment.clone(), *digest));
        }
    }
    Ok(seen)
}

/// What took effect stays `processed`: a second look at the same delivery finds a duplicate, or fails, and neither is
/// news about it.
pub(super) fn write(connection: &Connection, rows: &[LedgerRow<'_>]) -> Result<(), StoreError> {
    const UPSERT: &str = "
        INSERT INTO delivery (id, received_at, environment, trace_id, reference, type_name, terra_user_id,
                              delivery_order, size_bytes, body_digest, late, metadata, body, outcome, reason, attempts,
                              retry_at, row_count, settled_at, unread)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
        ON CONFLICT (id) DO UPDATE SET
            type_name = excluded.type_name, terra_user_id = excluded.terra_user_id, size_bytes = excluded.size_bytes,
            body = excluded.body, outcome = excluded.outcome, reason = excluded.reason, attempts = excluded.attempts,
            retry_at = excluded.retry_at, row_count = excluded.row_count, settled_at = excluded.settled_at,
            unread = excluded.unread, locked_until = NULL
        WHERE delivery.outcome != 'processed' OR excluded.outcome = 'processed'";
    let mut statement = connection.prepare_cached(UPSERT)?;
    for row in rows {
        let delivery = row.delivery;
        statement.execute(params![
            delivery.id.0.as_bytes(),
            ms(delivery.received_at),
            delivery.environment.as_str(),
            delivery.headers.trace_id,
            delivery.headers.reference,
            delivery.type_name,
            delivery.terra_user_id,
            delivery.order().as_bytes(),
            i64::try_from(delivery.size_bytes).unwrap_or(i64::MAX),
            delivery.body_digest,
            delivery.admission != domain::delivery::Admission::Fresh,
            json_text(delivery),
            row.body.0.as_ref(),
            row.outcome.label(),
            row.reason,
            row.attempts,
            row.retry_at.map(ms),
            row.rows,
            ms(row.at),
            row.unread.map(json_text),
        ])?;
    }
    Ok(())
}

pub(super) fn record_failure(
    connection: &mut Connection,
    job: &Job,
    attempt: u32,
    settlement: &Settlement,
    reason: &str,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    if at_once(apply::erased::drop_failed(&mut SqliteTx { connection }, job, attempt, now))? {
        return Ok(Recorded::Erased);
    }
    let (outcome, retry_at) = match settlement {
        Settlement::RetryAt(at) => (LedgerOutcome::Retry, Some(*at)),
        Settlement::Dead { .. } => (LedgerOutcome::Dead, None),
    };
    let reason = Some(reason.to_owned());
    let row = LedgerRow {
        delivery: &job.delivery,
        body: &job.body,
        outcome,
        reason,
        attempts: attempt,
        retry_at,
        rows: 0,
        unread: None,
        at: now,
    };
    write(connection, &[row])?;
    match settlement {
        Settlement::RetryAt(_) => {}
        Settlement::Dead { reason } => events::insert(connection, &[dead(job, attempt, reason, now)])?,
    }
    Ok(Recorded::Kept)
}

/// Tells that somebody must look. It is about no alias, so that nothing holds it.
fn dead(job: &Job, attempt: u32, reason: &str, now: Timestamp) -> Outgoing {
    let delivery = &job.delivery;
    Outgoing {
        id: EventId(derived_uuid(&[b"event", delivery.id.0.as_bytes(), b"delivery", b"dead", &attempt.to_be_bytes()])),
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
            "attempts": attempt,
            "reason": reason,
        }),
    }
}

/// `downloads`: those whose payload lies in storage, or all others.
pub(super) fn lease_retries(
    connection: &Connection,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
    downloads: bool,
) -> Result<Vec<Retry>, StoreError> {
    const DUE: &str = "
        SELECT id, metadata, body, attempts FROM delivery
        WHERE outcome = 'retry' AND retry_at <= ?1 AND (locked_until IS NULL OR locked_until <= ?1)
          AND coalesce(type_name IN ('s3_payload', 's3_upload'), 0) = ?3
        ORDER BY retry_at LIMIT ?2";
    const LOCK: &str = "UPDATE delivery SET locked_until = ?2 WHERE id = ?1";
    let mut due = connection.prepare_cached(DUE)?;
    let rows = due.query_map(params![ms(now), limit, downloads], |row| {
        let body = Sealed(Bytes::from(row.get::<_, Vec<u8>>("body")?));
        Ok(Retry { job: Job { delivery: json(row, "metadata")?, body }, attempts: row.get("attempts")? })
    })?;
    let retries = rows.collect::<rusqlite::Result<Vec<Retry>>>()?;
    let mut lock = connection.prepare_cached(LOCK)?;
    for retry in &retries {
        let DeliveryId(id) = retry.job.delivery.id;
        lock.execute(params![id.as_bytes(), ms(until)])?;
    }
    Ok(retries)
}
