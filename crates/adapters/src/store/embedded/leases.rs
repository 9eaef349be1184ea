//! What may run once at a time.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::column::ms;
use crate::store::{Holder, LEASE_MAX, StoreError};

pub(super) fn hold(
    connection: &Connection,
    lease: Holder<'_>,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    const HOLD: &str = "
        INSERT INTO lease (name, holder, held_until) VALUES (?1, ?2, ?3)
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
        WHERE lease.holder = excluded.holder OR lease.held_until <= ?4 OR lease.held_until > ?5";
    let row = params![lease.name, lease.holder.as_bytes(), ms(until), ms(now), ms(now + LEASE_MAX)];
    Ok(connection.prepare_cached(HOLD)?.execute(row)? == 1)
}

pub(super) fn let_go(connection: &Connection, lease: Holder<'_>) -> Result<(), StoreError> {
    const LET_GO: &str = "DELETE FROM lease WHERE name = ?1 AND holder = ?2";
    connection.prepare_cached(LET_GO)?.execute(params![lease.name, lease.holder.as_bytes()])?;
    Ok(())
}

/// True while nobody else has taken the lease.
pub(super) fn is_held(connection: &Connection, lease: Holder<'_>) -> Result<bool, StoreError> {
    const HELD: &str = "SELECT 1 FROM lease WHERE name = ?1 AND holder = ?2";
    let mut statement = connection.prepare_cached(HELD)?;
    Ok(statement.query_row(params![lease.name, lease.holder.as_bytes()], |_| Ok(())).optional()?.is_some())
}
