//! Whether the database is whole: looked at before anything may write to it.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::{common, wal};

/// What is wrong with the structure of the file, if anything: a damaged one must not be written to. Reads every page,
/// about a gigabyte in a second or two.
///
/// Leaves every byte alone, those of the log and its index too: the last connection to be closed would otherwise copy
/// the log into the file, and one that is not alone would make the index anew.
pub(super) fn examine(path: &Path) -> rusqlite::Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    let log = wal::beside(path, "-wal");
    let had_log = log.exists();
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    common(&connection)?;
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    drop(connection);
    if !had_log {
        // SQLite makes an empty one; there may be none where it did not come so far.
        std::fs::remove_file(&log).ok();
    }
    // The findings name pages and trees, never values.
    found.map(|found| (found != "ok").then(|| found.lines().next().unwrap_or_default().to_owned()))
}

/// What SQLite says where it met a page that is not what it wrote, or that the disk cannot read any more.
pub(super) fn of(error: &rusqlite::Error) -> Option<String> {
    const READ_FAILED: [i32; 2] = [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_CORRUPTFS];
    let error = error.sqlite_error()?;
    let is_damage = matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        || READ_FAILED.contains(&error.extended_code);
    is_damage.then(|| error.to_string())
}
