//! Everything of one person.

use async_trait::async_trait;
use domain::id::UserId;
use domain::outgoing::Published;
use domain::session::ConnectSession;

use super::super::{EmbeddedStore, events, sessions};
use crate::store::{Exports, StoreError};

#[async_trait]
impl Exports for EmbeddedStore {
    async fn sessions_of(&self, user: &UserId) -> Result<Vec<ConnectSession>, StoreError> {
        let user = user.clone();
        self.read(move |connection| sessions::of_user(connection, &user)).await
    }

    async fn events_of(&self, user: &UserId, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
        let user = user.clone();
        self.read(move |connection| events::of_user(connection, &user, position, limit)).await
    }
}
