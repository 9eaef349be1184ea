//! Outgoing events: outbox and log.

use domain::id::{AliasKey, ConnectionId, Environment, EventId, UserId};
use domain::outgoing::{Outgoing, Published};
use rusqlite::{Connection, Row, ToSql, params};

use super::column::{json, ms, time, uuid};
use super::leases::is_held;
use crate::store::{Holder, StoreError};

pub(super) fn insert(connection: &Connection, events: &[Outgoing]) -> Result<(), StoreError> {
    const DELETE_HELD: &str = "DELETE FROM event WHERE held = 1 AND record_id = ?1";
    const INSERT: &str = "
        INSERT INTO event (id, held, environment, terra_user_id, connection_id, subject, entity, verb, provider,
                           record_id, happened_at, data)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
        ON CONFLICT (id) DO NOTHING";
    let mut delete_held = connection.prepare_cached(DELETE_HELD)?;
    let mut insert = connection.prepare_cached(INSERT)?;
    for event in events {
        let held = event.alias.is_some() && event.subject.is_none();
        let record = event.record.map(|record| *record.0.as_bytes());
        if held && record.is_some() {
            delete_held.execute([record])?;
        }
        insert.execute(params![
            event.id.0.as_bytes(),
            held,
            event.environment.as_str(),
            event.alias.as_ref().map(|alias| alias.terra_user_id.as_str()),
            event.connection.map(|connection| *connection.0.as_bytes()),
            event.subject.as_ref().map(UserId::as_str),
            event.entity,
            event.verb,
            event.provider,
            record,
            ms(event.time),
            event.data.to_string(),
        ])?;
    }
    Ok(())
}

/// The connection stands in the event's data too, where readers find it.
pub(super) fn release(connection: &Connection, owned: &[(AliasKey, ConnectionId, UserId)]) -> Result<(), StoreError> {
    const RELEASE: &str = "
        UPDATE event SET held = 0, connection_id = ?3, subject = ?4, data = json_set(data, '$.connection', ?5)
        WHERE held = 1 AND environment = ?1 AND terra_user_id = ?2";
    let mut statement = connection.prepare_cached(RELEASE)?;
    for (alias, owner, user) in owned {
        statement.execute(params![
            alias.environment.as_str(),
            alias.terra_user_id.as_str(),
            owner.0.as_bytes(),
            user.as_str(),
            owner.to_string(),
        ])?;
    }
    Ok(())
}

/// Gives positions in the order of insertion. Everything here is committed, and one thread writes: no event can come
/// to light behind a position that was given.
pub(super) fn number(connection: &Connection, lease: Holder<'_>, limit: u32) -> Result<u32, StoreError> {
    const NUMBER: &str = "
        UPDATE event SET position = next.position
        FROM (SELECT sequence, (SELECT numbered FROM relay) + row_number() OVER (ORDER BY sequence) AS position
              FROM (SELECT sequence FROM event WHERE position IS NULL AND held = 0 ORDER BY sequence LIMIT ?1)) AS next
        WHERE event.sequence = next.sequence";
    const NUMBERED: &str = "UPDATE relay SET numbered = numbered + ?1";
    if !is_held(connection, lease)? {
        return Ok(0);
    }
    let given = connection.prepare_cached(NUMBER)?.execute([limit])?;
    let given = u32::try_from(given).unwrap_or(u32::MAX);
    if given > 0 {
        connection.prepare_cached(NUMBERED)?.execute([given])?;
    }
    Ok(given)
}

pub(super) fn mark_published(connection: &Connection, lease: Holder<'_>, position: i64) -> Result<(), StoreError> {
    const MARK: &str = "UPDATE relay SET published = max(published, min(?1, numbered))";
    if is_held(connection, lease)? {
        connection.prepare_cached(MARK)?.execute([position])?;
    }
    Ok(())
}

pub(super) fn unpublished(connection: &Connection, limit: u32) -> Result<Vec<Published>, StoreError> {
    const UNPUBLISHED: &str = "
        SELECT position, id, environment, subject, entity, verb, provider, happened_at, data FROM event
        WHERE position > (SELECT published FROM relay) ORDER BY position LIMIT ?1";
    published(connection, UNPUBLISHED, params![limit])
}

pub(super) fn after(connection: &Connection, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
    const AFTER: &str = "
        SELECT position, id, environment, subject, entity, verb, provider, happened_at, data FROM event
        WHERE position > ?1 ORDER BY position LIMIT ?2";
    published(connection, AFTER, params![position, limit])
}

/// An event about an alias may have another subject, or none yet.
pub(super) fn of_user(
    connection: &Connection,
    user: &UserId,
    position: i64,
    limit: u32,
) -> Result<Vec<Published>, StoreError> {
    const OF_USER: &str = "
        SELECT event.position, event.id, event.environment, event.subject, event.entity, event.verb, event.provider,
               event.happened_at, event.data
        FROM alias JOIN event ON event.environment = alias.environment AND event.terra_user_id = alias.terra_user_id
        WHERE alias.user_id = ?1 AND event.position > ?2
        UNION ALL
        SELECT position, id, environment, subject, entity, verb, provider, happened_at, data FROM event
        WHERE terra_user_id IS NULL AND subject = ?1 AND position > ?2
        ORDER BY position LIMIT ?3";
    published(connection, OF_USER, params![user.as_str(), position, limit])
}

fn published(connection: &Connection, sql: &str, parameters: &[&dyn ToSql]) -> Result<Vec<Published>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn row(row: &Row<'_>) -> rusqlite::Result<Published> {
    Ok(Published {
        position: row.get("position")?,
        id: EventId(uuid(row, "id")?),
        environment: Environment::new(row.get::<_, String>("environment")?),
        subject: row.get::<_, Option<String>>("subject")?.map(UserId::new),
        entity: row.get("entity")?,
        verb: row.get("verb")?,
        provider: row.get("provider")?,
        time: time(row, "happened_at")?,
        data: json(row, "data")?,
    })
}
