//! Who did what.

use async_trait::async_trait;
use jiff::Timestamp;

use super::super::{EmbeddedStore, audit};
use crate::store::{Audit, AuditFilter, AuditView, Audits, Listing, Page, StoreError};

#[async_trait]
impl Audits for EmbeddedStore {
    async fn audit(&self, entry: &Audit, now: Timestamp) -> Result<(), StoreError> {
        let entry = entry.clone();
        self.write(move |connection| audit::write(connection, &entry, now)).await
    }

    async fn audits(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| audit::list(connection, &filter, &page)).await
    }
}
