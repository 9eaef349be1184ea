//! Dead letters, and deliveries worked again from their stored bytes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::id::DeliveryId;
use domain::record::{Kept, RecordKey};
use domain::replay::{ItemState, Items, Replay, ReplayId, Selection, State};
use jiff::Timestamp;

use super::super::{EmbeddedStore, records, replay, selection};
use crate::queue::Job;
use crate::store::{
    Audit, Counted, DeadGroup, Listing, Page, Preview, ReplayItem, ReplayedView, Replays, Selected, StoreError,
};

#[async_trait]
impl Replays for EmbeddedStore {
    async fn select_deliveries(
        &self,
        selection: &Selection,
        after: Option<DeliveryId>,
        until: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Selected>, StoreError> {
        let selection = selection.clone();
        self.read(move |connection| selection::select(connection, &selection, after, until, limit)).await
    }

    async fn newest_delivery(&self) -> Result<Option<DeliveryId>, StoreError> {
        self.read(|connection| selection::newest(connection)).await
    }

    async fn kept_records(&self, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, Kept>, StoreError> {
        let keys = keys.to_vec();
        let kept = self.read(move |connection| records::kept(connection, &keys)).await?;
        Ok(kept.into_iter().map(|(key, row)| (key, row.kept)).collect())
    }

    async fn write_replay(
        &self,
        run: &Replay,
        was: Option<State>,
        audit: Option<&Audit>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (run, audit) = (run.clone(), audit.cloned());
        self.write(move |connection| replay::write(connection, &run, was, audit.as_ref(), now)).await
    }

    async fn add_replay_items(&self, run: &Replay, items: &[Counted], now: Timestamp) -> Result<bool, StoreError> {
        let (run, items) = (run.clone(), items.to_vec());
        self.write(move |connection| replay::add_items(connection, &run, &items, now)).await
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        self.read(move |connection| replay::one(connection, id)).await
    }

    async fn replays(&self, page: &Page) -> Result<Listing<Replay>, StoreError> {
        let page = page.clone();
        self.read(move |connection| replay::list(connection, &page)).await
    }

    async fn next_replay(&self) -> Result<Option<Replay>, StoreError> {
        self.read(move |connection| replay::next(connection)).await
    }

    async fn replay_preview(&self, id: ReplayId) -> Result<Preview, StoreError> {
        self.read(move |connection| replay::preview(connection, id)).await
    }

    async fn replay_counts(&self, id: ReplayId) -> Result<Items, StoreError> {
        self.read(move |connection| replay::counts(connection, id)).await
    }

    async fn replay_first(&self, id: ReplayId) -> Result<Option<ReplayItem>, StoreError> {
        self.read(move |connection| replay::first(connection, id)).await
    }

    async fn replay_items(&self, id: ReplayId, limit: u32) -> Result<Vec<ReplayItem>, StoreError> {
        self.read(move |connection| replay::pending(connection, id, limit)).await
    }

    async fn replayed(
        &self,
        id: ReplayId,
        state: Option<ItemState>,
        page: &Page,
    ) -> Result<Listing<ReplayedView>, StoreError> {
        let page = page.clone();
        self.read(move |connection| replay::list_items(connection, id, state, &page)).await
    }

    async fn fail_replay(&self, id: ReplayId, job: &Job, reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let (job, reason) = (job.clone(), reason.to_owned());
        self.write(move |connection| replay::fail(connection, id, &job, &reason, now)).await
    }

    async fn leave_replay(&self, id: ReplayId, delivery: DeliveryId, state: ItemState) -> Result<(), StoreError> {
        self.write(move |connection| replay::leave(connection, id, delivery, state)).await
    }

    async fn retry_failed_items(&self, id: ReplayId) -> Result<(), StoreError> {
        self.write(move |connection| replay::retry_failed(connection, id)).await
    }

    async fn dead_groups(&self, selection: &Selection, page: &Page) -> Result<Listing<DeadGroup>, StoreError> {
        let (selection, page) = (selection.clone(), page.clone());
        self.read(move |connection| selection::groups(connection, &selection, &page)).await
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
        self.write(move |connection| selection::discard(connection, &selection, &reason, &audit, limit, now)).await
    }
}
