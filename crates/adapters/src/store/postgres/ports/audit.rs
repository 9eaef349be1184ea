//! Who did what.

use async_trait::async_trait;
use jiff::Timestamp;

use super::super::{PostgresStore, audit};
use crate::store::{Audit, AuditFilter, AuditView, Audits, Listing, Page, StoreError};

#[async_trait]
impl Audits for PostgresStore {
    async fn audit(&self, entry: &Audit, now: Timestamp) -> Result<(), StoreError> {
        let entry = entry.clone();
        single!(self, |db| audit::write(db, &entry, now))
    }

    async fn audits(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| audit::list(db, &filter, &page))
    }
}
