//! Comparisons with Terra's list of users.

use async_trait::async_trait;
use domain::id::{Environment, ReferenceId};
use domain::reconcile::run::Reconcile;
use domain::reconcile::{Known, ReconcileId};
use jiff::Timestamp;

use crate::store::{Listing, Page, StoreError};

/// What former reconciles tell the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReconcileMarks {
    /// When the schedule last asked for one.
    pub scheduled: Option<Timestamp>,
    /// The beginning of the last list of all users that was read to its end.
    pub listed: Option<Timestamp>,
    /// The last one revoked nobody because so many were gone.
    pub refused: bool,
}

#[async_trait]
pub trait Reconciles: Send + Sync {
    /// Aliases of an environment, or of a reference, by Terra user id.
    async fn known_aliases(
        &self,
        environment: &Environment,
        reference: Option<&ReferenceId>,
        page: &Page,
    ) -> Result<Listing<Known>, StoreError>;
    /// Adds a run, or keeps how far it is.
    async fn write_reconcile(&self, run: &Reconcile) -> Result<(), StoreError>;
    async fn reconcile(&self, id: ReconcileId) -> Result<Option<Reconcile>, StoreError>;
    /// Newest first.
    async fn reconciles(&self, page: &Page) -> Result<Listing<Reconcile>, StoreError>;
    /// The oldest run that is not over.
    async fn next_reconcile(&self) -> Result<Option<Reconcile>, StoreError>;
    async fn reconcile_marks(&self) -> Result<ReconcileMarks, StoreError>;
}
