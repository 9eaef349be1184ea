//! The end of somebody's data.

use async_trait::async_trait;
use domain::erasure::{Erasure, ErasureId, Found as ErasureFound, Target, Wish};
use domain::id::{AliasKey, ConnectionId, DeliveryId, UserId};
use jiff::Timestamp;

use super::super::{EmbeddedStore, erase, erase_rows, payloads};
use crate::payloads::Sealed;
use crate::store::{Erasures, Listing, Nameless, Page, StoreError, Unneeded};

#[async_trait]
impl Erasures for EmbeddedStore {
    async fn erasure_preview(&self, user: &UserId) -> Result<ErasureFound, StoreError> {
        let user = user.clone();
        self.read(move |connection| erase::preview(connection, &user)).await
    }

    async fn begin_erasure(&self, wish: &Wish, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
        let (wish, policy) = (wish.clone(), self.policy);
        self.write(move |connection| erase::begin(connection, &wish, policy, now)).await
    }

    async fn erase_some(&self, id: ErasureId, limit: u32, now: Timestamp) -> Result<bool, StoreError> {
        let policy = self.policy;
        self.write(move |connection| erase_rows::some(connection, id, limit, policy, now)).await
    }

    async fn nameless_deliveries(&self, after: Option<DeliveryId>, limit: u32) -> Result<Vec<Nameless>, StoreError> {
        self.read(move |connection| payloads::nameless(connection, after, limit)).await
    }

    async fn forget_deliveries(
        &self,
        deliveries: &[(DeliveryId, Timestamp)],
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        self.write(move |connection| erase_rows::forget_found(connection, &deliveries)).await
    }

    async fn erasure_targets(&self, id: ErasureId) -> Result<Vec<Target>, StoreError> {
        self.read(move |connection| erase::targets(connection, id)).await
    }

    async fn told(&self, id: ErasureId, targets: &[Target]) -> Result<(), StoreError> {
        let targets = targets.to_vec();
        self.write(move |connection| erase::told(connection, id, &targets)).await
    }

    async fn bury(&self, id: ErasureId, keys: &[AliasKey], now: Timestamp) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        self.write(move |connection| erase::bury(connection, id, &keys, now)).await
    }

    async fn write_erasure(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let erasure = erasure.clone();
        self.write(move |connection| erase::write(connection, &erasure)).await
    }

    async fn erasure(&self, id: ErasureId) -> Result<Option<Erasure>, StoreError> {
        self.read(move |connection| erase::one(connection, id)).await
    }

    async fn erasures(&self, page: &Page) -> Result<Listing<Erasure>, StoreError> {
        let page = page.clone();
        self.read(move |connection| erase::list(connection, &page)).await
    }

    async fn next_erasure(&self, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
        self.read(move |connection| erase::next(connection, now)).await
    }

    async fn closed_connections(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionId>, StoreError> {
        self.read(move |connection| erase::closed(connection, before, limit)).await
    }

    async fn let_go_of_documents(&self, documents: &[Unneeded]) -> Result<(), StoreError> {
        let documents = documents.to_vec();
        self.write(move |connection| payloads::let_go(connection, &documents)).await
    }

    async fn unneeded_payloads(&self, limit: u32) -> Result<Vec<(i64, Sealed)>, StoreError> {
        self.write(move |connection| payloads::unneeded(connection, limit)).await
    }

    async fn gone(&self, payloads: &[i64]) -> Result<(), StoreError> {
        let payloads = payloads.to_vec();
        self.write(move |connection| payloads::gone(connection, &payloads)).await
    }

    async fn write_audit(
        &self,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (actor, action, subject, detail) =
            (actor.to_owned(), action.to_owned(), subject.to_owned(), detail.clone());
        self.write(move |connection| erase::audit(connection, &actor, &action, &subject, &detail, now)).await
    }
}
