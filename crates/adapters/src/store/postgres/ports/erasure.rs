//! The end of somebody's data.

use async_trait::async_trait;
use domain::erasure::{Erasure, ErasureId, Found as ErasureFound, Target, Wish};
use domain::id::{AliasKey, ConnectionId, DeliveryId, UserId};
use jiff::Timestamp;

use super::super::{PostgresStore, erase, erase_rows, payloads, people};
use crate::payloads::Sealed;
use crate::store::{Erasures, Listing, Nameless, Page, StoreError, Unneeded, apply};

#[async_trait]
impl Erasures for PostgresStore {
    async fn erasure_preview(&self, user: &UserId) -> Result<ErasureFound, StoreError> {
        let user = user.clone();
        single!(self, |db| erase::preview(db, &user))
    }

    async fn begin_erasure(&self, wish: &Wish, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
        let (wish, policy) = (wish.clone(), self.policy);
        keep!(self, |db| apply::begin(db, &wish, policy, now))
    }

    async fn erase_some(&self, id: ErasureId, limit: u32, now: Timestamp) -> Result<bool, StoreError> {
        let policy = self.policy;
        keep!(self, |db| erase_rows::some(db, id, limit, policy, now))
    }

    async fn nameless_deliveries(&self, after: Option<DeliveryId>, limit: u32) -> Result<Vec<Nameless>, StoreError> {
        single!(self, |db| payloads::nameless(db, after, limit))
    }

    async fn forget_deliveries(
        &self,
        deliveries: &[(DeliveryId, Timestamp)],
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        keep!(self, |db| erase_rows::forget_found(db, &deliveries))
    }

    async fn erasure_targets(&self, id: ErasureId) -> Result<Vec<Target>, StoreError> {
        single!(self, |db| erase::targets(db, id))
    }

    async fn told(&self, id: ErasureId, targets: &[Target]) -> Result<(), StoreError> {
        let targets = targets.to_vec();
        single!(self, |db| erase::told(db, id, &targets))
    }

    async fn bury(&self, id: ErasureId, keys: &[AliasKey], now: Timestamp) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        keep!(self, |db| people::bury(db, id, &keys, now))
    }

    async fn write_erasure(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let erasure = erasure.clone();
        keep!(self, |db| erase::write(db, &erasure))
    }

    async fn erasure(&self, id: ErasureId) -> Result<Option<Erasure>, StoreError> {
        single!(self, |db| erase::one(db, id))
    }

    async fn erasures(&self, page: &Page) -> Result<Listing<Erasure>, StoreError> {
        let page = page.clone();
        single!(self, |db| erase::list(db, &page))
    }

    async fn next_erasure(&self, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
        single!(self, |db| erase::next(db, now))
    }

    async fn closed_connections(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionId>, StoreError> {
        single!(self, |db| erase::closed(db, before, limit))
    }

    async fn let_go_of_documents(&self, documents: &[Unneeded]) -> Result<(), StoreError> {
        let documents = documents.to_vec();
        single!(self, |db| payloads::let_go(db, &documents))
    }

    async fn unneeded_payloads(&self, limit: u32) -> Result<Vec<(i64, Sealed)>, StoreError> {
        single!(self, |db| payloads::unneeded(db, limit))
    }

    async fn gone(&self, payloads: &[i64]) -> Result<(), StoreError> {
        let payloads = payloads.to_vec();
        single!(self, |db| payloads::gone(db, &payloads))
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
        single!(self, |db| erase::audit(db, &actor, &action, &subject, &detail, now))
    }
}
