//! Requests to Terra that wait for their turn.

use async_trait::async_trait;
use domain::fetch::{FetchJob, PauseScope, Reaction};
use domain::id::{Environment, FetchJobId};
use jiff::Timestamp;

use super::super::{PostgresStore, enqueue, fetch, fetch_read, pause};
use crate::store::{FetchAsk, FetchFilter, FetchView, Fetches, LeasedFetch, Listing, Page, StoreError};

#[async_trait]
impl Fetches for PostgresStore {
    async fn lease_fetch_jobs(&self, ask: &FetchAsk) -> Result<Vec<LeasedFetch>, StoreError> {
        let ask = *ask;
        keep!(self, |db| fetch::lease(db, &ask))
    }

    async fn finish_fetch(
        &self,
        leased: &LeasedFetch,
        reaction: &Reaction,
        status: Option<u16>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (leased, reaction) = (leased.clone(), reaction.clone());
        keep!(self, |db| fetch::finish(db, &leased, &reaction, status, now))
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
        keep!(self, |db| pause::set_of_living(db, &environment, scope, &subject, until, &reason))
    }

    async fn enqueue_fetches(&self, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError> {
        let jobs = jobs.to_vec();
        keep!(self, |db| enqueue::insert_alone(db, &jobs, now))
    }

    async fn fetches(&self, filter: &FetchFilter, page: &Page) -> Result<Listing<FetchView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| fetch_read::fetches(db, &filter, &page))
    }

    async fn fetch(&self, id: FetchJobId) -> Result<Option<FetchView>, StoreError> {
        single!(self, |db| fetch_read::fetch(db, id))
    }
}
