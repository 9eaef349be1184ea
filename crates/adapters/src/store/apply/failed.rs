//! A try that failed: its row in the ledger, and word of it to the company's services if it was the last.

use domain::id::{EventId, derived_uuid};
use domain::outgoing::Outgoing;
use domain::settle::Settlement;
use domain::settle::class::{Class, fingerprint};
use jiff::Timestamp;
use serde_json::json;

use super::erased;
use crate::queue::Job;
use crate::store::tx::{LedgerRow, Tx};
use crate::store::{Recorded, StoreError};

pub(in crate::store) async fn record_failure<T: Tx + ?Sized>(
    tx: &mut T,
    job: &Job,
    attempt: u32,
    settlement: &Settlement,
    reason: &str,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    tx.lock_identity(false).await?;
    if erased::drop_failed(tx, job, attempt, now).await? {
        return Ok(Recorded::Erased);
    }
    tx.write_ledger(&[LedgerRow::failed(job, attempt, settlement, reason, now)]).await?;
    match settlement {
        Settlement::RetryAt(_) => {}
        Settlement::Dead { reason } => tx.insert_events(&[dead(job, attempt, reason, now)]).await?,
    }
    Ok(Recorded::Kept)
}

/// Tells that somebody must look. It is about no alias, so that nothing holds it.
fn dead(job: &Job, attempts: u32, reason: &str, now: Timestamp) -> Outgoing {
    let delivery = &job.delivery;
    Outgoing {
        id: EventId(derived_uuid(&[b"event", delivery.id.0.as_bytes(), b"delivery", b"dead", &attempts.to_be_bytes()])),
        alias: None,
        environment: delivery.environment.clone(),
        connection: None,
        subject: None,
        entity: "delivery".into(),
        verb: "dead".into(),
        provider: None,
        record: None,
        time: now,
        data: json!({
            "delivery": delivery.id,
            "type": delivery.type_name,
            "terra_user_id": delivery.terra_user_id,
            "attempts": attempts,
            "reason": reason,
            "class": Class::of(reason),
            "fingerprint": fingerprint(reason, delivery.kind()),
        }),
    }
}
