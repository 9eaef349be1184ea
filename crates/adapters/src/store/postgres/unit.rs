//! Units of work: one transaction, or one statement, from the first byte to the last, whoever stops waiting for it.
//!
//! A future that is dropped half-way would leave a transaction open on a pooled connection, or a commit with an unknown
//! outcome. So every unit runs in a task of its own, which nobody cancels but its own deadline; and a connection whose
//! unit did not come to its end is closed, never given back.

use std::collections::HashSet;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use domain::id::RecordId;
use futures_util::future::BoxFuture;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};
use tokio_util::task::TaskTracker;

use super::connect::STATEMENT_MAX;
use super::error;
use crate::store::StoreError;

/// Everything of one unit, waiting for a connection and repeated tries included. Whoever is silent is found out long
/// before: a unit that takes as long was answered all the time, and asks too much.
const UNIT_MAX: Duration = Duration::from_secs(60);

/// A server that lives answers every statement within its limit, be it with a refusal. One that is silent for longer is
/// frozen or cut off, though its machine may still acknowledge what we write to it.
const SILENCE_MAX: Duration = STATEMENT_MAX.saturating_add(Duration::from_secs(2));

/// Tries of one unit that loses a race for locks.
const TRIES_MAX: u32 = 8;

/// The wait after the first lost race; it doubles.
const LOST_RACE_PAUSE: Duration = Duration::from_millis(4);

pub(super) struct Units {
    pool: Pool,
    tasks: TaskTracker,
}

/// How a transaction that went well ends.
pub(super) enum Done<T> {
    Keep(T),
    Discard(T),
}

impl Units {
    pub(super) fn new(pool: Pool) -> Self {
        Units { pool, tasks: TaskTracker::new() }
    }

    /// Runs `work` in a transaction; again where it lost a race.
    pub(super) async fn transaction<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Db) -> BoxFuture<'a, Result<Done<T>, StoreError>> + Clone + Send + Sync + 'static,
    {
        let pool = self.pool.clone();
        self.run(UNIT_MAX, StoreError::TooSlow, async move {
            let mut pause = LOST_RACE_PAUSE;
            for _ in 1..TRIES_MAX {
                match in_transaction(&pool, work.clone()).await {
                    Err(StoreError::Contention) => tokio::time::sleep(pause).await,
                    outcome => return outcome,
                }
                pause *= 2;
            }
            in_transaction(&pool, work).await
        })
        .await
    }

    /// Runs `work` in a transaction that is kept.
    pub(super) async fn keep<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Db) -> BoxFuture<'a, Result<T, StoreError>> + Clone + Send + Sync + 'static,
    {
        self.transaction(move |db| Box::pin(async move { work(db).await.map(Done::Keep) })).await
    }

    /// Runs `work` without a transaction: each statement stands for itself.
    pub(super) async fn single<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Db) -> BoxFuture<'a, Result<T, StoreError>> + Send + 'static,
    {
        let pool = self.pool.clone();
        self.run(UNIT_MAX, StoreError::TooSlow, async move {
            let mut held = Held::from(&pool).await?;
            let outcome = work(held.db()?).await;
            held.give_back_unless_broken(&outcome);
            outcome
        })
        .await
    }

    /// Runs `work` on a connection that is closed afterwards, because it changes the session and its limits.
    pub(super) async fn dedicated<T, F>(&self, within: Duration, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Db) -> BoxFuture<'a, Result<T, StoreError>> + Send + 'static,
    {
        let pool = self.pool.clone();
        let late = StoreError::Unavailable(format!("no end within {} s", within.as_secs()));
        self.run(within, late, async move {
            let mut held = Held::from(&pool).await?;
            let db = held.db()?;
            db.silence_max = within;
            work(db).await
        })
        .await
    }

    /// Waits for what is under way, then closes the pool.
    pub(super) async fn close(&self) {
        self.tasks.close();
        if tokio::time::timeout(UNIT_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!("closed the pool with units of work under way");
        }
        self.pool.close();
    }

    async fn run<T: Send + 'static>(
        &self,
        within: Duration,
        late: StoreError,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let bounded = async move { tokio::time::timeout(within, work).await.unwrap_or(Err(late)) };
        match self.tasks.spawn(bounded).await {
            Ok(outcome) => outcome,
            // Our caller decides what a panic costs; here it must not be lost.
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => Err(StoreError::Unavailable("the runtime is stopping".into())),
        }
    }
}

async fn in_transaction<T, F>(pool: &Pool, work: F) -> Result<T, StoreError>
where
    F: for<'a> FnOnce(&'a mut Db) -> BoxFuture<'a, Result<Done<T>, StoreError>>,
{
    let mut held = Held::from(pool).await?;
    held.db()?.command("BEGIN").await?;
    let outcome = match work(held.db()?).await {
        // Whoever did not answer is asked nothing more: the connection is closed, which rolls back as well.
        Err(away @ StoreError::Unavailable(_)) => return Err(away),
        outcome => outcome,
    };
    let end = if matches!(outcome, Ok(Done::Keep(_))) { "COMMIT" } else { "ROLLBACK" };
    let ended = held.db()?.command(end).await;
    held.give_back_unless_broken(&ended);
    match outcome? {
        // A commit whose answer was lost has an unknown outcome, and says so.
        Done::Keep(value) => ended.map(|()| value),
        // A connection that could not even roll back is closed by now, and so is its transaction.
        Done::Discard(value) => Ok(value),
    }
}

/// A connection on loan: closed when it is dropped, unless it was given back first.
struct Held(Option<Db>);

impl Held {
    async fn from(pool: &Pool) -> Result<Held, StoreError> {
        let client = pool.get().await.map_err(error::of_pool)?;
        Ok(Held(Some(Db { client, unseen: HashSet::new(), silence_max: SILENCE_MAX })))
    }

    fn db(&mut self) -> Result<&mut Db, StoreError> {
        self.0.as_mut().ok_or_else(|| StoreError::Unavailable("the connection was given back".into()))
    }

    fn give_back_unless_broken<T>(&mut self, outcome: &Result<T, StoreError>) {
        if !matches!(outcome, Err(StoreError::Unavailable(_))) {
            self.0 = None;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(db) = self.0.take() {
            drop(Object::take(db.client));
        }
    }
}

/// A connection inside a unit of work.
pub(super) struct Db {
    pub(super) client: Object,
    /// Records that this transaction looked for and did not find: whoever inserts one meanwhile has changed what the
    /// merge rule was asked.
    pub(super) unseen: HashSet<RecordId>,
    /// How long one statement may go without its whole answer.
    silence_max: Duration,
}

pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Db {
    pub(super) async fn rows(&self, sql: &'static str, parameters: Parameters<'_>) -> Result<Vec<Row>, StoreError> {
        self.answered(async {
            let statement = self.client.prepare_cached(sql).await?;
            self.client.query(&statement, parameters).await
        })
        .await
    }

    pub(super) async fn row(&self, sql: &'static str, parameters: Parameters<'_>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, parameters).await?.pop())
    }

    /// Answers how many rows were written.
    pub(super) async fn execute(&self, sql: &'static str, parameters: Parameters<'_>) -> Result<u64, StoreError> {
        self.answered(async {
            let statement = self.client.prepare_cached(sql).await?;
            self.client.execute(&statement, parameters).await
        })
        .await
    }

    /// Runs a command that has no parameters and is not worth preparing.
    pub(super) async fn command(&self, sql: &str) -> Result<(), StoreError> {
        self.answered(self.client.batch_execute(sql)).await
    }

    async fn answered<T>(&self, asking: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.silence_max, asking).await {
            Ok(answer) => answer.map_err(|cause| error::of_postgres(&cause)),
            Err(_) => {
                // Those that lie in the pool lead to the same server: each would have to be found out by itself.
                if let Some(pool) = Object::pool(&self.client) {
                    pool.retain(|_, _| false);
                }
                Err(StoreError::Unavailable("the database does not answer".into()))
            }
        }
    }

    /// For upkeep that goes through a day's deliveries: until this transaction ends, a statement may take longer.
    pub(super) async fn take_time(&mut self) -> Result<(), StoreError> {
        self.silence_max = UNIT_MAX;
        self.command(&format!("SET LOCAL statement_timeout = '{}s'", UNIT_MAX.as_secs())).await
    }
}
