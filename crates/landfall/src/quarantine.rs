//! What becomes of requests whose signature fails: handed over at the door, examined and kept by one task.
//!
//! The door never waits. What does not fit into the hand-over, or cannot be written, is counted as dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use adapters::payloads::{Hint, Of};
use adapters::store::Held;
use domain::id::Environment;
use domain::quarantine::burst::{Burst, Cause, Failure};
use domain::quarantine::{self, Part, QuarantineId, Quarantined, Refused, Secrets, Why};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use metrics::gauge;
use terra::event::{self, Kind};
use terra::headers::DeliveryHeaders;
use terra::signature::{self, SignatureHeader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::{Config, TerraEnvironment};
use crate::telemetry;
use crate::wiring::Ports;

/// Requests and bytes that wait to be examined, besides those in hand.
const WAITING_MAX: usize = 256;
const WAITING_BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// Of larger bodies only the facts are kept.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Bytes of one writing whose changes on the way are looked for: a flood must not keep a processor busy.
const UNDONE_BYTES_MAX: usize = 2 * 1_024 * 1_024;

/// Between two writings: a flood costs the store a few transactions a second, not one for each request.
const PAUSE: Duration = Duration::from_millis(500);

/// How often to look whether a burst is over.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A request as the door saw it.
pub(crate) struct Turned {
    pub(crate) at: Timestamp,
    pub(crate) address: Option<Environment>,
    /// The one environment whose secrets were asked, if it was one.
    pub(crate) whose: Option<Environment>,
    pub(crate) refused: Refused,
    pub(crate) header: Option<SignatureHeader>,
    pub(crate) headers: DeliveryHeaders,
    /// Of the body, as read or announced.
    pub(crate) size_bytes: Option<u64>,
    pub(crate) body: Option<Bytes>,
}

struct Waiting {
    turned: Turned,
    _room: Option<OwnedSemaphorePermit>,
}

/// The hand-over, as the door sees it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Quarantine {
    waiting: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    burst: Arc<Mutex<Burst>>,
}

/// The other end.
pub(crate) struct Keeper {
    waiting: mpsc::Receiver<Waiting>,
    burst: Arc<Mutex<Burst>>,
}

pub(crate) fn hand_over() -> (Quarantine, Keeper) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let burst = Arc::<Mutex<Burst>>::default();
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
    (Quarantine { waiting: sender, room, burst: burst.clone() }, Keeper { waiting: receiver, burst })
}

impl Quarantine {
    /// Hands a request over if there is room, and returns at once either way.
    pub(crate) fn take(&self, mut turned: Turned) {
        turned.body = turned.body.filter(|body| body.len() <= BODY_BYTES_MAX);
        let failure = Failure {
            part: turned.refused.part(),
            // Nobody looks at the body: a signature alone makes no webhook of Terra's.
            looks_like_terra: quarantine::looks_like_terra(false, &turned.headers, None),
        };
        let (at, whose) = (turned.at, turned.whose.clone());
        let room = match &turned.body {
            Some(body) => {
                let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
                self.room.clone().try_acquire_many_owned(bytes).map(Some)
            }
            None => Ok(None),
        };
        let is_taken = room.is_ok_and(|room| self.waiting.try_send(Waiting { turned, _room: room }).is_ok());
        if !is_taken {
            telemetry::quarantine_dropped("busy", 1);
            count(failure, whose.as_ref());
            // The door tells a mismatch from the rest, and not what it comes from.
            if failure.part != Part::SecretOrBody || !failure.looks_like_terra {
                note(&self.burst, failure, whose.as_ref(), at);
            }
        }
    }

    /// Something that Terra signed came for `environment`: what fails beside it is no fault of ours.
    pub(crate) fn passed(&self, environment: &Environment, at: Timestamp) {
        self.burst.lock().unwrap_or_else(PoisonError::into_inner).note_genuine(environment, at);
    }
}

fn count(failure: Failure, whose: Option<&Environment>) {
    let shape = if failure.looks_like_terra { "terra" } else { "other" };
    telemetry::signature_failures(failure.part.label(), shape, whose).increment(1);
}

fn note(burst: &Mutex<Burst>, failure: Failure, whose: Option<&Environment>, at: Timestamp) {
    burst.lock().unwrap_or_else(PoisonError::into_inner).note(failure, whose, at);
}

/// Keeps what the door hands over until it is stopped; what waits then is still kept.
pub(crate) async fn run(mut keeper: Keeper, ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let mut said = BTreeSet::new();
    loop {
        let mut waiting = Vec::new();
        tokio::select! {
            biased;
            count = keeper.waiting.recv_many(&mut waiting, WAITING_MAX) => if count == 0 { return },
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if !waiting.is_empty() {
            keep(waiting, &keeper.burst, &ports, &config).await;
        }
        show_burst(&keeper.burst, ports.clock.now(), &mut said);
        if !stop.is_cancelled() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn show_burst(burst: &Mutex<Burst>, now: Timestamp, said: &mut BTreeSet<Cause>) {
    let causes = burst.lock().unwrap_or_else(PoisonError::into_inner).causes(now);
    for cause in Cause::ALL {
        gauge!(telemetry::SIGNATURE_BURST, "cause" => cause.label()).set(if causes.contains(&cause) {
            1.0
        } else {
            0.0
        });
    }
    for cause in causes.difference(said) {
        warn!(cause = cause.label(), "many requests fail their signature; `landfall quarantine list` says why");
    }
    *said = causes;
}

/// A request that was examined, and its body if that may be kept.
struct Examined {
    request: Quarantined,
    /// Whose destination sent it, where that is known: a secret that fits after all says more than the address.
    whose: Option<Environment>,
    body: Option<Bytes>,
    /// All was tried that could tell why.
    is_thorough: bool,
}

async fn keep(waiting: Vec<Waiting>, burst: &Mutex<Burst>, ports: &Ports, config: &Arc<Config>) {
    let requests = waiting.len() as u64;
    let config_there = config.clone();
    // Hashing in many forms: milliseconds of processor time for a large body.
    let examined = tokio::task::spawn_blocking(move || {
        let mut left = UNDONE_BYTES_MAX;
        let one = |waiting: Waiting| {
            let undo = left > 0;
            left = left.saturating_sub(waiting.turned.body.as_ref().map_or(0, Bytes::len));
            examine(waiting.turned, &config_there.environments, undo)
        };
        waiting.into_iter().map(one).collect::<Vec<Examined>>()
    })
    .await;
    let Ok(examined) = examined else {
        telemetry::quarantine_dropped("failed", requests);
        return;
    };
    for Examined { request, whose, is_thorough, .. } in &examined {
        let failure = Failure { part: request.why.part, looks_like_terra: request.looks_like_terra };
        count(failure, whose.as_ref());
        // Half-known reasons beside known ones would look like many forms.
        if *is_thorough {
            note(burst, failure, whose.as_ref(), request.last_seen);
        }
    }
    if config.quarantine_max == 0 {
        return;
    }
    if let Err(error) = write(distinct(examined), ports, config).await {
        telemetry::quarantine_dropped("store", requests);
        warn!(%error, requests, "could not keep requests whose signature failed");
    }
}

fn examine(turned: Turned, environments: &[TerraEnvironment], undo: bool) -> Examined {
    let Turned { at, address, whose, refused, header, headers, size_bytes, body } = turned;
    let digest = body.as_ref().map(|body| signature::body_digest(body));
    let peek = body.as_ref().map(|body| event::peek(body));
    let kind = peek.as_ref().map(|peek| peek.kind.as_deref().map_or(Kind::Other, Kind::parse));
    let why = why(refused, header.as_ref(), body.as_deref(), address.as_ref(), environments, undo);
    let whose = why.environment.clone().or(whose);
    let is_thorough = undo || why.part != Part::SecretOrBody;
    // Only what may pass one day is worth its bytes.
    let body = body.filter(|_| header.is_some());
    let (type_name, terra_user_id) = peek.map_or((None, None), |peek| (peek.kind, peek.user_id));
    let request = Quarantined {
        id: QuarantineId(Uuid::now_v7()),
        fingerprint: quarantine::fingerprint(
            refused,
            address.as_ref(),
            digest.as_ref(),
            headers.trace_id.as_deref(),
            size_bytes,
        ),
        first_seen: at,
        last_seen: at,
        seen: 1,
        address,
        why,
        looks_like_terra: quarantine::looks_like_terra(header.is_some(), &headers, kind),
        t_seconds: header.as_ref().map(SignatureHeader::t_seconds),
        signature: header.as_ref().map(SignatureHeader::to_string),
        headers,
        type_name,
        terra_user_id,
        size_bytes,
        held_bytes: quarantine::held_bytes(body.as_ref().map(|body| body.len() as u64)),
    };
    Examined { request, whose, body, is_thorough }
}

fn why(
    refused: Refused,
    header: Option<&SignatureHeader>,
    body: Option<&[u8]>,
    address: Option<&Environment>,
    environments: &[TerraEnvironment],
    undo: bool,
) -> Why {
    let (expected, others): (Vec<&TerraEnvironment>, Vec<&TerraEnvironment>) =
        environments.iter().partition(|environment| address.is_none_or(|address| *address == environment.name));
    let secrets = Secrets {
        expected: expected.iter().map(|one| (&one.name, &one.secrets[..])).collect(),
        others: others.iter().map(|one| (&one.name, &one.secrets[..])).collect(),
    };
    quarantine::why(refused, header, body, &secrets, undo)
}

/// The same request several times is one, counted; signature and reason are those of the last.
fn distinct(examined: Vec<Examined>) -> Vec<Examined> {
    let mut distinct: BTreeMap<[u8; 32], Examined> = BTreeMap::new();
    for one in examined {
        match distinct.get_mut(&one.request.fingerprint) {
            None => {
                distinct.insert(one.request.fingerprint, one);
            }
            Some(Examined { request: known, .. }) => {
                *known = Quarantined {
                    id: known.id,
                    first_seen: known.first_seen,
                    seen: known.seen + one.request.seen,
                    ..one.request
                };
            }
        }
    }
    distinct.into_values().collect()
}

/// Bodies are sealed only for requests that are new.
async fn write(examined: Vec<Examined>, ports: &Ports, config: &Config) -> anyhow::Result<()> {
    let requests: Vec<Quarantined> = examined.iter().map(|one| one.request.clone()).collect();
    let known = ports.store.note_quarantined(&requests).await?;
    let mut held = Vec::new();
    for Examined { request, body, .. } in examined.into_iter().filter(|one| !known.contains(&one.request.fingerprint)) {
        let body = match body {
            None => None,
            Some(body) => {
                let day = request.first_seen.to_zoned(TimeZone::UTC).date();
                Some(ports.payloads.seal(body, Hint { day, of: Of::Quarantined(request.id.0) }).await?)
            }
        };
        held.push(Held { request, body });
    }
    if held.is_empty() {
        return Ok(());
    }
    ports.store.quarantine(&held, config.quarantine_max as u64).await?;
    Ok(())
}

/// Forgets what has been kept for long enough.
pub(crate) async fn forget(ports: &Ports, config: &Config) {
    let keep = SignedDuration::try_from(config.quarantine_keep).unwrap_or(SignedDuration::MAX);
    let before = ports.clock.now().checked_sub(keep).unwrap_or(Timestamp::MIN);
    match ports.store.forget_quarantined(before).await {
        Ok(0) => {}
        Ok(requests) => info!(requests, "forgot requests whose signature had failed"),
        Err(error) => warn!(%error, "could not forget requests whose signature had failed; tried again later"),
    }
}

/// Every part and shape there is, so that counters begin at zero.
pub(crate) fn series() -> impl Iterator<Item = (&'static str, &'static str)> {
    Part::ALL.into_iter().flat_map(|part| ["terra", "other"].map(|shape| (part.label(), shape)))
}
