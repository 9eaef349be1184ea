//! Takes what the broker sends as soon as it comes, so that it is counted: one feeder for each lane.

use std::sync::Arc;
use std::time::Duration;

use domain::delivery::Lane;
use futures_util::StreamExt;
use lapin::Channel;
use lapin::message::Delivery;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::super::super::QueueError;
use super::super::connection::Live;
use super::super::{frames, unavailable};
use super::{Held, HeldJobs, subscribe};
use crate::clock::Clock;

/// Between two tries to subscribe to a queue that does not answer.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

pub(super) struct Subscription {
    pub(super) stream: lapin::Consumer,
    /// Closed when this is dropped.
    pub(super) channel: Channel,
}

/// A message in its lane, not decoded yet.
pub(super) struct Arrival {
    pub(super) lane: Lane,
    pub(super) delivery: Delivery,
    pub(super) held: HeldJobs,
}

/// What one lane needs to be consumed.
pub(super) struct Feeder {
    pub(super) live: Live,
    pub(super) prefix: String,
    pub(super) lane: Lane,
    pub(super) held: Arc<Held>,
    pub(super) sender: mpsc::Sender<Result<Arrival, QueueError>>,
    pub(super) end: CancellationToken,
}

/// Runs until the consumer is dropped, or until the subscription ends: then the other lanes are of no use either.
pub(super) async fn feed(feeder: Feeder, opened: Option<Subscription>) {
    let subscription = match opened {
        Some(subscription) => Ok(Some(subscription)),
        None => insist(&feeder).await,
    };
    let error = match subscription {
        Ok(Some(subscription)) => tokio::select! {
            () = feeder.end.cancelled() => return,
            error = pump(&feeder, subscription) => error,
        },
        Ok(None) => return,
        Err(error) => error,
    };
    // Whoever no longer leases need not know.
    feeder.sender.send(Err(error)).await.ok();
}

/// RabbitMQ 3.10 may leave a queue without a leader after a crash, and then never answers who wants to consume it.
/// `None` if the consumer is dropped meanwhile; not in the middle of subscribing, which would leave a subscription behind.
async fn insist(feeder: &Feeder) -> Result<Option<Subscription>, QueueError> {
    let lane = feeder.lane.label();
    error!(lane, "the lane {lane} cannot be consumed (its queue has no leader, or is gone); the others are worked");
    loop {
        tokio::select! {
            () = feeder.end.cancelled() => return Ok(None),
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
        match subscribe(&feeder.live, &feeder.prefix, feeder.lane).await {
            Ok(Some(subscription)) => {
                info!(lane, "the lane {lane} is consumed again");
                return Ok(Some(subscription));
            }
            Ok(None) | Err(QueueError::Topology(_)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Hands on what comes; answers why nothing more does.
async fn pump(feeder: &Feeder, subscription: Subscription) -> QueueError {
    let Subscription { mut stream, channel: _open } = subscription;
    let clock = Clock::system();
    while let Some(next) = stream.next().await {
        let delivery = match next {
            Ok(delivery) => delivery,
            Err(error) => return unavailable(error),
        };
        let held = HeldJobs::new(&feeder.held, feeder.lane, frames::count(&delivery.data), clock.now());
        if feeder.sender.send(Ok(Arrival { lane: feeder.lane, delivery, held })).await.is_err() {
            break;
        }
    }
    QueueError::Unavailable("the broker ended the subscription".into())
}
