//! The writer's thread: groups of operations, each group one transaction.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use fail::fail_point;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot};

use super::{Message, Operation, Refusal, Undo, Unwritten};
use crate::embedded::damage::Notice;

/// What one commit may carry: after any of these the group is closed, so that nobody waits long for the others.
const GROUP_OPERATIONS_MAX: usize = 512;
pub(super) const GROUP_BYTES_MAX: usize = 8 * 1_024 * 1_024;
const GROUP_TIME_MAX: Duration = Duration::from_millis(20);

/// The thread: one group after the other until it is told to stop or nobody is left to ask. Answers who wants to know
/// of the end.
pub(super) fn serve(
    mut connection: Connection,
    mut inbox: mpsc::Receiver<Message>,
    refusal: &Refusal,
    notice: &Notice,
) -> Vec<oneshot::Sender<()>> {
    let mut ended = Vec::new();
    while let Some(first) = inbox.blocking_recv() {
        match first {
            Message::Run(operation) => ended.extend(run_group(&mut connection, operation, &mut inbox, refusal, notice)),
            Message::Stop(sender) => ended.push(sender),
        }
        if !ended.is_empty() {
            // What was sent before is still received; what comes later is refused.
            inbox.close();
        }
    }
    if notice.seen().is_none() {
        checkpoint(&connection);
    } else if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::warn!(reason = %Unwritten::from(&error), "closing may copy the log into a damaged database");
    }
    ended
}

/// An orderly end leaves everything in the one file. A failure loses nothing: the log is read at the next opening.
fn checkpoint(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(reason = %Unwritten::from(&error), "left the log of the database to the next opening");
    }
}

/// Runs `first` and what else waits in one transaction. Answers who asked to stop meanwhile.
fn run_group(
    connection: &mut Connection,
    first: Box<dyn Operation>,
    inbox: &mut mpsc::Receiver<Message>,
    refusal: &Refusal,
    notice: &Notice,
) -> Option<oneshot::Sender<()>> {
    let mut group = Group::begin(connection, notice);
    group.run(connection, first, notice);
    while group.has_room() {
        match inbox.try_recv() {
            Ok(Message::Run(operation)) => group.run(connection, operation, notice),
            Ok(Message::Stop(sender)) => {
                group.finish(connection, refusal, notice);
                return Some(sender);
            }
            Err(_nothing_waits) => break,
        }
    }
    group.finish(connection, refusal, notice);
    None
}

/// Operations that share a commit.
struct Group {
    /// The error that ended the transaction early, and with it all that ran before.
    state: Result<(), Unwritten>,
    ran: Vec<Box<dyn Operation>>,
    size_bytes: usize,
    begun: Instant,
}

impl Group {
    fn begin(connection: &Connection, notice: &Notice) -> Group {
        let state = notice.check().and_then(|()| notice.noting(execute(connection, "BEGIN IMMEDIATE")));
        Group { state, ran: Vec::new(), size_bytes: 0, begun: Instant::now() }
    }

    /// A transaction that is lost takes no more operations: the next group gets a new one.
    fn has_room(&self) -> bool {
        self.state.is_ok()
            && self.ran.len() < GROUP_OPERATIONS_MAX
            && self.size_bytes < GROUP_BYTES_MAX
            && self.begun.elapsed() < GROUP_TIME_MAX
    }

    fn run(&mut self, connection: &mut Connection, mut operation: Box<dyn Operation>, notice: &Notice) {
        self.size_bytes += operation.size_bytes();
        if self.state.is_ok() {
            let state = match operation.undo() {
                Undo::Statement => {
                    operation.run(connection);
                    Ok(())
                }
                Undo::Savepoint => run_under_savepoint(connection, operation.as_mut()),
            };
            // Whatever of the group read before may have been wrong too.
            notice.note(operation.damage());
            self.state = notice.noting(state).and_then(|()| notice.check());
            // A full or broken disk makes SQLite undo the whole transaction by itself.
            if self.state.is_ok() && connection.is_autocommit() {
                self.state = Err(Unwritten::Disk("the transaction was undone".into()));
            }
        }
        self.ran.push(operation);
    }

    fn finish(self, connection: &Connection, refusal: &Refusal, notice: &Notice) {
        fail_point!("group_written_not_synced", |_| std::process::abort());
        let may_commit = self.state.and_then(|()| notice.check());
        let committed = may_commit.and_then(|()| notice.noting(execute(connection, "COMMIT")));
        fail_point!("group_synced_before_answer", |_| std::process::abort());
        refusal.note(&committed, self.size_bytes);
        if let Err(reason) = &committed {
            // Said here once for all of them, and damage once for all groups: a caller learns only that it was refused.
            if notice.seen().is_none() {
                tracing::error!(%reason, operations = self.ran.len(), "could not write to the database");
            }
            if !connection.is_autocommit() {
                // Should even this fail, the next group cannot begin and says so.
                execute(connection, "ROLLBACK").ok();
            }
        }
        for operation in self.ran {
            // The answer is given outside of any transaction; a panic in it must not end the thread.
            catch_unwind(AssertUnwindSafe(|| operation.settle(committed.clone()))).unwrap_or_else(report);
        }
    }
}

fn run_under_savepoint(connection: &mut Connection, operation: &mut dyn Operation) -> Result<(), Unwritten> {
    execute(connection, "SAVEPOINT operation")?;
    let good = operation.run(connection);
    if connection.is_autocommit() {
        return Ok(());
    }
    if !good {
        execute(connection, "ROLLBACK TO operation")?;
    }
    execute(connection, "RELEASE operation")
}

fn report(_panic: Box<dyn Any + Send>) {
    tracing::error!("an operation of the database panicked while it answered");
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Unwritten> {
    let run = || connection.prepare_cached(sql)?.execute([]);
    run().map(|_| ()).map_err(|error| Unwritten::from(&error))
}
