//! Events for the company's services: CloudEvents in AMQP's binary mode.
//!
//! Nothing here is mandatory, so the broker returns nothing and many may be in flight on one channel.

use std::time::Duration;

use domain::outgoing::Published;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::super::PublishError;
use super::RabbitSettings;
use super::connection::{Link, Live};
use super::publisher::{failure, open};
use super::topology::{events_exchange, short};

/// Events in flight at once.
const IN_FLIGHT_MAX: usize = 256;

const PERSISTENT: u8 = 2;

pub(super) struct EventPublisher {
    link: Link,
    exchange: ShortString,
    timeout: Duration,
    /// One caller at a time: the relay.
    channel: Mutex<Option<(Live, Channel)>>,
}

impl EventPublisher {
    pub(super) fn new(settings: &RabbitSettings, link: Link) -> Self {
        EventPublisher {
            link,
            exchange: short(&events_exchange(&settings.prefix)),
            timeout: settings.publish_timeout,
            channel: Mutex::default(),
        }
    }

    /// Publishes in order; `Ok` once all are confirmed. After an error some may have gone out: they have stable ids.
    pub(super) async fn publish(&self, events: &[Published]) -> Result<(), PublishError> {
        let mut kept = self.channel.lock().await;
        for chunk in events.chunks(IN_FLIGHT_MAX) {
            let live = self.link.live()?;
            let begun = Instant::now();
            let sending = self.send(&live, kept.take(), chunk);
            match timeout(self.timeout, sending).await {
                Ok(Ok(channel)) => *kept = Some((live, channel)),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    live.condemn_unless_confirmed_since(begun);
                    return Err(PublishError::TimedOut);
                }
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        live: &Live,
        kept: Option<(Live, Channel)>,
        events: &[Published],
    ) -> Result<Channel, PublishError> {
        let failure = |error: lapin::Error| failure(&error);
        let channel = match kept {
            Some((of, channel)) if Arc::ptr_eq(&of.connection, &live.connection) && channel.status().connected() => {
                channel
            }
            Some(_) | None => open(live).await.map_err(failure)?,
        };
        let mut confirms = Vec::with_capacity(events.len());
        for event in events {
            let body = event.data.to_string();
            let (exchange, key) = (self.exchange.clone(), short(&event.routing_key()));
            let options = BasicPublishOptions::default();
            let publishing = channel.basic_publish(exchange, key, options, body.as_bytes(), properties(event));
            confirms.push(publishing.await.map_err(failure)?);
        }
        for confirm in confirms {
            match confirm.await.map_err(failure)? {
                Confirmation::Ack(None) => {}
                Confirmation::Ack(Some(_)) | Confirmation::NotRequested => return Err(PublishError::Unavailable),
                Confirmation::Nack(_) => return Err(PublishError::Refused),
            }
        }
        Ok(channel)
    }
}

fn properties(event: &Published) -> BasicProperties {
    let seconds = u64::try_from(event.time.as_second()).unwrap_or_default();
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(event.id.to_string().into())
        .with_timestamp(seconds)
        .with_type(short(&event.event_type()))
        .with_app_id("landfall".into())
        .with_headers(headers(event))
}

fn headers(event: &Published) -> FieldTable {
    let mut headers = FieldTable::default();
    let mut set = |name: &str, value: AMQPValue| {
        headers.insert(short(&format!("cloudEvents_{name}")), value);
    };
    let text = |text: &str| AMQPValue::LongString(text.into());
    set("specversion", text("1.0"));
    set("id", text(&event.id.to_string()));
    set("type", text(&event.event_type()));
    set("source", text(&event.source()));
    set("time", text(&event.time.to_string()));
    set("position", AMQPValue::LongLongInt(event.position));
    if let Some(subject) = &event.subject {
        set("subject", text(subject.as_str()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::id::{Environment, EventId, UserId};
    use jiff::Timestamp;
    use uuid::Uuid;

    #[test]
    fn an_event_travels_in_binary_mode() {
        let event = Published {
            position: 7,
            id: EventId(Uuid::nil()),
            environment: Environment::new("default"),
            subject: Some(UserId::new("ana")),
            entity: "activity".into(),
            verb: "upserted".into(),
            provider: Some("GARMIN".into()),
            time: Timestamp::UNIX_EPOCH,
            data: serde_json::json!({}),
        };
        let properties = properties(&event);
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "landfall.activity.upserted.v1");
        let headers = properties.headers().as_ref().unwrap().inner();
        assert_eq!(headers["cloudEvents_position"], AMQPValue::LongLongInt(7));
        assert_eq!(headers["cloudEvents_time"], AMQPValue::LongString("1970-01-01T00:00:00Z".into()));
        assert_eq!(headers["cloudEvents_subject"], AMQPValue::LongString("ana".into()));
        assert_eq!(headers.len(), 7);
    }

    #[test]
    fn a_name_of_any_length_fits() {
        assert_eq!(short(&"é".repeat(200)).as_str().len(), 254);
    }
}
