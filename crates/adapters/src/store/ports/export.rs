//! Everything of one person.

use async_trait::async_trait;
use domain::id::UserId;
use domain::outgoing::Published;
use domain::session::ConnectSession;

use crate::store::StoreError;

#[async_trait]
pub trait Exports: Send + Sync {
    /// Connect sessions of a user, the oldest first.
    async fn sessions_of(&self, user: &UserId) -> Result<Vec<ConnectSession>, StoreError>;
    /// Events about a user or one of their aliases, after a position, in order.
    async fn events_of(&self, user: &UserId, position: i64, limit: u32) -> Result<Vec<Published>, StoreError>;
}
