//! Deliveries of the ledger as a person chooses them: to be replayed, grouped, or discarded.

use bytes::Bytes;
use domain::id::DeliveryId;
use domain::replay::Selection;
use domain::settle::class::Class;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use uuid::Uuid;

use super::audit;
use super::column::{count, json, json_text, ms, time, uuid, word};
use super::read::{after, limit};
use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::{Audit, DeadGroup, LedgerOutcome, Listing, Page, Selected, StoreError};

/// What a selection asks of a delivery, its ids and its outcome apart: each statement asks for those in its own way.
macro_rules! chosen {
    () => {
        "AND (?3 IS NULL OR type_name = ?3) AND (?4 IS NULL OR terra_user_id = ?4) AND (?5 IS NULL OR trace_id = ?5)
         AND (?6 IS NULL OR environment = ?6) AND (?7 IS NULL OR class = ?7) AND (?8 IS NULL OR fingerprint = ?8)
         AND (?9 IS NULL OR received_at >= ?9) AND (?10 IS NULL OR received_at < ?10)
         AND ((?11 IS NULL AND ?12 IS NULL)
              OR EXISTS (SELECT 1 FROM alias
                         WHERE alias.environment = delivery.environment AND alias.terra_user_id = delivery.terra_user_id
                           AND (?11 IS NULL OR alias.user_id = ?11) AND (?12 IS NULL OR alias.provider = ?12)))"
    };
}

/// A selection as the first twelve parameters of each statement here.
fn chosen(selection: &Selection, more: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let text = |value: &Option<String>| Value::from(value.clone());
    let ids: Vec<String> = selection.ids.iter().map(|id| id.0.simple().to_string()).collect();
    let mut parameters = vec![
        Value::from((!ids.is_empty()).then(|| json_text(&ids))),
        text(&selection.outcome),
        text(&selection.type_name),
        text(&selection.terra_user_id),
        text(&selection.trace_id),
        text(&selection.environment),
        Value::from(selection.class.map(|class| Class::label(class).to_owned())),
        text(&selection.fingerprint),
        Value::from(selection.from.map(ms)),
        Value::from(selection.to.map(ms)),
        text(&selection.user),
        text(&selection.provider),
    ];
    parameters.extend(more);
    parameters
}

pub(super) fn newest(connection: &Connection) -> Result<Option<DeliveryId>, StoreError> {
    const NEWEST: &str = "SELECT id FROM delivery ORDER BY id DESC LIMIT 1";
    let mut statement = connection.prepare_cached(NEWEST)?;
    Ok(statement.query_row([], |row| Ok(DeliveryId(uuid(row, "id")?))).optional()?)
}

/// A stored payload's link is past: there is nothing to work again, so it is never chosen.
pub(super) fn select(
    connection: &Connection,
    selection: &Selection,
    after: Option<DeliveryId>,
    until: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Selected>, StoreError> {
    const OF_IDS: &str = concat!(
        "
        SELECT id, metadata, body, outcome, reason FROM delivery
        WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND (?2 IS NULL OR outcome = ?2) ",
        chosen!(),
        " AND coalesce(type_name NOT IN ('s3_payload', 's3_upload'), 1)
          AND id > ?13 AND id <= ?14
        ORDER BY id LIMIT ?15"
    );
    const DEAD: &str = concat!(
        "
        SELECT id, metadata, body, outcome, reason FROM delivery
        WHERE ?1 IS NULL AND outcome = 'dead' AND ?2 = 'dead' ",
        chosen!(),
        " AND coalesce(type_name NOT IN ('s3_payload', 's3_upload'), 1)
          AND id > ?13 AND id <= ?14
        ORDER BY id LIMIT ?15"
    );
    const MATCHING: &str = concat!(
        "
        SELECT id, metadata, body, outcome, reason FROM delivery
        WHERE ?1 IS NULL AND (outcome = ?2 OR (?2 IS NULL AND outcome IN ('processed', 'set_aside', 'dead'))) ",
        chosen!(),
        " AND coalesce(type_name NOT IN ('s3_payload', 's3_upload'), 1)
          AND id > ?13 AND id <= ?14
        ORDER BY id LIMIT ?15"
    );
    let sql = match selection.outcome.as_deref() {
        _ if !selection.ids.is_empty() => OF_IDS,
        Some("dead") => DEAD,
        Some(_) | None => MATCHING,
    };
    let place =
        |id: Option<DeliveryId>, otherwise: Uuid| Value::Blob(id.map_or(otherwise, |id| id.0).as_bytes().to_vec());
    let more = [place(after, Uuid::nil()), place(until, Uuid::max()), Value::from(limit)];
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params_from_iter(chosen(selection, more)), |row| {
        let body = Sealed(Bytes::from(row.get::<_, Vec<u8>>("body")?));
        let job = Job { delivery: json(row, "metadata")?, body };
        Ok(Selected { job, outcome: word(row, "outcome", LedgerOutcome::parse)?, reason: row.get("reason")? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn groups(
    connection: &Connection,
    selection: &Selection,
    page: &Page,
) -> Result<Listing<DeadGroup>, StoreError> {
    const GROUPS: &str = concat!(
        "
        SELECT coalesce(fingerprint, '') AS fingerprint, min(class) AS class, min(reason) AS reason,
               min(type_name) AS type_name, count(*) AS deliveries,
               count(DISTINCT environment || char(0) || terra_user_id) AS users,
               min(received_at) AS first_seen, max(received_at) AS last_seen, max(id) AS sample
        FROM delivery
        WHERE outcome = 'dead' AND (?1 IS NULL OR id IN (SELECT unhex(value) FROM json_each(?1)))
          AND (?2 IS NULL OR outcome = ?2) ",
        chosen!(),
        " AND (?13 IS NULL OR coalesce(fingerprint, '') > ?13)
        GROUP BY coalesce(fingerprint, '') ORDER BY 1 LIMIT ?14"
    );
    let place: Option<String> = after(page)?;
    let mut statement = connection.prepare_cached(GROUPS)?;
    let parameters = chosen(selection, [Value::from(place), Value::from(limit(page))]);
    let rows = statement.query_map(params_from_iter(parameters), group)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |group: &DeadGroup| group.fingerprint.clone()))
}

fn group(row: &Row<'_>) -> rusqlite::Result<DeadGroup> {
    Ok(DeadGroup {
        fingerprint: row.get("fingerprint")?,
        class: row.get("class")?,
        reason: row.get("reason")?,
        type_name: row.get("type_name")?,
        deliveries: count(row, "deliveries")?,
        users: count(row, "users")?,
        first_seen: time(row, "first_seen")?,
        last_seen: time(row, "last_seen")?,
        sample: DeliveryId(uuid(row, "sample")?),
    })
}

/// Answers how many were discarded; `audit` is written with them, if there were any.
pub(super) fn discard(
    connection: &Connection,
    selection: &Selection,
    reason: &str,
    entry: &Audit,
    limit: u32,
    now: Timestamp,
) -> Result<u64, StoreError> {
    const DISCARD: &str = concat!(
        "
        UPDATE delivery SET outcome = 'discarded', discarded_by = ?13, discard_reason = ?14, settled_at = ?15
        WHERE id IN (
            SELECT id FROM delivery
            WHERE outcome = 'dead' AND (?1 IS NULL OR id IN (SELECT unhex(value) FROM json_each(?1)))
              AND (?2 IS NULL OR outcome = ?2) ",
        chosen!(),
        " ORDER BY id LIMIT ?16)"
    );
    let more =
        [Value::from(entry.actor.clone()), Value::from(reason.to_owned()), Value::from(ms(now)), Value::from(limit)];
    let discarded = connection.prepare_cached(DISCARD)?.execute(params_from_iter(chosen(selection, more)))? as u64;
    if discarded > 0 {
        let mut entry = entry.clone();
        entry.detail["deliveries"] = discarded.into();
        audit::write(connection, &entry, now)?;
    }
    Ok(discarded)
}
