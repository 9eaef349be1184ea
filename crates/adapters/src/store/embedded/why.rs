//! What an explanation of one day needs: connections by any name, records of a day, events about them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use domain::id::{ConnectionId, Environment, EventId, RecordId, UserId};
use domain::order::Order;
use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, Row, params};
use terra::event::DataKind;
use terra::record::is_by_day;

use super::column::{ms, time, uuid};
use crate::store::StoreError;
use crate::store::why::{AboutRecord, DayRecord, around};

pub(super) fn named(
    connection: &Connection,
    name: &str,
    environments: &[Environment],
    limit: u32,
) -> Result<Vec<ConnectionId>, StoreError> {
    const OF_USER: &str = "SELECT connection_id FROM alias WHERE user_id = ?1";
    const OF_ENVIRONMENT: &str = "
        SELECT connection_id FROM alias WHERE environment = ?2 AND reference_id = ?1
        UNION
        SELECT connection_id FROM alias WHERE environment = ?2 AND terra_user_id = ?1";
    let id = |row: &Row<'_>| Ok(ConnectionId(uuid(row, "connection_id")?));
    let mut statement = connection.prepare_cached(OF_USER)?;
    let mut found: BTreeSet<ConnectionId> = statement.query_map([name], id)?.collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare_cached(OF_ENVIRONMENT)?;
    for environment in environments {
        for connection in statement.query_map(params![name, environment.as_str()], id)? {
            found.insert(connection?);
        }
    }
    Ok(found.into_iter().take(limit as usize).collect())
}

/// `?1` connection, `?2` day; of kinds that are not kept by day, those that begin or end on it: `?3` and `?4` bound
/// the start.
fn of_day(kind: DataKind) -> &'static str {
    static ALL: LazyLock<Vec<String>> = LazyLock::new(|| DataKind::ALL.into_iter().map(statement).collect());
    &ALL[kind as usize]
}

fn statement(kind: DataKind) -> String {
    let which = if is_by_day(kind) {
        "record.natural_key = ?2 AND ?3 <= ?4"
    } else if kind == DataKind::Athlete {
        "?2 IS NOT NULL AND ?3 <= ?4"
    } else {
        "(substr(record.start_time, 1, 10) = ?2 OR substr(record.end_time, 1, 10) = ?2)
         AND record.start_at BETWEEN ?3 AND ?4"
    };
    format!(
        "SELECT record.id, record.natural_key, record.record_order, record.order_inferred, record.deleted, record.updated_at
         FROM alias JOIN {table} AS record ON record.environment = alias.environment
                                          AND record.terra_user_id = alias.terra_user_id
         WHERE alias.connection_id = ?1 AND {which}
           AND NOT EXISTS (
               SELECT 1 FROM alias AS other
               JOIN {table} AS newer ON newer.environment = other.environment
                                    AND newer.terra_user_id = other.terra_user_id
                                    AND newer.natural_key = record.natural_key
               WHERE other.connection_id = ?1
                 AND (newer.record_order, newer.id) > (record.record_order, record.id))
         ORDER BY record.start_at NULLS LAST, record.id LIMIT 100",
        table = kind.label(),
    )
}

pub(super) fn records_of_day(
    connection: &Connection,
    of: ConnectionId,
    kind: DataKind,
    day: Date,
) -> Result<Vec<DayRecord>, StoreError> {
    let (from, to) = around(day);
    let mut statement = connection.prepare_cached(of_day(kind))?;
    let rows = statement.query_map(params![of.0.as_bytes(), day.to_string(), ms(from), ms(to)], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<DayRecord> {
    let updated_at = time(row, "updated_at")?;
    let order = Order::from_bytes(row.get("record_order")?);
    Ok(DayRecord {
        id: RecordId(uuid(row, "id")?),
        key: row.get("natural_key")?,
        deleted: row.get("deleted")?,
        order_inferred: row.get("order_inferred")?,
        sent_at: Timestamp::from_millisecond(order.ms()).unwrap_or(updated_at),
        updated_at,
    })
}

pub(super) fn events_about(
    connection: &Connection,
    events: &[EventId],
    records: &[RecordId],
) -> Result<Vec<AboutRecord>, StoreError> {
    const BY_ID: &str = "
        SELECT record_id, verb, position, held, subject, happened_at FROM event
        WHERE id = ?1 AND record_id IS NOT NULL";
    const HELD: &str = "
        SELECT record_id, verb, position, held, subject, happened_at FROM event WHERE held = 1 AND record_id = ?1";
    let mut found: Vec<AboutRecord> = Vec::new();
    let mut by_id = connection.prepare_cached(BY_ID)?;
    for event in events {
        for one in by_id.query_map([event.0.as_bytes()], about)? {
            found.push(one?);
        }
    }
    let mut held = connection.prepare_cached(HELD)?;
    for record in records {
        for one in held.query_map([record.0.as_bytes()], about)? {
            let one = one?;
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    found.sort_by_key(|event| (event.happened_at, event.position));
    Ok(found)
}

fn about(row: &Row<'_>) -> rusqlite::Result<AboutRecord> {
    Ok(AboutRecord {
        record: RecordId(uuid(row, "record_id")?),
        verb: row.get("verb")?,
        position: row.get("position")?,
        held: row.get("held")?,
        subject: row.get::<_, Option<String>>("subject")?.map(UserId::new),
        happened_at: time(row, "happened_at")?,
    })
}
