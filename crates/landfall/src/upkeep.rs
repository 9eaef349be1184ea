//! What has to be done now and then, by one process: partitions, retention, Terra's list of integrations.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use adapters::queue::Depth;
use adapters::store::Holder;
use domain::plan::Capabilities;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::Config;
use crate::quarantine;
use crate::wiring::Ports;

const EVERY: Duration = Duration::from_secs(600);
const LEASE: SignedDuration = SignedDuration::from_secs(600);
/// Listing more takes longer than it tells.
const PAYLOADS_COUNTED_MAX: usize = 100_000;
/// A body goes so much later than its row may have, if there is none …
const BODIES_LONGER: SignedDuration = SignedDuration::from_hours(48);
/// … and not while something waits in the queue for so long that it might be its.
const BODY_WAITS_MAX: Duration = Duration::from_secs(86_400);
const INTEGRATIONS_EVERY: Duration = Duration::from_secs(3_600);
const INTEGRATIONS_AGAIN: Duration = Duration::from_secs(60);

pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let lease = Holder { name: "upkeep", holder: Uuid::now_v7() };
    loop {
        let now = ports.clock.now();
        match ports.store.hold(lease, now, now + LEASE).await {
            Ok(true) => clean(&ports, &config).await,
            Ok(false) => {}
            Err(error) => warn!(%error, "cannot do the upkeep now"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    // The next process need not wait for it to run out.
    if let Err(error) = ports.store.let_go(lease).await {
        warn!(%error, "could not give the upkeep to others");
    }
}

async fn clean(ports: &Ports, config: &Config) {
    quarantine::forget(ports, config).await;
    if let Err(error) = ports.store.upkeep(ports.clock.now(), config.retention_deliveries).await {
        warn!(%error, "the upkeep failed; it is tried again later");
    }
    forget_audits(ports, config).await;
    drop_bodies(ports, config).await;
    // From here on it is known what it holds: who asks for the gauges gets the running figure.
    if let Err(error) = ports.payloads.stored(PAYLOADS_COUNTED_MAX).await {
        warn!(%error, "could not count what the payload store holds");
    }
}

async fn forget_audits(ports: &Ports, config: &Config) {
    let keep = SignedDuration::try_from(config.retention_audit).unwrap_or(SignedDuration::MAX);
    let Ok(end) = ports.clock.now().checked_sub(keep) else { return };
    match ports.store.forget_audits(end).await {
        Ok(0) => {}
        Ok(entries) => info!(entries, "forgot entries of the audit that have had their time"),
        Err(error) => warn!(%error, "could not forget old entries of the audit; tried again later"),
    }
}

/// Removes what the payload store still has of the days whose deliveries have had their time: a body that the queue did
/// not take, or of a receiver that died between the two, is in no row that could let go of it.
async fn drop_bodies(ports: &Ports, config: &Config) {
    let keep = SignedDuration::try_from(config.retention_deliveries).unwrap_or(SignedDuration::MAX);
    let Ok(end) = ports.clock.now().checked_sub(keep.saturating_add(BODIES_LONGER)) else { return };
    // What waits in the queue has no row yet.
    let waits_as_long = |depth: &Depth| depth.jobs > 0 && depth.oldest.is_none_or(|oldest| oldest > BODY_WAITS_MAX);
    match ports.queue.depths().await {
        Ok(depths) if !depths.iter().any(waits_as_long) => {}
        Ok(_) => return,
        Err(error) => return warn!(%error, "cannot see how long deliveries wait"),
    }
    match ports.payloads.delete_deliveries_before(end.to_zoned(TimeZone::UTC).date()).await {
        Ok(0) => {}
        Ok(bodies) => info!(bodies, "removed bodies of deliveries that have had their time"),
        Err(error) => warn!(%error, "could not remove the bodies of deliveries that have had their time"),
    }
}

/// Learns from Terra which kinds each provider serves, so that nothing is asked for in vain.
pub(crate) async fn learn_capabilities(ports: Ports, stop: CancellationToken) {
    loop {
        let wait = match ports.terra.values().next() {
            None => return,
            Some(client) => match client.integrations().await {
                Ok(integrations) => {
                    let known = Capabilities::new(integrations.into_iter().map(|one| (one.provider, one.types)));
                    *ports.capabilities.write().unwrap_or_else(PoisonError::into_inner) = known;
                    INTEGRATIONS_EVERY
                }
                Err(error) => {
                    warn!(%error, "cannot read Terra's integrations; asking for every kind meanwhile");
                    INTEGRATIONS_AGAIN
                }
            },
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
