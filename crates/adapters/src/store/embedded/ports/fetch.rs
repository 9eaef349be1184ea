//! Requests to Terra that wait for their turn.

use async_trait::async_trait;
use domain::fetch::{FetchJob, PauseScope, Reaction};
use domain::id::{Environment, FetchJobId};
use jiff::Timestamp;

use super::super::{EmbeddedStore, enqueue, fetch, fetch_read, pause};
use crate::store::{FetchAsk, FetchFilter, FetchView, Fetches, LeasedFetch, Listing, Page, StoreError};

#[async_trait]
impl Fetches for EmbeddedStore {
    async fn lease_fetch_jobs(&self, ask: &FetchAsk) -> Result<Vec<LeasedFetch>, StoreError> {
        let ask = *ask;
        self.write(move |connection| fetch::lease(connection, &ask)).await
    }

    async fn finish_fetch(
        &self,
        leased: &LeasedFetch,
        reaction: &Reaction,
        status: Option<u16>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (leased, reaction) = (leased.clone(), reaction.clone());
        self.write(move |connection| fetch::finish(connection, &leased, &reaction, status, now)).await
    }

    async fn pause_fetches(
        &self,
        environment: &Environment,
        scope: PauseScope,
        subject: &str,
        until: Timestamp,
        reason: &str,
    ) -> Result<(), StoreError> {
        let (environment, subject, reason) = (environment.clone(), subject.to_owned(), reason.to_owned());
        self.write(move |connection| pause::set_of_living(connection, &environment, scope, &subject, until, &reason))
            .await
    }

    async fn enqueue_fetches(&self, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError> {
        let jobs = jobs.to_vec();
        self.write(move |connection| enqueue::insert(connection, &jobs, now)).await
    }

    async fn fetches(&self, filter: &FetchFilter, page: &Page) -> Result<Listing<FetchView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| fetch_read::fetches(connection, &filter, &page)).await
    }

    async fn fetch(&self, id: FetchJobId) -> Result<Option<FetchView>, StoreError> {
        self.read(move |connection| fetch_read::fetch(connection, id)).await
    }
}
