//! Who did what.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::store::{Audit, AuditFilter, AuditView, Listing, Page, StoreError};

#[async_trait]
pub trait Audits: Send + Sync {
    async fn audit(&self, entry: &Audit, now: Timestamp) -> Result<(), StoreError>;
    /// Forgets what was done before `end`, the oldest first; answers how many entries went.
    async fn forget_audits(&self, end: Timestamp) -> Result<u64, StoreError>;
    /// Newest first.
    async fn audits(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError>;
}
