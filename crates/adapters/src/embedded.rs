//! The one file on disk that the embedded queue and the embedded store share.
//!
//! SQLite in WAL mode: one thread writes, in groups that share one fsync (`writer.rs`); a few connections read
//! (`readers.rs`). One process at a time: a lock on the directory keeps others out, so what is leased may be known in
//! memory alone (`lanes.rs`), and a crash frees every lease. Whether what lies there is whole is found out before anything
//! is written to it (`wal.rs`, `damage.rs`).

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

pub(crate) mod damage;
pub(crate) mod lanes;
pub(crate) mod readers;
mod wal;
pub(crate) mod writer;

use crate::store::SCHEMA_VERSION;
use damage::Notice;
use lanes::Lanes;
use readers::Readers;
use writer::{Unwritten, Writer};

const FILE: &str = "landfall.db";
const LOCK: &str = "landfall.lock";

/// Pages of the log that make the writer copy them into the file: at 4 kB, 40 MB and a pause of some 50 ms. Fewer
/// would pause less each time but copy hot pages more often.
const CHECKPOINT_PAGES: i64 = 10_000;

/// The log is cut back to this after a checkpoint, should a long reader have let it grow.
const LOG_BYTES_MAX: i64 = 128 * 1_024 * 1_024;

/// Page cache of the writer; negative means KiB to SQLite. Inserts at the end of tables need few pages, and a receiver
/// should stay small.
const WRITER_CACHE: i64 = -24 * 1_024;

/// More than there are statements, so that each is prepared once.
const STATEMENTS_MAX: usize = 256;

/// A writer that takes longer to do nothing is not well.
const PING_WAIT_MAX: Duration = Duration::from_secs(2);

const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);

mod migrations {
    refinery::embed_migrations!("../../migrations/sqlite");
}

/// An open data directory. Cheap to share; the last owner's drop waits for the writer to end.
pub struct Embedded {
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) lanes: Arc<Lanes>,
    dir: PathBuf,
    notice: Arc<Notice>,
    /// Versions that opening applied, until somebody asks.
    migrated: Mutex<Vec<u32>>,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("another process uses the data directory {}", dir.display())]
    Locked { dir: PathBuf },
    #[error("prepare the data directory {}", dir.display())]
    Directory { dir: PathBuf, source: std::io::Error },
    #[error("open the database in {}", dir.display())]
    Database { dir: PathBuf, source: rusqlite::Error },
    #[error(
        "the database in {} is damaged ({what}). Nothing was changed: copy the directory away, then put a backup in its \
         place, or rescue what can be read with `sqlite3 landfall.db .recover`. What Terra sent meanwhile comes back \
         with `landfall recover`", dir.display()
    )]
    Damaged { dir: PathBuf, what: String },
    #[error(
        "the database in {} turned out to be damaged ({what}), and nothing more was written to it: copy the directory \
         away, then put a backup in its place, or rescue what can be read with `sqlite3 landfall.db .recover`. What \
         Terra sent meanwhile comes back with `landfall recover`", dir.display()
    )]
    DamagedInUse { dir: PathBuf, what: String },
    #[error("migrate the database in {}", dir.display())]
    Migration { dir: PathBuf, source: Box<refinery::Error> },
}

impl Embedded {
    /// Opens, and where needed creates, the database in `dir`, and migrates it. A database that a newer binary made is
    /// left as it is: `Store::schema` judges it.
    ///
    /// Blocks; call it before serving. Errors: `Locked` while another process has the directory.
    pub fn open(dir: &Path) -> Result<Arc<Embedded>, EmbeddedError> {
        let lock = lock(dir)?;
        let path = dir.join(FILE);
        let failed = |source| EmbeddedError::Directory { dir: dir.to_owned(), source };
        let damaged = |what| EmbeddedError::Damaged { dir: dir.to_owned(), what };
        let database = |source| match damage::of(&source) {
            Some(what) => damaged(what),
            None => EmbeddedError::Database { dir: dir.to_owned(), source },
        };
        if let Some(damage) = wal::damage(&path).map_err(failed)? {
            return Err(damaged(damage.to_string()));
        }
        wal::sync(&path).map_err(failed)?;
        if let Some(what) = damage::examine(&path).map_err(database)? {
            return Err(damaged(what));
        }
        let mut connection = open_writer(&path).map_err(database)?;
        let migrated = migrate(&mut connection)
            .map_err(|source| EmbeddedError::Migration { dir: dir.to_owned(), source: Box::new(source) })?;
        end_leases(&connection).map_err(database)?;
        let lanes = Arc::new(Lanes::load(&connection).map_err(database)?);
        let notice = Arc::<Notice>::default();
        let readers = Readers::open(notice.clone(), || open_reader(&path)).map_err(database)?;
        let writer = Writer::start(connection, lock, notice.clone()).map_err(failed)?;
        Ok(Arc::new(Embedded { writer, readers, lanes, dir: dir.to_owned(), notice, migrated: Mutex::new(migrated) }))
    }

    /// Waits for what was handed to the writer, copies the log into the file, and ends the writer. Everything after
    /// fails. Safe to call twice.
    pub async fn close(&self) {
        self.writer.close().await;
    }

    /// Answers once damage was met, if ever: the process can do no more good. Nothing is written from then on.
    pub async fn damaged(&self) -> EmbeddedError {
        EmbeddedError::DamagedInUse { dir: self.dir.clone(), what: self.notice.wait().await.to_owned() }
    }

    /// Answers if the file can be read, and if the disk takes a page: a full one is found out before a webhook is.
    pub(crate) async fn ping(&self) -> Result<(), Unwritten> {
        self.notice.check()?;
        if self.writer.is_refused() {
            return Err(Unwritten::Disk("it refused a group a moment ago".into()));
        }
        let read = |connection: &mut Connection| connection.query_row("SELECT 1 FROM schema_level", [], |_| Ok(()));
        self.readers.read(read).await.map_err(|error| Unwritten::from(&error))?;
        let write = self.writer.write(|connection: &mut Connection| {
            let written = connection.execute("UPDATE schema_level SET readable_from = readable_from", []);
            written.map(drop).map_err(|error| Unwritten::from(&error))
        });
        tokio::time::timeout(PING_WAIT_MAX, write).await.unwrap_or(Err(Unwritten::Busy))
    }

    /// The versions that opening applied; empty from the second call on.
    pub(crate) fn take_migrated(&self) -> Vec<u32> {
        self.migrated.lock().map(|mut versions| std::mem::take(&mut *versions)).unwrap_or_default()
    }
}

fn lock(dir: &Path) -> Result<File, EmbeddedError> {
    let failed = |source| EmbeddedError::Directory { dir: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL syncs the log at every commit; NORMAL would lose the last commits with the power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    // What is deleted is overwritten with zeros: it costs no measurable time, and what was erased is not in the file.
    connection.pragma_update(None, "secure_delete", "ON")?;
    common(&connection)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    common(&connection)?;
    Ok(connection)
}

/// A mapped file would turn an I/O error into a signal that ends the process: mapping stays off.
fn common(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_WAIT_MAX)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// Applies what is missing; answers the versions applied.
fn migrate(connection: &mut Connection) -> Result<Vec<u32>, refinery::Error> {
    if schema_version(connection).is_ok_and(|version| version > SCHEMA_VERSION) {
        return Ok(Vec::new());
    }
    let report = migrations::migrations::runner().run(connection)?;
    Ok(report.applied_migrations().iter().filter_map(|migration| u32::try_from(migration.version()).ok()).collect())
}

/// Whoever held deliveries of the ledger is gone: nobody else had the file. They are due, and remain suspects.
fn end_leases(connection: &Connection) -> rusqlite::Result<()> {
    const END: &str = "UPDATE delivery SET locked_until = 0 WHERE outcome = 'retry' AND locked_until > 0";
    if schema_version(connection)? == SCHEMA_VERSION {
        connection.execute(END, [])?;
    }
    Ok(())
}

/// The last migration applied; 0 where none ever was.
pub(crate) fn schema_version(connection: &Connection) -> rusqlite::Result<u32> {
    const TABLE: &str = "SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history'";
    const VERSION: &str = "SELECT coalesce(max(version), 0) FROM refinery_schema_history";
    match connection.query_row(TABLE, [], |_| Ok(())).optional()? {
        Some(()) => connection.query_row(VERSION, [], |row| row.get(0)),
        None => Ok(0),
    }
}

#[cfg(test)]
pub(crate) mod scratch {
    //! A data directory of a test's own, gone when dropped.

    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name = format!("landfall-embedded-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
            let dir = std::env::temp_dir().join(name);
            std::fs::remove_dir_all(&dir).ok();
            Scratch(dir)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scratch::Scratch;
    use super::*;

    #[test]
    fn a_second_opener_is_told_that_the_directory_is_locked() {
        let scratch = Scratch::new();
        let first = Embedded::open(scratch.path()).unwrap();
        assert!(matches!(Embedded::open(scratch.path()), Err(EmbeddedError::Locked { .. })));
        drop(first);
        assert!(Embedded::open(scratch.path()).is_ok(), "the lock ends with its owner");
    }

    #[tokio::test]
    async fn after_closing_the_directory_is_free_while_readers_are_still_there() {
        let scratch = Scratch::new();
        let first = Embedded::open(scratch.path()).unwrap();
        first.close().await;
        let second = Embedded::open(scratch.path()).unwrap();
        assert!(second.ping().await.is_ok());
        assert_eq!(first.ping().await, Err(Unwritten::Closed));
    }

    #[test]
    fn opening_migrates_once() {
        let scratch = Scratch::new();
        let first = Embedded::open(scratch.path()).unwrap();
        assert_eq!(first.take_migrated(), (1..=SCHEMA_VERSION).collect::<Vec<_>>());
        drop(first);
        assert!(Embedded::open(scratch.path()).unwrap().take_migrated().is_empty());
    }

    #[test]
    fn only_the_owner_may_look_into_the_directory() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new();
        let _embedded = Embedded::open(scratch.path()).unwrap();
        assert_eq!(std::fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_newer_database_is_left_as_it_is() {
        let scratch = Scratch::new();
        drop(Embedded::open(scratch.path()).unwrap());
        let connection = Connection::open(scratch.path().join(FILE)).unwrap();
        let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (99, 'later', '2026-01-01T00:00:00Z', '1')";
        connection.execute(newer, []).unwrap();
        drop(connection);
        assert!(Embedded::open(scratch.path()).unwrap().take_migrated().is_empty());
    }
}
