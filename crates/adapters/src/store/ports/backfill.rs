//! Large requests, and what of them has come.

use std::time::Duration;

use async_trait::async_trait;
use domain::id::BackfillId;
use jiff::Timestamp;

use crate::store::{BackfillFilter, BackfillRound, BackfillView, Listing, Page, StoreError};

#[async_trait]
pub trait Backfills: Send + Sync {
    /// Looks at open backfills that are due: counts what came, asks again for what is missing of those that stall, and
    /// closes those that are done, with an event. Safe to run from many processes at once.
    async fn settle_backfills(&self, now: Timestamp, stall: Duration, limit: u32) -> Result<BackfillRound, StoreError>;
    async fn backfills(
        &self,
        filter: &BackfillFilter,
        page: &Page,
        now: Timestamp,
    ) -> Result<Listing<BackfillView>, StoreError>;
    /// One with all its requests, counted now.
    async fn backfill(
        &self,
        id: BackfillId,
        now: Timestamp,
        stall: Duration,
    ) -> Result<Option<BackfillView>, StoreError>;
}
