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

    async fn forget_audits(&self, end: Timestamp) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let now_gone = single!(self, |db| audit::forget(db, end))?;
            gone += now_gone;
            if now_gone < audit::FORGOTTEN_AT_ONCE.unsigned_abs() {
                return Ok(gone);
            }
        }
    }

    async fn audits(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| audit::list(db, &filter, &page))
    }
}
