//! A consumer over all lanes: one channel and one subscription per lane.

mod pump;
pub(super) mod receipt;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::Lane;
use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use lapin::Acker;
use lapin::options::{BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::error;
use uuid::Uuid;

use super::super::{Consumer, Job, Lease, QueueError};
use super::connection::{Live, forget};
use super::topology::{lane_queue, refusal, short};
use super::{ASK_DEADLINE, frames, unavailable, within};
use pump::{Arrival, Feeder, Subscription, feed};

/// How long one lane's queue may take to let us in.
const SUBSCRIBE_DEADLINE: Duration = Duration::from_secs(3);

/// Jobs of this process that the broker counts as delivered, per lane: prefetched or leased.
#[derive(Default)]
pub(super) struct Held {
    jobs: [AtomicU64; Lane::ALL.len()],
    /// Since when each message has been waiting, under a number of its own.
    since: Mutex<BTreeMap<(Lane, u64), Timestamp>>,
    messages: AtomicU64,
}

impl Held {
    pub(super) fn count(&self, lane: Lane) -> u64 {
        self.jobs[lane as usize].load(Ordering::Relaxed)
    }

    /// When the oldest job was received. A queue is first in, first out: what waits at the broker is younger.
    pub(super) fn oldest(&self, lane: Lane) -> Option<Timestamp> {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.range((lane, 0)..=(lane, u64::MAX)).map(|(_, at)| *at).min()
    }
}

/// Counts jobs as held until it is dropped.
pub(super) struct HeldJobs {
    held: Arc<Held>,
    lane: Lane,
    jobs: u64,
    message: u64,
}

impl HeldJobs {
    pub(super) fn new(held: &Arc<Held>, lane: Lane, jobs: usize, now: Timestamp) -> Self {
        let jobs = jobs as u64;
        let message = held.messages.fetch_add(1, Ordering::Relaxed);
        held.jobs[lane as usize].fetch_add(jobs, Ordering::Relaxed);
        held.since.lock().unwrap_or_else(PoisonError::into_inner).insert((lane, message), now);
        HeldJobs { held: held.clone(), lane, jobs, message }
    }

    /// Known once the message is decoded; until then it waits since it came here.
    fn received(&self, at: Timestamp) {
        self.held.since.lock().unwrap_or_else(PoisonError::into_inner).insert((self.lane, self.message), at);
    }
}

impl Drop for HeldJobs {
    fn drop(&mut self) {
        self.held.jobs[self.lane as usize].fetch_sub(self.jobs, Ordering::Relaxed);
        self.held.since.lock().unwrap_or_else(PoisonError::into_inner).remove(&(self.lane, self.message));
    }
}

/// One message: acknowledged as a whole.
pub(super) struct Message {
    pub(super) jobs: Vec<Job>,
    /// The broker gave it to somebody before.
    pub(super) was_held: bool,
    pub(super) acker: Acker,
    pub(super) held: HeldJobs,
}

struct LaneBuffer {
    lane: Lane,
    messages: VecDeque<Message>,
}

pub(super) struct RabbitConsumer {
    inbox: mpsc::Receiver<Result<Arrival, QueueError>>,
    lanes: Vec<LaneBuffer>,
    tasks: TaskTracker,
    /// Ends the pump and with it the channels: the broker gives everything unacknowledged to others.
    _end: DropGuard,
}

/// Subscribes to every lane. One whose queue does not answer (it has no leader) or is not there is tried again in the
/// background: the others must not wait for it. If that is so of all of them, there is nothing to wait for.
pub(super) async fn open(
    live: &Live,
    prefix: &str,
    held: &Arc<Held>,
    tasks: &TaskTracker,
) -> Result<RabbitConsumer, QueueError> {
    // Never full: the broker sends no more than this.
    let room: usize = Lane::ALL.into_iter().map(prefetch).map(usize::from).sum();
    let (sender, inbox) = mpsc::channel(room + Lane::ALL.len());
    let end = CancellationToken::new();
    // From here on: whatever fails below takes the lanes with it that were opened before.
    let guard = end.clone().drop_guard();
    let opening = Lane::ALL.map(|lane| subscribe(live, prefix, lane));
    let opened = join_all(opening).await;
    let is_any_there = opened.iter().any(Result::is_ok);
    for (lane, opened) in Lane::ALL.into_iter().zip(opened) {
        let opened = match opened {
            Err(QueueError::Topology(reason)) if is_any_there => {
                error!(
                    lane = lane.label(),
                    reason, "a lane's queue is not as it must be; run `landfall topology diff`"
                );
                None
            }
            opened => opened?,
        };
        let feeder = Feeder {
            live: live.clone(),
            prefix: prefix.to_owned(),
            lane,
            held: held.clone(),
            sender: sender.clone(),
            end: end.clone(),
        };
        tasks.spawn(feed(feeder, opened));
    }
    let buffer = |lane| LaneBuffer { lane, messages: VecDeque::new() };
    Ok(RabbitConsumer { inbox, lanes: Lane::ALL.map(buffer).into(), tasks: tasks.clone(), _end: guard })
}

/// `None` if the queue does not answer in time.
async fn subscribe(live: &Live, prefix: &str, lane: Lane) -> Result<Option<Subscription>, QueueError> {
    let Ok(channel) = timeout(SUBSCRIBE_DEADLINE, live.connection.create_channel()).await else { return Ok(None) };
    let channel = channel.map_err(unavailable)?;
    let subscribing = async {
        channel.basic_qos(prefetch(lane), BasicQosOptions::default()).await.map_err(unavailable)?;
        // A new name each time: 3.12 lost deliveries when one was used again.
        let tag = format!("landfall-{}-{}", lane.label(), Uuid::now_v7());
        let queue = short(&lane_queue(prefix, lane));
        let options = BasicConsumeOptions::default();
        let opening = channel.basic_consume(queue, short(&tag), options, FieldTable::default());
        opening.await.map_err(|error| match refusal(&error) {
            Some((_, text)) => QueueError::Topology(text),
            None => unavailable(error),
        })
    };
    match timeout(SUBSCRIBE_DEADLINE, subscribing).await {
        Ok(stream) => Ok(Some(Subscription { stream: stream?, channel })),
        Err(_) => {
            forget(&channel).await;
            Ok(None)
        }
    }
}

/// Messages on their way to one consumer. Each may hold several jobs, so less than a lane's weight is enough, and
/// lapin keeps what arrives without a limit of its own.
fn prefetch(lane: Lane) -> u16 {
    u16::try_from(lane.weight() / 2).unwrap_or(u16::MAX).max(1)
}

#[async_trait]
impl Consumer for RabbitConsumer {
    /// The jobs of a message stay together: a message that alone holds more than `max` is leased whole.
    async fn lease(&mut self, max: usize) -> Result<Lease, QueueError> {
        loop {
            // All that came meanwhile: an urgent job does not wait for the next lease.
            let mut foreign = Vec::new();
            while let Ok(arrival) = self.inbox.try_recv() {
                foreign.extend(self.take_in(arrival?));
            }
            reject(&foreign).await?;
            if self.lanes.iter().any(|lane| !lane.messages.is_empty()) {
                let messages = choose(&mut self.lanes, max.max(1));
                return Ok(receipt::lease(messages, None, &self.tasks));
            }
            let ended = || QueueError::Unavailable("the subscription ended".into());
            let arrival = self.inbox.recv().await.ok_or_else(ended)??;
            let foreign: Vec<Acker> = self.take_in(arrival).into_iter().collect();
            reject(&foreign).await?;
        }
    }
}

impl RabbitConsumer {
    /// Decodes a message. One that is not ours is handed back, to be rejected.
    fn take_in(&mut self, arrival: Arrival) -> Option<Acker> {
        let Arrival { lane, delivery, held } = arrival;
        let size = delivery.data.len();
        match frames::read(&delivery.properties, delivery.data) {
            Ok(jobs) => {
                if let Some(received_at) = jobs.iter().map(|job| job.delivery.received_at).min() {
                    held.received(received_at);
                }
                let message = Message { jobs, was_held: delivery.redelivered, acker: delivery.acker, held };
                let buffer = self.lanes.iter_mut().find(|buffer| buffer.lane == lane);
                buffer.expect("invariant: there is a buffer for every lane").messages.push_back(message);
                None
            }
            Err(reason) => {
                error!(
                    lane = lane.label(),
                    size_bytes = size,
                    "set a message aside that is no delivery of ours: {reason}"
                );
                Some(delivery.acker)
            }
        }
    }
}

/// To the dead queue, for a person to look at.
async fn reject(foreign: &[Acker]) -> Result<(), QueueError> {
    if foreign.is_empty() {
        return Ok(());
    }
    let options = BasicNackOptions { requeue: false, ..Default::default() };
    let rejecting = try_join_all(foreign.iter().map(|acker| acker.nack(options)));
    within(ASK_DEADLINE, "reject a message", async { rejecting.await.map(drop).map_err(unavailable) }).await
}

/// Takes messages for at most `max` jobs: every lane its share first, then whatever is there. Each time another lane
/// goes first, so that none whose messages are large finds the lease too full for ever.
fn choose(lanes: &mut [LaneBuffer], max: usize) -> Vec<Message> {
    let weights: usize = Lane::ALL.into_iter().map(Lane::weight).sum();
    lanes.rotate_left(1);
    let mut chosen = Vec::new();
    let mut left = max;
    for share_only in [true, false] {
        for buffer in &mut *lanes {
            let share = (max * buffer.lane.weight() / weights).max(1);
            let mut allowed = if share_only { share.min(left) } else { left };
            while let Some(message) = buffer.messages.front() {
                let jobs = message.jobs.len();
                if allowed == 0 || (jobs > left && !chosen.is_empty()) {
                    break;
                }
                chosen.extend(buffer.messages.pop_front());
                allowed = allowed.saturating_sub(jobs);
                left = left.saturating_sub(jobs);
            }
        }
    }
    chosen
}
