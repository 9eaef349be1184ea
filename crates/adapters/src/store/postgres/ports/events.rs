//! The log of events, numbered without gaps.

use async_trait::async_trait;
use domain::outgoing::Published;

use super::super::{PostgresStore, events};
use crate::store::{EventLog, Holder, StoreError};

#[async_trait]
impl EventLog for PostgresStore {
    async fn number_events(&self, lease: Holder<'_>, limit: u32) -> Result<u32, StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        keep!(self, |db| events::number(db, &name, holder, limit))
    }

    async fn unpublished_events(&self, limit: u32) -> Result<Vec<Published>, StoreError> {
        single!(self, |db| events::unpublished(db, limit))
    }

    async fn mark_published(&self, lease: Holder<'_>, position: i64) -> Result<(), StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        single!(self, |db| events::mark_published(db, &name, holder, position))
    }

    async fn events_after(&self, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
        single!(self, |db| events::after(db, position, limit))
    }
}
