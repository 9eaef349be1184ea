//! Deleting what fetching has left behind long ago.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::column::ms;
use crate::store::StoreError;
use crate::store::fetching::{KEEP_ACCOUNTS, KEEP_SPENDS};

/// Deletes at most `rows_max` rows of each table; answers whether there may be more.
pub(super) fn step(connection: &Connection, now: Timestamp, rows_max: usize) -> Result<bool, StoreError> {
    const LINKS: &str = "
        DELETE FROM backfill_fetch WHERE backfill_id IN
            (SELECT id FROM backfill WHERE settled_at < ?1 ORDER BY settled_at LIMIT ?2)";
    const BACKFILLS: &str = "
        DELETE FROM backfill WHERE id IN
            (SELECT id FROM backfill WHERE settled_at < ?1 ORDER BY settled_at LIMIT ?2)";
    const JOBS: &str = "
        DELETE FROM fetch_job WHERE id IN
            (SELECT id FROM fetch_job WHERE state <> 'queued' AND updated_at < ?1 LIMIT ?2)";
    const CHUNKS: &str = "
        DELETE FROM fetch_chunk WHERE rowid IN (SELECT rowid FROM fetch_chunk WHERE received_at < ?1 LIMIT ?2)";
    const REQUESTS: &str = "
        DELETE FROM fetch_request WHERE rowid IN (SELECT rowid FROM fetch_request WHERE announced_at < ?1 LIMIT ?2)";
    const SPENDS: &str = "
        DELETE FROM fetch_spend WHERE rowid IN (SELECT rowid FROM fetch_spend WHERE spent_at < ?1 LIMIT ?2)";
    const PAUSES: &str = "
        DELETE FROM fetch_pause WHERE rowid IN (SELECT rowid FROM fetch_pause WHERE until < ?1 LIMIT ?2)";
    let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let before = |age: SignedDuration| now.checked_sub(age).map_or(i64::MIN, ms);
    let mut more = false;
    for (sql, age) in [
        (LINKS, KEEP_ACCOUNTS),
        (BACKFILLS, KEEP_ACCOUNTS),
        (JOBS, KEEP_ACCOUNTS),
        (CHUNKS, KEEP_ACCOUNTS),
        (REQUESTS, KEEP_ACCOUNTS),
        (SPENDS, KEEP_SPENDS),
        (PAUSES, KEEP_SPENDS),
    ] {
        more |= connection.prepare_cached(sql)?.execute(params![before(age), limit])? == rows_max;
    }
    Ok(more)
}
