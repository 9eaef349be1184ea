//! The log of events, numbered without gaps.

use async_trait::async_trait;
use domain::outgoing::Published;

use crate::store::{Holder, StoreError};

#[async_trait]
pub trait EventLog: Send + Sync {
    /// Gives at most `limit` committed events their positions, if the lease is still held; answers how many.
    async fn number_events(&self, lease: Holder<'_>, limit: u32) -> Result<u32, StoreError>;
    /// Events with a position that are not known to be published, in order.
    async fn unpublished_events(&self, limit: u32) -> Result<Vec<Published>, StoreError>;
    /// Events up to this position are published.
    async fn mark_published(&self, lease: Holder<'_>, position: i64) -> Result<(), StoreError>;
    /// The log after a position, in order.
    async fn events_after(&self, position: i64, limit: u32) -> Result<Vec<Published>, StoreError>;
}
