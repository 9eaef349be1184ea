//! RabbitMQ's management API: what AMQP does not tell of nodes and queues. Only read, and only when somebody asks.

use std::time::Duration;

use domain::delivery::Lane;
use domain::doctor::broker::{BrokerFacts, Node, Queue};
use reqwest::{Client, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::RabbitSettings;
use super::topology::lane_queue;

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

    /// Nodes, and our queues that are there.
    pub async fn facts(&self, settings: &RabbitSettings) -> Result<BrokerFacts, ManagementError> {
        let overview: Option<Overview> = self.get(&["overview"]).await?;
        let nodes: Option<Vec<NodeRow>> = self.get(&["nodes"]).await?;
        let mut queues = Vec::new();
        for lane in Lane::ALL {
            let name = lane_queue(&settings.prefix, lane);
            let row: Option<QueueRow> = self.get(&["queues", settings.virtual_host(), &name]).await?;
            let queue = |row: QueueRow| Queue { name, kind: row.kind, members: row.members, online: row.online };
            queues.extend(row.map(queue));
        }
        Ok(BrokerFacts {
            version: overview.and_then(|overview| overview.rabbitmq_version),
            nodes: nodes.unwrap_or_default().into_iter().map(node).collect(),
            queues,
        })
    }

    /// `None` where there is no such thing.
    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, ManagementError> {
        let mut url = self.base.clone();
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
}
