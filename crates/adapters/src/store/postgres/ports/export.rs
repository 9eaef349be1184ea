//! Everything of one person.

use async_trait::async_trait;
use domain::id::UserId;
use domain::outgoing::Published;
use domain::session::ConnectSession;

use super::super::{PostgresStore, events, sessions};
use crate::store::{Exports, StoreError};

#[async_trait]
impl Exports for PostgresStore {
    async fn sessions_of(&self, user: &UserId) -> Result<Vec<ConnectSession>, StoreError> {
        let user = user.clone();
        single!(self, |db| sessions::of_user(db, &user))
    }

    async fn events_of(&self, user: &UserId, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
        let user = user.clone();
        single!(self, |db| events::of_user(db, &user, position, limit))
    }
}
