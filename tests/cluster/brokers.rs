//! Nodes of RabbitMQ, each in a network namespace of its own, on one bridge with this machine. A node can be killed,
//! frozen, and cut off from others while clients still reach it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::world;
use crate::harness::within;

/// Starting, joining and catching up, on a machine that does other things as well.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// `rabbitmqctl` keeps a core busy for a second.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Of the range that RFC 2544 reserves for such purposes.
const NETWORK: &str = "198.18.77";

pub struct Brokers {
    nodes: Vec<Node>,
}

struct Node {
    namespace: String,
    address: String,
    name: String,
    folder: PathBuf,
    /// Where its messages lie.
    data: PathBuf,
    /// Of the node itself, unless it was killed.
    process: Option<Child>,
}

/// What differs from row to row.
pub struct Shape {
    pub nodes: usize,
    pub data: Option<PathBuf>,
    pub disk_free_limit: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Shape { nodes: 3, data: None, disk_free_limit: "1GB" }
    }
}

impl Brokers {
    pub async fn start(shape: Shape) -> Self {
        let bridge = world::name();
        world::run(&["ip", "link", "add", &bridge, "type", "bridge"]);
        world::run(&["ip", "address", "add", &format!("{NETWORK}.254/24"), "dev", &bridge]);
        world::run(&["ip", "link", "set", &bridge, "up"]);
        let nodes = (1..=shape.nodes).map(|number| Node::prepare(number, &bridge, &shape)).collect();
        let mut brokers = Brokers { nodes };
        for number in 0..brokers.nodes.len() {
            brokers.start_node(number);
        }
        within(READY_WITHIN, "every node runs", || async {
            sleep(LOOK_AGAIN).await;
            brokers.running() == brokers.nodes.len()
        })
        .await;
        brokers
    }

    /// For `LANDFALL_QUEUE_URL`: all nodes.
    pub fn urls(&self) -> String {
        (0..self.nodes.len()).map(|number| self.url(number)).collect::<Vec<_>>().join(",")
    }

    pub fn url(&self, number: usize) -> String {
        format!("amqp://guest:guest@{}:5672/%2f", self.nodes[number].address)
    }

    /// The node that leads a queue.
    pub fn leader(&self, queue: &str) -> usize {
        let leader = self.queues().iter().find(|row| row["name"] == queue).map(|row| row["leader"].clone());
        let is_leader = |node: &Node| leader.as_ref().is_some_and(|leader| *leader == node.name.as_str());
        self.nodes.iter().position(is_leader).unwrap_or_else(|| panic!("{queue} has no leader: {leader:?}"))
    }

    /// Waits until every node runs and every queue has all its replicas.
    pub async fn whole(&self) {
        within(READY_WITHIN, "every node and replica is back", || async {
            sleep(LOOK_AGAIN).await;
            self.is_whole()
        })
        .await;
    }

    /// Waits a while for the same, then restarts the nodes that were cut off, as an operator would; whether that was
    /// necessary. One that was silent for longer than the others wait may not notice that it was the minority: its
    /// database then stays apart from theirs, also when all of them can talk again.
    pub async fn whole_at_last(&mut self, cut_off: &[usize], patience: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            sleep(LOOK_AGAIN).await;
            if self.is_whole() {
                return false;
            }
        }
        for number in cut_off {
            self.kill(*number);
            self.start_node(*number);
        }
        self.whole().await;
        true
    }

    fn is_whole(&self) -> bool {
        let all = self.nodes.len();
        let count = |row: &Value, what: &str| row[what].as_array().map_or(0, Vec::len);
        let queues = self.queues();
        self.running() == all
            && !queues.is_empty()
            && queues.iter().all(|row| count(row, "members") == all && count(row, "online") == all)
    }

    /// Kill -9. Data stay.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut process) = self.nodes[number].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub fn start_node(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let console = std::fs::File::options().append(true).create(true).open(node.folder.join("console.log")).unwrap();
        // With this variable Debian's script becomes the node instead of watching over it: the process is the node's.
        let mut command = node.command("rabbitmq-server", &["RUNNING_UNDER_SYSTEMD=true"]);
        let process = command.stdin(Stdio::null()).stdout(console.try_clone().unwrap()).stderr(console).spawn();
        node.process = Some(process.unwrap());
    }

    /// SIGSTOP: it answers nothing, and nothing is closed.
    pub fn freeze(&self, number: usize) {
        self.signal(number, "STOP");
    }

    pub fn thaw(&self, number: usize) {
        self.signal(number, "CONT");
    }

    fn signal(&self, number: usize, name: &str) {
        let pid = self.nodes[number].process.as_ref().map(Child::id).unwrap();
        world::run(&["kill", &format!("-{name}"), &pid.to_string()]);
    }

    /// What one node sends the other is dropped when it arrives; the other way is not touched.
    pub fn cut(&self, from: usize, to: usize) {
        let (namespace, source) = (&self.nodes[to].namespace, &self.nodes[from].address);
        let rules = format!(
            "add table inet cut; add chain inet cut input {{ type filter hook input priority 0; }}; \
             add rule inet cut input ip saddr {source} drop"
        );
        world::run(&["ip", "netns", "exec", namespace, "nft", &rules]);
    }

    pub fn heal(&self) {
        for node in &self.nodes {
            world::run(&["ip", "netns", "exec", &node.namespace, "nft", "flush", "ruleset"]);
        }
    }

    /// How many nodes are in one cluster with every other; a node that is paused is in none.
    fn running(&self) -> usize {
        let of_node = |node: &Node| -> Option<usize> {
            let printed = node.ask(&["cluster_status", "--formatter=json"])?;
            let status: Value = serde_json::from_str(&printed).ok()?;
            let is_torn = status["partitions"].as_object().is_some_and(|torn| !torn.is_empty());
            Some(if is_torn { 0 } else { status["running_nodes"].as_array()?.len() })
        };
        self.nodes.iter().map(|node| of_node(node).unwrap_or_default()).min().unwrap_or_default()
    }

    /// What the queues hold, for whoever has to find out why something is not worked off.
    pub fn describe(&self) -> String {
        let columns =
            ["list_queues", "--silent", "name", "leader", "messages_ready", "messages_unacknowledged", "consumers"];
        self.nodes.iter().map(|node| node.ask(&columns).unwrap_or_default()).collect()
    }

    /// As the first node that answers sees them.
    fn queues(&self) -> Vec<Value> {
        let columns = ["list_queues", "--silent", "--formatter=json", "name", "leader", "members", "online"];
        let answered = self.nodes.iter().filter(|node| node.process.is_some()).find_map(|node| node.ask(&columns));
        answered.and_then(|rows| serde_json::from_str(&rows).ok()).unwrap_or_default()
    }
}

impl Node {
    /// A namespace with one network card, and the node's files.
    fn prepare(number: usize, bridge: &str, shape: &Shape) -> Node {
        let (namespace, card) = (format!("{bridge}-{number}"), format!("{bridge}v{number}"));
        let address = format!("{NETWORK}.{number}");
        world::run(&["ip", "netns", "add", &namespace]);
        world::run(&["ip", "link", "add", &card, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
        world::run(&["ip", "link", "set", &card, "master", bridge, "up"]);
        world::run(&["ip", "-n", &namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"]);
        world::run(&["ip", "-n", &namespace, "link", "set", "eth0", "up"]);
        world::run(&["ip", "-n", &namespace, "link", "set", "lo", "up"]);

        let folder = world::folder(&format!("node-{number}"));
        let peers = (1..=shape.nodes)
            .map(|peer| format!("cluster_formation.classic_config.nodes.{peer} = landfall@{NETWORK}.{peer}\n"));
        let settings = format!(
            "listeners.tcp.1 = {address}:5672\n\
             loopback_users = none\n\
             disk_free_limit.absolute = {}\n\
             raft.wal_max_size_bytes = 67108864\n\
             cluster_partition_handling = pause_minority\n\
             net_ticktime = 10\n\
             log.console = false\n\
             log.file.level = info\n\
             cluster_formation.peer_discovery_backend = classic_config\n{}",
            shape.disk_free_limit,
            peers.collect::<String>()
        );
        for (file, text) in [
            ("rabbitmq.conf", settings.as_str()),
            ("enabled_plugins", "[].\n"),
            ("advanced.config", "[].\n"),
            ("rabbitmq-env.conf", ""),
            // Nodes of one cluster know each other by it; the namespaces keep others out.
            (".erlang.cookie", "LANDFALLCLUSTER"),
        ] {
            std::fs::write(folder.join(file), text).unwrap();
        }
        // Erlang refuses a cookie that others may read.
        world::run(&["chmod", "400", &folder.join(".erlang.cookie").display().to_string()]);
        let data = shape.data.clone().unwrap_or_else(|| folder.join("data"));
        Node { namespace, name: format!("landfall@{address}"), address, folder, data, process: None }
    }

    /// A program of RabbitMQ's, in the node's network and with its files.
    fn command(&self, program: &str, more: &[&str]) -> Command {
        let place = |name: &str| self.folder.join(name).display().to_string();
        let program = world::newest("/usr/lib/rabbitmq/lib", "rabbitmq_server-", "sbin").join(program);
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace, "env", "-i"])
            .arg(format!("PATH={}", std::env::var("PATH").unwrap_or_default()))
            .args(["LC_ALL=C.UTF-8", "TZ=UTC", "RABBITMQ_USE_LONGNAME=true"])
            .arg(format!("HOME={}", self.folder.display()))
            .arg(format!("RABBITMQ_NODENAME={}", self.name))
            .arg(format!("RABBITMQ_CONF_ENV_FILE={}", place("rabbitmq-env.conf")))
            .arg(format!("RABBITMQ_CONFIG_FILE={}", place("rabbitmq.conf")))
            .arg(format!("RABBITMQ_ADVANCED_CONFIG_FILE={}", place("advanced.config")))
            .arg(format!("RABBITMQ_ENABLED_PLUGINS_FILE={}", place("enabled_plugins")))
            .arg(format!("RABBITMQ_MNESIA_BASE={}", self.data.display()))
            .arg(format!("RABBITMQ_LOG_BASE={}", place("log")))
            .args(more)
            .arg(program)
            .current_dir(&self.folder);
        command
    }

    /// What `rabbitmqctl` prints; `None` while the node does not answer.
    fn ask(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command("rabbitmqctl", &[]).args(["--timeout", "10"]).args(arguments).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
