//! Requests whose signature failed: counted, kept while there is room, forgotten.

use std::collections::BTreeSet;

use bytes::Bytes;
use domain::id::Environment;
use domain::quarantine::{Part, QuarantineId, Quarantined, Why};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use serde_json::json;
use terra::headers::DeliveryHeaders;
use terra::signature::Change;
use uuid::Uuid;

use super::column::{count, ms, time, uuid, word};
use super::payloads;
use super::read::{after, limit};
use crate::payloads::Sealed;
use crate::store::quarantine::kept_when_full;
use crate::store::tx::Unneeded;
use crate::store::{Held, LetIn, Listing, Page, QuarantineFilter, QuarantineTotals, StoreError};

/// Counts those that are kept already; answers which they are.
pub(super) fn note(connection: &Connection, requests: &[Quarantined]) -> Result<BTreeSet<[u8; 32]>, StoreError> {
    let mut known = BTreeSet::new();
    for request in requests {
        if note_one(connection, request)? {
            known.insert(request.fingerprint);
        }
    }
    Ok(known)
}

fn note_one(connection: &Connection, request: &Quarantined) -> Result<bool, StoreError> {
    const NOTE: &str = "
        UPDATE quarantine
        SET seen = seen + ?2, last_seen = max(last_seen, ?3), part = ?4, fits_environment = ?5, change = ?6,
            signature = ?7, t_seconds = ?8
        WHERE fingerprint = ?1";
    let changed = connection.prepare_cached(NOTE)?.execute(params![
        request.fingerprint,
        number(request.seen),
        ms(request.last_seen),
        request.why.part.label(),
        request.why.environment.as_ref().map(Environment::as_str),
        request.why.change.map(Change::label),
        request.signature,
        request.t_seconds,
    ])?;
    Ok(changed > 0)
}

/// Keeps requests, then makes room.
pub(super) fn add(connection: &Connection, held: &[Held], bytes_max: u64) -> Result<(), StoreError> {
    const ADD: &str = "
        INSERT INTO quarantine (id, fingerprint, first_seen, last_seen, seen, address, part, fits_environment, change,
                                looks_like_terra, signature, t_seconds, trace_id, reference, ordering_ms, type_name,
                                terra_user_id, size_bytes, held_bytes, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
    let mut unneeded = Vec::new();
    for Held { request, body } in held {
        if note_one(connection, request)? {
            unneeded.extend(body.clone());
            continue;
        }
        connection.prepare_cached(ADD)?.execute(params![
            request.id.0.as_bytes(),
            request.fingerprint,
            ms(request.first_seen),
            ms(request.last_seen),
            number(request.seen),
            request.address.as_ref().map(Environment::as_str),
            request.why.part.label(),
            request.why.environment.as_ref().map(Environment::as_str),
            request.why.change.map(Change::label),
            request.looks_like_terra,
            request.signature,
            request.t_seconds,
            request.headers.trace_id,
            request.headers.reference,
            request.headers.ordering_ms,
            request.type_name,
            request.terra_user_id,
            request.size_bytes.map(number),
            number(request.held_bytes),
            body.as_ref().map(|body| &body.0[..]),
        ])?;
    }
    unneeded.extend(make_room(connection, bytes_max)?);
    forget_bodies(connection, unneeded)
}

fn make_room(connection: &Connection, bytes_max: u64) -> Result<Vec<Sealed>, StoreError> {
    const MAKE_ROOM: &str = "
        DELETE FROM quarantine WHERE id IN (
            SELECT id FROM (
                SELECT id, sum(held_bytes) OVER (ORDER BY looks_like_terra DESC, first_seen DESC, id DESC) AS held
                FROM quarantine)
            WHERE held > ?1)
        RETURNING body";
    if totals(connection)?.bytes <= bytes_max {
        return Ok(Vec::new());
    }
    Ok(bodies(connection, MAKE_ROOM, [number(kept_when_full(bytes_max))])?.into_iter().flatten().collect())
}

/// Newest first; of the bodies only whether there is one.
pub(super) fn list(
    connection: &Connection,
    filter: &QuarantineFilter,
    page: &Page,
) -> Result<Listing<Held>, StoreError> {
    const LIST: &str = "
        SELECT id, fingerprint, first_seen, last_seen, seen, address, part, fits_environment, change, looks_like_terra,
               signature, t_seconds, trace_id, reference, ordering_ms, type_name, terra_user_id, size_bytes,
               held_bytes, CASE WHEN body IS NOT NULL THEN x'' END AS body
        FROM quarantine
        WHERE (?1 IS NULL OR part = ?1) AND (?2 IS NULL OR address = ?2 OR fits_environment = ?2) AND id < ?3
        ORDER BY id DESC LIMIT ?4";
    let before: Uuid = after(page)?.unwrap_or(Uuid::max());
    let environment = filter.environment.as_ref().map(Environment::as_str);
    let mut statement = connection.prepare_cached(LIST)?;
    let parameters = params![filter.part.map(Part::label), environment, before.as_bytes(), limit(page)];
    let rows = statement.query_map(parameters, held)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |held: &Held| held.request.id.to_string()))
}

pub(super) fn verifiable(
    connection: &Connection,
    filter: &QuarantineFilter,
    after: Option<QuarantineId>,
    limit: u32,
) -> Result<Vec<Held>, StoreError> {
    const VERIFIABLE: &str = "
        SELECT id, fingerprint, first_seen, last_seen, seen, address, part, fits_environment, change, looks_like_terra,
               signature, t_seconds, trace_id, reference, ordering_ms, type_name, terra_user_id, size_bytes,
               held_bytes, body
        FROM quarantine
        WHERE (?1 IS NULL OR part = ?1) AND (?2 IS NULL OR address = ?2 OR fits_environment = ?2) AND id > ?3
          AND signature IS NOT NULL AND body IS NOT NULL
        ORDER BY id LIMIT ?4";
    let after = after.map_or(Uuid::nil(), |id| id.0);
    let environment = filter.environment.as_ref().map(Environment::as_str);
    let mut statement = connection.prepare_cached(VERIFIABLE)?;
    let rows =
        statement.query_map(params![filter.part.map(Part::label), environment, after.as_bytes(), limit], held)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn held(row: &Row<'_>) -> rusqlite::Result<Held> {
    let environment = |name: &str| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(name)?.map(Environment::new));
    let has_change = row.get::<_, Option<String>>("change")?.is_some();
    Ok(Held {
        request: Quarantined {
            id: QuarantineId(uuid(row, "id")?),
            fingerprint: row.get("fingerprint")?,
            first_seen: time(row, "first_seen")?,
            last_seen: time(row, "last_seen")?,
            seen: count(row, "seen")?,
            address: environment("address")?,
            why: Why {
                part: word(row, "part", Part::parse)?,
                environment: environment("fits_environment")?,
                change: has_change.then(|| word(row, "change", Change::parse)).transpose()?,
            },
            looks_like_terra: row.get("looks_like_terra")?,
            signature: row.get("signature")?,
            t_seconds: row.get("t_seconds")?,
            headers: DeliveryHeaders {
                trace_id: row.get("trace_id")?,
                reference: row.get("reference")?,
                ordering_ms: row.get("ordering_ms")?,
            },
            type_name: row.get("type_name")?,
            terra_user_id: row.get("terra_user_id")?,
            size_bytes: row.get::<_, Option<i64>>("size_bytes")?.and_then(|bytes| u64::try_from(bytes).ok()),
            held_bytes: count(row, "held_bytes")?,
        },
        body: row.get::<_, Option<Vec<u8>>>("body")?.map(|body| Sealed(Bytes::from(body))),
    })
}

pub(super) fn let_in(connection: &Connection, let_in: &[LetIn], actor: &str, now: Timestamp) -> Result<(), StoreError> {
    const LET_GO: &str = "DELETE FROM quarantine WHERE id = ?1 RETURNING body";
    const AUDIT: &str = "
        INSERT INTO audit (at, actor, action, subject, detail) VALUES (?1, ?2, 'quarantine.reverify', 'quarantine', ?3)";
    let mut unneeded = Vec::new();
    for one in let_in {
        let body = connection
            .prepare_cached(LET_GO)?
            .query_row([one.id.0.as_bytes()], |row| row.get::<_, Option<Vec<u8>>>("body"))
            .optional()?;
        unneeded.extend(body.flatten().map(|body| Sealed(Bytes::from(body))));
    }
    forget_bodies(connection, unneeded)?;
    let deliveries: Vec<_> = let_in.iter().map(|one| one.delivery).collect();
    let detail = json!({ "deliveries": deliveries }).to_string();
    connection.prepare_cached(AUDIT)?.execute(params![ms(now), actor, detail])?;
    Ok(())
}

pub(super) fn forget(connection: &Connection, before: Timestamp) -> Result<u64, StoreError> {
    const FORGET: &str = "DELETE FROM quarantine WHERE first_seen < ?1 RETURNING body";
    let bodies = bodies(connection, FORGET, [ms(before)])?;
    let requests = bodies.len() as u64;
    forget_bodies(connection, bodies.into_iter().flatten())?;
    Ok(requests)
}

/// Of each row, whether it had one or not.
fn bodies(
    connection: &Connection,
    sql: &'static str,
    parameters: impl Params,
) -> Result<Vec<Option<Sealed>>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, |row| row.get::<_, Option<Vec<u8>>>("body"))?;
    let bodies = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(bodies.into_iter().map(|body| body.map(|body| Sealed(Bytes::from(body)))).collect())
}

/// What of them lies in the payload store is deleted once this is committed.
fn forget_bodies(connection: &Connection, bodies: impl IntoIterator<Item = Sealed>) -> Result<(), StoreError> {
    let unneeded: Vec<Unneeded> = bodies.into_iter().map(|payload| Unneeded { payload, record: None }).collect();
    payloads::let_go(connection, &unneeded)
}

pub(super) fn totals(connection: &Connection) -> Result<QuarantineTotals, StoreError> {
    const TOTALS: &str = "SELECT count(*) AS held, coalesce(sum(held_bytes), 0) AS bytes FROM quarantine";
    let read = |row: &Row<'_>| Ok(QuarantineTotals { rows: count(row, "held")?, bytes: count(row, "bytes")? });
    Ok(connection.prepare_cached(TOTALS)?.query_row([], read)?)
}

fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
