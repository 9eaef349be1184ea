//! Getting back what an outage cost.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::fetch::FetchJob;
use domain::id::Environment;
use domain::recover::{Missed, MissedState, Pause, Recovery, RecoveryId};
use jiff::{SignedDuration, Timestamp};

use crate::store::{Listing, Page, StoreError};

/// What became of the requests for data of a recovery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecoveryBackfills {
    pub all: u64,
    /// Requests that they take together.
    pub requests: u64,
    pub open: u64,
    /// Not everything came.
    pub incomplete: u64,
}

#[async_trait]
pub trait Recoveries: Send + Sync {
    /// Adds a recovery, or keeps how far it is.
    async fn write_recovery(&self, recovery: &Recovery) -> Result<(), StoreError>;
    async fn recovery(&self, id: RecoveryId) -> Result<Option<Recovery>, StoreError>;
    /// Newest first.
    async fn recoveries(&self, page: &Page) -> Result<Listing<Recovery>, StoreError>;
    /// The oldest that is not over.
    async fn next_recovery(&self) -> Result<Option<Recovery>, StoreError>;
    /// Adds events that are not among those of the recovery yet, as pending.
    async fn add_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError>;
    /// Events in this state, the oldest first.
    async fn missed_events(&self, id: RecoveryId, state: MissedState, limit: u32) -> Result<Vec<Missed>, StoreError>;
    /// Keeps state and `resent_at` of these events.
    async fn settle_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError>;
    /// Events per state: all, and those that Terra was asked to send again.
    async fn missed_counts(&self, id: RecoveryId) -> Result<Vec<(MissedState, u64, u64)>, StoreError>;
    /// Which of these ids of Terra's are trace ids of deliveries that were processed.
    async fn processed_events(
        &self,
        events: &[(Environment, String)],
    ) -> Result<BTreeSet<(Environment, String)>, StoreError>;
    /// Queues requests for data that belong to a recovery.
    async fn add_recovery_jobs(&self, id: RecoveryId, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError>;
    async fn recovery_backfills(&self, id: RecoveryId) -> Result<RecoveryBackfills, StoreError>;
    /// The longest times within `from` and `to` in which nothing was received, longest first.
    async fn received_pauses(
        &self,
        from: Timestamp,
        to: Timestamp,
        longer_than: SignedDuration,
    ) -> Result<Vec<Pause>, StoreError>;
}
