//! Large requests, and what of them has come.

use std::time::Duration;

use async_trait::async_trait;
use domain::id::BackfillId;
use jiff::Timestamp;
use rusqlite::Connection;

use super::super::{EmbeddedStore, backfill, backfill_read};
use crate::store::{BackfillFilter, BackfillRound, BackfillView, Backfills, Listing, Page, StoreError};

#[async_trait]
impl Backfills for EmbeddedStore {
    async fn settle_backfills(&self, now: Timestamp, stall: Duration, limit: u32) -> Result<BackfillRound, StoreError> {
        let mut round = BackfillRound::default();
        for (account, _) in self.write(move |connection| backfill::claim(connection, now, limit)).await? {
            let look = move |connection: &mut Connection| backfill::look_at_one(connection, &account, now, stall);
            round.add(self.write(look).await?);
        }
        Ok(round)
    }

    async fn backfills(
        &self,
        filter: &BackfillFilter,
        page: &Page,
        now: Timestamp,
    ) -> Result<Listing<BackfillView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| backfill_read::list(connection, &filter, &page, now)).await
    }

    async fn backfill(
        &self,
        id: BackfillId,
        now: Timestamp,
        stall: Duration,
    ) -> Result<Option<BackfillView>, StoreError> {
        self.read(move |connection| backfill_read::one(connection, id, now, stall)).await
    }
}
