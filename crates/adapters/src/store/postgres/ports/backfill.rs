//! Large requests, and what of them has come.

use std::time::Duration;

use async_trait::async_trait;
use domain::id::BackfillId;
use jiff::Timestamp;

use super::super::{PostgresStore, backfill, backfill_read};
use crate::store::{BackfillFilter, BackfillRound, BackfillView, Backfills, Listing, Page, StoreError};

#[async_trait]
impl Backfills for PostgresStore {
    async fn settle_backfills(&self, now: Timestamp, stall: Duration, limit: u32) -> Result<BackfillRound, StoreError> {
        backfill::settle(&self.units, now, stall, limit).await
    }

    async fn backfills(
        &self,
        filter: &BackfillFilter,
        page: &Page,
        now: Timestamp,
    ) -> Result<Listing<BackfillView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| backfill_read::list(db, &filter, &page, now))
    }

    async fn backfill(
        &self,
        id: BackfillId,
        now: Timestamp,
        stall: Duration,
    ) -> Result<Option<BackfillView>, StoreError> {
        single!(self, |db| backfill_read::one(db, id, now, stall))
    }
}
