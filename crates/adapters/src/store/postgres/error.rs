//! What a failure of PostgreSQL means to us.
//!
//! A server's message and detail may repeat values of a row, and those are health data: of errors about rows only the
//! constraint's name and the code are kept.

use std::error::Error as _;

use deadpool_postgres::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::store::StoreError;

pub(super) fn of_pool(error: PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => of_postgres(&error),
        PoolError::Timeout(_) => StoreError::Unavailable("no connection became free in time".into()),
        PoolError::Closed => StoreError::Unavailable("the pool is closed".into()),
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            StoreError::Unavailable("the pool could not make a connection".into())
        }
    }
}

pub(super) fn of_postgres(error: &Error) -> StoreError {
    match error.as_db_error() {
        Some(refusal) => of_server(refusal),
        None => of_client(error),
    }
}

/// Errors without an answer of the server. The text names the kind only; the cause of an I/O error is one of the
/// system's fixed phrases.
fn of_client(error: &Error) -> StoreError {
    let what = error.to_string();
    let ours = ["error serializing", "error deserializing", "invalid column", "query returned", "expected "];
    if ours.iter().any(|start| what.starts_with(start)) {
        return StoreError::Incompatible(what);
    }
    match error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>()) {
        Some(cause) => StoreError::Unavailable(format!("{what}: {}", cause.kind())),
        None => StoreError::Unavailable(what),
    }
}

/// - Source: PostgreSQL 15, appendix A, error codes.
fn of_server(refusal: &DbError) -> StoreError {
    let code = refusal.code().code();
    match (&code[..2], code) {
        ("40", _) | (_, "55P03") => StoreError::Contention,
        // By the limit of a statement. Those for locks are shorter, and end it as lost races before.
        (_, "57014") => StoreError::TooSlow,
        ("21" | "22" | "23" | "54", _) => StoreError::Rejected { constraint: broken_rule(refusal) },
        ("0A" | "26" | "42" | "3F", _) => StoreError::Incompatible(named(refusal)),
        // Connection, authorization, missing database, read-only, resources, shutdown, time-outs, and all the rest.
        _ => StoreError::Unavailable(named(refusal)),
    }
}

fn broken_rule(refusal: &DbError) -> String {
    let place = refusal.constraint().or(refusal.column()).or(refusal.table());
    place.map_or_else(|| format!("sqlstate_{}", refusal.code().code()), str::to_owned)
}

/// The messages of these classes name objects of the schema or states of the server, never values of rows.
fn named(refusal: &DbError) -> String {
    format!("{} (SQLSTATE {})", refusal.message(), refusal.code().code())
}
