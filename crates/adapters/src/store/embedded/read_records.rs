//! Records as people read them: per connection and key the greatest order, whatever alias it came under.

use bytes::Bytes;
use domain::id::{AliasKey, ConnectionId, Environment, RecordId, UserId};
use domain::order::Order;
use domain::record::Scores;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params};
use terra::event::DataKind;
use terra::record::{Column, Scalar, Shape, columns};
use uuid::Uuid;

use super::column::{json_option, ms, time, time_option, uuid, word};
use super::record_sql::{kind_of, statements};
use crate::payloads::Sealed;
use crate::store::record_table::{Bounds, bounds, with_scores};
use crate::store::tx::StoredDocument;
use crate::store::{Listing, Page, RecordView, Span, StoreError};

/// The last row of the page before: rows go from the newest start to the oldest, then those without one, and by id
/// where starts are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    start_ms: Option<i64>,
    id: Uuid,
}

impl Cursor {
    /// - Shapes: `<milliseconds>:<uuid>`, or `null:<uuid>`.
    fn parse(text: &str) -> Result<Cursor, StoreError> {
        let (start, id) = text.split_once(':').ok_or(StoreError::BadCursor)?;
        let start_ms = if start == "null" { None } else { Some(start.parse().map_err(|_| StoreError::BadCursor)?) };
        Ok(Cursor { start_ms, id: id.parse().map_err(|_| StoreError::BadCursor)? })
    }

    fn of(record: &RecordView) -> String {
        let start = record.start_at.map_or_else(|| "null".to_owned(), |at| ms(at).to_string());
        format!("{start}:{}", record.id)
    }
}

pub(super) fn of_user(
    connection: &Connection,
    user: &UserId,
    kind: DataKind,
    span: Span,
    page: &Page,
) -> Result<Listing<RecordView>, StoreError> {
    let cursor = page.after.as_deref().map(Cursor::parse).transpose()?;
    let (from, to): (Value, Value) = match bounds(kind, span) {
        Bounds::Days { from, to } => (from.into(), to.into()),
        Bounds::Moments(Span { from, to }) => (from.map(ms).into(), to.map(ms).into()),
    };
    let mut statement = connection.prepare_cached(&statements(kind).of_user)?;
    let parameters = params![
        user.as_str(),
        from,
        to,
        cursor.is_some(),
        cursor.and_then(|cursor| cursor.start_ms),
        cursor.map(|cursor| *cursor.id.as_bytes()),
        i64::from(page.limit) + 1,
    ];
    let rows = statement.query_map(parameters, |row| view(row, kind))?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, Cursor::of))
}

pub(super) fn one(connection: &Connection, id: RecordId) -> Result<Option<RecordView>, StoreError> {
    let Some(kind) = kind_of_record(connection, id)? else { return Ok(None) };
    let mut statement = connection.prepare_cached(&statements(kind).one)?;
    Ok(statement.query_row([id.0.as_bytes()], |row| view(row, kind)).optional()?)
}

pub(super) fn document(connection: &Connection, id: RecordId) -> Result<Option<(Sealed, Scores)>, StoreError> {
    let Some(kind) = kind_of_record(connection, id)? else { return Ok(None) };
    let mut statement = connection.prepare_cached(&statements(kind).one)?;
    let found = |row: &Row<'_>| Ok((Sealed(Bytes::from(row.get::<_, Vec<u8>>("document")?)), scores(row)?));
    Ok(statement.query_row([id.0.as_bytes()], found).optional()?)
}

fn kind_of_record(connection: &Connection, id: RecordId) -> Result<Option<DataKind>, StoreError> {
    let mut statement = connection.prepare_cached(kind_of())?;
    Ok(statement.query_row([id.0.as_bytes()], |row| word(row, "kind", DataKind::parse)).optional()?)
}

/// Documents of a kind in the order of their ids, to be read again.
pub(super) fn documents(
    connection: &Connection,
    kind: DataKind,
    after: Option<RecordId>,
    limit: u32,
) -> Result<Vec<StoredDocument>, StoreError> {
    let mut statement = connection.prepare_cached(&statements(kind).documents)?;
    let after = after.map(|id| *id.0.as_bytes());
    let rows = statement.query_map(params![after, limit], |row| {
        let environment = Environment::new(row.get::<_, String>("environment")?);
        Ok(StoredDocument {
            id: RecordId(uuid(row, "id")?),
            alias: AliasKey::new(&environment, &row.get::<_, String>("terra_user_id")?),
            order: Order::from_bytes(row.get("record_order")?),
            scores: json_option(row, "enrichment")?.unwrap_or_default(),
            document: Sealed(Bytes::from(row.get::<_, Vec<u8>>("document")?)),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The scores of a record, those it has under other aliases of its connection included.
fn scores(row: &Row<'_>) -> rusqlite::Result<Scores> {
    let mut scores: Scores = json_option(row, "enrichment")?.unwrap_or_default();
    for other in json_option::<Vec<Scores>>(row, "elsewhere")?.unwrap_or_default() {
        scores.join(other);
    }
    Ok(scores)
}

fn view(row: &Row<'_>, kind: DataKind) -> rusqlite::Result<RecordView> {
    let values = columns(kind).iter().map(|column| value(row, column)).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(RecordView {
        id: RecordId(uuid(row, "id")?),
        kind,
        key: row.get("natural_key")?,
        connection: ConnectionId(uuid(row, "connection_id")?),
        environment: Environment::new(row.get::<_, String>("environment")?),
        terra_user_id: row.get("terra_user_id")?,
        provider: row.get("provider")?,
        start_time: row.get("start_time")?,
        end_time: row.get("end_time")?,
        deleted: row.get("deleted")?,
        order_inferred: row.get("order_inferred")?,
        updated_at: time(row, "updated_at")?,
        start_at: time_option(row, "start_at")?,
        values: with_scores(kind, values, &scores(row)?),
    })
}

fn value(row: &Row<'_>, column: &Column) -> rusqlite::Result<Option<Scalar>> {
    let name = column.sql_name();
    let name = name.as_str();
    Ok(match column.shape {
        Shape::Number => row.get::<_, Option<f64>>(name)?.map(Scalar::Number),
        Shape::Integer => row.get::<_, Option<i64>>(name)?.map(Scalar::Integer),
        Shape::Text => row.get::<_, Option<String>>(name)?.map(Scalar::Text),
        Shape::Flag => row.get::<_, Option<bool>>(name)?.map(Scalar::Flag),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Cursor>) {
        assert_eq!(Cursor::parse(text).ok(), expected, "{text}");
    }

    #[test]
    fn a_cursor_is_a_start_and_an_id() {
        let id = Uuid::from_u128(7);
        check(&format!("-12:{id}"), Some(Cursor { start_ms: Some(-12), id }));
        check(&format!("null:{id}"), Some(Cursor { start_ms: None, id }));
        check("", None);
        check("12", None);
        check("12:x", None);
        check(&format!("x:{id}"), None);
    }
}
