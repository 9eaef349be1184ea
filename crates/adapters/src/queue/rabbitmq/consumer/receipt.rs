//! What acknowledges a lease, or gives it back.

use std::collections::HashSet;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Acker, Channel};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::super::super::{Lease, QueueError, Receipt};
use super::super::{ASK_DEADLINE, unavailable, within};
use super::{HeldJobs, Message};

/// `channel`: that of the messages, if nobody else keeps it open.
pub(in super::super) fn lease(messages: Vec<Message>, channel: Option<Channel>, tasks: &TaskTracker) -> Lease {
    let mut jobs = Vec::new();
    let mut held = Vec::new();
    let mut ackers = Vec::new();
    let mut suspects = HashSet::new();
    for message in messages {
        if message.was_held {
            suspects.extend(message.jobs.iter().map(|job| job.delivery.id));
        }
        jobs.extend(message.jobs);
        ackers.push(message.acker);
        held.push(message.held);
    }
    let receipt = RabbitReceipt { ackers, tasks: tasks.clone(), _held: held, _channel: channel };
    Lease::new(jobs, suspects, Box::new(receipt))
}

struct RabbitReceipt {
    ackers: Vec<Acker>,
    tasks: TaskTracker,
    _held: Vec<HeldJobs>,
    _channel: Option<Channel>,
}

#[async_trait]
impl Receipt for RabbitReceipt {
    async fn ack(mut self: Box<Self>) -> Result<(), QueueError> {
        let ackers = std::mem::take(&mut self.ackers);
        // One by one: `multiple` would take messages of other leases with it.
        let acking = try_join_all(ackers.iter().map(|acker| acker.ack(BasicAckOptions::default())));
        let done = within(ASK_DEADLINE, "acknowledge", async { acking.await.map_err(unavailable) }).await?;
        if done.into_iter().all(|done| done) {
            Ok(())
        } else {
            Err(QueueError::Unavailable("the lease ended with its connection; its jobs come again".into()))
        }
    }
}

impl Drop for RabbitReceipt {
    fn drop(&mut self) {
        let ackers = std::mem::take(&mut self.ackers);
        // Without a runtime the connection goes too, and the broker takes the jobs back by itself.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if ackers.is_empty() {
            return;
        }
        let giving_back = async move {
            let options = BasicNackOptions { requeue: true, ..Default::default() };
            let nacking = try_join_all(ackers.iter().map(|acker| acker.nack(options)));
            // Best effort: what fails here ends with the channel, which gives the jobs back as well.
            let _ = within(ASK_DEADLINE, "give jobs back", async { nacking.await.map_err(unavailable) }).await;
        };
        self.tasks.spawn_on(giving_back, &runtime);
    }
}
