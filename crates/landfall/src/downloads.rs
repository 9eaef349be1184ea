//! Payloads that Terra left in storage → the events they are.
//!
//! The webhook is durable like any other; its link lives for minutes, so nothing else may stand in its way. The worker
//! hands it over as a row of the ledger that is due at once, and a few downloads run side by side here. What comes is
//! worked like the inline event: under the webhook's own key and order, and once.

use std::sync::Arc;
use std::time::Duration;

use adapters::download::DownloadError;
use adapters::payloads::{Hint, PayloadError};
use adapters::queue::Job;
use adapters::store::{FetchFilter, Page, Prepared, Retry, RetryOf};
use bytes::Bytes;
use domain::delivery::Delivery;
use domain::plan::{self, Asked, Stored};
use domain::settle::{Failure, Settlement, backoff};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use metrics::counter;
use terra::event::{self, Kind};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::Config;
use crate::retrying::{self, Absence};
use crate::telemetry;
use crate::wiring::Ports;
use crate::worker::{self, Stopped, chance};

const AT_ONCE: u32 = 8;
/// Longer than a download may take; after a crash one waits this long.
const LEASE: SignedDuration = SignedDuration::from_secs(75);
const POLL: Duration = Duration::from_millis(500);
/// Between two tries of one download at most.
const AGAIN_MAX: SignedDuration = SignedDuration::from_secs(20);

/// Puts a stored payload where [`run`] takes it from.
pub(crate) const WAITING: &str = "payload_waits";

pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let mut absence = Absence::default();
    while !stop.is_cancelled() {
        let due = retrying::due(RetryOf::Download, LEASE, AT_ONCE, &ports, &mut absence).await;
        let mut is_idle = due.is_empty();
        let ids = retrying::ids(&due);
        let all = join_all(due.into_iter().map(|retry| one(retry, &ports, &config, &stop)));
        retrying::hold_on(&ids, LEASE, &ports, &stop, &mut absence, async { drop(all.await) }).await;
        if let Some(suspect) = retrying::suspect(RetryOf::Download, LEASE, &ports, &mut absence).await {
            is_idle = false;
            let id = [suspect.job.delivery.id];
            retrying::hold_on(&id, LEASE, &ports, &stop, &mut absence, one(suspect, &ports, &config, &stop)).await;
        }
        if is_idle {
            tokio::select! {
                () = stop.cancelled() => return,
                () = ports.downloads_waiting.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

async fn one(retry: Retry, ports: &Ports, config: &Config, stop: &CancellationToken) {
    let is_to_blame = retrying::is_to_blame(&retry);
    let Retry { job, attempts: attempt, .. } = retry;
    let webhook = match when_there(stop, || ports.payloads.unseal(&job.body)).await {
        Ok(Ok(webhook)) => webhook,
        Ok(Err(_)) => return worker::give_up(&job, attempt, &Failure::PayloadLost, ports, config, stop).await,
        Err(Stopped) => return,
    };
    let Some(stored) = plan::stored_payload(&job.delivery, &webhook) else {
        if is_to_blame {
            return worker::give_up(&job, attempt, &Failure::Crashed, ports, config, stop).await;
        }
        // Not readable as what its type says: the worker sets it aside.
        return worker::work_all(vec![(job, attempt)], ports, config, stop).await;
    };
    if is_to_blame {
        // Its bytes are not ours yet: what comes by another way and ends its worker again can be replayed.
        counter!(telemetry::DOWNLOADS, "outcome" => "lost").increment(1);
        return give_up(job, attempt, "crashed", &stored, ports, config, stop).await;
    }
    let got = match &stored.url {
        Some(url) => ports.downloader.get(url).await,
        None => Err(DownloadError::Refused("there is none")),
    };
    let now = ports.clock.now();
    let failed = match got.and_then(inner) {
        Ok((body, peek)) => {
            counter!(telemetry::DOWNLOADS, "outcome" => "downloaded").increment(1);
            return worked(job, body, peek, attempt, ports, config, stop).await;
        }
        Err(failed) => failed,
    };
    if let DownloadError::Failed(_) = failed
        && now < stored.expires_at
    {
        counter!(telemetry::DOWNLOADS, "outcome" => "failed").increment(1);
        return again(&job, attempt, failed.reason(), &stored, now, ports).await;
    }
    counter!(telemetry::DOWNLOADS, "outcome" => "lost").increment(1);
    warn!(delivery.id = %job.delivery.id, error = %failed, "a stored payload cannot be had any more");
    give_up(job, attempt, failed.reason(), &stored, ports, config, stop).await;
}

/// Waits for a payload store that is away: what was downloaded may not be there for a second download, and a lease that
/// runs out meanwhile would look like the death of a worker.
async fn when_there<T, F>(stop: &CancellationToken, work: impl Fn() -> F) -> Result<Result<T, PayloadError>, Stopped>
where
    F: Future<Output = Result<T, PayloadError>>,
{
    let mut pause = worker::PAUSE_FIRST;
    loop {
        match work().await {
            Err(error @ (PayloadError::Unavailable { .. } | PayloadError::Setting { .. })) => {
                warn!(%error, "the payload store is away; a stored payload waits");
                worker::wait(&mut pause, stop).await;
                if stop.is_cancelled() {
                    return Err(Stopped);
                }
            }
            done => return Ok(done),
        }
    }
}

/// What was downloaded, looked at: a link to another link is none.
fn inner(body: Bytes) -> Result<(Bytes, event::Peek), DownloadError> {
    let peek = event::peek(&body);
    if peek.kind.as_deref().map(Kind::parse) == Some(Kind::S3Payload) {
        return Err(DownloadError::Refused("it leads to another link"));
    }
    Ok((body, peek))
}

async fn worked(
    job: Job,
    body: Bytes,
    peek: event::Peek,
    attempt: u32,
    ports: &Ports,
    config: &Config,
    stop: &CancellationToken,
) {
    let delivery = job.delivery.clone().with_payload(peek, body.len() as u64);
    match when_there(stop, || ports.payloads.seal(body.clone(), Hint::of(&delivery))).await {
        Ok(Ok(body)) => worker::work_all(vec![(Job { delivery, body }, attempt)], ports, config, stop).await,
        Ok(Err(_)) => worker::give_up(&job, attempt, &Failure::PayloadLost, ports, config, stop).await,
        Err(Stopped) => {}
    }
}

async fn again(job: &Job, attempt: u32, reason: &str, stored: &Stored, now: Timestamp, ports: &Ports) {
    let wait = SignedDuration::try_from(backoff(attempt, chance())).unwrap_or(AGAIN_MAX).min(AGAIN_MAX);
    // The last try is just before the link ends, not after.
    let at = now.checked_add(wait).unwrap_or(now).min(stored.expires_at);
    if let Err(error) = ports.store.record_failure(job, attempt, &Settlement::RetryAt(at), reason, now).await {
        warn!(%error, "cannot record a failed download; it is tried again when its lease ends");
    }
}

/// Records it, and asks Terra for its days in another way.
async fn give_up(
    job: Job,
    attempt: u32,
    reason: &'static str,
    stored: &Stored,
    ports: &Ports,
    config: &Config,
    stop: &CancellationToken,
) {
    let asked = asked(&job.delivery, ports).await;
    let context = worker::context(ports, config);
    let user = stored.terra_user_id.as_deref();
    let plan = plan::unavailable(job.delivery, reason, &asked, user, &context);
    worker::apply_one(Prepared { plan, body: job.body, documents: Vec::new(), attempt, replay: None }, ports, stop)
        .await;
}

/// The jobs of ours that this payload would have answered.
async fn asked(delivery: &Delivery, ports: &Ports) -> Vec<Asked> {
    let Some(reference) = delivery.headers.reference.clone() else { return Vec::new() };
    let filter = FetchFilter { reference: Some(reference), ..FetchFilter::default() };
    match ports.store.fetches(&filter, &Page::default()).await {
        Ok(listing) => listing
            .items
            .into_iter()
            .filter(|view| view.environment == delivery.environment)
            .filter_map(|view| view.asked())
            .collect(),
        Err(error) => {
            warn!(%error, "cannot look for the request that a lost payload answered");
            Vec::new()
        }
    }
}
