//! The store on the embedded engine: every change is one operation on the writer's thread.
//!
//! One thread writes, so a batch is alone from its first statement to its last: there are no locks to take and no
//! races to lose. Statements are loops over prepared ones, which inside one transaction cost as little as a set.

use std::sync::Arc;

use rusqlite::Connection;

use super::{ReferencePolicy, StoreError};
use crate::embedded::Embedded;
use crate::embedded::writer::Unwritten;

mod audit;
mod backfill;
mod backfill_read;
mod backfill_upkeep;
mod column;
mod decide;
mod deliveries;
mod drift;
mod enqueue;
mod erase;
mod erase_rows;
mod error;
mod events;
mod fetch;
mod fetch_read;
mod identity;
mod leases;
mod ledger;
mod pause;
mod payloads;
mod ports;
mod quarantine;
mod read;
mod read_records;
mod reconcile;
mod record_sql;
mod records;
mod recover;
mod replay;
mod retries;
mod selection;
mod sessions;
mod silence;
mod tx;
mod upkeep;
mod usage;
mod why;

pub struct EmbeddedStore {
    embedded: Arc<Embedded>,
    policy: ReferencePolicy,
}

impl EmbeddedStore {
    pub fn new(embedded: Arc<Embedded>, policy: ReferencePolicy) -> Self {
        EmbeddedStore { embedded, policy }
    }

    async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.embedded.writer.write(work).await
    }

    async fn read<T, R>(&self, read: R) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        if !self.embedded.writer.is_alive() {
            return Err(Unwritten::Closed.into());
        }
        self.embedded.readers.read(read).await
    }
}

#[cfg(test)]
mod tests;
