//! Jobs and events to send through a queue.

use adapters::payloads::Sealed;
use adapters::queue::{Consumer, Job, Lease};
use domain::delivery::{Admission, Delivery, Lane, Origin};
use domain::id::{DeliveryId, Environment, EventId, UserId};
use domain::outgoing::Published;
use jiff::Timestamp;
use terra::headers::DeliveryHeaders;
use uuid::Uuid;

use crate::harness::SOON;

pub(crate) fn job(lane: Lane) -> Job {
    job_with(lane, b"\x00{\"type\":\"any\"}".to_vec())
}

pub(crate) fn job_with(lane: Lane, body: Vec<u8>) -> Job {
    let id = Uuid::now_v7();
    let (type_name, origin) = match lane {
        Lane::Auth => ("auth", Origin::Live),
        Lane::Urgent => ("s3_payload", Origin::Live),
        Lane::Live => ("activity", Origin::Live),
        Lane::Bulk => ("activity", Origin::Backfill),
    };
    let delivery = Delivery {
        id: DeliveryId(id),
        environment: Environment::new("default"),
        received_at: Timestamp::UNIX_EPOCH,
        t_seconds: 1_700_000_000,
        headers: DeliveryHeaders {
            trace_id: Some(format!("trace-{id}")),
            reference: None,
            ordering_ms: Some(1_700_000_000_123),
        },
        type_name: Some(type_name.into()),
        terra_user_id: Some("u-1 \u{1f600}".into()),
        event_id: None,
        body_digest: [1; 32],
        signed_digest: [2; 32],
        size_bytes: body.len() as u64,
        admission: Admission::Fresh,
        origin,
    };
    assert_eq!(delivery.lane(), lane);
    Job { delivery, body: Sealed(body.into()) }
}

pub(crate) fn event(position: i64) -> Published {
    Published {
        position,
        id: EventId(Uuid::now_v7()),
        environment: Environment::new("default"),
        subject: Some(UserId::new("ana")),
        entity: "activity".into(),
        verb: "upserted".into(),
        provider: Some("GARMIN".into()),
        time: Timestamp::UNIX_EPOCH,
        data: serde_json::json!({ "record": position }),
    }
}

/// A lease, which must come soon.
pub(crate) async fn lease(consumer: &mut Box<dyn Consumer>, max: usize) -> Lease {
    let leasing = tokio::time::timeout(SOON, consumer.lease(max));
    leasing.await.expect("nothing to lease").unwrap()
}

/// Leases and acknowledges until `count` jobs came.
pub(crate) async fn take(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Job> {
    let mut jobs = Vec::new();
    while jobs.len() < count {
        let lease = lease(consumer, 64).await;
        jobs.extend(lease.jobs.iter().cloned());
        lease.ack().await.unwrap();
    }
    jobs
}

pub(crate) fn ids<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<DeliveryId> {
    let mut ids: Vec<_> = jobs.into_iter().map(|job| job.delivery.id).collect();
    ids.sort();
    ids
}
