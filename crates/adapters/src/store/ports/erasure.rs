//! The end of somebody's data.

use async_trait::async_trait;
use domain::delivery::Delivery;
use domain::erasure::{Erasure, ErasureId, Found as ErasureFound, Target, Wish};
use domain::id::{AliasKey, ConnectionId, DeliveryId, Environment, UserId};
use jiff::Timestamp;

use crate::payloads::Sealed;
use crate::store::{Listing, Page, StoreError, Unneeded};

/// A part of the ledger that names nobody, to be searched.
#[derive(Debug, Clone)]
pub struct Nameless {
    pub id: DeliveryId,
    pub received_at: Timestamp,
    pub environment: Environment,
    /// What is known of it; `None` where that cannot be read.
    pub delivery: Option<Delivery>,
    pub body: Sealed,
}

#[async_trait]
pub trait Erasures: Send + Sync {
    /// What there is of a user.
    async fn erasure_preview(&self, user: &UserId) -> Result<ErasureFound, StoreError>;
    /// Begins an erasure: once this is committed, nothing that comes or is under way leaves a row of whom it is about,
    /// and no listing has them. What is there already goes step by step. `None`: there is no such connection.
    async fn begin_erasure(&self, wish: &Wish, now: Timestamp) -> Result<Option<Erasure>, StoreError>;
    /// Deletes about `limit` rows of each kind of what an erasure is about; false once there is nothing left to delete.
    async fn erase_some(&self, id: ErasureId, limit: u32, now: Timestamp) -> Result<bool, StoreError>;
    /// Rows of the ledger that name nobody, in the order of their ids.
    async fn nameless_deliveries(&self, after: Option<DeliveryId>, limit: u32) -> Result<Vec<Nameless>, StoreError>;
    /// Deletes rows of the ledger.
    async fn forget_deliveries(&self, deliveries: &[(DeliveryId, Timestamp)], now: Timestamp)
    -> Result<(), StoreError>;
    /// Whom an erasure is about, as long as it is not done.
    async fn erasure_targets(&self, id: ErasureId) -> Result<Vec<Target>, StoreError>;
    /// Terra agreed to these.
    async fn told(&self, id: ErasureId, targets: &[Target]) -> Result<(), StoreError>;
    /// More Terra users that an erasure is about.
    async fn bury(&self, id: ErasureId, keys: &[AliasKey], now: Timestamp) -> Result<(), StoreError>;
    /// Keeps how far an erasure is; one that is done forgets whom it was about.
    async fn write_erasure(&self, erasure: &Erasure) -> Result<(), StoreError>;
    async fn erasure(&self, id: ErasureId) -> Result<Option<Erasure>, StoreError>;
    /// Newest first.
    async fn erasures(&self, page: &Page) -> Result<Listing<Erasure>, StoreError>;
    /// The one that has waited longest of those that are not done and due.
    async fn next_erasure(&self, now: Timestamp) -> Result<Option<Erasure>, StoreError>;
    /// Connections of which the current alias was closed before `before`.
    async fn closed_connections(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionId>, StoreError>;
    /// Documents of a delivery that took no effect: they go, unless a record points to them.
    async fn let_go_of_documents(&self, documents: &[Unneeded]) -> Result<(), StoreError>;
    /// Payloads that no row needs any more, each with a number to [`Store::gone`] it by. What a record points to again is
    /// not among them, and forgotten.
    async fn unneeded_payloads(&self, limit: u32) -> Result<Vec<(i64, Sealed)>, StoreError>;
    /// These have been deleted.
    async fn gone(&self, payloads: &[i64]) -> Result<(), StoreError>;
    /// Who did what.
    async fn write_audit(
        &self,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
        now: Timestamp,
    ) -> Result<(), StoreError>;
}
