//! Requests whose signature failed.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::quarantine::{QuarantineId, Quarantined};
use jiff::Timestamp;

use super::super::{PostgresStore, quarantine};
use crate::store::{Held, LetIn, Listing, Page, Quarantine, QuarantineFilter, QuarantineTotals, StoreError};

#[async_trait]
impl Quarantine for PostgresStore {
    async fn note_quarantined(&self, requests: &[Quarantined]) -> Result<BTreeSet<[u8; 32]>, StoreError> {
        let requests = requests.to_vec();
        keep!(self, |db| quarantine::note(db, &requests.iter().collect::<Vec<_>>()))
    }

    async fn quarantine(&self, held: &[Held], bytes_max: u64) -> Result<(), StoreError> {
        let held = held.to_vec();
        keep!(self, |db| quarantine::add(db, &held, bytes_max))
    }

    async fn quarantined(&self, filter: &QuarantineFilter, page: &Page) -> Result<Listing<Held>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| quarantine::list(db, &filter, &page))
    }

    async fn verifiable(
        &self,
        filter: &QuarantineFilter,
        after: Option<QuarantineId>,
        limit: u32,
    ) -> Result<Vec<Held>, StoreError> {
        let filter = filter.clone();
        single!(self, |db| quarantine::verifiable(db, &filter, after, limit))
    }

    async fn let_in(&self, let_in: &[LetIn], actor: &str, now: Timestamp) -> Result<(), StoreError> {
        let (let_in, actor) = (let_in.to_vec(), actor.to_owned());
        keep!(self, |db| quarantine::let_in(db, &let_in, &actor, now))
    }

    async fn forget_quarantined(&self, before: Timestamp) -> Result<u64, StoreError> {
        keep!(self, |db| quarantine::forget(db, before))
    }

    async fn quarantine_totals(&self) -> Result<QuarantineTotals, StoreError> {
        single!(self, |db| quarantine::totals(db))
    }
}
