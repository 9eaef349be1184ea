//! RabbitMQ's management API: what AMQP does not tell of nodes, queues and bindings. Only read, and only when somebody asks.

use std::time::Duration;

use domain::delivery::Lane;
use domain::doctor::broker::age::Sample;
use domain::doctor::broker::{BrokerFacts, Node, Queue};
use reqwest::{Client, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::RabbitSettings;
use super::topology::{TopologyObject, describe_topology, lane_queue};

/// What is asked of a queue, with its last ten minutes: RabbitMQ keeps these at 5 s each. Its first message's time is told
/// of classic queues alone.
const QUEUE: &str = "columns=type,members,online,messages,message_bytes,consumers,arguments,effective_policy_definition,\
    messages_details.samples,message_stats.ack_details.samples\
    &lengths_age=600&lengths_incr=5&msg_rates_age=600&msg_rates_incr=5";

const TIMEOUT: Duration = Duration::from_secs(5);

/// Texts hold neither user nor password.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    #[error("LANDFALL_QUEUE_MANAGEMENT_URL is not of the form http://user:password@host:15672")]
    Url,
    #[error("it cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("it answered {0}")]
    Refused(StatusCode),
    #[error("its answer cannot be read")]
    Unreadable(#[source] reqwest::Error),
}

pub struct Management {
    http: Client,
    /// Without user and password, which errors would repeat.
    base: Url,
    user: String,
    password: SecretString,
}

#[derive(Deserialize)]
struct Overview {
    rabbitmq_version: Option<String>,
    /// `none`: it counts nothing that is taken.
    rates_mode: Option<String>,
}

#[derive(Deserialize)]
struct NodeRow {
    name: String,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    disk_free: serde_json::Value,
    #[serde(default)]
    disk_free_limit: serde_json::Value,
    #[serde(default)]
    disk_free_alarm: bool,
    #[serde(default)]
    mem_alarm: bool,
    #[serde(default)]
    partitions: Vec<String>,
    net_ticktime: Option<u64>,
}

#[derive(Deserialize)]
struct QueueRow {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    online: Vec<String>,
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    message_bytes: u64,
    #[serde(default)]
    consumers: u64,
    #[serde(default)]
    arguments: Arguments,
    #[serde(default)]
    effective_policy_definition: Policy,
    #[serde(default)]
    messages_details: History,
    #[serde(default)]
    message_stats: MessageStats,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Policy {
    max_length: Option<u64>,
    max_length_bytes: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(rename = "x-max-length-bytes")]
    max_length_bytes: Option<u64>,
}

#[derive(Default, Deserialize)]
struct MessageStats {
    #[serde(default)]
    ack_details: History,
}

#[derive(Default, Deserialize)]
struct History {
    #[serde(default)]
    samples: Vec<Measured>,
}

#[derive(Clone, Copy, Deserialize)]
struct Measured {
    sample: u64,
    /// Milliseconds.
    timestamp: u64,
}

#[derive(Deserialize)]
struct BindingRow {
    routing_key: String,
}

impl Management {
    pub fn new(url: &SecretString) -> Result<Management, ManagementError> {
        let mut base = Url::parse(url.expose_secret()).map_err(|_| ManagementError::Url)?;
        let (user, password) = (percent_decoded(base.username()), percent_decoded(base.password().unwrap_or_default()));
        if !matches!(base.scheme(), "http" | "https")
            || base.set_username("").is_err()
            || base.set_password(None).is_err()
        {
            return Err(ManagementError::Url);
        }
        let http = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(ManagementError::Unreachable)?;
        Ok(Management { http, base, user, password: password.into() })
    }

    /// Nodes, our queues that are there, and our bindings that are not.
    pub async fn facts(&self, settings: &RabbitSettings) -> Result<BrokerFacts, ManagementError> {
        let overview: Option<Overview> = self.get(&["overview"], "").await?;
        let (version, rates_mode) = overview.map_or((None, None), |told| (told.rabbitmq_version, told.rates_mode));
        let counts = rates_mode.as_deref() != Some("none");
        let nodes: Option<Vec<NodeRow>> = self.get(&["nodes"], "").await?;
        let mut queues = Vec::new();
        for lane in Lane::ALL {
            let name = lane_queue(&settings.prefix, lane);
            let row: Option<QueueRow> = self.get(&["queues", settings.virtual_host(), &name], QUEUE).await?;
            queues.extend(row.map(|row| queue(name, row, counts)));
        }
        let unbound = self.unbound(settings).await?.iter().map(TopologyObject::to_string).collect();
        Ok(BrokerFacts { version, nodes: nodes.unwrap_or_default().into_iter().map(node).collect(), queues, unbound })
    }

    /// What waits in each lane, in bytes: what AMQP does not tell.
    pub async fn bytes(&self, settings: &RabbitSettings) -> Result<Vec<(Lane, u64)>, ManagementError> {
        let mut all = Vec::new();
        for lane in Lane::ALL {
            let name = lane_queue(&settings.prefix, lane);
            let path = ["queues", settings.virtual_host(), &name];
            let row: Option<QueueRow> = self.get(&path, "columns=message_bytes").await?;
            all.extend(row.map(|row| (lane, row.message_bytes)));
        }
        Ok(all)
    }

    /// Bindings of ours that are not there, which AMQP cannot be asked for.
    pub async fn unbound(&self, settings: &RabbitSettings) -> Result<Vec<TopologyObject>, ManagementError> {
        let mut unbound = Vec::new();
        for object in describe_topology(settings) {
            let TopologyObject::Binding { exchange, queue, routing_key } = &object else { continue };
            let path = ["bindings", settings.virtual_host(), "e", exchange, "q", queue];
            let rows: Vec<BindingRow> = self.get(&path, "").await?.unwrap_or_default();
            if !rows.iter().any(|row| row.routing_key == *routing_key) {
                unbound.push(object);
            }
        }
        Ok(unbound)
    }

    /// `None` where there is no such thing.
    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &str) -> Result<Option<T>, ManagementError> {
        let mut url = self.base.clone();
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        url.path_segments_mut().map_err(|()| ManagementError::Url)?.pop_if_empty().push("api").extend(path);
        let request = self.http.get(url).basic_auth(&self.user, Some(self.password.expose_secret()));
        let answer = request.send().await.map_err(ManagementError::Unreachable)?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => answer.json().await.map(Some).map_err(ManagementError::Unreadable),
            status => Err(ManagementError::Refused(status)),
        }
    }
}

fn queue(name: String, row: QueueRow, counts: bool) -> Queue {
    let policy = &row.effective_policy_definition;
    Queue {
        messages_max: policy.max_length,
        bytes_max: [policy.max_length_bytes, row.arguments.max_length_bytes].into_iter().flatten().min(),
        samples: if counts {
            samples(row.messages_details.samples, row.message_stats.ack_details.samples)
        } else {
            Vec::new()
        },
        name,
        kind: row.kind,
        members: row.members,
        online: row.online,
        messages: row.messages,
        bytes: row.message_bytes,
        consumers: row.consumers,
    }
}

/// Both, the newest first. The times of the two need not be the same, and where nothing was ever taken there is no second.
fn samples(mut lengths: Vec<Measured>, mut acknowledged: Vec<Measured>) -> Vec<Sample> {
    for samples in [&mut lengths, &mut acknowledged] {
        samples.sort_by_key(|measured| std::cmp::Reverse(measured.timestamp));
    }
    let newest = lengths.first().map_or(0, |measured| measured.timestamp);
    let taken = |at: u64| acknowledged.iter().find(|measured| measured.timestamp <= at).map_or(0, |one| one.sample);
    let sample = |measured: &Measured| Sample {
        ago: Duration::from_millis(newest - measured.timestamp),
        messages: measured.sample,
        taken: taken(measured.timestamp),
    };
    lengths.iter().map(sample).collect()
}

/// A disk that is not watched has a word for a number.
fn node(row: NodeRow) -> Node {
    Node {
        name: row.name,
        running: row.running,
        disk_free: row.disk_free.as_u64(),
        disk_free_limit: row.disk_free_limit.as_u64(),
        disk_alarm: row.disk_free_alarm,
        memory_alarm: row.mem_alarm,
        partitions: row.partitions,
        ticktime_seconds: row.net_ticktime,
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let decoded = escaped.and_then(|digits| hex::decode(digits).ok()).and_then(|bytes| bytes.first().copied());
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_taken_out_of_the_url() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let management = Management::new(&"http://us%40er:pa%2Fss@h:15672".to_owned().into()).unwrap();
        assert_eq!((management.user.as_str(), management.password.expose_secret()), ("us@er", "pa/ss"));
        assert_eq!(management.base.as_str(), "http://h:15672/");
        assert!(Management::new(&"amqp://h".to_owned().into()).is_err());
    }

    #[test]
    fn a_disk_that_nobody_watches_has_no_limit() {
        let row = r#"[{"name":"a","running":true,"disk_free_limit":50000000,"disk_free":7,"partitions":[],"net_ticktime":15}]"#;
        let rows: Vec<NodeRow> = serde_json::from_str(row).unwrap();
        let node = node(rows.into_iter().next().unwrap());
        assert_eq!((node.disk_free_limit, node.disk_free, node.running), (Some(50_000_000), Some(7), true));
        let rows: Vec<NodeRow> =
            serde_json::from_str(r#"[{"name":"a","disk_free":"disk_free_monitoring_disabled"}]"#).unwrap();
        let node = super::node(rows.into_iter().next().unwrap());
        assert_eq!((node.disk_free_limit, node.disk_free, node.running), (None, None, false));
    }

    #[test]
    fn lengths_and_acknowledgements_are_joined_by_time() {
        let row = r#"{"type":"quorum","messages":2,"consumers":1,"effective_policy_definition":{"max-length":7},
            "messages_details":{"rate":0.0,"samples":[{"sample":2,"timestamp":45000},{"sample":1,"timestamp":30000},{"sample":9,"timestamp":15000}]},
            "message_stats":{"ack_details":{"rate":0.0,"samples":[{"sample":8,"timestamp":30000},{"sample":0,"timestamp":15000}]}}}"#;
        let queue = queue("q".into(), serde_json::from_str(row).unwrap(), true);
        let samples: Vec<(u64, u64, u64)> =
            queue.samples.iter().map(|sample| (sample.ago.as_secs(), sample.messages, sample.taken)).collect();
        assert_eq!(samples, [(0, 2, 8), (15, 1, 8), (30, 9, 0)]);
        assert_eq!((queue.messages_max, queue.bytes_max, queue.consumers), (Some(7), None, 1));
        let untouched: QueueRow =
            serde_json::from_str(r#"{"messages_details":{"samples":[{"sample":1,"timestamp":5}]}}"#).unwrap();
        assert_eq!(super::queue("q".into(), untouched, true).samples[0].taken, 0);
        let uncounted: QueueRow =
            serde_json::from_str(r#"{"messages_details":{"samples":[{"sample":1,"timestamp":5}]}}"#).unwrap();
        assert!(super::queue("q".into(), uncounted, false).samples.is_empty());
    }
}
