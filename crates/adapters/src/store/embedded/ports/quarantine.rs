//! Requests whose signature failed.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::quarantine::{QuarantineId, Quarantined};
use jiff::Timestamp;

use super::super::{EmbeddedStore, quarantine};
use crate::store::{Held, LetIn, Listing, Page, Quarantine, QuarantineFilter, QuarantineTotals, StoreError};

#[async_trait]
impl Quarantine for EmbeddedStore {
    async fn note_quarantined(&self, requests: &[Quarantined]) -> Result<BTreeSet<[u8; 32]>, StoreError> {
        let requests = requests.to_vec();
        self.write(move |connection| quarantine::note(connection, &requests)).await
    }

    async fn quarantine(&self, held: &[Held], bytes_max: u64) -> Result<(), StoreError> {
        let held = held.to_vec();
        self.write(move |connection| quarantine::add(connection, &held, bytes_max)).await
    }

    async fn quarantined(&self, filter: &QuarantineFilter, page: &Page) -> Result<Listing<Held>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| quarantine::list(connection, &filter, &page)).await
    }

    async fn verifiable(
        &self,
        filter: &QuarantineFilter,
        after: Option<QuarantineId>,
        limit: u32,
    ) -> Result<Vec<Held>, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| quarantine::verifiable(connection, &filter, after, limit)).await
    }

    async fn let_in(&self, let_in: &[LetIn], actor: &str, now: Timestamp) -> Result<(), StoreError> {
        let (let_in, actor) = (let_in.to_vec(), actor.to_owned());
        self.write(move |connection| quarantine::let_in(connection, &let_in, &actor, now)).await
    }

    async fn forget_quarantined(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |connection| quarantine::forget(connection, before)).await
    }

    async fn quarantine_totals(&self) -> Result<QuarantineTotals, StoreError> {
        self.read(|connection| quarantine::totals(connection)).await
    }
}
