//! Requests to Terra that wait for their turn.

use async_trait::async_trait;
use domain::fetch::{FetchJob, PauseScope, Reaction};
use domain::id::{Environment, FetchJobId};
use jiff::Timestamp;

use crate::store::{FetchAsk, FetchFilter, FetchView, Listing, Page, StoreError};

/// A fetch job held by one fetcher: `token` fences one that was taken for dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedFetch {
    pub job: FetchJob,
    pub token: i64,
}

#[async_trait]
pub trait Fetches: Send + Sync {
    /// Takes due fetch jobs within the installation's pace and each user's budget, hidden from others for a while:
    /// urgent ones first, users in turn.
    async fn lease_fetch_jobs(&self, ask: &FetchAsk) -> Result<Vec<LeasedFetch>, StoreError>;
    /// Keeps what became of a job, and the pauses that follow; false where the lease was lost meanwhile, and then nothing was kept.
    async fn finish_fetch(
        &self,
        leased: &LeasedFetch,
        reaction: &Reaction,
        status: Option<u16>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Lets jobs rest, those queued later as well. `subject` is what [`PauseScope::subject`] says of a job.
    async fn pause_fetches(
        &self,
        environment: &Environment,
        scope: PauseScope,
        subject: &str,
        until: Timestamp,
        reason: &str,
    ) -> Result<(), StoreError>;
    /// Queues jobs, each day of an alias and kind once: what overlaps or adjoins a waiting one becomes one with it.
    async fn enqueue_fetches(&self, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError>;
    async fn fetch(&self, id: FetchJobId) -> Result<Option<FetchView>, StoreError>;
    async fn fetches(&self, filter: &FetchFilter, page: &Page) -> Result<Listing<FetchView>, StoreError>;
}
