//! Comparisons with Terra's list of users.

use async_trait::async_trait;
use domain::id::{Environment, ReferenceId};
use domain::reconcile::run::Reconcile;
use domain::reconcile::{Known, ReconcileId};

use super::super::{EmbeddedStore, reconcile};
use crate::store::{Listing, Page, ReconcileMarks, Reconciles, StoreError};

#[async_trait]
impl Reconciles for EmbeddedStore {
    async fn known_aliases(
        &self,
        environment: &Environment,
        reference: Option<&ReferenceId>,
        page: &Page,
    ) -> Result<Listing<Known>, StoreError> {
        let (environment, reference, page) = (environment.clone(), reference.cloned(), page.clone());
        self.read(move |connection| reconcile::known(connection, &environment, reference.as_ref(), &page)).await
    }

    async fn write_reconcile(&self, run: &Reconcile) -> Result<(), StoreError> {
        let run = run.clone();
        self.write(move |connection| reconcile::write(connection, &run)).await
    }

    async fn reconcile(&self, id: ReconcileId) -> Result<Option<Reconcile>, StoreError> {
        self.read(move |connection| reconcile::one(connection, id)).await
    }

    async fn reconciles(&self, page: &Page) -> Result<Listing<Reconcile>, StoreError> {
        let page = page.clone();
        self.read(move |connection| reconcile::list(connection, &page)).await
    }

    async fn next_reconcile(&self) -> Result<Option<Reconcile>, StoreError> {
        self.read(|connection| reconcile::next(connection)).await
    }

    async fn reconcile_marks(&self) -> Result<ReconcileMarks, StoreError> {
        self.read(|connection| reconcile::marks(connection)).await
    }
}
