//! The dead queue: what the broker has set aside because it came back too often.
//!
//! Its messages are taken one by one, and not consumed: what is no delivery of ours (another version's, another
//! program's) stays there for a person to look at.

use std::sync::Arc;

use domain::delivery::Lane;
use futures_util::future::try_join_all;
use lapin::Channel;
use lapin::options::{BasicGetOptions, BasicNackOptions};
use tokio_util::task::TaskTracker;

use super::super::{QueueError, SetAside};
use super::connection::{Live, forget};
use super::consumer::{Held, HeldJobs, Message, receipt};
use super::topology::{dead_queue, short};
use super::{ASK_DEADLINE, frames, unavailable, within};
use crate::clock::Clock;

/// Foreign messages that are looked past in one round.
const FOREIGN_MAX: usize = 1_000;

/// Takes messages for at most `max` jobs, a message whole.
pub(super) async fn lease(
    live: &Live,
    prefix: &str,
    held: &Arc<Held>,
    tasks: &TaskTracker,
    max: usize,
) -> Result<SetAside, QueueError> {
    let opening = async { live.connection.create_channel().await.map_err(unavailable) };
    let channel = within(ASK_DEADLINE, "open a channel", opening).await?;
    let taking = take(&channel, prefix, held, max);
    match within(ASK_DEADLINE, "look into the dead queue", taking).await {
        Ok((messages, foreign)) => {
            let lease = (!messages.is_empty()).then(|| receipt::lease(messages, Some(channel), tasks));
            Ok(SetAside { lease, foreign })
        }
        Err(failed) => {
            forget(&channel).await;
            Err(failed)
        }
    }
}

/// What was taken, and how many foreign messages were put back.
async fn take(
    channel: &Channel,
    prefix: &str,
    held: &Arc<Held>,
    max: usize,
) -> Result<(Vec<Message>, u64), QueueError> {
    let queue = dead_queue(prefix);
    let now = Clock::system().now();
    let (mut messages, mut jobs, mut foreign) = (Vec::new(), 0, Vec::new());
    while jobs < max && foreign.len() < FOREIGN_MAX {
        let got = channel.basic_get(short(&queue), BasicGetOptions::default()).await.map_err(unavailable)?;
        let Some(got) = got else { break };
        let delivery = got.delivery;
        match frames::read(&delivery.properties, delivery.data) {
            Ok(of_message) => {
                jobs += of_message.len();
                let lane = of_message.first().map_or(Lane::Live, |job| job.delivery.lane());
                let held = HeldJobs::new(held, lane, of_message.len(), now);
                messages.push(Message { jobs: of_message, was_held: true, acker: delivery.acker, held });
            }
            Err(_) => foreign.push(delivery.acker),
        }
    }
    let back = BasicNackOptions { requeue: true, ..Default::default() };
    try_join_all(foreign.iter().map(|acker| acker.nack(back))).await.map_err(unavailable)?;
    Ok((messages, foreign.len() as u64))
}
