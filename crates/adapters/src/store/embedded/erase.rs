//! Erasures: tombstones, targets, and how far each is. What is deleted, and where, is in `erase_rows.rs`.

use std::collections::BTreeSet;

use domain::erasure::{Cause, Erasure, ErasureId, Found, Scope, State, Target, TargetKind, Tombstone, Wish, order_of};
use domain::id::{AliasKey, ConnectionId, Environment, EventId, ReferenceId, UserId};
use domain::order::Order;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use uuid::Uuid;

use super::column::{count, json, json_text, ms, order, time, time_option, uuid, word};
use super::read::{after, limit};
use super::record_sql::count_of_user;
use super::tx::{SqliteTx, at_once};
use crate::store::tx::Grave;
use crate::store::{Listing, Page, ReferencePolicy, StoreError, apply};

pub(super) fn begin(
    connection: &mut Connection,
    wish: &Wish,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Option<Erasure>, StoreError> {
    at_once(apply::begin(&mut SqliteTx { connection }, wish, policy, now))
}

pub(super) fn bury(
    connection: &mut Connection,
    id: ErasureId,
    keys: &[AliasKey],
    now: Timestamp,
) -> Result<(), StoreError> {
    at_once(apply::bury(&mut SqliteTx { connection }, id, keys, now))
}

pub(super) fn tombstones(connection: &Connection, digests: &[[u8; 32]]) -> Result<Vec<Grave>, StoreError> {
    const TOMBSTONE: &str = "SELECT digest, erasure_id, erased, reopened FROM tombstone WHERE digest = ?1";
    let mut statement = connection.prepare_cached(TOMBSTONE)?;
    let mut graves = Vec::new();
    for digest in digests {
        let row = |row: &Row<'_>| {
            let tombstone = Tombstone {
                erasure: ErasureId(uuid(row, "erasure_id")?),
                erased: Order::from_bytes(row.get("erased")?),
                reopened: order(row, "reopened")?,
            };
            Ok(Grave { digest: row.get("digest")?, tombstone })
        };
        graves.extend(statement.query_row([digest], row).optional()?);
    }
    Ok(graves)
}

pub(super) fn write_tombstones(connection: &Connection, graves: &[Grave]) -> Result<(), StoreError> {
    const BURY: &str = "
        INSERT INTO tombstone (digest, erasure_id, erased) VALUES (?1, ?2, ?3)
        ON CONFLICT (digest) DO UPDATE SET
            erasure_id = excluded.erasure_id, erased = max(tombstone.erased, excluded.erased), reopened = NULL";
    let mut statement = connection.prepare_cached(BURY)?;
    for grave in graves {
        let tombstone = grave.tombstone;
        statement.execute(params![grave.digest, tombstone.erasure.0.as_bytes(), tombstone.erased.as_bytes()])?;
    }
    Ok(())
}

pub(super) fn reopen(connection: &Connection, digests: &[([u8; 32], Order)]) -> Result<(), StoreError> {
    const REOPEN: &str = "UPDATE tombstone SET reopened = ?2 WHERE digest = ?1 AND reopened IS NULL";
    let mut statement = connection.prepare_cached(REOPEN)?;
    for (digest, order) in digests {
        statement.execute(params![digest, order.as_bytes()])?;
    }
    Ok(())
}

pub(super) fn add_targets(
    connection: &Connection,
    id: ErasureId,
    targets: &[Target],
    at: Timestamp,
) -> Result<(), StoreError> {
    const ADD: &str = "
        INSERT INTO erasure_target (erasure_id, kind, environment, name, is_erased, is_told)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
    const GO_ON: &str = "
        UPDATE erasure SET state = 'erasing', erased_at = NULL, finished_at = NULL, look_at = ?2
        WHERE id = ?1 AND state <> 'erasing'";
    let mut statement = connection.prepare_cached(ADD)?;
    let mut added = 0;
    for target in targets {
        added += statement.execute(params![
            id.0.as_bytes(),
            target.kind.label(),
            target.environment.as_str(),
            target.name,
            target.is_erased,
            target.is_told,
        ])?;
    }
    if added > 0 {
        connection.prepare_cached(GO_ON)?.execute(params![id.0.as_bytes(), ms(at)])?;
    }
    Ok(())
}

pub(super) fn targets(connection: &Connection, id: ErasureId) -> Result<Vec<Target>, StoreError> {
    const TARGETS: &str = "
        SELECT kind, environment, name, is_erased, is_told FROM erasure_target
        WHERE erasure_id = ?1 ORDER BY kind, environment, name";
    let mut statement = connection.prepare_cached(TARGETS)?;
    let rows = statement.query_map([id.0.as_bytes()], |row| {
        Ok(Target {
            kind: word(row, "kind", TargetKind::parse)?,
            environment: Environment::new(row.get::<_, String>("environment")?),
            name: row.get("name")?,
            is_erased: row.get("is_erased")?,
            is_told: row.get("is_told")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn mark_erased(connection: &Connection, id: ErasureId, targets: &[Target]) -> Result<(), StoreError> {
    const ERASED: &str = "
        UPDATE erasure_target SET is_erased = 1
        WHERE erasure_id = ?1 AND kind = ?2 AND environment = ?3 AND name = ?4";
    mark(connection, ERASED, id, targets)
}

pub(super) fn told(connection: &Connection, id: ErasureId, targets: &[Target]) -> Result<(), StoreError> {
    const TOLD: &str = "
        UPDATE erasure_target SET is_told = 1
        WHERE erasure_id = ?1 AND kind = ?2 AND environment = ?3 AND name = ?4";
    mark(connection, TOLD, id, targets)
}

fn mark(connection: &Connection, sql: &str, id: ErasureId, targets: &[Target]) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    for target in targets {
        let key = params![id.0.as_bytes(), target.kind.label(), target.environment.as_str(), target.name];
        statement.execute(key)?;
    }
    Ok(())
}

/// One that is done forgets whom it was about, unless somebody was added meanwhile: then it goes on.
pub(super) fn write(connection: &Connection, erasure: &Erasure) -> Result<(), StoreError> {
    const LEFT: &str = "
        SELECT coalesce(min(is_erased), 1), coalesce(min(is_told), 1) FROM erasure_target WHERE erasure_id = ?1";
    const FORGET: &str = "DELETE FROM erasure_target WHERE erasure_id = ?1";
    const WRITE: &str = "
        INSERT INTO erasure (id, scope, cause, actor, requested_at, erased_at, finished_at, look_at, state, progress,
                             reason, event_id)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
        ON CONFLICT (id) DO UPDATE SET
            erased_at = excluded.erased_at, finished_at = excluded.finished_at, look_at = excluded.look_at,
            state = excluded.state, progress = excluded.progress, reason = excluded.reason";
    let id = erasure.id.0.as_bytes();
    let left = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (all_erased, all_told) = connection.prepare_cached(LEFT)?.query_row([id], left)?;
    let erasure = erasure.clone().as_far_as(all_erased, all_told);
    if erasure.state == State::Done {
        connection.prepare_cached(FORGET)?.execute([id])?;
    }
    connection.prepare_cached(WRITE)?.execute(params![
        id,
        erasure.scope.label(),
        erasure.cause.label(),
        erasure.actor,
        ms(erasure.requested_at),
        erasure.erased_at.map(ms),
        erasure.finished_at.map(ms),
        ms(erasure.look_at),
        erasure.state.label(),
        json_text(&erasure.progress),
        erasure.reason,
        erasure.event.0.as_bytes(),
    ])?;
    Ok(())
}

pub(super) fn one(connection: &Connection, id: ErasureId) -> Result<Option<Erasure>, StoreError> {
    const ONE: &str = "
        SELECT id, scope, cause, actor, requested_at, erased_at, finished_at, look_at, state, progress, reason, event_id
        FROM erasure WHERE id = ?1";
    Ok(connection.prepare_cached(ONE)?.query_row([id.0.as_bytes()], erasure).optional()?)
}

/// Newest first.
pub(super) fn list(connection: &Connection, page: &Page) -> Result<Listing<Erasure>, StoreError> {
    const PAGE: &str = "
        SELECT id, scope, cause, actor, requested_at, erased_at, finished_at, look_at, state, progress, reason, event_id
        FROM erasure WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    let before: Uuid = after(page)?.unwrap_or(Uuid::max());
    let mut statement = connection.prepare_cached(PAGE)?;
    let rows = statement.query_map(params![before.as_bytes(), limit(page)], erasure)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |erasure: &Erasure| erasure.id.to_string()))
}

pub(super) fn next(connection: &Connection, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
    const NEXT: &str = "
        SELECT id, scope, cause, actor, requested_at, erased_at, finished_at, look_at, state, progress, reason, event_id
        FROM erasure WHERE state <> 'done' AND look_at <= ?1 ORDER BY look_at, id LIMIT 1";
    Ok(connection.prepare_cached(NEXT)?.query_row([ms(now)], erasure).optional()?)
}

fn erasure(row: &Row<'_>) -> rusqlite::Result<Erasure> {
    Ok(Erasure {
        id: ErasureId(uuid(row, "id")?),
        scope: word(row, "scope", Scope::parse)?,
        cause: word(row, "cause", Cause::parse)?,
        actor: row.get("actor")?,
        requested_at: time(row, "requested_at")?,
        erased_at: time_option(row, "erased_at")?,
        finished_at: time_option(row, "finished_at")?,
        look_at: time(row, "look_at")?,
        state: word(row, "state", State::parse)?,
        progress: json(row, "progress")?,
        reason: row.get("reason")?,
        event: EventId(uuid(row, "event_id")?),
    })
}

pub(super) fn aliases_of(
    connection: &Connection,
    user: Option<&UserId>,
    of: Option<ConnectionId>,
) -> Result<Vec<AliasKey>, StoreError> {
    const ALIASES: &str = "
        SELECT environment, terra_user_id FROM alias WHERE user_id = ?1 OR connection_id = ?2
        ORDER BY environment, terra_user_id";
    let mut statement = connection.prepare_cached(ALIASES)?;
    let rows = statement.query_map(params![user.map(UserId::as_str), of.map(|id| *id.0.as_bytes())], |row| {
        Ok(AliasKey::new(&Environment::new(row.get::<_, String>(0)?), &row.get::<_, String>(1)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn references_of(
    connection: &Connection,
    user: &UserId,
) -> Result<BTreeSet<(Environment, ReferenceId)>, StoreError> {
    const REFERENCES: &str = "
        SELECT environment, reference_id FROM connect_session WHERE user_id = ?1
        UNION
        SELECT environment, reference_id FROM resolution WHERE user_id = ?1";
    let mut statement = connection.prepare_cached(REFERENCES)?;
    let rows = statement.query_map([user.as_str()], |row| {
        Ok((Environment::new(row.get::<_, String>(0)?), ReferenceId::new(row.get::<_, String>(1)?)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn delete_aliases(connection: &Connection, keys: &[AliasKey]) -> Result<(), StoreError> {
    const ALIAS: &str = "DELETE FROM alias WHERE environment = ?1 AND terra_user_id = ?2";
    const EDGES: &str = "DELETE FROM alias_edge WHERE environment = ?1 AND (old_id = ?2 OR new_id = ?2)";
    let (mut alias, mut edges) = (connection.prepare_cached(ALIAS)?, connection.prepare_cached(EDGES)?);
    for key in keys {
        let key = [key.environment.as_str(), key.terra_user_id.as_str()];
        alias.execute(key)?;
        edges.execute(key)?;
    }
    Ok(())
}

pub(super) fn preview(connection: &Connection, user: &UserId) -> Result<Found, StoreError> {
    const FOUND: &str = "
        SELECT count(DISTINCT alias.connection_id) AS connections, count(*) AS terra_users,
               coalesce(sum((SELECT count(*) FROM delivery
                             WHERE delivery.terra_user_id = alias.terra_user_id
                               AND delivery.environment = alias.environment)), 0) AS deliveries,
               coalesce(sum((SELECT count(*) FROM event
                             WHERE event.environment = alias.environment
                               AND event.terra_user_id = alias.terra_user_id)), 0) AS events
        FROM alias WHERE alias.user_id = ?1";
    let mut found = connection.prepare_cached(FOUND)?.query_row([user.as_str()], |row| {
        Ok(Found {
            connections: count(row, "connections")?,
            terra_users: count(row, "terra_users")?,
            records: 0,
            deliveries: count(row, "deliveries")?,
            events: count(row, "events")?,
        })
    })?;
    let records = |row: &Row<'_>| count(row, "records");
    found.records = connection.prepare_cached(count_of_user())?.query_row([user.as_str()], records)?;
    Ok(found)
}

/// A connection in dispute waits for a person's decision.
pub(super) fn closed(connection: &Connection, before: Timestamp, limit: u32) -> Result<Vec<ConnectionId>, StoreError> {
    const CLOSED: &str = "
        SELECT alias.connection_id FROM alias
        JOIN connection ON connection.id = alias.connection_id AND connection.environment = alias.environment
                       AND connection.terra_user_id = alias.terra_user_id
        WHERE alias.closed <= ?1 AND (alias.opened IS NULL OR alias.opened <= alias.closed)
          AND connection.status <> 'disputed'
        ORDER BY alias.closed LIMIT ?2";
    let mut statement = connection.prepare_cached(CLOSED)?;
    let before = order_of(before);
    let rows =
        statement.query_map(params![before.as_bytes(), limit], |row| Ok(ConnectionId(uuid(row, "connection_id")?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn audit(
    connection: &Connection,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    const AUDIT: &str = "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(AUDIT)?.execute(params![ms(now), actor, action, subject, detail.to_string()])?;
    Ok(())
}
