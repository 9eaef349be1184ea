//! SQLite's failures as the store's. None of them holds a value of a row.

use rusqlite::ErrorCode;

use crate::embedded::writer::Unwritten;
use crate::store::StoreError;

impl From<Unwritten> for StoreError {
    fn from(unwritten: Unwritten) -> Self {
        StoreError::Unavailable(unwritten.to_string())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let unreadable = |column: &str| StoreError::Incompatible(format!("cannot read column {column}"));
        if let rusqlite::Error::SqliteFailure(failure, message) = &error {
            return sqlite_failure(failure, message.as_deref());
        }
        if let rusqlite::Error::InvalidColumnType(_, name, _) | rusqlite::Error::InvalidColumnName(name) = &error {
            return unreadable(name);
        }
        if let rusqlite::Error::FromSqlConversionFailure(index, ..)
        | rusqlite::Error::IntegralValueOutOfRange(index, _) = &error
        {
            return unreadable(&index.to_string());
        }
        StoreError::Incompatible("a statement does not fit the schema".into())
    }
}

fn sqlite_failure(failure: &rusqlite::ffi::Error, message: Option<&str>) -> StoreError {
    if failure.code == ErrorCode::ConstraintViolation || failure.code == ErrorCode::TooBig {
        // "CHECK constraint failed: length(opened) = 16": the rule, never the value.
        let rule = message.and_then(|text| text.split_once("failed: ")).map(|(_, rule)| rule.to_owned());
        return StoreError::Rejected { constraint: rule.unwrap_or_else(|| failure.to_string()) };
    }
    if failure.code == ErrorCode::Unknown || failure.code == ErrorCode::NotADatabase {
        return StoreError::Incompatible(failure.to_string());
    }
    StoreError::Unavailable(failure.to_string())
}
