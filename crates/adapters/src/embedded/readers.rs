//! A few read-only connections, each used by one blocking task at a time.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::damage::{Damaging, Notice};

/// Readers beside each other: enough for a page of the dashboard while a worker leases jobs.
const READERS: usize = 3;

pub(crate) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    notice: Arc<Notice>,
}

impl Readers {
    pub(crate) fn open(notice: Arc<Notice>, open: impl Fn() -> rusqlite::Result<Connection>) -> rusqlite::Result<Self> {
        let connections = (0..READERS).map(|_| open()).collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Readers { idle: Arc::new(Mutex::new(connections)), permits: Arc::new(Semaphore::new(READERS)), notice })
    }

    /// Runs `work` on a thread that may block. It sees everything that was committed before. A panic of `work` goes on
    /// in the caller.
    pub(crate) async fn read<T, E>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Damaging + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.expect("invariant: this semaphore is never closed");
        let idle = self.idle.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut loan = Loan::take(&idle);
            let answer = work(loan.connection());
            // The connection is back before the permit is.
            drop(loan);
            drop(permit);
            answer
        });
        match task.await {
            Ok(answer) => self.notice.noting(answer),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime ends, and this task with it.
                Err(_cancelled) => std::future::pending().await,
            },
        }
    }
}

/// A connection that goes back to the idle ones, also after a panic.
struct Loan<'a> {
    idle: &'a Mutex<Vec<Connection>>,
    connection: Option<Connection>,
}

impl<'a> Loan<'a> {
    fn take(idle: &'a Mutex<Vec<Connection>>) -> Self {
        let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Loan { idle, connection }
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("invariant: there are as many permits as connections")
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
