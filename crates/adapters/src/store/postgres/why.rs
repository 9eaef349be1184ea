//! What an explanation of one day needs: connections by any name, records of a day, events about them.

use std::sync::LazyLock;

use domain::id::{ConnectionId, Environment, EventId, RecordId, UserId};
use domain::order::Order;
use jiff::Timestamp;
use jiff::civil::Date;
use terra::event::DataKind;
use terra::record::is_by_day;
use tokio_postgres::Row;

use super::row::{column, get, order};
use super::unit::Db;
use crate::store::StoreError;
use crate::store::why::{AboutRecord, DayRecord, around};

const NAMED: &str = "
SELECT connection_id FROM alias WHERE user_id = $1
 UNION
SELECT connection_id FROM alias WHERE environment = ANY ($2) AND reference_id = $1
 UNION
SELECT connection_id FROM alias WHERE environment = ANY ($2) AND terra_user_id = $1
 ORDER BY 1
 LIMIT $3";

pub(super) async fn named(
    db: &Db,
    name: &str,
    environments: &[Environment],
    limit: u32,
) -> Result<Vec<ConnectionId>, StoreError> {
    let environments = column(environments, Environment::as_str);
    let rows = db.rows(NAMED, &[&name, &environments, &i64::from(limit)]).await?;
    rows.iter().map(|row| Ok(ConnectionId(get(row, "connection_id")?))).collect()
}

/// `$1` connection, `$2` day; of kinds that are not kept by day, those that begin or end on it: `$3` and `$4` bound
/// the start.
fn of_day(kind: DataKind) -> &'static str {
    static ALL: LazyLock<Vec<String>> = LazyLock::new(|| DataKind::ALL.into_iter().map(statement).collect());
    &ALL[kind as usize]
}

fn statement(kind: DataKind) -> String {
    let which = if is_by_day(kind) {
        "record.natural_key = $2"
    } else if kind == DataKind::Athlete {
        "$2::text IS NOT NULL"
    } else {
        "(left(record.start_time, 10) = $2 OR left(record.end_time, 10) = $2)
             AND record.start_at BETWEEN $3 AND $4"
    };
    format!(
        "SELECT record.id, record.natural_key, record.record_order, record.order_inferred, record.deleted, record.updated_at
           FROM alias
           JOIN {table} AS record ON record.environment = alias.environment
                                 AND record.terra_user_id = alias.terra_user_id
          WHERE alias.connection_id = $1 AND {which}
            AND NOT EXISTS (
                SELECT FROM alias AS other
                  JOIN {table} AS newer ON newer.environment = other.environment
                                       AND newer.terra_user_id = other.terra_user_id
                                       AND newer.natural_key = record.natural_key
                 WHERE other.connection_id = $1
                   AND (newer.record_order, newer.id) > (record.record_order, record.id))
          ORDER BY record.start_at NULLS LAST, record.id
          LIMIT 100",
        table = kind.label(),
    )
}

pub(super) async fn records_of_day(
    db: &Db,
    connection: ConnectionId,
    kind: DataKind,
    day: Date,
) -> Result<Vec<DayRecord>, StoreError> {
    let sql = of_day(kind);
    let text = day.to_string();
    let rows = if is_by_day(kind) || kind == DataKind::Athlete {
        db.rows(sql, &[&connection.0, &text]).await?
    } else {
        let (from, to) = around(day);
        db.rows(sql, &[&connection.0, &text, &from, &to]).await?
    };
    rows.iter().map(record).collect()
}

fn record(row: &Row) -> Result<DayRecord, StoreError> {
    let ordered: Order = order(row, "record_order")?;
    let updated_at: Timestamp = get(row, "updated_at")?;
    Ok(DayRecord {
        id: RecordId(get(row, "id")?),
        key: get(row, "natural_key")?,
        deleted: get(row, "deleted")?,
        order_inferred: get(row, "order_inferred")?,
        sent_at: Timestamp::from_millisecond(ordered.ms()).unwrap_or(updated_at),
        updated_at,
    })
}

/// Both by an index: an event's own id, and the one held event that a record may have.
const ABOUT: &str = "
SELECT record_id, verb, position, held, subject, happened_at FROM event WHERE id = ANY ($1) AND record_id IS NOT NULL
 UNION
SELECT record_id, verb, position, held, subject, happened_at FROM event WHERE held AND record_id = ANY ($2)
 ORDER BY happened_at, position";

pub(super) async fn events_about(
    db: &Db,
    events: &[EventId],
    records: &[RecordId],
) -> Result<Vec<AboutRecord>, StoreError> {
    let (events, records) = (column(events, |event| event.0), column(records, |record| record.0));
    db.rows(ABOUT, &[&events, &records]).await?.iter().map(about).collect()
}

fn about(row: &Row) -> Result<AboutRecord, StoreError> {
    Ok(AboutRecord {
        record: RecordId(get(row, "record_id")?),
        verb: get(row, "verb")?,
        position: get(row, "position")?,
        held: get(row, "held")?,
        subject: get::<Option<String>>(row, "subject")?.map(UserId::new),
        happened_at: get(row, "happened_at")?,
    })
}
