//! The queue on RabbitMQ 3.10 or later.
//!
//! - One connection publishes, another consumes: a broker in need blocks those who publish.
//! - Publisher tasks own the channels, **one publish in flight on each**: lapin attaches a returned message to the
//!   wrong confirm when there are more, and an unroutable job would count as stored.
//! - lapin's own recovery stays off; [`connection`] reconnects.
//! - Nothing waits for ever, and whatever is not a plain confirm counts as "maybe stored".

mod connection;
mod consumer;
mod events;
mod frames;
pub mod management;
mod publisher;
mod set_aside;
mod settings;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::delivery::Lane;
use domain::outgoing::Published;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Consumer, Depth, Job, PublishError, Queue, QueueError, SetAside};
use crate::clock::Clock;
use connection::Link;
use consumer::Held;
use events::EventPublisher;
use publisher::Publisher;
pub use settings::{BadSettings, RabbitSettings};
pub use topology::{Difference, Problem, TopologyObject, apply_topology, describe_topology, topology_differences};

/// Log targets of lapin's that print whole messages: health data. The binary turns them off and keeps `lapin` at info
/// at most.
pub const SILENCED_LOG_TARGETS: [&str; 1] = ["lapin::returned_messages"];

/// For the questions of operators and probes.
const ASK_DEADLINE: Duration = Duration::from_secs(3);

/// How long a worker that opens a consumer waits for the connection.
const CONSUME_DEADLINE: Duration = Duration::from_secs(5);

pub struct RabbitQueue {
    settings: RabbitSettings,
    publishing: Link,
    consuming: Link,
    publisher: Publisher,
    events: EventPublisher,
    held: Arc<Held>,
    tasks: TaskTracker,
    /// Ends the publisher tasks and the connections.
    end: CancellationToken,
    supervisors: Mutex<Vec<JoinHandle<()>>>,
}

impl RabbitQueue {
    /// Starts to connect and returns at once; a broker that is away is tried for again until `stop`. Call it on the
    /// multi-threaded runtime: lapin runs its reads and writes there.
    ///
    /// `stop` ends everything at once. The orderly way is [`Queue::close`], before it.
    pub fn start(settings: RabbitSettings, tasks: TaskTracker, stop: CancellationToken) -> Arc<RabbitQueue> {
        let end = stop.child_token();
        let (publishing, publishing_task) = Link::open(&settings, "publish", &tasks, &end);
        let (consuming, consuming_task) = Link::open(&settings, "consume", &tasks, &end);
        Arc::new(RabbitQueue {
            publisher: Publisher::start(&settings, &publishing, &tasks, &end),
            events: EventPublisher::new(&settings, publishing.clone()),
            publishing,
            consuming,
            held: Arc::default(),
            tasks,
            end,
            supervisors: Mutex::new(vec![publishing_task, consuming_task]),
            settings,
        })
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    fn is_open(&self) -> Result<(), PublishError> {
        self.publisher.is_open()
    }

    async fn publish(&self, job: Job) -> Result<(), PublishError> {
        self.publisher.publish(job).await
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError> {
        let live = self.consuming.wait(CONSUME_DEADLINE).await?;
        let opening = consumer::open(&live, &self.settings.prefix, &self.held, &self.tasks);
        let consumer = within(CONSUME_DEADLINE, "open a consumer", opening).await?;
        Ok(Box::new(consumer))
    }

    async fn lease_set_aside(&self, max: usize) -> Result<SetAside, QueueError> {
        let live = self.consuming.wait(ASK_DEADLINE).await?;
        set_aside::lease(&live, &self.settings.prefix, &self.held, &self.tasks, max).await
    }

    async fn publish_events(&self, events: &[Published]) -> Result<(), PublishError> {
        self.events.publish(events).await
    }

    /// RabbitMQ counts messages, and one message holds the deliveries that came together under load: a lane's depth is
    /// the messages that wait plus the jobs this process holds, so a lower bound. Jobs held by other processes are in
    /// their numbers. Oldest is what this process holds: where nobody consumes, no age is known.
    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let live = self.consuming.wait(ASK_DEADLINE).await?;
        let counting = topology::waiting(&live.connection, &self.settings.prefix);
        let waiting = within(ASK_DEADLINE, "count messages", counting).await?;
        let now = Clock::system().now();
        let age = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let depth = |(lane, messages): (Lane, u64)| Depth {
            lane,
            jobs: messages + self.held.count(lane),
            oldest: self.held.oldest(lane).map(age),
            bytes: None,
        };
        Ok(waiting.into_iter().map(depth).collect())
    }

    async fn ping(&self) -> Result<(), QueueError> {
        let live = self.publishing.live().map_err(|error| QueueError::Unavailable(error.to_string()))?;
        let checking = topology::missing(&live.connection, &self.settings);
        let missing = within(ASK_DEADLINE, "look for the topology", checking).await?;
        match missing.first() {
            None => Ok(()),
            Some(name) => Err(QueueError::Topology(format!("{name} is missing"))),
        }
    }

    async fn close(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.publisher.drain(deadline).await;
        self.end.cancel();
        for supervisor in self.supervisors.lock().await.drain(..) {
            if timeout_at(deadline, supervisor).await.is_err() {
                tracing::warn!("the broker did not answer the goodbye in time");
            }
        }
    }
}

/// lapin's calls have no deadlines of their own.
async fn within<T>(
    deadline: Duration,
    attempted: &str,
    work: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(QueueError::Unavailable(format!("the broker did not let us {attempted} in time"))),
    }
}

fn unavailable(error: lapin::Error) -> QueueError {
    QueueError::Unavailable(error.to_string())
}
