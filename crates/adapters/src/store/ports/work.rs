//! What a worker does with deliveries: applies them, and keeps what failed until it is tried again.

use async_trait::async_trait;
use domain::id::DeliveryId;
use domain::plan::Plan;
use domain::replay::ReplayId;
use domain::settle::Settlement;
use jiff::{SignedDuration, Timestamp};

use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::{StoreError, Unneeded};

/// A plan with its bytes sealed: the delivery's own, and one document per record, in the plan's order.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub plan: Plan,
    pub body: Sealed,
    pub documents: Vec<Sealed>,
    /// Which try this is, counted from 1.
    pub attempt: u32,
    /// The run that works it again, if one does: it takes effect once per run, whether or not it was processed before.
    pub replay: Option<ReplayId>,
}

impl Prepared {
    /// Its documents that lie in the payload store, for the case that it takes no effect.
    pub fn unneeded_documents(&self) -> Vec<Unneeded> {
        let documents = self.plan.records.iter().zip(&self.documents).filter(|(_, document)| document.is_stored());
        documents
            .map(|(record, document)| Unneeded {
                payload: document.clone(),
                record: Some((record.key.kind, record.key.id())),
            })
            .collect()
    }
}

/// What applying did, per plan of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Stored {
        rows: u32,
    },
    AlreadyProcessed,
    SetAside {
        reason: String,
    },
    Quarantined {
        reason: String,
    },
    /// It names somebody who was erased: dropped.
    Erased,
}

/// What became of a failed try that was to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Kept,
    /// It names somebody who was erased: dropped instead.
    Erased,
}

/// A delivery that is due again, with this try counted: a worker that dies of it cannot count it any more.
#[derive(Debug, Clone)]
pub struct Retry {
    pub job: Job,
    /// Tries, this one included.
    pub attempts: u32,
    /// Tries in a row whose worker died.
    pub crashes: u32,
}

/// What a delivery that is due again waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOf {
    Work,
    /// Its payload lies in storage and has yet to be downloaded.
    Download,
}

/// Processes whose clocks differ by no more are served as they say. What is settled further ahead was stamped by a clock
/// that is wrong, and so was the time of its next try: it is due now.
pub(crate) const SETTLED_AHEAD_MAX: SignedDuration = SignedDuration::from_mins(1);

#[async_trait]
pub trait Work: Send + Sync {
    /// Applies a batch in one transaction; answers in the order of the batch.
    async fn apply(&self, batch: &[Prepared], now: Timestamp) -> Result<Vec<Applied>, StoreError>;

    /// Records a failed try in the ledger; a dead one also tells the company's services.
    async fn record_failure(
        &self,
        job: &Job,
        attempt: u32,
        settlement: &Settlement,
        reason: &str,
        now: Timestamp,
    ) -> Result<Recorded, StoreError>;

    /// Writes deliveries into the ledger as due at once, so that the queue need not keep them any longer. What has its
    /// row already is left as it is. Of somebody who was erased too: it is dropped when it is worked, with whatever a
    /// try that was cut off left in the payload store.
    async fn hand_over(&self, jobs: &[Job], reason: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Takes deliveries that are due, hidden from others until `until`; none that a worker held when it died.
    async fn lease_retries(
        &self,
        of: RetryOf,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Retry>, StoreError>;

    /// Takes one of those whose lease ran out without a word: what its worker died of may be this very delivery, so it
    /// is worked alone. The longest without a turn comes first.
    async fn lease_suspect(&self, of: RetryOf, now: Timestamp, until: Timestamp) -> Result<Option<Retry>, StoreError>;

    /// Keeps deliveries that are leased hidden until `until`; those that were settled meanwhile stay as they are.
    async fn renew_retries(&self, deliveries: &[DeliveryId], until: Timestamp) -> Result<(), StoreError>;

    /// Gives back what was leased and not tried to its end, as if it had not been: whoever stops in good order is not
    /// one who died.
    async fn release_retries(&self, deliveries: &[DeliveryId], now: Timestamp) -> Result<(), StoreError>;
}
