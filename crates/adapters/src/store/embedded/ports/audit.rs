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

    /// In small operations, so that receiving goes on between them.
    async fn forget_audits(&self, end: Timestamp) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let now_gone = self.write(move |connection| audit::forget(connection, end)).await?;
            gone += now_gone;
            if now_gone < u64::from(audit::FORGOTTEN_AT_ONCE) {
                return Ok(gone);
            }
        }
    }

    async fn audits(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| audit::list(connection, &filter, &page)).await
    }
}
