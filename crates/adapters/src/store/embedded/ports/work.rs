//! What a worker does with deliveries: applies them, and keeps what failed until it is tried again.

use async_trait::async_trait;
use domain::id::DeliveryId;
use domain::settle::Settlement;
use jiff::Timestamp;

use super::super::{EmbeddedStore, ledger, retries, tx};
use crate::queue::Job;
use crate::store::{Applied, Prepared, Recorded, Retry, RetryOf, StoreError, Work, apply};

#[async_trait]
impl Work for EmbeddedStore {
    async fn apply(&self, batch: &[Prepared], now: Timestamp) -> Result<Vec<Applied>, StoreError> {
        let (batch, policy) = (batch.to_vec(), self.policy);
        self.write(move |connection| tx::apply(connection, &batch, policy, now)).await
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
        self.write(move |connection| {
            let mut tx = tx::SqliteTx { connection };
            tx::at_once(apply::failed::record_failure(&mut tx, &job, attempt, &settlement, &reason, now))
        })
        .await
    }

    async fn hand_over(&self, jobs: &[Job], reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let (jobs, reason) = (jobs.to_vec(), reason.to_owned());
        self.write(move |connection| ledger::hand_over(connection, &jobs, &reason, now)).await
    }

    async fn lease_retries(
        &self,
        of: RetryOf,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Retry>, StoreError> {
        self.write(move |connection| retries::lease(connection, of, now, until, limit)).await
    }

    async fn lease_suspect(&self, of: RetryOf, now: Timestamp, until: Timestamp) -> Result<Option<Retry>, StoreError> {
        self.write(move |connection| retries::lease_suspect(connection, of, now, until)).await
    }

    async fn renew_retries(&self, deliveries: &[DeliveryId], until: Timestamp) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        self.write(move |connection| retries::renew(connection, &deliveries, until)).await
    }

    async fn release_retries(&self, deliveries: &[DeliveryId], now: Timestamp) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        self.write(move |connection| retries::release(connection, &deliveries, now)).await
    }
}
