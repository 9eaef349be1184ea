//! Dead letters, and deliveries worked again from their stored bytes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::id::DeliveryId;
use domain::record::{Kept, RecordKey};
use domain::replay::{ItemState, Items, Replay, ReplayId, Selection, State};
use jiff::Timestamp;

use super::super::{PostgresStore, records, replay, selection};
use crate::queue::Job;
use crate::store::{
    Audit, Counted, DeadGroup, Listing, Page, Preview, ReplayItem, ReplayedView, Replays, Selected, StoreError,
};

#[async_trait]
impl Replays for PostgresStore {
    async fn select_deliveries(
        &self,
        selection: &Selection,
        after: Option<DeliveryId>,
        until: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Selected>, StoreError> {
        let selection = selection.clone();
        single!(self, |db| selection::select(db, &selection, after, until, limit))
    }

    async fn newest_delivery(&self) -> Result<Option<DeliveryId>, StoreError> {
        single!(self, |db| selection::newest(db))
    }

    async fn kept_records(&self, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, Kept>, StoreError> {
        let keys = keys.to_vec();
        single!(self, |db| records::seen(db, &keys))
    }

    async fn write_replay(
        &self,
        run: &Replay,
        was: Option<State>,
        audit: Option<&Audit>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (run, audit) = (run.clone(), audit.cloned());
        keep!(self, |db| replay::write(db, &run, was, audit.as_ref(), now))
    }

    async fn add_replay_items(&self, run: &Replay, items: &[Counted], now: Timestamp) -> Result<bool, StoreError> {
        let (run, items) = (run.clone(), items.to_vec());
        keep!(self, |db| replay::add_items(db, &run, &items, now))
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        single!(self, |db| replay::one(db, id))
    }

    async fn replays(&self, page: &Page) -> Result<Listing<Replay>, StoreError> {
        let page = page.clone();
        single!(self, |db| replay::list(db, &page))
    }

    async fn next_replay(&self) -> Result<Option<Replay>, StoreError> {
        single!(self, |db| replay::next(db))
    }

    async fn replay_preview(&self, id: ReplayId) -> Result<Preview, StoreError> {
        single!(self, |db| replay::preview(db, id))
    }

    async fn replay_counts(&self, id: ReplayId) -> Result<Items, StoreError> {
        single!(self, |db| replay::counts(db, id))
    }

    async fn replay_first(&self, id: ReplayId) -> Result<Option<ReplayItem>, StoreError> {
        single!(self, |db| replay::first(db, id))
    }

    async fn replay_items(&self, id: ReplayId, limit: u32) -> Result<Vec<ReplayItem>, StoreError> {
        single!(self, |db| replay::pending(db, id, limit))
    }

    async fn replayed(
        &self,
        id: ReplayId,
        state: Option<ItemState>,
        page: &Page,
    ) -> Result<Listing<ReplayedView>, StoreError> {
        let page = page.clone();
        single!(self, |db| replay::list_items(db, id, state, &page))
    }

    async fn fail_replay(&self, id: ReplayId, job: &Job, reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let (job, reason) = (job.clone(), reason.to_owned());
        keep!(self, |db| replay::fail(db, id, &job, &reason, now))
    }

    async fn leave_replay(&self, id: ReplayId, delivery: DeliveryId, state: ItemState) -> Result<(), StoreError> {
        single!(self, |db| replay::leave(db, id, delivery, state))
    }

    async fn retry_failed_items(&self, id: ReplayId) -> Result<(), StoreError> {
        single!(self, |db| replay::retry_failed(db, id))
    }

    async fn dead_groups(&self, selection: &Selection, page: &Page) -> Result<Listing<DeadGroup>, StoreError> {
        let (selection, page) = (selection.clone(), page.clone());
        single!(self, |db| selection::groups(db, &selection, &page))
    }

    async fn discard(
        &self,
        selection: &Selection,
        reason: &str,
        audit: &Audit,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let (selection, reason, audit) = (selection.clone(), reason.to_owned(), audit.clone());
        keep!(self, |db| selection::discard(db, &selection, &reason, &audit, limit, now))
    }
}
