//! The queue's contract: deliveries wait here, durably, between receipt and work.
//!
//! Guarantees every implementation keeps (`tests/contract/queue.rs`):
//!
//! - **Durable**: `publish` returns `Ok` only after the job would survive `kill -9` of every process of ours and a crash
//!   of the broker. Any other outcome means "maybe stored": the caller must not promise anything.
//! - **At least once**: a leased job comes again unless its lease was acknowledged; order is not promised.
//! - **Hidden while leased**: no two live leases hold the same job.
//! - **Suspects are named**: of a job that somebody held before without acknowledging it the lease says so, for that
//!   may be what its holder died of. A false alarm is allowed.
//! - **Bounded**: a lane holds at most so many bytes. More is refused, never dropped, until enough has been worked off;
//!   of a lane that is empty one job is taken, however large.
//! - **Lanes**: jobs of one lane never wait behind a backlog of another; lanes are served by weight.
//!
//! The queue knows lease and acknowledge only. Retries and dead letters are rows in the store.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::{Delivery, Lane};
use domain::id::DeliveryId;
use domain::outgoing::Published;
use serde::{Deserialize, Serialize};

use crate::payloads::Sealed;

pub mod embedded;
pub mod rabbitmq;

/// What a lane holds at most, unless the settings say otherwise.
pub const LANE_BYTES_MAX: u64 = 8 * 1_024 * 1_024 * 1_024;

/// A delivery on its way through the queue: what is known of it, and its sealed bytes (or the pointer to them).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub delivery: Delivery,
    pub body: Sealed,
}

#[async_trait]
pub trait Queue: Send + Sync {
    /// Whether a publish would be refused already, as far as is known without asking: nothing need be prepared for it.
    fn is_open(&self) -> Result<(), PublishError>;

    /// Makes a job durable in the lane its delivery belongs to.
    async fn publish(&self, job: Job) -> Result<(), PublishError>;

    /// Opens a consumer over all lanes. Dropping it gives its unacknowledged jobs back.
    async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError>;

    /// Takes what the queue itself has set aside because it came back too often, for at most about `max` jobs.
    async fn lease_set_aside(&self, max: usize) -> Result<SetAside, QueueError>;

    /// Hands events to the company's services: persistent and confirmed, not mandatory (no subscriber is no failure).
    /// Returns once all are confirmed. An engine without an exchange has nothing to do: the log is the delivery.
    async fn publish_events(&self, events: &[Published]) -> Result<(), PublishError>;

    /// What waits in each lane, leased jobs included.
    async fn depths(&self) -> Result<Vec<Depth>, QueueError>;

    /// Answers if a job could be made durable right now.
    async fn ping(&self) -> Result<(), QueueError>;

    /// Finishes what is in flight and closes, within the given time.
    async fn close(&self, within: Duration);
}

/// One consumer; one task works it.
#[async_trait]
pub trait Consumer: Send {
    /// Waits until there is at least one job, then takes what is there, at most `max` jobs, lanes by weight.
    async fn lease(&mut self, max: usize) -> Result<Lease, QueueError>;
}

/// Jobs held by one worker until it acknowledges them, all together.
#[must_use = "an unacknowledged lease goes back to the queue"]
pub struct Lease {
    pub jobs: Vec<Job>,
    /// Those of the jobs that were held before.
    pub suspects: HashSet<DeliveryId>,
    receipt: Box<dyn Receipt>,
}

impl Lease {
    pub fn new(jobs: Vec<Job>, suspects: HashSet<DeliveryId>, receipt: Box<dyn Receipt>) -> Self {
        Lease { jobs, suspects, receipt }
    }

    /// Takes the jobs off the queue for good. Call it only after their effects are committed. An error means they
    /// may come again, which does no harm: what was processed is known.
    pub async fn ack(self) -> Result<(), QueueError> {
        self.receipt.ack().await
    }
}

/// What a queue has set aside.
#[derive(Default)]
pub struct SetAside {
    /// Every job is a suspect.
    pub lease: Option<Lease>,
    /// Messages that are no deliveries of ours: left where they are.
    pub foreign: u64,
}

/// What an engine needs to acknowledge a lease.
#[async_trait]
pub trait Receipt: Send + Sync {
    async fn ack(self: Box<Self>) -> Result<(), QueueError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    pub lane: Lane,
    pub jobs: u64,
    /// Age of the oldest waiting job, where the engine knows it.
    pub oldest: Option<Duration>,
    /// What the jobs take, where the engine knows it.
    pub bytes: Option<u64>,
}

/// Why a job may not be durable. Every variant is answered the same way (503), so that Terra sends again; the variants
/// differ in what an operator has to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("no queue is bound for the job: the topology is missing, run `landfall topology apply`")]
    Unroutable,
    #[error("the broker refused the job (its queue is full or has lost its majority)")]
    Refused,
    #[error("the broker did not confirm in time")]
    TimedOut,
    #[error("the broker is not reachable or blocks publishers")]
    Unavailable,
    #[error("too many jobs wait to be published")]
    Busy,
    #[error("the disk refused the job")]
    Disk,
    #[error("the lane holds as much as it may")]
    Full,
}

impl PublishError {
    /// Whether the job is certainly nowhere, so that what was kept for it may go. After the others it may be stored.
    pub fn is_certain(&self) -> bool {
        matches!(self, PublishError::Unroutable | PublishError::Busy | PublishError::Full)
    }

    /// Closed set, for `landfall_publish_failures_total{reason}`.
    pub fn reason(&self) -> &'static str {
        match self {
            PublishError::Unroutable => "unroutable",
            PublishError::Refused => "refused",
            PublishError::TimedOut => "timed_out",
            PublishError::Unavailable => "unavailable",
            PublishError::Busy => "busy",
            PublishError::Disk => "disk",
            PublishError::Full => "full",
        }
    }

    pub const REASONS: [&'static str; 7] =
        ["unroutable", "refused", "timed_out", "unavailable", "busy", "disk", "full"];
}

/// The queue cannot be worked right now; the caller waits and opens a new consumer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("the queue is not reachable: {0}")]
    Unavailable(String),
    #[error("the queue's topology does not fit: {0}; run `landfall topology diff`")]
    Topology(String),
}
