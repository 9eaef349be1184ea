//! Counts what payloads hold that Terra's schema does not have: a hint to look, never a reason to fail.
//!
//! A new member would be in every delivery of its kind, and so one hot row in every transaction; it is counted here
//! and written down every second. A crash loses a second of counting and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapters::store::DriftCount;
use domain::id::Environment;
use domain::plan::{Plan, Sighting};
use jiff::Timestamp;
use metrics::counter;
use terra::event::Kind;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::telemetry;
use crate::wiring::Ports;

const EVERY: Duration = Duration::from_secs(1);

/// Different sightings between two writings; more than Terra could bring about by a release.
const SIGHTINGS_MAX: usize = 2_000;

/// What was seen since it was last written down. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct DriftLog(Arc<Mutex<BTreeMap<(Environment, Sighting), Seen>>>);

#[derive(Clone, Copy)]
struct Seen {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl DriftLog {
    pub(crate) fn note(&self, plan: &Plan) {
        if plan.strange.is_empty() {
            return;
        }
        let (environment, at) = (plan.cause.environment(), plan.cause.time());
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sighting in &plan.strange {
            counter!(telemetry::DRIFT, "type" => Kind::parse(&sighting.kind).label()).increment(1);
            let key = (environment.clone(), sighting.clone());
            if log.len() >= SIGHTINGS_MAX && !log.contains_key(&key) {
                continue;
            }
            let seen = log.entry(key).or_insert(Seen { count: 0, first: at, last: at });
            *seen = Seen { count: seen.count + 1, first: seen.first.min(at), last: seen.last.max(at) };
        }
    }

    fn take(&self) -> Vec<DriftCount> {
        let log = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let count = |((environment, sighting), Seen { count, first, last })| DriftCount {
            environment,
            sighting,
            seen: count,
            first_seen: first,
            last_seen: last,
        };
        log.into_iter().map(count).collect()
    }
}

pub(crate) async fn run(ports: Ports, stop: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
        let counts = ports.drift.take();
        if counts.is_empty() {
            continue;
        }
        if let Err(error) = ports.store.count_drift(&counts).await {
            warn!(%error, "could not write down what is new in Terra's payloads");
        }
    }
}
