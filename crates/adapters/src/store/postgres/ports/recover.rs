//! Getting back what an outage cost.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::fetch::FetchJob;
use domain::id::Environment;
use domain::recover::{Missed, MissedState, Pause, Recovery, RecoveryId};
use jiff::{SignedDuration, Timestamp};

use super::super::{PostgresStore, recover};
use crate::store::{Listing, Page, Recoveries, RecoveryBackfills, StoreError};

#[async_trait]
impl Recoveries for PostgresStore {
    async fn write_recovery(&self, recovery: &Recovery) -> Result<(), StoreError> {
        let recovery = recovery.clone();
        single!(self, |db| recover::write(db, &recovery))
    }

    async fn recovery(&self, id: RecoveryId) -> Result<Option<Recovery>, StoreError> {
        single!(self, |db| recover::one(db, id))
    }

    async fn recoveries(&self, page: &Page) -> Result<Listing<Recovery>, StoreError> {
        let page = page.clone();
        single!(self, |db| recover::list(db, &page))
    }

    async fn next_recovery(&self) -> Result<Option<Recovery>, StoreError> {
        single!(self, |db| recover::next(db))
    }

    async fn add_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
        let missed = missed.to_vec();
        keep!(self, |db| recover::add_missed(db, id, &missed))
    }

    async fn missed_events(&self, id: RecoveryId, state: MissedState, limit: u32) -> Result<Vec<Missed>, StoreError> {
        single!(self, |db| recover::missed(db, id, state, limit))
    }

    async fn settle_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
        let missed = missed.to_vec();
        single!(self, |db| recover::settle_missed(db, id, &missed))
    }

    async fn missed_counts(&self, id: RecoveryId) -> Result<Vec<(MissedState, u64, u64)>, StoreError> {
        single!(self, |db| recover::missed_counts(db, id))
    }

    async fn processed_events(
        &self,
        events: &[(Environment, String)],
    ) -> Result<BTreeSet<(Environment, String)>, StoreError> {
        let events = events.to_vec();
        single!(self, |db| recover::processed(db, &events))
    }

    async fn add_recovery_jobs(&self, id: RecoveryId, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError> {
        let jobs = jobs.to_vec();
        keep!(self, |db| recover::add_jobs(db, id, &jobs, now))
    }

    async fn recovery_backfills(&self, id: RecoveryId) -> Result<RecoveryBackfills, StoreError> {
        single!(self, |db| recover::backfills(db, id))
    }

    async fn received_pauses(
        &self,
        from: Timestamp,
        to: Timestamp,
        longer_than: SignedDuration,
    ) -> Result<Vec<Pause>, StoreError> {
        single!(self, |db| recover::pauses(db, from, to, longer_than))
    }
}
