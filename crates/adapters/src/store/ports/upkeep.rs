//! The schema, retention, and whether the store is there at all.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::store::{Schema, StoreError};

#[async_trait]
pub trait Upkeep: Send + Sync {
    async fn schema(&self) -> Result<Schema, StoreError>;
    /// Applies missing migrations, under a lock; answers the versions applied. Safe to run from many processes at once.
    async fn migrate(&self) -> Result<Vec<u32>, StoreError>;
    async fn ping(&self) -> Result<(), StoreError>;
    /// What time it is there; `None` where it has no clock but ours.
    async fn clock(&self) -> Result<Option<Timestamp>, StoreError>;
    /// Creates the partitions of the coming days, drops ledger rows older than `keep_deliveries`, `processed` rows
    /// older than 90 days, and sessions a day past their end. Payloads that nothing needs any more are among
    /// [`Store::unneeded_payloads`] from the same transaction on.
    async fn upkeep(&self, now: Timestamp, keep_deliveries: Duration) -> Result<(), StoreError>;
    /// Closes connections; for an orderly end.
    async fn close(&self);
}
