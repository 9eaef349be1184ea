//! Tasks that own the publishing channels, one message in flight on each.
//!
//! Whoever publishes hands over a job and waits: a handler may be cancelled at any time, a publish must not be. While
//! its channel is busy a lane's jobs gather, and the next message takes them together; there is no timer.

use std::sync::Arc;
use std::time::Duration;

use domain::delivery::Lane;
use fail::fail_point;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::super::{Job, PublishError};
use super::connection::{Link, Live};
use super::topology::{deliveries_exchange, refusal, short};
use super::{RabbitSettings, frames};

/// Jobs that wait in one lane; the byte budget is reached first unless they are tiny.
const WAITING_JOBS_MAX: usize = 16_384;

/// What one message holds at most; a single larger job travels alone.
const GATHER_JOBS_MAX: usize = 64;
const GATHER_BYTES_MAX: usize = 256 * 1_024;

/// What a job takes beside its body.
const JOB_OVERHEAD_BYTES: usize = 1_024;

const PERSISTENT: u8 = 2;

struct Waiting {
    job: Job,
    since: Instant,
    answer: oneshot::Sender<Result<(), PublishError>>,
    /// Its part of the byte budget, given back when the job is answered.
    _budget: OwnedSemaphorePermit,
}

type Jobs = Arc<Mutex<mpsc::Receiver<Waiting>>>;

pub(super) struct Publisher {
    link: Link,
    lanes: [mpsc::Sender<Waiting>; Lane::ALL.len()],
    budget: Arc<Semaphore>,
    budget_bytes: u32,
    timeout: Duration,
    closing: CancellationToken,
}

impl Publisher {
    pub(super) fn start(
        settings: &RabbitSettings,
        link: &Link,
        tasks: &TaskTracker,
        end: &CancellationToken,
    ) -> Publisher {
        let lanes = Lane::ALL.map(|lane| {
            let (sender, receiver) = mpsc::channel(WAITING_JOBS_MAX);
            let jobs: Jobs = Arc::new(Mutex::new(receiver));
            for _ in 0..settings.channels_per_lane.max(1) {
                let outlet = Outlet::new(settings, link.clone(), lane);
                tasks.spawn(work(jobs.clone(), outlet, end.clone()));
            }
            sender
        });
        Publisher {
            link: link.clone(),
            lanes,
            budget: Arc::new(Semaphore::new(settings.waiting_bytes_max as usize)),
            budget_bytes: settings.waiting_bytes_max,
            timeout: settings.publish_timeout,
            closing: end.child_token(),
        }
    }

    pub(super) fn is_open(&self) -> Result<(), PublishError> {
        if self.closing.is_cancelled() {
            return Err(PublishError::Unavailable);
        }
        self.link.live().map(drop)
    }

    pub(super) async fn publish(&self, job: Job) -> Result<(), PublishError> {
        // Refused at once rather than after a wait in vain.
        self.is_open()?;
        let size = u32::try_from(job.body.size_in_row() + JOB_OVERHEAD_BYTES).map_err(|_| PublishError::Busy)?;
        let budget = self.budget.clone().try_acquire_many_owned(size).map_err(|_| PublishError::Busy)?;
        let (answer, answered) = oneshot::channel();
        let lane = job.delivery.lane();
        let waiting = Waiting { job, since: Instant::now(), answer, _budget: budget };
        self.lanes[lane as usize].try_send(waiting).map_err(|_| PublishError::Busy)?;
        // A job may wait once for its turn and once for its confirm.
        match timeout(self.timeout * 2, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PublishError::Unavailable),
            Err(_) => Err(PublishError::TimedOut),
        }
    }

    /// Takes nothing new and waits for what is in flight.
    pub(super) async fn drain(&self, deadline: Instant) {
        self.closing.cancel();
        if timeout_at(deadline, self.budget.acquire_many(self.budget_bytes)).await.is_err() {
            warn!("jobs were still being published at the end; they count as not stored");
        }
    }
}

async fn work(jobs: Jobs, mut outlet: Outlet, end: CancellationToken) {
    loop {
        let gathered = tokio::select! {
            gathered = gather(&jobs) => gathered,
            () = end.cancelled() => return,
        };
        let Some(gathered) = gathered else { return };
        let batch = still_wanted(gathered, outlet.timeout);
        if batch.is_empty() {
            continue;
        }
        let message = frames::encode(batch.iter().map(|waiting| &waiting.job));
        let result = outlet.send(&message).await;
        for waiting in batch {
            // Nobody waits any more where the handler was cancelled.
            let _ = waiting.answer.send(result.clone());
        }
    }
}

/// Waits for a job, then takes what else is there. `None` when nobody publishes any more.
async fn gather(jobs: &Jobs) -> Option<Vec<Waiting>> {
    let mut jobs = jobs.lock().await;
    let first = jobs.recv().await?;
    let mut bytes = first.job.body.size_in_row();
    let mut batch = vec![first];
    while batch.len() < GATHER_JOBS_MAX && bytes < GATHER_BYTES_MAX {
        let Ok(next) = jobs.try_recv() else { break };
        bytes += next.job.body.size_in_row();
        batch.push(next);
    }
    Some(batch)
}

/// Leaves out what waited so long that a confirm could not reach its sender in time any more.
fn still_wanted(gathered: Vec<Waiting>, patience: Duration) -> Vec<Waiting> {
    let mut wanted = Vec::with_capacity(gathered.len());
    for waiting in gathered {
        if waiting.since.elapsed() > patience {
            let _ = waiting.answer.send(Err(PublishError::Busy));
        } else {
            wanted.push(waiting);
        }
    }
    wanted
}

/// One channel of one lane, opened when it is needed.
struct Outlet {
    link: Link,
    exchange: ShortString,
    routing_key: ShortString,
    timeout: Duration,
    channel: Option<(Live, Channel)>,
}

impl Outlet {
    fn new(settings: &RabbitSettings, link: Link, lane: Lane) -> Self {
        Outlet {
            link,
            exchange: short(&deliveries_exchange(&settings.prefix)),
            routing_key: lane.label().into(),
            timeout: settings.publish_timeout,
            channel: None,
        }
    }

    /// Publishes one message. `Ok` says that the broker has it for good.
    async fn send(&mut self, message: &[u8]) -> Result<(), PublishError> {
        let live = self.link.live()?;
        let exchange = self.exchange.clone();
        let routing_key = self.routing_key.clone();
        let sending = async {
            // Taken out: whatever does not end well leaves no channel behind on which a confirm may still come.
            let channel = match self.channel.take() {
                Some((of, channel))
                    if Arc::ptr_eq(&of.connection, &live.connection) && channel.status().connected() =>
                {
                    channel
                }
                Some(_) | None => open(&live).await?,
            };
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let properties = BasicProperties::default()
                .with_content_type(frames::CONTENT_TYPE.into())
                .with_delivery_mode(PERSISTENT)
                .with_app_id("landfall".into());
            fail_point!("before_publish", |_| std::process::abort());
            let publishing = channel.basic_publish(exchange, routing_key, options, message, properties);
            let confirming = publishing.await?;
            fail_point!("after_publish_before_confirm", |_| std::process::abort());
            let confirmation = confirming.await?;
            Ok::<_, lapin::Error>((channel, confirmation))
        };
        let begun = Instant::now();
        match timeout(self.timeout, sending).await {
            Ok(Ok((channel, confirmation))) => {
                live.confirmed();
                let result = judge(&confirmation);
                if keeps_its_channel(&result) {
                    self.channel = Some((live, channel));
                }
                result
            }
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => {
                live.condemn_unless_confirmed_since(begun);
                Err(PublishError::TimedOut)
            }
        }
    }
}

pub(super) async fn open(live: &Live) -> lapin::Result<Channel> {
    let channel = live.connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Only a plain confirm is a yes.
fn judge(confirmation: &Confirmation) -> Result<(), PublishError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => {
            error!("the broker found no queue for a message: run `landfall topology apply`");
            Err(PublishError::Unroutable)
        }
        Confirmation::Nack(_) => Err(PublishError::Refused),
        // The channel is not in confirm mode: a mistake of ours, and no promise of the broker's.
        Confirmation::NotRequested => Err(PublishError::Unavailable),
    }
}

/// A channel that is opened while a quorum queue elects its leader remembers the one that is gone: RabbitMQ 3.10 refuses
/// everything on it until that node is back. A new one asks anew.
fn keeps_its_channel(result: &Result<(), PublishError>) -> bool {
    !matches!(result, Err(PublishError::Unavailable | PublishError::Refused))
}

/// What a failed publish says about the broker.
pub(super) fn failure(error: &lapin::Error) -> PublishError {
    match refusal(error) {
        Some((code, text)) => {
            error!(code, "the broker refused a message: {text}");
            PublishError::Unroutable
        }
        None => PublishError::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_confirm_is_a_yes() {
        assert_eq!(judge(&Confirmation::Ack(None)), Ok(()));
        assert_eq!(judge(&Confirmation::Nack(None)), Err(PublishError::Refused));
        assert_eq!(judge(&Confirmation::NotRequested), Err(PublishError::Unavailable));
    }

    #[test]
    fn a_channel_that_refused_is_not_used_again() {
        assert!(keeps_its_channel(&judge(&Confirmation::Ack(None))));
        assert!(!keeps_its_channel(&judge(&Confirmation::Nack(None))));
    }
}
