//! Who decided what.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::column::{json, ms, time};
use super::read::{after, limit};
use crate::store::{Audit, AuditFilter, AuditView, Listing, Page, StoreError};

pub(super) fn write(connection: &Connection, entry: &Audit, now: Timestamp) -> Result<(), StoreError> {
    const WRITE: &str = "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = params![ms(now), entry.actor, entry.action, entry.subject, entry.detail.to_string()];
    connection.prepare_cached(WRITE)?.execute(row)?;
    Ok(())
}

pub(super) const FORGOTTEN_AT_ONCE: u32 = 500;

/// Looks at the oldest alone: entries are numbered in the order of their times, but for what a clock did that was wrong.
pub(super) fn forget(connection: &Connection, end: Timestamp) -> Result<u64, StoreError> {
    const FORGET: &str = "
        DELETE FROM audit WHERE id IN (SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT ?2) WHERE at < ?1)";
    Ok(connection.prepare_cached(FORGET)?.execute(params![ms(end), FORGOTTEN_AT_ONCE])? as u64)
}

/// Newest first.
pub(super) fn list(
    connection: &Connection,
    filter: &AuditFilter,
    page: &Page,
) -> Result<Listing<AuditView>, StoreError> {
    const LIST: &str = "
        SELECT id, at, actor, action, subject, detail FROM audit
        WHERE id < ?1 AND (?2 IS NULL OR actor = ?2) AND (?3 IS NULL OR action = ?3) AND (?4 IS NULL OR subject = ?4)
        ORDER BY id DESC LIMIT ?5";
    let before: i64 = after(page)?.unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(LIST)?;
    let rows = statement.query_map(params![before, filter.actor, filter.action, filter.subject, limit(page)], view)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |view: &AuditView| view.id.to_string()))
}

fn view(row: &Row<'_>) -> rusqlite::Result<AuditView> {
    Ok(AuditView {
        id: row.get("id")?,
        at: time(row, "at")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        detail: json(row, "detail")?,
    })
}
