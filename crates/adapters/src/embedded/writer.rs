//! The one thread that writes, with group commit.
//!
//! It takes the operations that wait, runs them one after the other in one transaction, commits, which is one fsync,
//! and only then answers all of them. So an answer of `Ok` means that the disk has it, and the more callers there are
//! the less each pays. An operation that fails or panics is undone alone.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::damage::{self, Damaging, Notice};

mod group;

/// Operations that may wait for the thread.
const WAITING_MAX: usize = 1_024;

/// So long after a refusal it is worth another try.
const REFUSAL_LASTS: Duration = Duration::from_secs(5);

/// An operation was not written; or perhaps it was, where the commit itself failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwritten {
    #[error("the database is closed")]
    Closed,
    #[error("too many operations wait")]
    Busy,
    /// The disk is full or broken; the text is SQLite's name of the failure.
    #[error("the disk refused a commit: {0}")]
    Disk(String),
    /// What is on the disk is not what was written; the text is SQLite's.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

impl From<&rusqlite::Error> for Unwritten {
    fn from(error: &rusqlite::Error) -> Self {
        if let Some(what) = damage::of(error) {
            return Unwritten::Damaged(what);
        }
        Unwritten::Disk(error.sqlite_error().map_or_else(|| "not a database error".into(), ToString::to_string))
    }
}

/// How an operation that fails is kept from harming the others of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undo {
    /// It is a single statement, which SQLite undoes by itself.
    Statement,
    /// It gets a savepoint of its own.
    Savepoint,
}

/// When the disk last refused a group, unless it took a job since.
///
/// A full disk still takes a page here and there, so that a probe which writes one finds nothing wrong.
#[derive(Debug, Default)]
struct Refusal(Mutex<Option<Instant>>);

impl Refusal {
    fn note(&self, committed: &Result<(), Unwritten>, size_bytes: usize) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match committed {
            Err(_) => *at = Some(Instant::now()),
            Ok(()) if size_bytes > 0 => *at = None,
            Ok(()) => {}
        }
    }

    fn is_recent(&self) -> bool {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() < REFUSAL_LASTS)
    }
}

pub(crate) struct Writer {
    sender: mpsc::Sender<Message>,
    refusal: Arc<Refusal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Run(Box<dyn Operation>),
    /// End once everything that waits is done.
    Stop(oneshot::Sender<()>),
}

/// A unit of work with its result inside, so that the thread need not know its type.
trait Operation: Send {
    fn undo(&self) -> Undo;
    fn size_bytes(&self) -> usize;
    /// The damage that it met, once it has run.
    fn damage(&self) -> Option<String>;
    /// True if its effects may stay.
    fn run(&mut self, connection: &mut Connection) -> bool;
    /// Answers the caller, after the commit.
    fn settle(self: Box<Self>, committed: Result<(), Unwritten>);
}

/// What became of an operation.
pub(crate) type Outcome<T, E> = std::thread::Result<Result<T, E>>;

struct Task<T, E, W, S> {
    undo: Undo,
    size_bytes: usize,
    work: Option<W>,
    outcome: Option<Outcome<T, E>>,
    settle: S,
}

impl<T, E, W, S> Operation for Task<T, E, W, S>
where
    T: Send,
    E: From<Unwritten> + Damaging + Send,
    W: FnOnce(&mut Connection) -> Result<T, E> + Send,
    S: FnOnce(Outcome<T, E>) + Send,
{
    fn undo(&self) -> Undo {
        self.undo
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    fn damage(&self) -> Option<String> {
        if let Some(Ok(Err(error))) = &self.outcome { error.damage() } else { None }
    }

    fn run(&mut self, connection: &mut Connection) -> bool {
        let Some(work) = self.work.take() else { return false };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(connection)));
        let good = matches!(outcome, Ok(Ok(_)));
        self.outcome = Some(outcome);
        good
    }

    fn settle(self: Box<Self>, committed: Result<(), Unwritten>) {
        let task = *self;
        let outcome = match (task.outcome, committed) {
            (Some(Ok(Ok(_))) | None, Err(unwritten)) => Ok(Err(unwritten.into())),
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Ok(Err(Unwritten::Closed.into())),
        };
        (task.settle)(outcome);
    }
}

impl Writer {
    /// Starts the thread. It owns the connection and the lock on the directory, and gives both up when it ends.
    pub(crate) fn start(connection: Connection, lock: File, notice: Arc<Notice>) -> std::io::Result<Writer> {
        let (sender, inbox) = mpsc::channel(WAITING_MAX);
        let refusal = Arc::<Refusal>::default();
        let noted = refusal.clone();
        let thread = std::thread::Builder::new().name("landfall-writer".into()).spawn(move || {
            let ended = group::serve(connection, inbox, &noted, &notice);
            // Whoever is told of the end may open the directory again.
            drop(lock);
            for told in ended {
                // Who no longer waits need not know.
                told.send(()).ok();
            }
        })?;
        Ok(Writer { sender, refusal, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `work` under a savepoint, and answers after the commit. Waits for room. A panic of `work` goes on in the
    /// caller. The work is done even if the caller goes away meanwhile.
    pub(crate) async fn write<T, E, W>(&self, work: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Unwritten> + Damaging + Send + 'static,
        W: FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        // A caller that went away has no use for the answer.
        let settle = move |outcome: Outcome<T, E>| drop(answer.send(outcome));
        let room = self.sender.reserve().await.map_err(|_closed| Unwritten::Closed)?;
        room.send(message(Undo::Savepoint, 0, work, settle));
        match answered.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_ended) => Err(Unwritten::Closed.into()),
        }
    }

    /// Hands over `work` of about `size_bytes`, waiting at most `patience` for room. `settle` is called on the writer's
    /// thread after the commit, so it must be quick.
    pub(crate) async fn submit<T, E, W, S>(
        &self,
        undo: Undo,
        size_bytes: usize,
        patience: Duration,
        work: W,
        settle: S,
    ) -> Result<(), Unwritten>
    where
        T: Send + 'static,
        E: From<Unwritten> + Damaging + Send + 'static,
        W: FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
        S: FnOnce(Outcome<T, E>) + Send + 'static,
    {
        match self.sender.try_send(message(undo, size_bytes, work, settle)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Unwritten::Closed),
            Err(mpsc::error::TrySendError::Full(waiting)) => {
                let room = tokio::time::timeout(patience, self.sender.reserve()).await;
                let room = room.map_err(|_elapsed| Unwritten::Busy)?.map_err(|_closed| Unwritten::Closed)?;
                room.send(waiting);
                Ok(())
            }
        }
    }

    /// True where the disk refused a group a moment ago and took no job since.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_recent()
    }

    /// True while the thread takes operations.
    pub(crate) fn is_alive(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Ends the thread after everything that was handed over.
    pub(crate) async fn close(&self) {
        let (ended, wait) = oneshot::channel();
        if self.sender.send(Message::Stop(ended)).await.is_ok() {
            // An error means that it ended already.
            wait.await.ok();
        }
    }
}

impl Drop for Writer {
    /// Waits for the thread, so that the directory is free for the next opener.
    fn drop(&mut self) {
        let (none, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.sender, none));
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            // It catches the panics of its operations; one of its own has been printed.
            thread.join().ok();
        }
    }
}

fn message<T, E, W, S>(undo: Undo, size_bytes: usize, work: W, settle: S) -> Message
where
    T: Send + 'static,
    E: From<Unwritten> + Damaging + Send + 'static,
    W: FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    S: FnOnce(Outcome<T, E>) + Send + 'static,
{
    Message::Run(Box::new(Task { undo, size_bytes, work: Some(work), outcome: None, settle }))
}

#[cfg(test)]
mod tests;
