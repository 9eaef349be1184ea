//! Requests whose signature failed.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::quarantine::{QuarantineId, Quarantined};
use jiff::Timestamp;

use crate::store::{Held, LetIn, Listing, Page, QuarantineFilter, QuarantineTotals, StoreError};

#[async_trait]
pub trait Quarantine: Send + Sync {
    /// Counts requests whose signature failed among those kept; answers the fingerprints that are known.
    async fn note_quarantined(&self, requests: &[Quarantined]) -> Result<BTreeSet<[u8; 32]>, StoreError>;
    /// Keeps requests, at most `bytes_max` with those before: what does not look like Terra's goes first, then the oldest.
    /// Payloads that nothing needs any more are let go of, here and below.
    async fn quarantine(&self, held: &[Held], bytes_max: u64) -> Result<(), StoreError>;
    /// Newest first; of a body only whether it is kept.
    async fn quarantined(&self, filter: &QuarantineFilter, page: &Page) -> Result<Listing<Held>, StoreError>;
    /// Requests with a well-formed signature and a body, oldest first, at most `limit` after `after`.
    async fn verifiable(
        &self,
        filter: &QuarantineFilter,
        after: Option<QuarantineId>,
        limit: u32,
    ) -> Result<Vec<Held>, StoreError>;
    /// These are deliveries now: they leave the quarantine, and who let them in is kept.
    async fn let_in(&self, let_in: &[LetIn], actor: &str, now: Timestamp) -> Result<(), StoreError>;
    /// Forgets what was first seen before this; answers how many requests that were.
    async fn forget_quarantined(&self, before: Timestamp) -> Result<u64, StoreError>;
    async fn quarantine_totals(&self) -> Result<QuarantineTotals, StoreError>;
}
