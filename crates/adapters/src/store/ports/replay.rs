//! Dead letters, and deliveries worked again from their stored bytes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::id::DeliveryId;
use domain::record::{Kept, RecordKey};
use domain::replay::{ItemState, Items, Replay, ReplayId, Selection, State};
use jiff::Timestamp;

use crate::queue::Job;
use crate::store::{Audit, Counted, DeadGroup, Listing, Page, Preview, ReplayItem, ReplayedView, Selected, StoreError};

#[async_trait]
pub trait Replays: Send + Sync {
    /// The highest id in the ledger, whatever became of it.
    async fn newest_delivery(&self) -> Result<Option<DeliveryId>, StoreError>;
    /// Deliveries that match, in the order of their ids, after `after` and up to `until`. Never one whose payload lies in
    /// storage: its link is past.
    async fn select_deliveries(
        &self,
        selection: &Selection,
        after: Option<DeliveryId>,
        until: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Selected>, StoreError>;
    /// What is kept under these keys right now; locks nothing.
    async fn kept_records(&self, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, Kept>, StoreError>;
    /// Adds a run (`was` is `None`), or changes one that is still in the state `was`; false where it is not, and then
    /// nothing was kept. The entry of the audit is written with it.
    async fn write_replay(
        &self,
        run: &Replay,
        was: Option<State>,
        audit: Option<&Audit>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Adds chosen deliveries, each once, and keeps how far the counting is; false where it was stopped meanwhile.
    async fn add_replay_items(&self, run: &Replay, items: &[Counted], now: Timestamp) -> Result<bool, StoreError>;
    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError>;
    /// Newest first.
    async fn replays(&self, page: &Page) -> Result<Listing<Replay>, StoreError>;
    /// The oldest that is to be counted, else the oldest that runs.
    async fn next_replay(&self) -> Result<Option<Replay>, StoreError>;
    async fn replay_preview(&self, id: ReplayId) -> Result<Preview, StoreError>;
    async fn replay_counts(&self, id: ReplayId) -> Result<Items, StoreError>;
    /// The pending delivery of a run that goes first; where it can, one with another cause than those that failed.
    async fn replay_first(&self, id: ReplayId) -> Result<Option<ReplayItem>, StoreError>;
    /// Pending deliveries of a run, in the order of their ids; those that are likely to fail come last, and what failed in
    /// it before after them.
    async fn replay_items(&self, id: ReplayId, limit: u32) -> Result<Vec<ReplayItem>, StoreError>;
    /// Deliveries of a run and what became of them, in the order of their ids; `state` of `None` is any.
    async fn replayed(
        &self,
        id: ReplayId,
        state: Option<ItemState>,
        page: &Page,
    ) -> Result<Listing<ReplayedView>, StoreError>;
    /// Keeps that a pending delivery of a run failed again. A dead letter stays one, with the new reason; what a person
    /// discarded meanwhile stays discarded, also in the run.
    async fn fail_replay(&self, id: ReplayId, job: &Job, reason: &str, now: Timestamp) -> Result<(), StoreError>;
    /// Keeps what became of a pending delivery of a run that is not worked.
    async fn leave_replay(&self, id: ReplayId, delivery: DeliveryId, state: ItemState) -> Result<(), StoreError>;
    /// Makes what failed in a run pending again.
    async fn retry_failed_items(&self, id: ReplayId) -> Result<(), StoreError>;
    /// Dead letters that match, by fingerprint.
    async fn dead_groups(&self, selection: &Selection, page: &Page) -> Result<Listing<DeadGroup>, StoreError>;
    /// Marks at most `limit` dead letters that match as discarded by the actor of the entry, which gets their number as
    /// `deliveries`; answers how many.
    async fn discard(
        &self,
        selection: &Selection,
        reason: &str,
        audit: &Audit,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError>;
}
