//! The log of events, numbered without gaps.

use async_trait::async_trait;
use domain::outgoing::Published;

use super::super::{EmbeddedStore, events};
use crate::store::{EventLog, Holder, StoreError};

#[async_trait]
impl EventLog for EmbeddedStore {
    async fn number_events(&self, lease: Holder<'_>, limit: u32) -> Result<u32, StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        self.write(move |connection| events::number(connection, Holder { name: &name, holder }, limit)).await
    }

    async fn unpublished_events(&self, limit: u32) -> Result<Vec<Published>, StoreError> {
        self.read(move |connection| events::unpublished(connection, limit)).await
    }

    async fn mark_published(&self, lease: Holder<'_>, position: i64) -> Result<(), StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        self.write(move |connection| events::mark_published(connection, Holder { name: &name, holder }, position)).await
    }

    async fn events_after(&self, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
        self.read(move |connection| events::after(connection, position, limit)).await
    }
}
