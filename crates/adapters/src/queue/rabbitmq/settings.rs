//! What the queue needs to know, checked once.

use std::fmt;
use std::time::Duration;

use lapin::uri::AMQPUri;

use crate::queue::LANE_BYTES_MAX;

/// A dead peer is noticed after two of these.
const HEARTBEAT_SECONDS: u16 = 5;

const CONNECT_TIMEOUT_MS: u64 = 5_000;

/// With the longest of our suffixes a name must stay below AMQP's 255 bytes.
const PREFIX_BYTES_MAX: usize = 200;

#[derive(Clone)]
pub struct RabbitSettings {
    /// The nodes of one broker, in the order in which they are tried; never empty.
    pub(super) nodes: Vec<AMQPUri>,
    /// First part of every exchange and queue name.
    pub prefix: String,
    /// How long the broker may take to confirm one message.
    pub publish_timeout: Duration,
    /// Messages in flight per lane.
    pub channels_per_lane: usize,
    /// Bytes of all jobs that wait to be confirmed; above, publishing is refused at once.
    pub waiting_bytes_max: u32,
    /// What the queue of a lane holds at most, where we make it.
    pub lane_bytes_max: u64,
}

/// The URL itself is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    #[error(
        "the queue's URL is not of the form amqp://user:password@host:port/vhost, nor a list of such with commas between (a comma in a password is written %2C)"
    )]
    Url,
    #[error("the queue's URLs name different virtual hosts: they are meant for the nodes of one broker")]
    VirtualHosts,
    #[error(
        "the queue's prefix {0:?} is empty, longer than 200 bytes or not made of letters, digits, '.', '-' and '_'"
    )]
    Prefix(String),
}

impl RabbitSettings {
    /// - Shapes: `urls` is one URL, or those of a cluster's nodes with commas between.
    pub fn new(urls: &str, prefix: &str) -> Result<RabbitSettings, BadSettings> {
        let nodes = urls.split(',').map(node).collect::<Result<Vec<_>, _>>()?;
        if nodes.iter().any(|other| other.vhost != nodes[0].vhost) {
            return Err(BadSettings::VirtualHosts);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = !prefix.is_empty() && prefix.len() <= PREFIX_BYTES_MAX;
        if !fits || !prefix.bytes().all(plain) {
            return Err(BadSettings::Prefix(prefix.into()));
        }
        Ok(RabbitSettings {
            nodes,
            prefix: prefix.into(),
            publish_timeout: Duration::from_secs(3),
            channels_per_lane: 8,
            waiting_bytes_max: 128 * 1_024 * 1_024,
            lane_bytes_max: LANE_BYTES_MAX,
        })
    }

    /// For logs and pages: without users and passwords.
    pub fn address(&self) -> String {
        self.nodes.iter().map(address_of).collect::<Vec<_>>().join(", ")
    }

    /// The same on every node.
    pub(super) fn virtual_host(&self) -> &str {
        &self.nodes[0].vhost
    }
}

fn node(url: &str) -> Result<AMQPUri, BadSettings> {
    let mut uri: AMQPUri = url.trim().parse().map_err(|_| BadSettings::Url)?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    uri.query.connection_timeout.get_or_insert(CONNECT_TIMEOUT_MS);
    Ok(uri)
}

pub(super) fn address_of(node: &AMQPUri) -> String {
    format!("{}:{}", node.authority.host, node.authority.port)
}

impl fmt::Debug for RabbitSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RabbitSettings({}, {})", self.address(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_nor_errors_print_the_password() {
        let settings = RabbitSettings::new("amqp://u:secret@h:1/%2f", "landfall").unwrap();
        assert_eq!(format!("{settings:?}"), "RabbitSettings(h:1, landfall)");
        let error = RabbitSettings::new("http://u:secret@h", "landfall").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn a_list_names_the_nodes_of_one_broker() {
        let settings = RabbitSettings::new("amqp://u:a%2Cb@h:1/v, amqps://u:p@i:2/v", "landfall").unwrap();
        assert_eq!((settings.nodes.len(), settings.address().as_str()), (2, "h:1, i:2"));
        assert_eq!(settings.nodes[0].authority.userinfo.password, "a,b");
        for urls in ["", "amqp://h,", "amqp://h,i", "amqp://u:a,b@h"] {
            assert_eq!(RabbitSettings::new(urls, "landfall").unwrap_err(), BadSettings::Url, "{urls}");
        }
        let elsewhere = RabbitSettings::new("amqp://h/v,amqp://i/w", "landfall").unwrap_err();
        assert_eq!(elsewhere, BadSettings::VirtualHosts);
    }

    #[test]
    fn a_prefix_that_cannot_be_part_of_a_name_is_refused() {
        for prefix in ["", "a b", "a/b", &"x".repeat(201)] {
            assert!(RabbitSettings::new("amqp://h", prefix).is_err(), "{prefix}");
        }
    }
}
