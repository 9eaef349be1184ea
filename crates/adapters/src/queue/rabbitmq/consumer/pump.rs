//! Takes what the broker sends as soon as it comes, so that it is counted.

use std::sync::Arc;

use domain::delivery::Lane;
use futures_util::StreamExt;
use futures_util::stream::{self, select_all};
use lapin::Channel;
use lapin::message::Delivery;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::super::QueueError;
use super::super::{frames, unavailable};
use super::{Held, HeldJobs};
use crate::clock::Clock;

pub(super) struct Subscription {
    pub(super) lane: Lane,
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

/// Runs until the consumer is dropped, or until one subscription ends: then the others are of no use either.
pub(super) async fn pump(
    subscriptions: Vec<Subscription>,
    held: Arc<Held>,
    sender: mpsc::Sender<Result<Arrival, QueueError>>,
    end: CancellationToken,
) {
    let clock = Clock::system();
    let mut channels = Vec::new();
    let mut streams = Vec::new();
    for subscription in subscriptions {
        let lane = subscription.lane;
        let deliveries = subscription.stream.map(Some);
        let with_end = deliveries.chain(stream::iter([None]));
        streams.push(with_end.map(move |next| (lane, next)).boxed());
        channels.push(subscription.channel);
    }
    let mut arrivals = select_all(streams);
    loop {
        let next = tokio::select! {
            () = end.cancelled() => return,
            next = arrivals.next() => next,
        };
        let arrival = match next {
            Some((lane, Some(Ok(delivery)))) => {
                let held = HeldJobs::new(&held, lane, frames::count(&delivery.data), clock.now());
                Ok(Arrival { lane, delivery, held })
            }
            Some((_, Some(Err(error)))) => Err(unavailable(error)),
            Some((_, None)) | None => Err(QueueError::Unavailable("the broker ended the subscription".into())),
        };
        let is_over = arrival.is_err();
        if sender.send(arrival).await.is_err() || is_over {
            return;
        }
    }
}
