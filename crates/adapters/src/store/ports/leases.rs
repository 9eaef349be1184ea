//! Leases of what one process at a time does.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::store::StoreError;

/// No lease is as long. One that seems to be was written by a clock that is wrong, and counts as run out: otherwise
/// whoever dies a day ahead of us would keep its work for a day.
pub(crate) const LEASE_MAX: SignedDuration = SignedDuration::from_mins(15);

/// Who a lease of something that runs once belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// What is leased: `relay`, `upkeep` …
    pub name: &'a str,
    pub holder: uuid::Uuid,
}

#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes or renews a lease; false while another holder has it.
    async fn hold(&self, lease: Holder<'_>, now: Timestamp, until: Timestamp) -> Result<bool, StoreError>;
    async fn let_go(&self, lease: Holder<'_>) -> Result<(), StoreError>;
}
