//! From columns to our types, and from our types to columns.

use domain::id::{AliasKey, Environment};
use domain::order::Order;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::error;
use crate::store::StoreError;

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &'static str) -> Result<T, StoreError> {
    row.try_get(column).map_err(|cause| error::of_postgres(&cause))
}

pub(super) fn order(row: &Row, column: &'static str) -> Result<Order, StoreError> {
    Order::from_slice(get(row, column)?).ok_or_else(|| strange(column))
}

pub(super) fn order_if_any(row: &Row, column: &'static str) -> Result<Option<Order>, StoreError> {
    Ok(get::<Option<&[u8]>>(row, column)?.and_then(Order::from_slice))
}

pub(super) fn digest(row: &Row, column: &'static str) -> Result<[u8; 32], StoreError> {
    get::<&[u8]>(row, column)?.try_into().map_err(|_| strange(column))
}

pub(super) fn environment(row: &Row) -> Result<Environment, StoreError> {
    Ok(Environment::new(get::<String>(row, "environment")?))
}

pub(super) fn alias_key(row: &Row) -> Result<AliasKey, StoreError> {
    Ok(AliasKey::new(&environment(row)?, get(row, "terra_user_id")?))
}

/// A count or a number of tries; the schema keeps them from being negative or large.
pub(super) fn small(row: &Row, column: &'static str) -> Result<u32, StoreError> {
    u32::try_from(get::<i32>(row, column)?).map_err(|_| strange(column))
}

pub(super) fn count(row: &Row, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(get::<i64>(row, column)?).map_err(|_| strange(column))
}

/// A column that holds what this binary cannot have written.
pub(super) fn strange(column: &'static str) -> StoreError {
    StoreError::Incompatible(format!("column {column} holds a strange value"))
}

pub(super) fn integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// One parameter of a set-based statement: a field of every row.
pub(super) fn column<'a, R, T>(rows: &'a [R], pick: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(pick).collect()
}

pub(super) fn environments<T>(keys: &[(Environment, T)]) -> Vec<&str> {
    column(keys, |(environment, _)| environment.as_str())
}

pub(super) fn alias_columns(keys: &[AliasKey]) -> (Vec<&str>, Vec<&str>) {
    (column(keys, |key| key.environment.as_str()), column(keys, |key| key.terra_user_id.as_str()))
}

/// JSON that `jsonb` takes: it knows no NUL, which a name of a member may hold.
pub(super) fn storable(mut value: serde_json::Value) -> serde_json::Value {
    strip_nul(&mut value);
    value
}

fn strip_nul(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(strip_nul),
        Value::Object(members) => {
            if members.keys().any(|name| name.contains('\0')) {
                *members = std::mem::take(members)
                    .into_iter()
                    .map(|(name, value)| (name.replace('\0', "\u{fffd}"), value))
                    .collect();
            }
            members.values_mut().for_each(strip_nul);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
