//! Delivers events as Terra does: a first try, then retries with growing waits until a 2xx.
//!
//! The parcels of one request are first tried one after the other, in the order given, so that a run
//! can be repeated; a parcel that fails waits for its retries on its own and holds up nobody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::dials::Dials;
use crate::event_log::{EventLog, Row, event_id_of};
use crate::lock::lock;
use crate::ring::Ring;
use crate::webhook::{Parcel, SendError, Sent, Try, post};

/// Tries under way at one moment; the others wait for their turn.
const TRIES_AT_ONCE_MAX: usize = 64;
/// Parcels that are not settled yet. Beyond it new ones are dropped with a warning.
const PARCELS_PENDING_MAX: usize = 50_000;
const LOG_ENTRIES_MAX: usize = 20_000;

/// One try, as `GET /_simulator/deliveries` shows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Attempt {
    pub(crate) trace_id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) reference: Option<String>,
    pub(crate) ordering_timestamp: Option<i64>,
    /// 1 for the first try.
    pub(crate) attempt: u32,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) t: i64,
    pub(crate) started_at_ms: i64,
    pub(crate) elapsed_ms: i64,
    pub(crate) size_bytes: usize,
    /// The wait before the next try; none when it was accepted or given up.
    pub(crate) retry_in_ms: Option<u64>,
}

/// Cheap to clone: every clone is the same courier.
#[derive(Clone)]
pub(crate) struct Courier(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    clock: Arc<Clock>,
    dials: Arc<Mutex<Dials>>,
    /// The runtime that `start` ran in. Handlers run on threads of the HTTP server, each with a
    /// runtime of its own, and a task spawned there would end with its thread.
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    turns: Semaphore,
    pending: AtomicUsize,
    log: Mutex<Ring<Attempt>>,
    events: Mutex<EventLog>,
}

/// What a single sending may change.
#[derive(Default)]
pub(crate) struct Once {
    pub(crate) url: Option<String>,
    pub(crate) secret: Option<String>,
    pub(crate) t: Option<i64>,
    pub(crate) bad_signature: bool,
}

impl Courier {
    pub(crate) fn new(
        client: reqwest::Client,
        clock: Arc<Clock>,
        dials: Arc<Mutex<Dials>>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            client,
            clock,
            dials,
            runtime: Handle::current(),
            tasks,
            stop,
            turns: Semaphore::new(TRIES_AT_ONCE_MAX),
            pending: AtomicUsize::new(0),
            log: Mutex::new(Ring::holding(LOG_ENTRIES_MAX)),
            events: Mutex::default(),
        }))
    }

    pub(crate) fn log(&self) -> Vec<Attempt> {
        lock(&self.0.log).list()
    }

    pub(crate) fn forget_log(&self) {
        lock(&self.0.log).clear();
    }

    /// Terra's own history, which outlives [`Self::forget_log`].
    pub(crate) fn events(&self) -> &Mutex<EventLog> {
        &self.0.events
    }

    /// Parcels that are neither accepted nor given up.
    pub(crate) fn pending(&self) -> usize {
        self.0.pending.load(Ordering::SeqCst)
    }

    /// Runs something beside the current request; it ends when the simulator stops.
    pub(crate) fn beside<F>(&self, work: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let stop = self.0.stop.clone();
        let work = async move { stop.run_until_cancelled_owned(work).await };
        self.0.tasks.spawn_on(work, &self.0.runtime)
    }

    /// Delivers parcels after a delay. The handle ends with the last first try, for who must wait
    /// for it; retries go on.
    pub(crate) fn dispatch(&self, parcels: Vec<Parcel>, delay: Duration) -> JoinHandle<Option<()>> {
        let pending = self.0.pending.fetch_add(parcels.len(), Ordering::SeqCst);
        if pending + parcels.len() > PARCELS_PENDING_MAX {
            self.0.pending.fetch_sub(parcels.len(), Ordering::SeqCst);
            warn!(dropped = parcels.len(), "too many webhooks are pending, dropped the newest");
            return self.beside(async {});
        }
        let courier = self.clone();
        self.beside(async move {
            tokio::time::sleep(delay).await;
            for parcel in parcels {
                courier.deliver(parcel).await;
            }
        })
    }

    /// Sends once, whatever the answer.
    pub(crate) async fn send_once(&self, parcel: Parcel, once: Once) -> Result<Sent, SendError> {
        let dials = lock(&self.0.dials).clone();
        let url = once.url.or_else(|| dials.destination().map(str::to_owned)).ok_or(SendError::NoDestination)?;
        let courier = self.clone();
        let sending = self.beside(async move {
            let attempt = Try {
                url: &url,
                secret: once.secret.as_deref().unwrap_or(&dials.signing_secret),
                t: once.t.unwrap_or_else(|| courier.0.clock.unix_seconds()),
                bad_signature: once.bad_signature,
                timeout: dials.retry.timeout,
                older_headers: dials.older_headers,
            };
            courier.attempt(&parcel, &attempt, 1, None).await
        });
        match sending.await {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => Err(SendError::Stopping),
        }
    }

    async fn deliver(&self, parcel: Parcel) {
        let first_t = self.0.clock.unix_seconds();
        if !self.try_as_scheduled(&parcel, first_t, 1).await {
            let courier = self.clone();
            // The task is tracked; nobody waits for its result.
            drop(self.beside(async move { courier.retry(parcel, first_t).await }));
        }
    }

    async fn retry(&self, parcel: Parcel, first_t: i64) {
        for retry in 1.. {
            let wait = lock(&self.0.dials).retry.wait_before(retry);
            let Some(wait) = wait else {
                self.settled();
                warn!(trace.id = ?parcel.trace_id, "gave up delivering a webhook");
                return;
            };
            tokio::time::sleep(wait).await;
            if self.try_as_scheduled(&parcel, first_t, retry + 1).await {
                return;
            }
        }
    }

    /// True when the parcel needs no further try. Without a destination there is nothing to retry.
    async fn try_as_scheduled(&self, parcel: &Parcel, first_t: i64, number: u32) -> bool {
        // A retry goes to the destination as it is set by then, as Terra's do.
        let dials = lock(&self.0.dials).clone();
        let Some(url) = dials.destination() else {
            self.settled();
            debug!(trace.id = ?parcel.trace_id, "no destination is set, dropped a webhook");
            return true;
        };
        let attempt = Try {
            url,
            secret: &dials.signing_secret,
            t: if dials.restamp { self.0.clock.unix_seconds() } else { first_t },
            bad_signature: false,
            timeout: dials.retry.timeout,
            older_headers: dials.older_headers,
        };
        let wait = dials.retry.wait_before(number);
        let accepted = self.attempt(parcel, &attempt, number, wait).await.is_ok_and(|sent| sent.accepted());
        if accepted {
            self.settled();
        }
        accepted
    }

    async fn attempt(
        &self,
        parcel: &Parcel,
        attempt: &Try<'_>,
        number: u32,
        wait: Option<Duration>,
    ) -> Result<Sent, SendError> {
        // The semaphore is never closed; if it were, going on without a permit harms nobody.
        let _turn = self.0.turns.acquire().await.ok();
        let started_at_ms = self.0.clock.unix_ms();
        let outcome = post(&self.0.client, parcel, attempt).await;
        let accepted = outcome.as_ref().is_ok_and(Sent::accepted);
        let elapsed_ms = self.0.clock.unix_ms() - started_at_ms;
        let ids_are_trace_ids = lock(&self.0.dials).event_ids_are_trace_ids;
        lock(&self.0.events).note(Row {
            event_id: event_id_of(parcel, ids_are_trace_ids),
            sent_at_ms: started_at_ms,
            http_status: outcome.as_ref().ok().map(|sent| sent.status),
            response_time_ms: elapsed_ms,
            parcel: parcel.clone(),
        });
        lock(&self.0.log).push(Attempt {
            trace_id: parcel.trace_id.clone(),
            kind: parcel.kind.clone(),
            reference: parcel.reference.clone(),
            ordering_timestamp: parcel.ordering_ms,
            attempt: number,
            status: outcome.as_ref().ok().map(|sent| sent.status),
            error: outcome.as_ref().err().map(SendError::line),
            t: attempt.t,
            started_at_ms,
            elapsed_ms,
            size_bytes: parcel.body.len(),
            retry_in_ms: wait.filter(|_| !accepted).map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        });
        outcome
    }

    fn settled(&self) {
        self.0.pending.fetch_sub(1, Ordering::SeqCst);
    }
}
