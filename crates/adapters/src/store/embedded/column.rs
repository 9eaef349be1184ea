//! Our types in and out of columns: times are milliseconds, uuids and orders 16 bytes, lists JSON.

use domain::order::{Order, Stamped};
use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub(super) fn ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}

pub(super) fn time(row: &Row<'_>, name: &str) -> rusqlite::Result<Timestamp> {
    instant(row.get(name)?)
}

pub(super) fn time_option(row: &Row<'_>, name: &str) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(name)?.map(instant).transpose()
}

fn instant(ms: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_millisecond(ms).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, ms))
}

pub(super) fn uuid(row: &Row<'_>, name: &str) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(name)?))
}

pub(super) fn order(row: &Row<'_>, name: &str) -> rusqlite::Result<Option<Order>> {
    Ok(row.get::<_, Option<[u8; 16]>>(name)?.map(Order::from_bytes))
}

pub(super) fn order_bytes(order: &Option<Order>) -> Option<&[u8; 16]> {
    order.as_ref().map(Order::as_bytes)
}

pub(super) fn stamp_bytes<T>(stamped: &Option<Stamped<T>>) -> Option<&[u8; 16]> {
    stamped.as_ref().map(|stamped| stamped.order.as_bytes())
}

/// A value and its order; absent unless both are there.
pub(super) fn stamped<T>(value: Option<T>, order: Option<Order>) -> Option<Stamped<T>> {
    Some(Stamped { value: value?, order: order? })
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, name: &str) -> rusqlite::Result<T> {
    parse(&row.get::<_, String>(name)?)
}

pub(super) fn json_option<T: DeserializeOwned>(row: &Row<'_>, name: &str) -> rusqlite::Result<Option<T>> {
    row.get::<_, Option<String>>(name)?.as_deref().map(parse).transpose()
}

fn parse<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

pub(super) fn json_text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("invariant: our types have text for keys, and nothing else fails")
}

/// A number that is never negative; SQLite's are all signed.
pub(super) fn count(row: &Row<'_>, name: &str) -> rusqlite::Result<u64> {
    let number: i64 = row.get(name)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, number))
}

/// A column whose text is one of a closed set.
pub(super) fn word<T>(row: &Row<'_>, name: &str, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(name)?;
    parse(&text).ok_or_else(|| rusqlite::Error::InvalidColumnType(0, name.to_owned(), Type::Text))
}
