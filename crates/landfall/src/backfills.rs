//! The account of backfills: looked at when something of them came, and when too long nothing did.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;
use crate::telemetry;
use crate::wiring::Ports;

const EVERY: Duration = Duration::from_secs(1);
const AT_ONCE: u32 = 100;

/// Any number may run: each backfill that is due is claimed by one of them.
pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    loop {
        let round = ports.store.settle_backfills(ports.clock.now(), config.backfill_stall, AT_ONCE).await;
        let more = match round {
            Ok(round) => {
                counter!(telemetry::BACKFILLS_SETTLED, "outcome" => "completed").increment(round.completed.into());
                counter!(telemetry::BACKFILLS_SETTLED, "outcome" => "incomplete").increment(round.incomplete.into());
                counter!(telemetry::BACKFILLS_ASKED_AGAIN).increment(round.asked_again.into());
                if round.asked_again > 0 {
                    info!(requests = round.asked_again, "asked again for what backfills are missing");
                }
                if round.completed + round.incomplete > 0 {
                    ports.events_waiting.notify_one();
                }
                round.looked == AT_ONCE
            }
            Err(error) => {
                warn!(%error, "cannot look at backfills");
                false
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(if more { Duration::ZERO } else { EVERY }) => {}
        }
    }
}
