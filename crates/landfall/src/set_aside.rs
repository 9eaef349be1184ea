//! What the broker has set aside comes back into the ledger, where it is counted, tried alone, and in the end a dead
//! letter that an operator sees: nothing accepted ends in a queue that nobody reads.

use std::time::Duration;

use adapters::queue::QueueError;
use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::telemetry;
use crate::wiring::Ports;

const LOOK_EVERY: Duration = Duration::from_secs(30);
const PER_ROUND: usize = 256;

/// Why such a delivery waits in the ledger.
const DELIVERY_LIMIT: &str = "delivery_limit";

pub(crate) async fn run(ports: Ports, stop: CancellationToken) {
    let mut foreign_before = 0;
    loop {
        match collect(&ports).await {
            Ok(foreign) => {
                gauge!(telemetry::QUEUE_FOREIGN).set(foreign as f64);
                if foreign > foreign_before {
                    error!(
                        "{foreign} messages in the dead queue are no deliveries of ours: look at them, then delete them"
                    );
                }
                foreign_before = foreign;
            }
            Err(error) => warn!(%error, "cannot look into the dead queue; trying again later"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Takes all there is; answers how many foreign messages stay.
async fn collect(ports: &Ports) -> Result<u64, QueueError> {
    loop {
        let found = ports.queue.lease_set_aside(PER_ROUND).await?;
        let Some(lease) = found.lease else { return Ok(found.foreign) };
        let now = ports.clock.now();
        if let Err(error) = ports.store.hand_over(&lease.jobs, DELIVERY_LIMIT, now).await {
            warn!(%error, "cannot take over what the broker has set aside; it stays there");
            return Ok(found.foreign);
        }
        info!(deliveries = lease.jobs.len(), "took over what the broker had set aside");
        lease.ack().await?;
        ports.retries_waiting.notify_waiters();
    }
}
