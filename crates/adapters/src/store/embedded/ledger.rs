//! What was processed, and what became of every delivery.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{DeliveryId, Environment};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::column::{json_text, ms, word};
use crate::queue::Job;
use crate::store::tx::{LedgerRow, ProcessedRow};
use crate::store::{LedgerOutcome, StoreError};

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
                              retry_at, row_count, settled_at, unread, class, fingerprint, replay_id)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
                ?23)
        ON CONFLICT (id) DO UPDATE SET
            type_name = excluded.type_name, terra_user_id = excluded.terra_user_id, size_bytes = excluded.size_bytes,
            metadata = excluded.metadata, body = excluded.body, outcome = excluded.outcome, reason = excluded.reason, attempts = excluded.attempts,
            retry_at = excluded.retry_at, locked_until = NULL, crashes = 0,
            row_count = excluded.row_count + iif(excluded.replay_id IS NULL, 0, delivery.row_count),
            settled_at = iif(excluded.replay_id IS NOT NULL AND excluded.row_count = 0
                                 AND delivery.outcome = 'processed', delivery.settled_at, excluded.settled_at),
            unread = excluded.unread, class = excluded.class, fingerprint = excluded.fingerprint,
            replay_id = coalesce(excluded.replay_id, delivery.replay_id), discarded_by = NULL, discard_reason = NULL
        WHERE delivery.outcome != 'processed' OR excluded.outcome = 'processed'";
    let mut statement = connection.prepare_cached(UPSERT)?;
    for row in rows {
        let delivery = row.delivery;
        let trouble = row.trouble();
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
            trouble.as_ref().map(|(class, _)| class.label()),
            trouble.as_ref().map(|(_, fingerprint)| fingerprint),
            row.replay.map(|run| *run.0.as_bytes()),
        ])?;
    }
    Ok(())
}

pub(super) fn hand_over(connection: &Connection, jobs: &[Job], reason: &str, now: Timestamp) -> Result<(), StoreError> {
    const KNOWN: &str = "SELECT 1 FROM delivery WHERE id = ?1";
    for job in jobs {
        if !connection.prepare_cached(KNOWN)?.exists([job.delivery.id.0.as_bytes()])? {
            write(connection, &[LedgerRow::waiting(job, reason, now)])?;
        }
    }
    Ok(())
}

pub(super) fn outcomes(
    connection: &Connection,
    deliveries: &[(DeliveryId, Timestamp)],
) -> Result<BTreeMap<DeliveryId, LedgerOutcome>, StoreError> {
    const OUTCOME: &str = "SELECT outcome FROM delivery WHERE id = ?1";
    let mut statement = connection.prepare_cached(OUTCOME)?;
    let mut outcomes = BTreeMap::new();
    for (id, _) in deliveries {
        let read = |row: &Row<'_>| word(row, "outcome", LedgerOutcome::parse);
        if let Some(outcome) = statement.query_row([id.0.as_bytes()], read).optional()? {
            outcomes.insert(*id, outcome);
        }
    }
    Ok(outcomes)
}
