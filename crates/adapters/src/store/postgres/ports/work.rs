//! What a worker does with deliveries: applies them, and keeps what failed until it is tried again.

use std::sync::Arc;

use async_trait::async_trait;
use domain::id::DeliveryId;
use domain::settle::Settlement;
use jiff::Timestamp;

use super::super::unit::Done;
use super::super::{PostgresStore, ledger, retries};
use crate::queue::Job;
use crate::store::apply::{Mode, Tried};
use crate::store::{Applied, Prepared, Recorded, Retry, RetryOf, StoreError, Work, apply};

#[async_trait]
impl Work for PostgresStore {
    async fn apply(&self, batch: &[Prepared], now: Timestamp) -> Result<Vec<Applied>, StoreError> {
        let batch: Arc<[Prepared]> = batch.into();
        let policy = self.policy;
        let mut mode = apply::mode(&batch);
        loop {
            let batch = Arc::clone(&batch);
            let tried = self.units.transaction(move |db| {
                Box::pin(async move {
                    Ok(match apply::apply(db, &batch, mode, policy, now).await? {
                        Tried::Applied(applied) => Done::Keep(Some(applied)),
                        Tried::NeedsExclusive => Done::Discard(None),
                    })
                })
            });
            match tried.await? {
                Some(applied) => return Ok(applied),
                None => mode = Mode::Exclusive,
            }
        }
    }

    async fn record_failure(
        &self,
        job: &Job,
        attempt: u32,
        settlement: &Settlement,
        reason: &str,
        now: Timestamp,
    ) -> Result<Recorded, StoreError> {
        let (job, settlement, reason) = (job.clone(), settlement.clone(), reason.to_owned());
        keep!(self, |db| apply::failed::record_failure(db, &job, attempt, &settlement, &reason, now))
    }

    async fn hand_over(&self, jobs: &[Job], reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let (jobs, reason) = (jobs.to_vec(), reason.to_owned());
        keep!(self, |db| ledger::hand_over(db, &jobs, &reason, now))
    }

    async fn lease_retries(
        &self,
        of: RetryOf,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Retry>, StoreError> {
        single!(self, |db| retries::lease(db, of, now, until, limit))
    }

    async fn lease_suspect(&self, of: RetryOf, now: Timestamp, until: Timestamp) -> Result<Option<Retry>, StoreError> {
        single!(self, |db| retries::lease_suspect(db, of, now, until))
    }

    async fn renew_retries(&self, deliveries: &[DeliveryId], until: Timestamp) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        single!(self, |db| retries::renew(db, &deliveries, until))
    }

    async fn release_retries(&self, deliveries: &[DeliveryId], now: Timestamp) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        single!(self, |db| retries::release(db, &deliveries, now))
    }
}
