//! Every few minutes one process looks who has fallen silent: reads, judges, keeps the verdicts with their events.

use std::sync::Arc;

use adapters::store::{Holder, StoreError};
use domain::silence::judge;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::Config;
use crate::wiring::Ports;

/// Longer than a look takes, shorter than two of them are apart.
const LEASE: SignedDuration = SignedDuration::from_secs(120);

pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    if config.silence_every.is_zero() {
        return;
    }
    let lease = Holder { name: "silence", holder: Uuid::now_v7() };
    loop {
        let now = ports.clock.now();
        if let Err(error) = look(&ports, lease, now).await {
            warn!(%error, "cannot look who is silent now");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(config.silence_every) => {}
        }
    }
    if let Err(error) = ports.store.let_go(lease).await {
        warn!(%error, "could not give the lease of the look for silence back; it runs out by itself");
    }
}

async fn look(ports: &Ports, lease: Holder<'_>, now: Timestamp) -> Result<(), StoreError> {
    if !ports.store.hold(lease, now, now + LEASE).await? {
        return Ok(());
    }
    let judgement = judge(&ports.store.silence_seen(now).await?, now);
    let told = judgement.events.len();
    if ports.store.keep_silence(lease, &judgement, now).await? && told > 0 {
        ports.events_waiting.notify_waiters();
        info!(stale = judgement.stale.len(), ended = judgement.ended.len(), "who is silent has changed: {told} events");
    }
    Ok(())
}
