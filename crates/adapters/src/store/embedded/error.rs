//! SQLite's failures as the store's. None of them holds a value of a row.

use rusqlite::ErrorCode;

use crate::embedded::damage::{self, Damaging};
use crate::embedded::writer::Unwritten;
use crate::store::StoreError;

impl From<Unwritten> for StoreError {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Damaged(what) => StoreError::Damaged(what),
            Unwritten::Closed | Unwritten::Busy | Unwritten::Disk(_) => StoreError::Unavailable(unwritten.to_string()),
        }
    }
}

impl Damaging for StoreError {
    fn damage(&self) -> Option<String> {
        if let StoreError::Damaged(what) = self { Some(what.clone()) } else { None }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if let Some(what) = damage::of(&error) {
            return StoreError::Damaged(what);
        }
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
    if failure.code == ErrorCode::Unknown {
        return StoreError::Incompatible(failure.to_string());
    }
    StoreError::Unavailable(failure.to_string())
}
