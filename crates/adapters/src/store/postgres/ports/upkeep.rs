//! The schema, retention, and whether the store is there at all.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::super::{MIGRATE_MAX, PostgresStore, facts, migrate, upkeep};
use crate::store::{Schema, StoreError, Upkeep};

#[async_trait]
impl Upkeep for PostgresStore {
    async fn schema(&self) -> Result<Schema, StoreError> {
        single!(self, |db| migrate::schema(db))
    }

    async fn migrate(&self) -> Result<Vec<u32>, StoreError> {
        let schema = self.schema.clone();
        self.units.dedicated(MIGRATE_MAX, move |db| Box::pin(async move { migrate::migrate(db, &schema).await })).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        single!(self, |db| db.command("SELECT 1"))
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        single!(self, |db| facts::clock(db))
    }

    async fn upkeep(&self, now: Timestamp, keep_deliveries: Duration) -> Result<(), StoreError> {
        upkeep::run(&self.units, now, keep_deliveries).await
    }

    async fn close(&self) {
        self.units.close().await;
    }
}
