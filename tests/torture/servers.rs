//! What is done to broker and database, and a service that listens to every event.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};

use super::fleet::Fleet;
use crate::harness::process::Process;

const LANES: [&str; 4] = ["auth", "urgent", "live", "bulk"];
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const SERVICE: &str = "a-service";

impl Fleet {
    async fn channel(&self) -> Channel {
        let database = self.app.database.as_ref().unwrap();
        let connection = Connection::connect(&database.amqp_url, ConnectionProperties::default()).await.unwrap();
        connection.create_channel().await.unwrap()
    }

    /// Answers whether it is unbound.
    pub async fn unbind_a_lane(&self, which: u64) -> bool {
        let prefix = &self.app.database.as_ref().unwrap().prefix;
        let lane = LANES[usize::try_from(which).unwrap()];
        let queue = format!("{prefix}.deliveries.{lane}");
        let exchange = format!("{prefix}.deliveries");
        let unbinding = async {
            let channel = self.channel().await;
            channel.queue_unbind(queue.into(), exchange.into(), lane.into(), FieldTable::default()).await.unwrap();
        };
        // A queue that lost its leader by the fault before this one never answers.
        tokio::time::timeout(ANSWER_WITHIN, unbinding).await.is_ok()
    }

    pub async fn apply_topology(&self) {
        let mut settings = self.app.settings.clone();
        settings.insert("LANDFALL_QUEUE_URL".into(), self.app.database.as_ref().unwrap().amqp_url.clone());
        let (code, said) = Process::run(&["topology", "apply"], &settings).await;
        assert_eq!(code, 0, "{said}");
    }

    /// Makes the queue of a service that wants every event.
    pub async fn listen(&self) {
        let exchange = format!("{}.events", self.app.database.as_ref().unwrap().prefix);
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let channel = self.channel().await;
        channel.queue_declare(SERVICE.into(), durable, arguments).await.unwrap();
        channel
            .queue_bind(SERVICE.into(), exchange.into(), "#".into(), QueueBindOptions::default(), FieldTable::default())
            .await
            .unwrap();
        // RabbitMQ 3.10 writes the names of new quorum queues half a second later: one whose broker is killed before that
        // never has a leader again, and whatever is routed to it is never confirmed.
        self.servers.as_ref().unwrap().rabbitmqctl(&["eval", "[dets:sync(Table) || Table <- dets:all()]."]);
    }

    /// Ids of all events that the service got.
    pub async fn heard(&self) -> BTreeSet<String> {
        let channel = self.channel().await;
        let mut ids = BTreeSet::new();
        while let Some(message) = channel.basic_get(SERVICE.into(), BasicGetOptions::default()).await.unwrap() {
            ids.extend(message.properties.message_id().as_ref().map(ToString::to_string));
            message.delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
        }
        ids
    }
}
