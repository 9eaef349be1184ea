//! Whether the database is whole: looked at before anything may write to it, and noticed while it is in use.

use std::path::Path;
use std::sync::OnceLock;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use tokio_util::sync::CancellationToken;

use super::writer::Unwritten;
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
pub(crate) fn of(error: &rusqlite::Error) -> Option<String> {
    const READ_FAILED: [i32; 2] = [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_CORRUPTFS];
    let error = error.sqlite_error()?;
    let is_damage = matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        || READ_FAILED.contains(&error.extended_code);
    is_damage.then(|| error.to_string())
}

/// An error that may come of damage.
pub(crate) trait Damaging {
    fn damage(&self) -> Option<String>;
}

impl Damaging for rusqlite::Error {
    fn damage(&self) -> Option<String> {
        of(self)
    }
}

impl Damaging for Unwritten {
    fn damage(&self) -> Option<String> {
        if let Unwritten::Damaged(what) = self { Some(what.clone()) } else { None }
    }
}

/// Damage that was met while the database was in use. From then on nothing is written to it: what is still whole shall
/// stay so, and nobody is promised anything.
#[derive(Default)]
pub(crate) struct Notice {
    what: OnceLock<String>,
    told: CancellationToken,
}

impl Notice {
    pub(crate) fn note(&self, damage: Option<String>) {
        let Some(damage) = damage else { return };
        if self.what.set(damage).is_ok() {
            let reason = self.seen().unwrap_or_default();
            tracing::error!(reason, "the database is damaged: nothing more is written to it");
            self.told.cancel();
        }
    }

    /// Passes a result on, and notes what its error may tell.
    pub(crate) fn noting<T, E: Damaging>(&self, result: Result<T, E>) -> Result<T, E> {
        self.note(result.as_ref().err().and_then(Damaging::damage));
        result
    }

    pub(crate) fn seen(&self) -> Option<&str> {
        self.what.get().map(String::as_str)
    }

    pub(crate) fn check(&self) -> Result<(), Unwritten> {
        match self.seen() {
            Some(what) => Err(Unwritten::Damaged(what.to_owned())),
            None => Ok(()),
        }
    }

    pub(crate) async fn wait(&self) -> &str {
        self.told.cancelled().await;
        self.seen().unwrap_or_default()
    }
}
