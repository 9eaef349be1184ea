//! The queue on the embedded engine: jobs are rows, leases are memory.
//!
//! A job is published once its row is on the disk. An acknowledged lease is deleted with the next group of writes, and
//! nobody waits for that: what a crash brings back was processed and is known.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::delivery::{Delivery, Lane};
use domain::outgoing::Published;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::{Consumer, Depth, Job, Lease, PublishError, Queue, QueueError, Receipt, SetAside};
use crate::clock::Clock;
use crate::embedded::Embedded;
use crate::embedded::lanes::{Place, Share};
use crate::embedded::writer::{Outcome, Undo, Unwritten};
use crate::payloads::Sealed;

/// How long a publish waits for room before the writer; Terra's patience is 8 s.
const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(5);

const ACK_WAIT_MAX: Duration = Duration::from_secs(30);

pub struct EmbeddedQueue {
    embedded: Arc<Embedded>,
    lane_bytes_max: u64,
    clock: Clock,
}

impl EmbeddedQueue {
    /// A lane holds at most `lane_bytes_max`.
    pub fn new(embedded: Arc<Embedded>, lane_bytes_max: u64) -> Self {
        EmbeddedQueue { embedded, lane_bytes_max, clock: Clock::system() }
    }
}

#[async_trait]
impl Queue for EmbeddedQueue {
    fn is_open(&self) -> Result<(), PublishError> {
        if self.embedded.lanes.is_closed() { Err(PublishError::Unavailable) } else { Ok(()) }
    }

    async fn publish(&self, job: Job) -> Result<(), PublishError> {
        const INSERT: &str =
            "INSERT INTO queue_job (id, lane, enqueued_ms, delivery, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.is_open()?;
        let lanes = self.embedded.lanes.clone();
        let lane = job.delivery.lane();
        let delivery =
            serde_json::to_string(&job.delivery).expect("invariant: a delivery holds nothing that JSON cannot");
        let enqueued_ms = self.clock.now().as_millisecond();
        let size_bytes = delivery.len() + job.body.0.len();
        let Some(room) = lanes.reserve(lane, size_bytes as u64, self.lane_bytes_max) else {
            return Err(PublishError::Full);
        };
        let ids = lanes.clone();
        let insert = move |connection: &mut Connection| {
            let row = params![ids.next_id(), lane.label(), enqueued_ms, delivery, job.body.0.as_ref()];
            let inserted = connection.prepare_cached(INSERT).and_then(|mut statement| statement.execute(row));
            inserted.map(drop).map_err(|error| Unwritten::from(&error))
        };
        let (answer, answered) = oneshot::channel();
        let settle = move |outcome: Outcome<(), Unwritten>| {
            let result: Result<(), PublishError> =
                outcome.map_or(Err(PublishError::Disk), |written| written.map_err(unpublished));
            if result.is_ok() {
                room.take();
            }
            // The caller may have gone; the job is stored all the same.
            answer.send(result).ok();
        };
        let submitted =
            self.embedded.writer.submit(Undo::Statement, size_bytes, PUBLISH_WAIT_MAX, insert, settle).await;
        submitted.map_err(unpublished)?;
        answered.await.unwrap_or(Err(PublishError::Unavailable))
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError> {
        let number = self.embedded.lanes.new_consumer();
        Ok(Box::new(EmbeddedConsumer { embedded: self.embedded.clone(), number }))
    }

    /// What comes back too often is for the ledger to count.
    async fn lease_set_aside(&self, _max: usize) -> Result<SetAside, QueueError> {
        Ok(SetAside::default())
    }

    async fn publish_events(&self, _events: &[Published]) -> Result<(), PublishError> {
        Ok(())
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let now_ms = self.clock.now().as_millisecond();
        let oldest = self.embedded.readers.read(oldest).await.map_err(unavailable)?;
        let age = |enqueued_ms: i64| Duration::from_millis(u64::try_from(now_ms - enqueued_ms).unwrap_or(0));
        let depth = |((lane, jobs, bytes), oldest): ((Lane, u64, u64), Option<i64>)| {
            let oldest = if jobs == 0 { None } else { oldest.map(age) };
            Depth { lane, jobs, oldest, bytes: Some(bytes) }
        };
        Ok(self.embedded.lanes.depths().into_iter().zip(oldest).map(depth).collect())
    }

    async fn ping(&self) -> Result<(), QueueError> {
        if self.embedded.lanes.is_closed() {
            return Err(closed());
        }
        self.embedded.ping().await.map_err(|unwritten| QueueError::Unavailable(unwritten.to_string()))
    }

    async fn close(&self, within: Duration) {
        self.embedded.lanes.close();
        // What was handed over before has been answered once this is; later than `within` nobody waits for it.
        tokio::time::timeout(within, self.embedded.writer.write(|_| Ok::<(), Unwritten>(()))).await.ok();
    }
}

fn unpublished(unwritten: Unwritten) -> PublishError {
    match unwritten {
        Unwritten::Closed => PublishError::Unavailable,
        Unwritten::Busy => PublishError::Busy,
        Unwritten::Disk(_) | Unwritten::Damaged(_) => PublishError::Disk,
    }
}

fn unavailable(error: rusqlite::Error) -> QueueError {
    QueueError::Unavailable(Unwritten::from(&error).to_string())
}

fn closed() -> QueueError {
    QueueError::Unavailable(Unwritten::Closed.to_string())
}

/// When the oldest job of each lane was published.
fn oldest(connection: &mut Connection) -> rusqlite::Result<Vec<Option<i64>>> {
    const OLDEST: &str = "SELECT enqueued_ms FROM queue_job WHERE lane = ?1 ORDER BY id LIMIT 1";
    let mut statement = connection.prepare_cached(OLDEST)?;
    Lane::ALL.iter().map(|lane| statement.query_row([lane.label()], |row| row.get(0)).optional()).collect()
}

struct EmbeddedConsumer {
    embedded: Arc<Embedded>,
    number: u64,
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.embedded.lanes.give_back_all(self.number);
    }
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn lease(&mut self, max: usize) -> Result<Lease, QueueError> {
        let lanes = self.embedded.lanes.clone();
        loop {
            // Listening before looking: what is published in between is not missed.
            let mut changed = std::pin::pin!(lanes.changed.notified());
            changed.as_mut().enable();
            if lanes.is_closed() {
                return Err(closed());
            }
            if let Some(lease) = self.try_lease(max.max(1)).await? {
                return Ok(lease);
            }
            changed.await;
        }
    }
}

impl EmbeddedConsumer {
    async fn try_lease(&self, max: usize) -> Result<Option<Lease>, QueueError> {
        let lanes = &self.embedded.lanes;
        let _choosing = lanes.choosing.lock().await;
        let shares = lanes.shares(max);
        if shares.is_empty() {
            return Ok(None);
        }
        let rows =
            self.embedded.readers.read(move |connection| read(connection, &shares)).await.map_err(unavailable)?;
        let mut taken = Vec::with_capacity(rows.len());
        let mut jobs = Vec::with_capacity(rows.len());
        let mut suspects = HashSet::new();
        for row in rows {
            match serde_json::from_str::<Delivery>(&row.delivery) {
                Ok(delivery) => {
                    if lanes.was_held(row.lane, row.id) {
                        suspects.insert(delivery.id);
                    }
                    let bytes = (row.delivery.len() + row.body.size_in_row()) as u64;
                    taken.push(Place { lane: row.lane, id: row.id, bytes });
                    jobs.push(Job { delivery, body: row.body });
                }
                Err(_) => {
                    tracing::error!(job.id = row.id, "cannot read job {} of the queue: it stays on the disk", row.id);
                    lanes.set_aside(row.lane, row.id);
                }
            }
        }
        if jobs.is_empty() {
            return Ok(None);
        }
        let number = lanes.lease(self.number, taken);
        let receipt = EmbeddedReceipt { embedded: self.embedded.clone(), number };
        Ok(Some(Lease::new(jobs, suspects, Box::new(receipt))))
    }
}

struct Row {
    lane: Lane,
    id: i64,
    delivery: String,
    body: Sealed,
}

fn read(connection: &mut Connection, shares: &[Share]) -> rusqlite::Result<Vec<Row>> {
    const GIVEN_BACK: &str = "SELECT id, delivery, body FROM queue_job WHERE id = ?1";
    const FRESH: &str = "SELECT id, delivery, body FROM queue_job WHERE lane = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
    let mut given_back = connection.prepare_cached(GIVEN_BACK)?;
    let mut fresh = connection.prepare_cached(FRESH)?;
    let mut rows = Vec::new();
    for share in shares {
        let row = |row: &rusqlite::Row<'_>| {
            let body = Sealed(Bytes::from(row.get::<_, Vec<u8>>(2)?));
            Ok(Row { lane: share.lane, id: row.get(0)?, delivery: row.get(1)?, body })
        };
        for id in &share.given_back {
            rows.extend(given_back.query_row([id], row).optional()?);
        }
        let limit = i64::try_from(share.fresh).unwrap_or(i64::MAX);
        for read in fresh.query_map(params![share.lane.label(), share.cursor, limit], row)? {
            rows.push(read?);
        }
    }
    Ok(rows)
}

struct EmbeddedReceipt {
    embedded: Arc<Embedded>,
    number: u64,
}

impl Drop for EmbeddedReceipt {
    fn drop(&mut self) {
        // After an acknowledgement the lease has ended, and nothing happens.
        self.embedded.lanes.give_back(self.number);
    }
}

#[async_trait]
impl Receipt for EmbeddedReceipt {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        const DELETE: &str = "DELETE FROM queue_job WHERE id IN (SELECT value FROM json_each(?1))";
        let gone = || QueueError::Unavailable("the consumer of this lease is gone".into());
        let leaving = self.embedded.lanes.acknowledge(self.number).ok_or_else(gone)?;
        let ids = serde_json::to_string(&leaving.ids()).expect("invariant: integers are JSON");
        let delete = move |connection: &mut Connection| {
            let deleted = connection.prepare_cached(DELETE).and_then(|mut statement| statement.execute([&ids]));
            deleted.map_err(|error| Unwritten::from(&error))
        };
        // Jobs that could not be deleted wait again: `leaving` sees to it when it is dropped.
        let settle = move |outcome: Outcome<usize, Unwritten>| {
            if let Ok(Ok(_)) = outcome {
                leaving.left();
            }
        };
        let submitted = self.embedded.writer.submit(Undo::Statement, 0, ACK_WAIT_MAX, delete, settle).await;
        submitted.map_err(|unwritten| QueueError::Unavailable(unwritten.to_string()))
    }
}

#[cfg(test)]
mod tests;
