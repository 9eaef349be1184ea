//! The schema, retention, and whether the store is there at all.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::super::{EmbeddedStore, upkeep};
use crate::store::{Schema, StoreError, Upkeep};

#[async_trait]
impl Upkeep for EmbeddedStore {
    async fn schema(&self) -> Result<Schema, StoreError> {
        self.read(|connection| upkeep::schema(connection)).await
    }

    /// Opening has migrated already; this tells what it applied.
    async fn migrate(&self) -> Result<Vec<u32>, StoreError> {
        Ok(self.embedded.take_migrated())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.embedded.ping().await?)
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Deletes in small operations, so that receiving goes on between them.
    async fn upkeep(&self, now: Timestamp, keep_deliveries: Duration) -> Result<(), StoreError> {
        while self.write(move |connection| upkeep::step(connection, now, keep_deliveries)).await? {}
        Ok(())
    }

    async fn close(&self) {
        self.embedded.close().await;
    }
}
