//! Deliveries that are due again: those that failed, and those whose worker died.
//!
//! A worker that dies takes what it held with it, whichever of it was the cause. So what was held before is written
//! into the ledger, counted before it is tried, and tried alone once a worker died in the middle of a try: a delivery
//! that kills whoever works it ends as a dead letter, and nothing beside it does.
//!
//! A lease that ran out while the store was away says nothing of its holder, who could not renew it. So after an outage
//! nobody is taken for dead until all who live have had their time to say so.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use adapters::store::{Retry, RetryOf};
use domain::id::DeliveryId;
use domain::settle::{CRASHES_MAX, Failure};
use jiff::SignedDuration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::config::Config;
use crate::wiring::Ports;
use crate::worker;

/// Why what a former holder may have died of waits in the ledger.
pub(crate) const HELD_BEFORE: &str = "held_before";

const PER_ROUND: u32 = 64;
/// For so long a round works suspects, one after the other. Each end of a worker makes suspects of all that it tried
/// together: with one in a round they would become more and more where workers end again and again.
const SUSPECTS_FOR: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_secs(1);

/// How long a try is hidden from other workers, and how long it takes to notice that its worker died. If the worker
/// is only slow, the delivery is worked twice and takes effect once.
const LEASE: SignedDuration = SignedDuration::from_secs(15);

/// Renewals of a lease before it would run out.
const RENEWALS: u32 = 3;

/// An outage that is shorter leaves every lease a renewal that comes in time.
const NOTICED: Duration = Duration::from_secs(5);

/// For how long a renewal may still hang that was begun before the store was back.
const HANGS_MAX: Duration = Duration::from_secs(20);

/// How long the store was away, as far as we noticed.
#[derive(Default)]
pub(crate) struct Absence {
    /// The beginning of the first of our questions that it has not answered.
    since: Option<Instant>,
    over: Option<Instant>,
}

impl Absence {
    /// Of a question that was put at `begun` and has come back now.
    fn note(&mut self, is_answered: bool, begun: Instant, now: Instant) {
        let since = *self.since.get_or_insert(begun);
        if is_answered {
            self.since = None;
            if now.duration_since(since) >= NOTICED {
                self.over = Some(now);
            }
        }
    }

    /// Whether everybody who lives has had the time to renew a lease of such a length.
    fn is_long_over(&self, hidden: SignedDuration, now: Instant) -> bool {
        let enough = hidden.unsigned_abs() / RENEWALS + HANGS_MAX;
        self.since.is_none() && self.over.is_none_or(|over| now.duration_since(over) > enough)
    }
}

pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let mut absence = Absence::default();
    while !stop.is_cancelled() {
        let together = due(RetryOf::Work, LEASE, PER_ROUND, &ports, &mut absence).await;
        let mut is_idle = together.is_empty();
        let numbered = |Retry { job, attempts, .. }: Retry| (job, attempts);
        let ids = ids(&together);
        let jobs = together.into_iter().map(numbered).collect();
        hold_on(&ids, LEASE, &ports, &stop, &mut absence, worker::work_all(jobs, &ports, &config, &stop)).await;
        // Leased one by one and only now: it must not count as a try of this one if the others end us.
        let begun = Instant::now();
        while begun.elapsed() < SUSPECTS_FOR && !stop.is_cancelled() {
            let Some(alone) = suspect(RetryOf::Work, LEASE, &ports, &mut absence).await else { break };
            is_idle = false;
            let id = [alone.job.delivery.id];
            let work = async {
                if is_to_blame(&alone) {
                    let (job, attempts) = numbered(alone);
                    return worker::give_up(&job, attempts, &Failure::Crashed, &ports, &config, &stop).await;
                }
                worker::work_all(vec![numbered(alone)], &ports, &config, &stop).await;
            };
            hold_on(&id, LEASE, &ports, &stop, &mut absence, work).await;
        }
        if is_idle {
            tokio::select! {
                () = stop.cancelled() => return,
                () = ports.retries_waiting.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

pub(crate) fn ids(retries: &[Retry]) -> Vec<DeliveryId> {
    retries.iter().map(|retry| retry.job.delivery.id).collect()
}

/// Does the work, and keeps the deliveries leased meanwhile: waiting for a payload store that is away must not look like
/// the death of the worker, and no more must a stop: what it left undone is given back.
pub(crate) async fn hold_on(
    deliveries: &[DeliveryId],
    hidden: SignedDuration,
    ports: &Ports,
    stop: &CancellationToken,
    absence: &mut Absence,
    work: impl Future<Output = ()>,
) {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            () = &mut work => break,
            () = tokio::time::sleep(hidden.unsigned_abs() / RENEWALS) => {}
        }
        let begun = Instant::now();
        let renewed = ports.store.renew_retries(deliveries, ports.clock.now() + hidden).await;
        absence.note(renewed.is_ok(), begun, Instant::now());
        if let Err(error) = renewed {
            warn!(%error, "cannot renew the lease of deliveries in work");
        }
    }
    if stop.is_cancelled()
        && let Err(error) = ports.store.release_retries(deliveries, ports.clock.now()).await
    {
        warn!(%error, "cannot give back what was left undone; others take it when its lease ends");
    }
}

/// Takes deliveries that may be tried together.
pub(crate) async fn due(
    of: RetryOf,
    hidden: SignedDuration,
    limit: u32,
    ports: &Ports,
    absence: &mut Absence,
) -> Vec<Retry> {
    let (now, begun) = (ports.clock.now(), Instant::now());
    let found = ports.store.lease_retries(of, now, now + hidden, limit).await;
    absence.note(found.is_ok(), begun, Instant::now());
    found.unwrap_or_else(|error| {
        warn!(%error, "cannot look for deliveries that are due again");
        Vec::new()
    })
}

/// Takes one that has to be alone.
pub(crate) async fn suspect(
    of: RetryOf,
    hidden: SignedDuration,
    ports: &Ports,
    absence: &mut Absence,
) -> Option<Retry> {
    if !absence.is_long_over(hidden, Instant::now()) {
        return None;
    }
    let (now, begun) = (ports.clock.now(), Instant::now());
    let found = ports.store.lease_suspect(of, now, now + hidden).await;
    absence.note(found.is_ok(), begun, Instant::now());
    found.unwrap_or_else(|error| {
        warn!(%error, "cannot look for deliveries whose worker died");
        None
    })
}

/// Whether it ended too many workers to be tried once more.
pub(crate) fn is_to_blame(retry: &Retry) -> bool {
    let (id, deaths) = (retry.job.delivery.id, retry.crashes);
    if deaths >= CRASHES_MAX {
        error!(delivery.id = %id, "delivery {id} ended its worker {deaths} times");
    }
    deaths >= CRASHES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_taken_for_dead_until_all_who_live_could_renew_their_leases() {
        let mut absence = Absence::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(absence.is_long_over(LEASE, begin), "a process that begins knows of no outage");
        absence.note(false, at(0), at(1));
        assert!(!absence.is_long_over(LEASE, at(1)));
        absence.note(true, at(4), at(4));
        assert!(absence.is_long_over(LEASE, at(4)), "no lease ran out");

        absence.note(false, at(10), at(12));
        absence.note(true, at(26), at(26));
        for (second, is_over) in [(26, false), (51, false), (52, true)] {
            absence.note(true, at(second), at(second));
            assert_eq!(absence.is_long_over(LEASE, at(second)), is_over, "{second}");
        }
        // Silent, and then it answers after all.
        absence.note(true, at(60), at(76));
        assert!(!absence.is_long_over(LEASE, at(76)));
    }
}
