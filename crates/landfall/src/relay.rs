//! Outbox → events: one leased relay gives every committed event its position and publishes it.
//!
//! Numbering and publishing are two marks in the store. What is numbered and not marked as published is published
//! again after a crash, in order and under the same id; no position is ever given twice or left out.

use std::time::Duration;

use adapters::store::{Holder, StoreError};
use fail::fail_point;
use jiff::SignedDuration;
use metrics::counter;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::telemetry;
use crate::wiring::Ports;
use crate::worker::wait;

const BATCH: u32 = 256;
const LEASE: SignedDuration = SignedDuration::from_secs(15);
/// Another process may have written events: look this often even if nobody rings.
const POLL: Duration = Duration::from_millis(100);
/// While another process is the relay.
const STANDBY: Duration = Duration::from_secs(2);
const PAUSE_FIRST: Duration = Duration::from_millis(100);

pub(crate) async fn run(ports: Ports, stop: CancellationToken) {
    let lease = Holder { name: "relay", holder: Uuid::now_v7() };
    let mut pause = PAUSE_FIRST;
    while !stop.is_cancelled() {
        match turn(&ports, lease).await {
            Ok(Turn::Worked) => pause = PAUSE_FIRST,
            Ok(Turn::Idle) => idle(&ports, POLL, &stop).await,
            Ok(Turn::NotOurs) => idle(&ports, STANDBY, &stop).await,
            Err(problem) => {
                warn!(%problem, "events wait; trying again");
                wait(&mut pause, &stop).await;
            }
        }
    }
    if let Err(error) = ports.store.let_go(lease).await {
        debug!(%error, "could not give the relay's lease back; it runs out by itself");
    }
}

enum Turn {
    Worked,
    Idle,
    NotOurs,
}

async fn turn(ports: &Ports, lease: Holder<'_>) -> Result<Turn, String> {
    let now = ports.clock.now();
    let text = |error: StoreError| error.to_string();
    if !ports.store.hold(lease, now, now + LEASE).await.map_err(text)? {
        return Ok(Turn::NotOurs);
    }
    let numbered = ports.store.number_events(lease, BATCH).await.map_err(text)?;
    let events = ports.store.unpublished_events(BATCH).await.map_err(text)?;
    let Some(last) = events.last().map(|event| event.position) else {
        return Ok(if numbered > 0 { Turn::Worked } else { Turn::Idle });
    };
    ports.queue.publish_events(&events).await.map_err(|error| error.to_string())?;
    fail_point!("outbox_published_before_mark", |_| std::process::abort());
    ports.store.mark_published(lease, last).await.map_err(text)?;
    counter!(telemetry::EVENTS_PUBLISHED).increment(events.len() as u64);
    ports.events_numbered.notify_waiters();
    Ok(Turn::Worked)
}

async fn idle(ports: &Ports, at_most: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = ports.events_waiting.notified() => {}
        () = tokio::time::sleep(at_most) => {}
    }
}
