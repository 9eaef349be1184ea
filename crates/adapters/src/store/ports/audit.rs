//! Who did what.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::store::{Audit, AuditFilter, AuditView, Listing, Page, StoreError};

#[async_trait]
pub trait Audits: Send + Sync {
    async fn audit(&self, entry: &Audit, now: Timestamp) -> Result<(), StoreError>;
    /// Newest first.
    async fn audits(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError>;
}
