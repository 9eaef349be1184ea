//! Comparisons with Terra's list of users.

use async_trait::async_trait;
use domain::id::{Environment, ReferenceId};
use domain::reconcile::run::Reconcile;
use domain::reconcile::{Known, ReconcileId};

use super::super::{PostgresStore, reconcile};
use crate::store::{Listing, Page, ReconcileMarks, Reconciles, StoreError};

#[async_trait]
impl Reconciles for PostgresStore {
    async fn known_aliases(
        &self,
        environment: &Environment,
        reference: Option<&ReferenceId>,
        page: &Page,
    ) -> Result<Listing<Known>, StoreError> {
        let (environment, reference, page) = (environment.clone(), reference.cloned(), page.clone());
        single!(self, |db| reconcile::known(db, &environment, reference.as_ref(), &page))
    }

    async fn write_reconcile(&self, run: &Reconcile) -> Result<(), StoreError> {
        let run = run.clone();
        single!(self, |db| reconcile::write(db, &run))
    }

    async fn reconcile(&self, id: ReconcileId) -> Result<Option<Reconcile>, StoreError> {
        single!(self, |db| reconcile::one(db, id))
    }

    async fn reconciles(&self, page: &Page) -> Result<Listing<Reconcile>, StoreError> {
        let page = page.clone();
        single!(self, |db| reconcile::list(db, &page))
    }

    async fn next_reconcile(&self) -> Result<Option<Reconcile>, StoreError> {
        single!(self, |db| reconcile::next(db))
    }

    async fn reconcile_marks(&self) -> Result<ReconcileMarks, StoreError> {
        single!(self, |db| reconcile::marks(db))
    }
}
