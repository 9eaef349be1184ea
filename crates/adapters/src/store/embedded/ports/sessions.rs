//! Sessions of people who connect.

use async_trait::async_trait;
use domain::id::SessionId;
use domain::session::ConnectSession;
use jiff::Timestamp;

use super::super::{EmbeddedStore, sessions};
use crate::store::{Sessions, StoreError};

#[async_trait]
impl Sessions for EmbeddedStore {
    async fn create_session(&self, session: &ConnectSession) -> Result<(), StoreError> {
        let session = session.clone();
        self.write(move |connection| sessions::create(connection, &session)).await
    }

    async fn session_opened(
        &self,
        id: SessionId,
        widget_session_id: Option<&str>,
        widget_url: &str,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let (widget_session_id, widget_url) = (widget_session_id.map(str::to_owned), widget_url.to_owned());
        self.write(move |connection| {
            sessions::opened(connection, id, widget_session_id.as_deref(), &widget_url, expires_at)
        })
        .await
    }

    async fn session_failed(&self, id: SessionId, reason: &str) -> Result<(), StoreError> {
        let reason = reason.to_owned();
        self.write(move |connection| sessions::failed(connection, id, &reason)).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<ConnectSession>, StoreError> {
        self.read(move |connection| sessions::by_id(connection, id)).await
    }

    async fn session_by_state(&self, state_digest: &[u8; 32]) -> Result<Option<ConnectSession>, StoreError> {
        let state_digest = *state_digest;
        self.read(move |connection| sessions::by_state(connection, &state_digest)).await
    }

    async fn session_returned(&self, id: SessionId, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |connection| sessions::returned(connection, id, now)).await
    }
}
