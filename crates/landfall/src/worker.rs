//! The loop: lease, plan, apply, settle.
//!
//! A batch is one transaction. If the store refuses it, it is halved until the one delivery that is at fault stands
//! alone: that one is retried later and in the end a dead letter, the others are not harmed. The same where the store
//! lives and takes too long over it, in smaller parts, for each try costs as long. If the store is away,
//! nothing is settled and no attempt is burnt: the worker waits, and the queue keeps what it has not acknowledged.

mod prepare;

use std::panic::AssertUnwindSafe;
use std::sync::PoisonError;
use std::time::Duration;

use adapters::queue::{Consumer, Job, Lease};
use adapters::store::{Applied, LedgerOutcome, Prepared, Recorded, StoreError, Unneeded};
use domain::plan::{Cause, Context};
use domain::replay::Start;
use domain::settle::{self, Failure, Settlement};
use fail::fail_point;
use futures_util::FutureExt;
use jiff::Timestamp;
use metrics::histogram;
use terra::event::Kind;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

#[cfg(feature = "failpoints")]
pub(crate) use self::prepare::bugs;
use crate::config::Config;
use crate::downloads;
use crate::drift::DriftLog;
use crate::retrying;
use crate::telemetry;
use crate::wiring::Ports;

/// Deliveries per transaction …
const BATCH_MAX: usize = 256;
/// … and bytes of their payloads: planning takes a multiple of it in memory. A larger payload is worked by itself.
const BATCH_BYTES_MAX: u64 = 16 * 1024 * 1024;
pub(crate) const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const CONTENTION_MAX: u32 = 20;
/// A store that is well answers the simplest question so soon.
const WELL_WITHIN: Duration = Duration::from_secs(1);
/// Parts of a batch over which the store took too long: with these three tries find the one among 256, not nine.
const SLOW_PARTS: usize = 16;

/// What planning needs to know, as of now.
pub(crate) fn context(ports: &Ports, config: &Config) -> Context {
    let capabilities = ports.capabilities.read().unwrap_or_else(PoisonError::into_inner).clone();
    Context { backfill_days: config.backfill_days, window_days_max: config.fetch_window_days, capabilities }
}

/// Works the queue until stopped. A lease that is held at the stop is finished first.
pub(crate) async fn run(ports: Ports, config: std::sync::Arc<Config>, stop: CancellationToken) {
    let mut pause = PAUSE_FIRST;
    while !stop.is_cancelled() {
        match ports.queue.consume().await {
            Ok(mut consumer) => {
                if consume(&mut *consumer, &ports, &config, &stop).await {
                    pause = PAUSE_FIRST;
                }
                if !stop.is_cancelled() {
                    wait(&mut pause, &stop).await;
                }
            }
            Err(error) => {
                warn!(%error, "cannot consume; trying again");
                wait(&mut pause, &stop).await;
            }
        }
    }
}

/// Works what comes until the queue is lost; answers whether anything came.
async fn consume(consumer: &mut dyn Consumer, ports: &Ports, config: &Config, stop: &CancellationToken) -> bool {
    let mut has_worked = false;
    loop {
        let leased = tokio::select! {
            biased;
            () = stop.cancelled() => return has_worked,
            leased = consumer.lease(BATCH_MAX) => leased,
        };
        match leased {
            Ok(lease) => {
                work(lease, ports, config, stop).await;
                has_worked = true;
            }
            Err(error) => {
                warn!(%error, "lost the queue; opening it again");
                return has_worked;
            }
        }
    }
}

async fn work(lease: Lease, ports: &Ports, config: &Config, stop: &CancellationToken) {
    fail_point!("consumer_received", |_| std::process::abort());
    let mut downloads = Vec::new();
    let mut suspects = Vec::new();
    let mut jobs = Vec::new();
    for job in &lease.jobs {
        if job.delivery.kind() == Kind::S3Payload {
            downloads.push(job.clone());
        } else if lease.suspects.contains(&job.delivery.id) {
            suspects.push(job.clone());
        } else {
            jobs.push((job.clone(), 1));
        }
    }
    // Rows that are due at once: a link lives for minutes, and a slow download must not hold up a batch; and what may
    // have killed a worker is counted before it is tried again, and in the end tried alone.
    for (jobs, reason, waiting) in [
        (downloads, downloads::WAITING, &ports.downloads_waiting),
        (suspects, retrying::HELD_BEFORE, &ports.retries_waiting),
    ] {
        if hand_over(&jobs, reason, ports, stop).await.is_err() {
            return;
        }
        waiting.notify_waiters();
    }
    if settle_all(jobs, ports, config, stop).await.is_err() {
        return;
    }
    fail_point!("after_commit_before_ack", |_| std::process::abort());
    if let Err(error) = lease.ack().await {
        info!(%error, "could not acknowledge; the deliveries come again and will be known");
    }
}

async fn hand_over(jobs: &[Job], reason: &str, ports: &Ports, stop: &CancellationToken) -> Result<(), Stopped> {
    let mut pause = PAUSE_FIRST;
    while !jobs.is_empty() {
        match ports.store.hand_over(jobs, reason, ports.clock.now()).await {
            Ok(()) => break,
            Err(error) => {
                warn!(%error, "cannot hand deliveries over to the ledger; waiting");
                wait(&mut pause, stop).await;
                if stop.is_cancelled() {
                    return Err(Stopped);
                }
            }
        }
    }
    Ok(())
}

/// Works deliveries, each with the number of its try, to their rows in the ledger, unless stopped before.
pub(crate) async fn work_all(jobs: Vec<(Job, u32)>, ports: &Ports, config: &Config, stop: &CancellationToken) {
    if settle_all(jobs, ports, config, stop).await.is_err() {
        info!("stopped before deliveries were settled; they come again");
    }
}

/// Settles a delivery that nobody should try any more.
pub(crate) async fn give_up(
    job: &Job,
    attempt: u32,
    failure: &Failure,
    ports: &Ports,
    config: &Config,
    stop: &CancellationToken,
) {
    let failed = Failed { job: job.clone(), attempt, failure: failure.clone(), documents: Vec::new() };
    if record_failure(&failed, ports, config, stop).await.is_err() {
        info!("stopped before a delivery was settled; it comes again");
    }
}

/// Applies what was planned elsewhere.
pub(crate) async fn apply_one(prepared: Prepared, ports: &Ports, stop: &CancellationToken) {
    let batch = [prepared];
    let mut pause = PAUSE_FIRST;
    while !stop.is_cancelled() {
        match apply(&batch, ports, stop).await {
            Ok(Err(Failure::TooSlow)) => wait(&mut pause, stop).await,
            Ok(Err(failure)) => return error!(reason = failure.reason(), "the store refused a plan of our own"),
            Ok(Ok(())) | Err(Stopped) => return,
        }
    }
}

/// Stopped before everything was settled: what is left stays where it is.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Returns once every job has its row in the ledger: done, to be retried, or dead.
async fn settle_all(
    jobs: Vec<(Job, u32)>,
    ports: &Ports,
    config: &Config,
    stop: &CancellationToken,
) -> Result<(), Stopped> {
    for failed in apply_all(jobs, None, ports, config, stop).await? {
        record_failure(&failed, ports, config, stop).await?;
    }
    Ok(())
}

/// A delivery that did not come to its effects.
pub(crate) struct Failed {
    pub(crate) job: Job,
    attempt: u32,
    pub(crate) failure: Failure,
    /// What this try put into the payload store, to which no record points.
    pub(crate) documents: Vec<Unneeded>,
}

/// Works jobs to their effects, for a replay if one is named; answers those that failed.
pub(crate) async fn apply_all(
    jobs: Vec<(Job, u32)>,
    replay: Option<Start>,
    ports: &Ports,
    config: &Config,
    stop: &CancellationToken,
) -> Result<Vec<Failed>, Stopped> {
    let context = context(ports, config);
    let mut batch = Batch::default();
    let mut failed = Vec::new();
    for (job, attempt) in jobs {
        if batch.bytes + job.delivery.size_bytes > BATCH_BYTES_MAX {
            failed.extend(apply_batch(std::mem::take(&mut batch), ports, stop).await?);
        }
        match prepare::prepare(&job, attempt, replay, &context, ports, stop).await? {
            Ok(ready) => batch.push(job, ready),
            Err(failure) => failed.push(Failed { job, attempt, failure, documents: Vec::new() }),
        }
    }
    failed.extend(apply_batch(batch, ports, stop).await?);
    Ok(failed)
}

/// Applies what is prepared; answers what the store refused or took too long over, each of it alone.
async fn apply_batch(batch: Batch, ports: &Ports, stop: &CancellationToken) -> Result<Vec<Failed>, Stopped> {
    let mut failed = Vec::new();
    // A stack of batches instead of recursion: halves of a refused batch go back on it.
    let mut batches = vec![batch];
    while let Some(batch) = batches.pop() {
        if batch.prepared.is_empty() {
            continue;
        }
        match apply(&batch.prepared, ports, stop).await? {
            Ok(()) => {}
            Err(failure) if batch.prepared.len() == 1 => {
                failed.extend(batch.jobs.into_iter().zip(batch.prepared).map(|(job, ready)| Failed {
                    job,
                    attempt: ready.attempt,
                    failure: failure.clone(),
                    documents: ready.unneeded_documents(),
                }));
            }
            Err(Failure::TooSlow) => batches.extend(batch.parts(SLOW_PARTS)),
            Err(_) => batches.extend(batch.parts(2)),
        }
    }
    Ok(failed)
}

/// Deliveries of one transaction, each beside its job.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    prepared: Vec<Prepared>,
    /// Of the payloads, unpacked.
    bytes: u64,
}

impl Batch {
    fn push(&mut self, job: Job, prepared: Prepared) {
        self.bytes += job.delivery.size_bytes;
        self.jobs.push(job);
        self.prepared.push(prepared);
    }

    /// At most so many, of nearly the same size.
    fn parts(mut self, count: usize) -> Vec<Batch> {
        let size = self.jobs.len().div_ceil(count).max(1);
        let mut parts = Vec::with_capacity(count);
        while self.jobs.len() > size {
            let at = self.jobs.len() - size;
            parts.push(Batch { jobs: self.jobs.split_off(at), prepared: self.prepared.split_off(at), bytes: 0 });
        }
        parts.push(self);
        parts
    }
}

/// Applies a batch; the inner error is what is wrong with it, or with one of it.
async fn apply(batch: &[Prepared], ports: &Ports, stop: &CancellationToken) -> Result<Result<(), Failure>, Stopped> {
    let mut pause = PAUSE_FIRST;
    let mut contentions = 0;
    loop {
        let now = ports.clock.now();
        // A panic in the transaction is rolled back; it must not take the worker with it, nor the batch's other deliveries.
        let applying = AssertUnwindSafe(ports.store.apply(batch, now)).catch_unwind();
        match applying.await.unwrap_or_else(|_| Err(StoreError::Rejected { constraint: "panicked".into() })) {
            Ok(applied) => {
                report(batch, &applied, &ports.drift, ports.clock.now());
                ports.events_waiting.notify_waiters();
                return Ok(Ok(()));
            }
            Err(StoreError::Rejected { constraint }) => return Ok(Err(Failure::Rejected { constraint })),
            Err(StoreError::Contention) if contentions < CONTENTION_MAX => contentions += 1,
            Err(error) => {
                // Where nothing else gets through either, it is the store that is in trouble, and no delivery's fault.
                if matches!(error, StoreError::TooSlow) && is_well(ports).await {
                    return Ok(Err(Failure::TooSlow));
                }
                warn!(%error, "the store is away; deliveries wait in the queue");
                wait(&mut pause, stop).await;
                if stop.is_cancelled() {
                    return Err(Stopped);
                }
            }
        }
    }
}

async fn is_well(ports: &Ports) -> bool {
    tokio::time::timeout(WELL_WITHIN, ports.store.ping()).await.is_ok_and(|answer| answer.is_ok())
}

async fn record_failure(
    failed: &Failed,
    ports: &Ports,
    config: &Config,
    stop: &CancellationToken,
) -> Result<(), Stopped> {
    let Failed { job, attempt, failure, documents } = failed;
    let (id, reason, kind) = (job.delivery.id, failure.reason(), job.delivery.kind());
    let mut pause = PAUSE_FIRST;
    loop {
        let now = ports.clock.now();
        let settlement = settle::settle(failure, *attempt, config.delivery_attempts, now, chance());
        match ports.store.record_failure(job, *attempt, &settlement, &reason, now).await {
            Ok(Recorded::Erased) => {
                telemetry::count_settled(kind, LedgerOutcome::Erased);
                let_go(documents, ports).await;
                return Ok(());
            }
            Ok(Recorded::Kept) => {
                match settlement {
                    Settlement::RetryAt(_) => {
                        warn!(delivery.id = %id, job.attempt = attempt, reason, "a delivery failed; it is tried again");
                        telemetry::count_settled(kind, LedgerOutcome::Retry);
                    }
                    Settlement::Dead { .. } => {
                        error!(delivery.id = %id, reason, "a delivery is dead: `landfall dead show {id}`");
                        telemetry::count_settled(kind, LedgerOutcome::Dead);
                        let_go(documents, ports).await;
                    }
                }
                return Ok(());
            }
            Err(error) => {
                warn!(%error, "cannot record a failed delivery; waiting");
                wait(&mut pause, stop).await;
                if stop.is_cancelled() {
                    return Err(Stopped);
                }
            }
        }
    }
}

/// Has the documents of a try deleted that was the last: another try would put them there again under the same keys, and
/// must not lose them to this.
pub(crate) async fn let_go(documents: &[Unneeded], ports: &Ports) {
    if documents.is_empty() {
        return;
    }
    if let Err(error) = ports.store.let_go_of_documents(documents).await {
        warn!(%error, "documents of a delivery that failed stay in the payload store");
    }
}

fn report(batch: &[Prepared], applied: &[Applied], drift: &DriftLog, now: Timestamp) {
    let end_to_end = histogram!(telemetry::END_TO_END);
    for (prepared, applied) in batch.iter().zip(applied) {
        let Cause::Delivery(delivery) = &prepared.plan.cause else { continue };
        if prepared.replay.is_some() {
            // Settled before: its run counts it.
            continue;
        }
        let outcome = match applied {
            Applied::Stored { .. } => LedgerOutcome::Processed,
            Applied::AlreadyProcessed => LedgerOutcome::Duplicate,
            Applied::SetAside { .. } => LedgerOutcome::SetAside,
            Applied::Quarantined { .. } => LedgerOutcome::Quarantined,
            Applied::Erased => LedgerOutcome::Erased,
        };
        telemetry::count_settled(delivery.kind(), outcome);
        end_to_end.record(now.duration_since(delivery.received_at).as_secs_f64().max(0.0));
        if let Applied::Stored { .. } = applied {
            drift.note(&prepared.plan);
        }
        if let Applied::SetAside { reason } | Applied::Quarantined { reason } = applied {
            warn!(delivery.id = %delivery.id, %reason, "kept a delivery without effects");
        }
    }
}

/// Waits, twice as long each time, or until stopped.
pub(crate) async fn wait(pause: &mut Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(*pause) => {}
    }
    *pause = (*pause * 2).min(PAUSE_MAX);
}

/// A number in 0.0..1.0 for jitter; a machine without randomness gets none.
pub(crate) fn chance() -> f64 {
    let mut bytes = [0; 4];
    if getrandom::fill(&mut bytes).is_err() {
        return 0.0;
    }
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
