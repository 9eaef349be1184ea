//! References → users, where a resolver has to be asked: a leased step of its own, never inside the transaction that
//! stores a delivery.

use std::time::Duration;

use adapters::resolver::Resolver;
use adapters::store::{OpenReference, ReferenceAnswer};
use futures_util::future::join_all;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::wiring::Ports;

const AT_ONCE: u32 = 8;
const LEASE: SignedDuration = SignedDuration::from_secs(60);
const POLL: Duration = Duration::from_millis(500);
/// "Unknown" is believed for this long; an app often creates its user a moment after the connect.
const UNKNOWN_FIRST: i64 = 5;
const UNKNOWN_MAX: i64 = 60;
const OUTAGE_PAUSE: SignedDuration = SignedDuration::from_secs(5);

pub(crate) async fn run(ports: Ports, resolver: std::sync::Arc<Resolver>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let now = ports.clock.now();
        let open = match ports.store.lease_references(now, now + LEASE, AT_ONCE).await {
            Ok(open) => open,
            Err(error) => {
                warn!(%error, "cannot look for open references");
                Vec::new()
            }
        };
        if open.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        join_all(open.iter().map(|reference| answer(&ports, &resolver, reference))).await;
        ports.events_waiting.notify_waiters();
    }
}

async fn answer(ports: &Ports, resolver: &Resolver, open: &OpenReference) {
    let asked = resolver.resolve(&open.reference).await;
    let now = ports.clock.now();
    let answer = match asked {
        Ok(Some(user)) => ReferenceAnswer::Found(user),
        Ok(None) => {
            let seconds = (UNKNOWN_FIRST << open.attempts.min(6)).min(UNKNOWN_MAX);
            ReferenceAnswer::Unknown { again_at: now + SignedDuration::from_secs(seconds) }
        }
        Err(error) => {
            warn!(%error, "the resolver is away; an outage is not \"unknown\"");
            ReferenceAnswer::Unavailable { again_at: now + OUTAGE_PAUSE }
        }
    };
    if let Err(error) = ports.store.resolve(open, &answer, now).await {
        warn!(%error, "could not keep a resolver's answer; it is asked again");
    }
}
