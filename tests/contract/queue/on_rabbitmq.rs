//! The queue on the broker of this test run, under a prefix of its own.

use std::sync::Arc;
use std::time::Duration;

use adapters::queue::LANE_BYTES_MAX;
use adapters::queue::Queue;
use adapters::queue::rabbitmq::{RabbitQueue, RabbitSettings, apply_topology};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::harness::eventually;
use crate::harness::servers::Addresses;

pub(crate) struct Rig {
    pub(crate) settings: RabbitSettings,
    queue: Arc<RabbitQueue>,
    stop: CancellationToken,
    admin: Connection,
}

impl Rig {
    /// With its topology, connected.
    pub(crate) async fn new() -> Rig {
        Rig::bounded(LANE_BYTES_MAX).await
    }

    pub(crate) async fn bounded(lane_bytes_max: u64) -> Rig {
        let rig = Rig::with(Addresses::shared().get("LANDFALL_TEST_AMQP_URL"), lane_bytes_max).await;
        rig.is_ready().await;
        rig
    }

    /// With its topology; the queue reaches the broker through `url`.
    pub(crate) async fn through(url: &str) -> Rig {
        Rig::with(url, LANE_BYTES_MAX).await
    }

    async fn with(url: &str, lane_bytes_max: u64) -> Rig {
        let direct = Addresses::shared().get("LANDFALL_TEST_AMQP_URL").to_owned();
        let prefix = format!("t{}", Uuid::now_v7().simple());
        let bounded = |url: &str| {
            let mut settings = RabbitSettings::new(url, &prefix).unwrap();
            settings.lane_bytes_max = lane_bytes_max;
            settings
        };
        apply_topology(&bounded(&direct)).await.unwrap();
        let admin = Connection::connect(&direct, ConnectionProperties::default());
        let settings = bounded(url);
        let stop = CancellationToken::new();
        Rig {
            queue: RabbitQueue::start(settings.clone(), TaskTracker::new(), stop.clone()),
            settings,
            stop,
            admin: admin.await.unwrap(),
        }
    }

    pub(crate) fn queue(&self) -> Arc<dyn Queue> {
        self.queue.clone()
    }

    pub(crate) async fn is_ready(&self) {
        eventually("the queue is connected", || async { self.queue.ping().await.is_ok() }).await;
    }

    pub(crate) async fn reopen(&mut self) {
        self.queue.close(Duration::from_secs(5)).await;
        self.queue = RabbitQueue::start(self.settings.clone(), TaskTracker::new(), self.stop.clone());
        self.is_ready().await;
    }

    /// For what a test does to the broker itself. A refusal closes a channel, so each use has its own.
    pub(crate) async fn channel(&self) -> Channel {
        self.admin.create_channel().await.unwrap()
    }

    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.settings.prefix)
    }

    pub(crate) async fn end(&mut self) {
        self.queue.close(Duration::from_secs(5)).await;
        self.stop.cancel();
        for queue in ["deliveries.auth", "deliveries.urgent", "deliveries.live", "deliveries.bulk", "dead"] {
            // A test may have deleted it.
            let name = self.name(queue).into();
            let _ = self.channel().await.queue_delete(name, QueueDeleteOptions::default()).await;
        }
        for exchange in ["deliveries", "events"] {
            let name = self.name(exchange).into();
            let _ = self.channel().await.exchange_delete(name, ExchangeDeleteOptions::default()).await;
        }
    }
}
