//! The ledger as people search it.

use bytes::Bytes;
use domain::id::{DeliveryId, Environment};
use domain::replay::ReplayId;
use domain::settle::class::Class;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::column::{count, json_option, ms, time, time_option, uuid, word};
use super::read::{after, limit};
use crate::payloads::Sealed;
use crate::store::{DeliveryFilter, DeliveryView, LedgerOutcome, Listing, Page, StoreError};

/// Newest first. The ids are found through the index that narrows most; then the rows are read.
pub(super) fn list(
    connection: &Connection,
    filter: &DeliveryFilter,
    page: &Page,
) -> Result<Listing<DeliveryView>, StoreError> {
    let ids = ids(connection, filter, page)?;
    let mut views = Vec::with_capacity(ids.len());
    for id in ids {
        views.extend(one(connection, id)?);
    }
    Ok(Listing::of(views, page, |view| view.id.to_string()))
}

fn ids(connection: &Connection, filter: &DeliveryFilter, page: &Page) -> Result<Vec<DeliveryId>, StoreError> {
    const ALL: &str = "
        SELECT id FROM delivery
        WHERE id < ?1 AND (?2 IS NULL OR trace_id = ?2) AND (?3 IS NULL OR terra_user_id = ?3)
          AND (?4 IS NULL OR outcome = ?4) AND (?5 IS NULL OR type_name = ?5) AND (?6 IS NULL OR environment = ?6)
          AND (?8 IS NULL OR class = ?8) AND (?9 IS NULL OR fingerprint = ?9) AND (?10 IS NULL OR replay_id = ?10)
          AND (?11 IS NULL OR received_at >= ?11) AND (?12 IS NULL OR received_at < ?12)
        ORDER BY id DESC LIMIT ?7";
    const OF_TRACE: &str = "
        SELECT id FROM delivery
        WHERE id < ?1 AND trace_id = ?2 AND (?3 IS NULL OR terra_user_id = ?3)
          AND (?4 IS NULL OR outcome = ?4) AND (?5 IS NULL OR type_name = ?5) AND (?6 IS NULL OR environment = ?6)
          AND (?8 IS NULL OR class = ?8) AND (?9 IS NULL OR fingerprint = ?9) AND (?10 IS NULL OR replay_id = ?10)
          AND (?11 IS NULL OR received_at >= ?11) AND (?12 IS NULL OR received_at < ?12)
        ORDER BY id DESC LIMIT ?7";
    const OF_ALIAS: &str = "
        SELECT id FROM delivery
        WHERE id < ?1 AND (?2 IS NULL OR trace_id = ?2) AND terra_user_id = ?3
          AND (?4 IS NULL OR outcome = ?4) AND (?5 IS NULL OR type_name = ?5) AND (?6 IS NULL OR environment = ?6)
          AND (?8 IS NULL OR class = ?8) AND (?9 IS NULL OR fingerprint = ?9) AND (?10 IS NULL OR replay_id = ?10)
          AND (?11 IS NULL OR received_at >= ?11) AND (?12 IS NULL OR received_at < ?12)
        ORDER BY id DESC LIMIT ?7";
    const DEAD: &str = "
        SELECT id FROM delivery
        WHERE id < ?1 AND (?2 IS NULL OR trace_id = ?2) AND (?3 IS NULL OR terra_user_id = ?3)
          AND outcome = 'dead' AND ?4 = 'dead' AND (?5 IS NULL OR type_name = ?5)
          AND (?6 IS NULL OR environment = ?6)
          AND (?8 IS NULL OR class = ?8) AND (?9 IS NULL OR fingerprint = ?9) AND (?10 IS NULL OR replay_id = ?10)
          AND (?11 IS NULL OR received_at >= ?11) AND (?12 IS NULL OR received_at < ?12)
        ORDER BY id DESC LIMIT ?7";
    let sql = if filter.trace_id.is_some() {
        OF_TRACE
    } else if filter.terra_user_id.is_some() {
        OF_ALIAS
    } else if filter.outcome == Some(LedgerOutcome::Dead) {
        DEAD
    } else {
        ALL
    };
    let before: Uuid = after(page)?.unwrap_or(Uuid::max());
    let mut statement = connection.prepare_cached(sql)?;
    let parameters = params![
        before.as_bytes(),
        filter.trace_id,
        filter.terra_user_id,
        filter.outcome.map(LedgerOutcome::label),
        filter.type_name,
        filter.environment.as_ref().map(Environment::as_str),
        limit(page),
        filter.class.map(Class::label),
        filter.fingerprint,
        filter.replay.map(|run| *run.0.as_bytes()),
        filter.span.from.map(ms),
        filter.span.to.map(ms),
    ];
    let rows = statement.query_map(parameters, |row| Ok(DeliveryId(uuid(row, "id")?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn one(connection: &Connection, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
    const ONE: &str = "
        SELECT id, environment, received_at, trace_id, reference, type_name, terra_user_id, outcome, reason, attempts,
               retry_at, row_count, size_bytes, body_digest, late, settled_at, unread, class, fingerprint, replay_id,
               discarded_by, discard_reason
        FROM delivery WHERE id = ?1";
    Ok(connection.prepare_cached(ONE)?.query_row([id.0.as_bytes()], view).optional()?)
}

pub(super) fn body(connection: &Connection, id: DeliveryId) -> Result<Option<Sealed>, StoreError> {
    const BODY: &str = "SELECT body FROM delivery WHERE id = ?1";
    let mut statement = connection.prepare_cached(BODY)?;
    let found: Option<Vec<u8>> = statement.query_row([id.0.as_bytes()], |row| row.get(0)).optional()?;
    Ok(found.map(|body| Sealed(Bytes::from(body))))
}

fn view(row: &Row<'_>) -> rusqlite::Result<DeliveryView> {
    Ok(DeliveryView {
        id: DeliveryId(uuid(row, "id")?),
        environment: Environment::new(row.get::<_, String>("environment")?),
        received_at: time(row, "received_at")?,
        trace_id: row.get("trace_id")?,
        reference: row.get("reference")?,
        type_name: row.get("type_name")?,
        terra_user_id: row.get("terra_user_id")?,
        outcome: word(row, "outcome", LedgerOutcome::parse)?,
        reason: row.get("reason")?,
        attempts: row.get("attempts")?,
        retry_at: time_option(row, "retry_at")?,
        rows: row.get("row_count")?,
        size_bytes: count(row, "size_bytes")?,
        body_digest: hex::encode(row.get::<_, [u8; 32]>("body_digest")?),
        late: row.get("late")?,
        unread: json_option(row, "unread")?,
        settled_at: time(row, "settled_at")?,
        class: row.get("class")?,
        fingerprint: row.get("fingerprint")?,
        replay: row.get::<_, Option<[u8; 16]>>("replay_id")?.map(|id| ReplayId(Uuid::from_bytes(id))),
        discarded_by: row.get("discarded_by")?,
        discard_reason: row.get("discard_reason")?,
    })
}
