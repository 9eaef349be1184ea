//! Getting back what an outage cost.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::fetch::FetchJob;
use domain::id::Environment;
use domain::recover::{Missed, MissedState, Pause, Recovery, RecoveryId};
use jiff::{SignedDuration, Timestamp};

use super::super::{EmbeddedStore, recover};
use crate::store::{Listing, Page, Recoveries, RecoveryBackfills, StoreError};

#[async_trait]
impl Recoveries for EmbeddedStore {
    async fn write_recovery(&self, recovery: &Recovery) -> Result<(), StoreError> {
        let recovery = recovery.clone();
        self.write(move |connection| recover::write(connection, &recovery)).await
    }

    async fn recovery(&self, id: RecoveryId) -> Result<Option<Recovery>, StoreError> {
        self.read(move |connection| recover::one(connection, id)).await
    }

    async fn recoveries(&self, page: &Page) -> Result<Listing<Recovery>, StoreError> {
        let page = page.clone();
        self.read(move |connection| recover::list(connection, &page)).await
    }

    async fn next_recovery(&self) -> Result<Option<Recovery>, StoreError> {
        self.read(move |connection| recover::next(connection)).await
    }

    async fn add_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
        let missed = missed.to_vec();
        self.write(move |connection| recover::add_missed(connection, id, &missed)).await
    }

    async fn missed_events(&self, id: RecoveryId, state: MissedState, limit: u32) -> Result<Vec<Missed>, StoreError> {
        self.read(move |connection| recover::missed(connection, id, state, limit)).await
    }

    async fn settle_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
        let missed = missed.to_vec();
        self.write(move |connection| recover::settle_missed(connection, id, &missed)).await
    }

    async fn missed_counts(&self, id: RecoveryId) -> Result<Vec<(MissedState, u64, u64)>, StoreError> {
        self.read(move |connection| recover::missed_counts(connection, id)).await
    }

    async fn processed_events(
        &self,
        events: &[(Environment, String)],
    ) -> Result<BTreeSet<(Environment, String)>, StoreError> {
        let events = events.to_vec();
        self.read(move |connection| recover::processed(connection, &events)).await
    }

    async fn add_recovery_jobs(&self, id: RecoveryId, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError> {
        let jobs = jobs.to_vec();
        self.write(move |connection| recover::add_jobs(connection, id, &jobs, now)).await
    }

    async fn recovery_backfills(&self, id: RecoveryId) -> Result<RecoveryBackfills, StoreError> {
        self.read(move |connection| recover::backfills(connection, id)).await
    }

    async fn received_pauses(
        &self,
        from: Timestamp,
        to: Timestamp,
        longer_than: SignedDuration,
    ) -> Result<Vec<Pause>, StoreError> {
        self.read(move |connection| recover::pauses(connection, from, to, longer_than)).await
    }
}
