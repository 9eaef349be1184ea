//! Sessions of people who connect.

use async_trait::async_trait;
use domain::id::SessionId;
use domain::session::ConnectSession;
use jiff::Timestamp;

use crate::store::StoreError;

#[async_trait]
pub trait Sessions: Send + Sync {
    async fn create_session(&self, session: &ConnectSession) -> Result<(), StoreError>;
    /// Adds what Terra answered to a new session.
    async fn session_opened(
        &self,
        id: SessionId,
        widget_session_id: Option<&str>,
        widget_url: &str,
        expires_at: Timestamp,
    ) -> Result<(), StoreError>;
    async fn session_failed(&self, id: SessionId, reason: &str) -> Result<(), StoreError>;
    async fn session(&self, id: SessionId) -> Result<Option<ConnectSession>, StoreError>;
    async fn session_by_state(&self, state_digest: &[u8; 32]) -> Result<Option<ConnectSession>, StoreError>;
    /// Marks that the browser came back; true for the first time.
    async fn session_returned(&self, id: SessionId, now: Timestamp) -> Result<bool, StoreError>;
}
