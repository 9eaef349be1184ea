//! Our clock beside others': a wrong one makes deliveries look stale or early, so it is said long before it harms.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adapters::clock::Clock;
use adapters::terra_client::TerraClient;
use domain::doctor::State;
use domain::doctor::host;
use jiff::{SignedDuration, Timestamp};
use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::Config;
use crate::telemetry;
use crate::wiring::Ports;

const LOOK_EVERY: Duration = Duration::from_secs(20);

const OF_DATABASE: &str = "database";
const OF_TERRA: &str = "terra";

/// Compares until stopped. Where there is a database its clock is the one that counts: all processes share it. Terra is
/// asked where there is none.
pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let mut wrong = BTreeSet::new();
    loop {
        if let Some((other, ahead)) = look(&ports).await {
            gauge!(telemetry::CLOCK_AHEAD, "of" => other).set(ahead.as_secs_f64());
            let finding = host::clock(other, ahead, config.signature_tolerance);
            if finding.state == State::Good {
                if wrong.remove(other) {
                    info!("our clock is right again: {}", finding.text);
                }
            } else if wrong.insert(other) {
                error!("our clock is wrong: {}; {}", finding.text, finding.fix.unwrap_or_default());
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Whose clock was read, and how far ours is ahead of it. An answer that does not come says nothing about clocks.
async fn look(ports: &Ports) -> Option<(&'static str, SignedDuration)> {
    let before = ports.clock.now();
    match ports.store.clock().await {
        Ok(Some(theirs)) => Some((OF_DATABASE, ahead(before, theirs, ports.clock.now()))),
        Ok(None) => Some((OF_TERRA, of_terra(ports.terra.values().next()?, &ports.clock).await?)),
        Err(_) => None,
    }
}

/// How far a clock is ahead of Terra's, as far as Terra tells.
pub(crate) async fn of_terra(client: &TerraClient, clock: &Clock) -> Option<SignedDuration> {
    let before = clock.now();
    let theirs = client.clock().await.ok()??;
    Some(ahead(before, theirs, clock.now()))
}

/// How far our clock is ahead of one that was read in between.
pub(crate) fn ahead(before: Timestamp, theirs: Timestamp, after: Timestamp) -> SignedDuration {
    let half = after.duration_since(before) / 2;
    before.checked_add(half).unwrap_or(after).duration_since(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_question_is_when_the_other_clock_was_read() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        assert_eq!(ahead(at(10), at(10), at(14)).as_secs(), 2);
        assert_eq!(ahead(at(10), at(60), at(10)).as_secs(), -50);
    }
}
