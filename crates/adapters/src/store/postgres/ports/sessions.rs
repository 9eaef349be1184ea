//! Sessions of people who connect.

use async_trait::async_trait;
use domain::id::SessionId;
use domain::session::ConnectSession;
use jiff::Timestamp;

use super::super::{PostgresStore, sessions};
use crate::store::{Sessions, StoreError};

#[async_trait]
impl Sessions for PostgresStore {
    async fn create_session(&self, session: &ConnectSession) -> Result<(), StoreError> {
        let session = session.clone();
        single!(self, |db| sessions::create(db, &session))
    }

    async fn session_opened(
        &self,
        id: SessionId,
        widget_session_id: Option<&str>,
        widget_url: &str,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let (widget, url) = (widget_session_id.map(str::to_owned), widget_url.to_owned());
        single!(self, |db| sessions::opened(db, id, widget.as_deref(), &url, expires_at))
    }

    async fn session_failed(&self, id: SessionId, reason: &str) -> Result<(), StoreError> {
        let reason = reason.to_owned();
        single!(self, |db| sessions::failed(db, id, &reason))
    }

    async fn session(&self, id: SessionId) -> Result<Option<ConnectSession>, StoreError> {
        single!(self, |db| sessions::by_id(db, id))
    }

    async fn session_by_state(&self, state_digest: &[u8; 32]) -> Result<Option<ConnectSession>, StoreError> {
        let state_digest = *state_digest;
        single!(self, |db| sessions::by_state(db, &state_digest))
    }

    async fn session_returned(&self, id: SessionId, now: Timestamp) -> Result<bool, StoreError> {
        single!(self, |db| sessions::returned(db, id, now))
    }
}
