//! Fetch jobs → Terra: leased rows, one request each, and one reaction per answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters::payloads::Hint;
use adapters::queue::{Job, PublishError};
use adapters::store::{FetchAsk, LeasedFetch};
use adapters::terra_client::{DataAnswer, DataRequest, TerraClient};
use domain::delivery::{Admission, Delivery, Receipt};
use domain::fetch::{self, Answer, FetchOrigin, PauseScope, Reaction};
use domain::id::{DeliveryId, derived_uuid};
use fail::fail_point;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use metrics::counter;
use terra::headers::DeliveryHeaders;
use terra::reply::{DataReply, data_reply};
use terra::{event, signature};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::telemetry;
use crate::wiring::Ports;
use crate::worker::chance;

/// Requests under way at once in one fetcher.
const AT_ONCE: usize = 16;
/// Of these, kept free for what somebody waits for: slow answers about history must not hold it up.
const RESERVED: usize = 4;
/// Jobs worth a transaction, while others are under way.
const LEASE_MIN: usize = 4;
/// Longer than a request may take (30 s); after a crash a job waits this long.
const LEASE: SignedDuration = SignedDuration::from_secs(45);
const POLL: Duration = Duration::from_millis(250);
/// Answers of one fetcher that are kept at once: many at a time would take the store's connections from everybody else.
const KEPT_AT_ONCE: usize = 2;

/// Asks Terra until stopped. Several may run, here and elsewhere: pace and budgets are in the store.
pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let keeping = Semaphore::new(KEPT_AT_ONCE);
    let mut under_way = FuturesUnordered::new();
    let mut looked_for_urgent = Instant::now();
    while !stop.is_cancelled() {
        let free = AT_ONCE - under_way.len();
        let (limit, urgent_only) = if free >= RESERVED + LEASE_MIN {
            (free - RESERVED, false)
        } else if free > 0 && looked_for_urgent.elapsed() >= POLL {
            looked_for_urgent = Instant::now();
            (free, true)
        } else {
            (0, false)
        };
        let leased = if limit > 0 { lease(&ports, &config, limit, urgent_only).await } else { Vec::new() };
        let found = leased.len();
        under_way.extend(leased.into_iter().map(|one| fetch_one(one, &ports, &config, &keeping)));
        if found == limit && found > 0 {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            Some(()) = under_way.next(), if !under_way.is_empty() => {
                // What else has its answer already.
                while let Some(Some(())) = under_way.next().now_or_never() {}
            }
            () = tokio::time::sleep(POLL) => {}
        }
    }
    while under_way.next().await.is_some() {}
}

async fn lease(ports: &Ports, config: &Config, limit: usize, urgent_only: bool) -> Vec<LeasedFetch> {
    let now = ports.clock.now();
    let ask = FetchAsk {
        now,
        until: now + LEASE,
        pace: config.fetch_pace,
        budget: config.fetch_budget,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        urgent_only,
    };
    ports.store.lease_fetch_jobs(&ask).await.unwrap_or_else(|error| {
        warn!(%error, "cannot look for fetch jobs");
        Vec::new()
    })
}

async fn fetch_one(leased: LeasedFetch, ports: &Ports, config: &Config, keeping: &Semaphore) {
    let leased = &leased;
    let job = &leased.job;
    let Some(client) = ports.terra.get(&job.alias.environment) else {
        let reaction = Reaction::Failed { reason: "no_credentials" };
        return finish(leased, &reaction, None, ports).await;
    };
    // What did not come by webhook is read from the answer: then it is certain whether there is anything.
    let inline = config.fetch_inline || job.origin == FetchOrigin::Missing;
    let (answer, body) = ask(client, leased, inline).await;
    // Never closed, so an error cannot be; then nothing is bounded.
    let _permit = keeping.acquire().await.ok();
    let now = ports.clock.now();
    let mut reaction = fetch::react(&answer, job.attempts, now, chance());
    let status = match &answer {
        Answer::Reply { status, limit, .. } => {
            if let Some(until) = fetch::rest_after(limit, now) {
                rest(leased, until, ports).await;
            }
            Some(*status)
        }
        Answer::Unreachable => None,
    };
    if let Reaction::Inline { bytes } = &mut reaction {
        *bytes = body.len() as u64;
        if let Err(reason) = hand_over(leased, body, ports).await {
            reaction = Reaction::Wait { until: now + SignedDuration::from_secs(5), reason };
        }
    }
    if let Reaction::PauseEnvironment { .. } = reaction {
        error!(environment = %job.alias.environment, "Terra refuses our credentials (401): check dev id and API key of this environment; fetching pauses");
    }
    finish(leased, &reaction, status, ports).await;
}

/// Terra says that this user has asked for all that is allowed.
async fn rest(leased: &LeasedFetch, until: Timestamp, ports: &Ports) {
    let (scope, job) = (PauseScope::Alias, &leased.job);
    let Some(subject) = scope.subject(job) else { return };
    let paused = ports.store.pause_fetches(&job.alias.environment, scope, &subject, until, "allowance_used_up").await;
    if let Err(error) = paused {
        warn!(%error, "could not put off the fetches of a user whose allowance is used up");
    }
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
    let delivery = Delivery { origin: leased.job.origin.of_events(), ..Delivery::new(receipt, event::peek(&body)) };
    ports.queue.is_open().map_err(|_| "queue_away")?;
    let sealed = ports.payloads.seal(body, Hint::of(&delivery)).await.map_err(|_| "payload_store_away")?;
    let published = ports.queue.publish(Job { delivery, body: sealed.clone() }).await;
    if published.as_ref().is_err_and(PublishError::is_certain) {
        ports.payloads.let_go(&sealed).await;
    }
    published.map_err(|_| "queue_away")
}

async fn finish(leased: &LeasedFetch, reaction: &Reaction, status: Option<u16>, ports: &Ports) {
    counter!(telemetry::FETCH_REQUESTS, "type" => leased.job.kind.label(), "outcome" => outcome(reaction)).increment(1);
    if let Reaction::Failed { reason } = reaction {
        info!(fetch.id = %leased.job.id, reason, "a fetch failed for good");
    }
    fail_point!("fetch_answered_before_tx", |_| std::process::abort());
    let kept = ports.store.finish_fetch(leased, reaction, status, ports.clock.now()).await;
    fail_point!("fetch_committed_before_release", |_| std::process::abort());
    match kept {
        Ok(true) => {}
        Ok(false) => info!(fetch.id = %leased.job.id, "another fetcher has taken this job over; its answer counts"),
        Err(error) => warn!(fetch.id = %leased.job.id, %error, "could not keep a fetch's answer; it is asked again"),
    }
}

fn outcome(reaction: &Reaction) -> &'static str {
    match reaction {
        Reaction::Requested { .. } => "requested",
        Reaction::Inline { .. } => "inline",
        Reaction::Nothing => "nothing",
        Reaction::Wait { .. } => "wait",
        Reaction::Retry { .. } => "retry",
        Reaction::RestUser { .. } => "allowance_used_up",
        Reaction::BackOff { .. } => "provider",
        Reaction::PauseEnvironment { .. } => "refused_credentials",
        Reaction::Failed { .. } => "failed",
    }
}
