//! Fetch jobs → Terra: leased rows, one request each, and one reaction per answer.

use std::sync::Arc;
use std::time::Duration;

use adapters::payloads::Hint;
use adapters::queue::Job;
use adapters::store::LeasedFetch;
use adapters::terra_client::{DataAnswer, DataRequest, TerraClient};
use domain::delivery::{Admission, Delivery, Origin, Receipt};
use domain::fetch::{self, Answer, Reaction};
use domain::id::{DeliveryId, derived_uuid};
use futures_util::future::join_all;
use jiff::SignedDuration;
use metrics::counter;
use terra::headers::DeliveryHeaders;
use terra::reply::{DataReply, data_reply};
use terra::{event, signature};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::telemetry;
use crate::wiring::Ports;
use crate::worker::chance;

const AT_ONCE: u32 = 8;
/// Longer than a request may take (30 s); after a crash a job waits this long.
const LEASE: SignedDuration = SignedDuration::from_secs(45);
const POLL: Duration = Duration::from_millis(250);

pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let now = ports.clock.now();
        let leased = match ports.store.lease_fetch_jobs(now, now + LEASE, config.fetch_pace, AT_ONCE).await {
            Ok(leased) => leased,
            Err(error) => {
                warn!(%error, "cannot look for fetch jobs");
                Vec::new()
            }
        };
        if leased.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        join_all(leased.iter().map(|one| fetch_one(one, &ports, &config))).await;
    }
}

async fn fetch_one(leased: &LeasedFetch, ports: &Ports, config: &Config) {
    let job = &leased.job;
    let Some(client) = ports.terra.get(&job.alias.environment) else {
        let reaction = Reaction::Failed { reason: "no_credentials" };
        return finish(leased, &reaction, None, ports).await;
    };
    let (answer, body) = ask(client, leased, config.fetch_inline).await;
    let now = ports.clock.now();
    let mut reaction = fetch::react(&answer, job.attempts, now, chance());
    let status = match &answer {
        Answer::Reply { status, limit, .. } => {
            if let Some(until) = fetch::rest_after(limit, now)
                && let Err(error) = ports.store.postpone_fetches(&job.alias.environment, Some(&job.alias), until).await
            {
                warn!(%error, "could not put off the fetches of a user whose allowance is used up");
            }
            Some(*status)
        }
        Answer::Unreachable => None,
    };
    if reaction == Reaction::Inline
        && let Err(reason) = hand_over(leased, body, ports).await
    {
        reaction = Reaction::Wait { until: now + SignedDuration::from_secs(5), reason };
    }
    if let Reaction::PauseEnvironment { .. } = reaction {
        error!(environment = %job.alias.environment, "Terra refuses our credentials (401): check dev id and API key of this environment; fetching pauses");
    }
    finish(leased, &reaction, status, ports).await;
}

async fn ask(client: &TerraClient, leased: &LeasedFetch, inline: bool) -> (Answer, bytes::Bytes) {
    let job = &leased.job;
    let request = DataRequest {
        kind: job.kind,
        terra_user_id: job.alias.terra_user_id.as_str(),
        window: job.window,
        to_webhook: !inline,
        with_samples: true,
    };
    match client.data(request).await {
        Ok(DataAnswer { status, body, limit }) => {
            let reply = if (200..300).contains(&status) { data_reply(&body) } else { DataReply::Unreadable };
            (Answer::Reply { status, reply, limit }, body)
        }
        Err(_) => (Answer::Unreachable, bytes::Bytes::new()),
    }
}

/// Makes an inline answer a delivery of its own, durable before the job is done. The same bytes for the same job have
/// the same key: fetched twice, they take effect once.
async fn hand_over(leased: &LeasedFetch, body: bytes::Bytes, ports: &Ports) -> Result<(), &'static str> {
    let now = ports.clock.now();
    let digest = signature::body_digest(&body);
    let trace_id = derived_uuid(&[leased.job.id.0.as_bytes(), digest.as_slice()]);
    let id = DeliveryId(uuid::Uuid::now_v7());
    let receipt = Receipt {
        id,
        environment: leased.job.alias.environment.clone(),
        received_at: now,
        t_seconds: now.as_second(),
        headers: DeliveryHeaders {
            trace_id: Some(format!("fetch:{trace_id}")),
            reference: None,
            ordering_ms: Some(now.as_millisecond()),
        },
        body_digest: digest,
        signed_digest: digest,
        size_bytes: body.len() as u64,
        admission: Admission::Fresh,
    };
    let delivery = Delivery { origin: Origin::Backfill, ..Delivery::new(receipt, event::peek(&body)) };
    let sealed = ports.payloads.seal(body, Hint::of(&delivery)).await.map_err(|_| "payload_store_away")?;
    ports.queue.publish(Job { delivery, body: sealed }).await.map_err(|_| "queue_away")
}

async fn finish(leased: &LeasedFetch, reaction: &Reaction, status: Option<u16>, ports: &Ports) {
    counter!(telemetry::FETCH_REQUESTS, "type" => leased.job.kind.label(), "outcome" => outcome(reaction)).increment(1);
    if let Reaction::Failed { reason } = reaction {
        info!(fetch.id = %leased.job.id, reason, "a fetch failed for good");
    }
    match ports.store.finish_fetch(leased, reaction, status, ports.clock.now()).await {
        Ok(true) => {}
        Ok(false) => info!(fetch.id = %leased.job.id, "another fetcher has taken this job over; its answer counts"),
        Err(error) => warn!(fetch.id = %leased.job.id, %error, "could not keep a fetch's answer; it is asked again"),
    }
}

fn outcome(reaction: &Reaction) -> &'static str {
    match reaction {
        Reaction::Requested { .. } => "requested",
        Reaction::Inline => "inline",
        Reaction::Nothing => "nothing",
        Reaction::Wait { .. } => "wait",
        Reaction::Retry { .. } => "retry",
        Reaction::PauseEnvironment { .. } => "refused_credentials",
        Reaction::Failed { .. } => "failed",
    }
}
