//! The broker: enough free disk before it stops taking messages, quorum queues with a majority, our topology.
//!
//! Measured with RabbitMQ 3.10: with the default free-disk limit of 50 MB a full disk lost a third of the messages that had
//! been confirmed; with a limit well above the write-ahead log it lost none.

use super::{Area, Finding};
use age::Sample;

pub mod age;

/// At least this much must be free before the broker stops taking messages. RabbitMQ's own production checklist says
/// the same.
pub const DISK_FREE_MIN: u64 = 4_000_000_000;

/// So near to the limit, somebody should know.
const DISK_FREE_NEAR: u64 = 2;

/// The broker's default for its write-ahead log, and what fits under [`DISK_FREE_MIN`] with ten seconds of peak traffic.
const WAL_FITS: &str = "1.5 GB";

/// Replicas that survive the loss of one.
const MEMBERS_SAFE: usize = 3;

/// Seconds; above, a frozen node costs the others as long.
const TICKTIME_MAX: u64 = 20;

/// What the management API tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerFacts {
    pub version: Option<String>,
    pub nodes: Vec<Node>,
    pub queues: Vec<Queue>,
    /// Bindings of ours that are not there.
    pub unbound: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub running: bool,
    pub disk_free: Option<u64>,
    pub disk_free_limit: Option<u64>,
    pub disk_alarm: bool,
    pub memory_alarm: bool,
    /// Nodes it believes to be away.
    pub partitions: Vec<String>,
    pub ticktime_seconds: Option<u64>,
}

/// One of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    pub kind: Option<String>,
    pub members: Vec<String>,
    pub online: Vec<String>,
    pub messages: u64,
    pub bytes: u64,
    pub consumers: u64,
    /// What itself or a policy allows, beyond which it refuses.
    pub messages_max: Option<u64>,
    pub bytes_max: Option<u64>,
    /// The last minutes, the newest first; empty where the broker keeps no statistics.
    pub samples: Vec<Sample>,
}

/// An object of ours that is missing, or is there otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyFact {
    pub object: String,
    /// The broker's words; `None`: it is missing.
    pub differs: Option<String>,
}

fn good(check: &'static str, text: impl Into<String>) -> Finding {
    Finding::good(Area::Broker, check, text)
}

fn bad(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding::bad(Area::Broker, check, text, fix)
}

pub fn unreachable(address: &str, why: &str) -> Finding {
    bad("broker", format!("{address} is not reachable: {why}"), "start the broker, or correct LANDFALL_QUEUE_URL")
}

pub fn topology(facts: &[TopologyFact]) -> Vec<Finding> {
    if facts.is_empty() {
        return vec![good("topology", "exchanges and queues are there, as quorum queues with our arguments")];
    }
    let finding = |fact: &TopologyFact| match &fact.differs {
        None => bad("topology", format!("{} is missing", fact.object), "landfall topology apply"),
        Some(how) => bad(
            "topology",
            format!("{} is there with other arguments: {how}", fact.object),
            "drain it, delete it and run `landfall topology apply`: a queue cannot be changed",
        ),
    };
    facts.iter().map(finding).collect()
}

/// Without a management URL.
pub fn unmanaged() -> Vec<Finding> {
    untold("set LANDFALL_QUEUE_MANAGEMENT_URL to RabbitMQ's management API, as in http://user:password@rabbitmq:15672")
}

/// With one that does not answer.
pub fn unmanageable(why: &str) -> Vec<Finding> {
    let fix = "correct LANDFALL_QUEUE_MANAGEMENT_URL; the user needs the tag `monitoring` and some permission, be it an \
        empty one, in the virtual host";
    let mut findings = vec![bad("management", format!("the management API did not answer: {why}"), fix)];
    findings.extend(untold(fix));
    findings
}

/// All that AMQP does not tell.
fn untold(fix: &str) -> Vec<Finding> {
    let untold = [
        ("disk_free_limit", "AMQP does not tell the free-disk limit"),
        ("quorum", "AMQP does not tell the replicas of queues"),
        ("partition", "AMQP does not tell whether nodes are stopped, in need or cut off from each other"),
        (
            "bindings",
            "AMQP does not tell whether the queues are bound: a lane that is not refuses all of its deliveries",
        ),
        ("queue_full", "AMQP does not tell whether a policy limits a queue"),
        ("queue_age", "AMQP does not tell how long deliveries have waited"),
    ];
    untold.map(|(check, text)| Finding::not_checked(Area::Broker, check, text, fix)).into()
}

pub fn judge(facts: &BrokerFacts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.nodes.iter().flat_map(node).collect();
    findings.extend(partition(&facts.nodes));
    findings.extend(quorum(facts));
    findings.extend(bindings(&facts.unbound));
    findings.extend(full(&facts.queues));
    findings.extend(age::judge(&facts.queues));
    findings.push(Finding::not_checked(
        Area::Broker,
        "wal_size",
        format!("no API tells the size of the write-ahead log; the limit asked for above covers one of {WAL_FITS}"),
        "keep raft.wal_max_size_bytes = 67108864 as in deploy/rabbitmq.conf",
    ));
    findings
}

fn node(node: &Node) -> Vec<Finding> {
    let name = &node.name;
    if !node.running {
        return vec![bad(
            "node",
            format!("{name} is not running"),
            format!("start {name}, or remove it from the cluster"),
        )];
    }
    let mut findings = vec![disk_limit(node)];
    if node.disk_alarm {
        findings.push(bad(
            "disk_alarm",
            format!("{name} takes no messages: its disk is full"),
            "free disk space on the broker",
        ));
    }
    if node.memory_alarm {
        let fix = "find out why its queues are long, or give it more memory";
        findings.push(bad("memory_alarm", format!("{name} takes no messages: its memory is full"), fix));
    }
    if let Some(seconds) = node.ticktime_seconds.filter(|seconds| *seconds > TICKTIME_MAX) {
        let text = format!("{name} notices a node that fell silent after {seconds} s only");
        findings.push(Finding::warning(Area::Broker, "net_ticktime", text, "set net_ticktime = 15"));
    }
    findings
}

fn partition(nodes: &[Node]) -> Vec<Finding> {
    const CHECK: &str = "partition";
    let mut findings = Vec::new();
    for Node { name, partitions, .. } in nodes.iter().filter(|node| !node.partitions.is_empty()) {
        let text = format!("{name} is cut off from {}", partitions.join(", "));
        let fix = "mend the network, restart the smaller side, and set cluster_partition_handling = pause_minority";
        findings.push(bad(CHECK, text, fix));
    }
    if findings.is_empty() && !nodes.is_empty() {
        findings.push(good(CHECK, "no node is cut off from another"));
    }
    findings
}

fn bindings(unbound: &[String]) -> Vec<Finding> {
    const CHECK: &str = "bindings";
    if unbound.is_empty() {
        return vec![good(CHECK, "the queue of every lane is bound")];
    }
    let finding = |binding: &String| {
        let text = format!("{binding} is missing: the lane refuses all of its deliveries");
        bad(CHECK, text, "landfall topology apply")
    };
    unbound.iter().map(finding).collect()
}

/// A queue refuses beyond its bound, its own or that of a policy.
fn full(queues: &[Queue]) -> Vec<Finding> {
    const CHECK: &str = "queue_full";
    let mut findings = Vec::new();
    for queue in queues {
        let is_over = |is: u64, max: Option<u64>| max.is_some_and(|max| is >= max);
        if is_over(queue.messages, queue.messages_max) || is_over(queue.bytes, queue.bytes_max) {
            let text = format!("{} holds as much as it may, and refuses more", queue.name);
            findings.push(bad(
                CHECK,
                text,
                "work it off: start workers, or mend what keeps them; a bound of a policy can be raised",
            ));
        }
    }
    if findings.is_empty() && !queues.is_empty() {
        findings.push(good(CHECK, "no queue has reached a limit"));
    }
    findings
}

/// Of queues that were made without a bound: a policy can set one. `queues` is what the management API tells, if it does.
pub fn bounds(unbounded: &[String], queues: &[Queue], wanted: u64) -> Finding {
    const CHECK: &str = "queue_bound";
    let has_policy = |name: &&String| queues.iter().any(|queue| queue.name == **name && queue.bytes_max.is_some());
    let left: Vec<&str> = unbounded.iter().filter(|name| !has_policy(name)).map(String::as_str).collect();
    let Some(first) = left.first() else {
        return good(CHECK, "every lane's queue has a bound");
    };
    let names = left.join(", ");
    let lanes = first.rsplit_once('.').map_or(*first, |(lanes, _)| lanes).replace('.', "\\.");
    let told =
        if queues.is_empty() { " (policies were not looked at: LANDFALL_QUEUE_MANAGEMENT_URL is not set)" } else { "" };
    Finding::warning(
        Area::Broker,
        CHECK,
        format!("nothing but the broker's disk bounds {names}{told}"),
        format!(
            "rabbitmqctl set_policy --apply-to queues landfall-bound '^{lanes}\\.' '{{\"max-length-bytes\":{wanted}}}'; of \
             several policies only the one of highest priority counts"
        ),
    )
}

fn disk_limit(node: &Node) -> Finding {
    const CHECK: &str = "disk_free_limit";
    let name = &node.name;
    let fix = "set disk_free_limit.absolute = 4GB, as in deploy/rabbitmq.conf";
    let (Some(limit), Some(free)) = (node.disk_free_limit, node.disk_free) else {
        return Finding::not_checked(Area::Broker, CHECK, format!("{name} does not tell its free-disk limit"), fix);
    };
    let (shown, free_shown) = (gigabytes(limit), gigabytes(free));
    if limit < DISK_FREE_MIN {
        let text =
            format!("{name} takes messages until {shown} of its disk are left: a full disk then loses confirmed ones");
        return bad(CHECK, text, fix);
    }
    if free < limit.saturating_mul(DISK_FREE_NEAR) {
        let text = format!("{name} has {free_shown} free and stops taking messages at {shown}");
        return Finding::warning(Area::Broker, CHECK, text, "give the broker's volume more room");
    }
    good(CHECK, format!("{name} stops taking messages at {shown}, {free_shown} are free"))
}

fn quorum(facts: &BrokerFacts) -> Vec<Finding> {
    const CHECK: &str = "quorum";
    let mut findings = Vec::new();
    let nodes = facts.nodes.len();
    for queue in &facts.queues {
        let name = &queue.name;
        let (members, online) = (queue.members.len(), queue.online.len());
        if queue.kind.as_deref() != Some("quorum") {
            let text = format!("{name} is no quorum queue");
            findings.push(bad(CHECK, text, "drain it, delete it and run `landfall topology apply`"));
        } else if online * 2 <= members {
            let text = format!("{name} has lost its majority: {online} of {members} replicas are there");
            findings.push(bad(CHECK, text, "start the missing nodes"));
        } else if members < MEMBERS_SAFE && nodes >= MEMBERS_SAFE {
            let text = format!(
                "{name} has {members} of {MEMBERS_SAFE} replicas: it was declared before the cluster was formed"
            );
            findings.push(bad(CHECK, text, "rabbitmq-queues grow <node> all"));
        } else if online < members {
            let text = format!("{name} has {online} of {members} replicas: the next loss stops it");
            findings.push(Finding::warning(Area::Broker, CHECK, text, "start the missing nodes"));
        }
    }
    if nodes > 0 && nodes < MEMBERS_SAFE {
        let text = format!("{nodes} node: what is confirmed survives a crash, and not the loss of the disk");
        findings.push(Finding::warning(Area::Broker, CHECK, text, "run three nodes where that matters"));
    } else if findings.is_empty() && !facts.queues.is_empty() {
        findings.push(good(CHECK, format!("{} quorum queues, each with all its replicas", facts.queues.len())));
    }
    findings
}

fn gigabytes(bytes: u64) -> String {
    if bytes >= 1_000_000_000 {
        format!("{:.1} GB", bytes as f64 / 1e9)
    } else {
        format!("{:.0} MB", bytes as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::State;
    use super::*;

    fn healthy() -> BrokerFacts {
        let names = ["a", "b", "c"].map(str::to_owned);
        let node = |name: &String| Node {
            name: name.clone(),
            running: true,
            disk_free: Some(40_000_000_000),
            disk_free_limit: Some(4_000_000_000),
            ticktime_seconds: Some(15),
            ..Node::default()
        };
        let queue = Queue {
            name: "q".into(),
            kind: Some("quorum".into()),
            members: names.to_vec(),
            online: names.to_vec(),
            samples: vec![Sample { ago: Duration::ZERO, messages: 0, taken: 0 }],
            ..Queue::default()
        };
        let nodes = names.iter().map(node).collect();
        BrokerFacts { version: Some("3.10.8".into()), nodes, queues: vec![queue], unbound: Vec::new() }
    }

    /// Of healthy facts with one change: what is not good.
    #[track_caller]
    fn check(change: impl FnOnce(&mut BrokerFacts), expected: &[(&str, State)]) {
        let mut facts = healthy();
        change(&mut facts);
        let found = judge(&facts);
        let of_interest = |finding: &&Finding| finding.state != State::Good && finding.check != "wal_size";
        let found: Vec<(&str, State)> =
            found.iter().filter(of_interest).map(|finding| (finding.check, finding.state)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_healthy_cluster_has_nothing_but_the_log_that_cannot_be_asked_for() {
        check(|_| {}, &[]);
        assert_eq!(judge(&healthy()).iter().filter(|finding| finding.state == State::Good).count(), 8);
    }

    #[test]
    fn a_queue_without_a_bound_is_told_unless_a_policy_has_one() {
        let names = ["landfall.deliveries.auth".to_owned(), "landfall.deliveries.live".to_owned()];
        assert_eq!(bounds(&[], &[], 5).state, State::Good);
        let found = bounds(&names, &[], 5);
        assert_eq!((found.check, found.state), ("queue_bound", State::Warning));
        let fix = r#"set_policy --apply-to queues landfall-bound '^landfall\.deliveries\.' '{"max-length-bytes":5}'"#;
        assert!(found.fix.as_deref().is_some_and(|told| told.contains(fix)), "{found:?}");
        let of = |name: &String| Queue { name: name.clone(), bytes_max: Some(5), ..Queue::default() };
        assert_eq!(bounds(&names, &[of(&names[0])], 5).state, State::Warning);
        assert_eq!(bounds(&names, &[of(&names[0]), of(&names[1])], 5).state, State::Good);
    }

    #[test]
    fn the_default_free_disk_limit_fails() {
        check(|facts| facts.nodes[1].disk_free_limit = Some(50_000_000), &[("disk_free_limit", State::Bad)]);
        check(|facts| facts.nodes[0].disk_free = Some(5_000_000_000), &[("disk_free_limit", State::Warning)]);
        check(|facts| facts.nodes[0].disk_free_limit = None, &[("disk_free_limit", State::NotChecked)]);
    }

    #[test]
    fn alarms_partitions_and_stopped_nodes_fail() {
        check(|facts| facts.nodes[0].disk_alarm = true, &[("disk_alarm", State::Bad)]);
        check(|facts| facts.nodes[0].memory_alarm = true, &[("memory_alarm", State::Bad)]);
        check(|facts| facts.nodes[0].partitions = vec!["b".into()], &[("partition", State::Bad)]);
        check(|facts| facts.nodes[2].running = false, &[("node", State::Bad)]);
        check(|facts| facts.nodes[0].ticktime_seconds = Some(60), &[("net_ticktime", State::Warning)]);
    }

    #[test]
    fn a_queue_without_its_quorum_fails() {
        check(|facts| facts.queues[0].kind = Some("classic".into()), &[("quorum", State::Bad)]);
        check(|facts| facts.queues[0].online.truncate(1), &[("quorum", State::Bad)]);
        check(|facts| facts.queues[0].online.truncate(2), &[("quorum", State::Warning)]);
        let alone = |facts: &mut BrokerFacts| {
            facts.queues[0].members.truncate(1);
            facts.queues[0].online.truncate(1);
        };
        check(alone, &[("quorum", State::Bad)]);
        let one_node = |facts: &mut BrokerFacts| {
            alone(facts);
            facts.nodes.truncate(1);
        };
        check(one_node, &[("quorum", State::Warning)]);
    }

    #[test]
    fn a_lane_that_is_not_bound_or_full_fails() {
        check(|facts| facts.unbound = vec!["binding d --live--> q".into()], &[("bindings", State::Bad)]);
        let full =
            |facts: &mut BrokerFacts| (facts.queues[0].messages, facts.queues[0].messages_max) = (100, Some(100));
        check(full, &[("queue_full", State::Bad)]);
        let full = |facts: &mut BrokerFacts| (facts.queues[0].bytes, facts.queues[0].bytes_max) = (9, Some(8));
        check(full, &[("queue_full", State::Bad)]);
        check(|facts| facts.queues[0].messages_max = Some(100), &[]);
    }

    #[test]
    fn deliveries_that_wait_for_longer_than_the_alarm_allows_fail() {
        let waiting = |seconds: u64| {
            move |facts: &mut BrokerFacts| {
                let sample = |ago| Sample { ago: Duration::from_secs(ago), messages: 2, taken: 0 };
                facts.queues[0].messages = 2;
                facts.queues[0].samples = vec![sample(0), sample(seconds)];
            }
        };
        check(waiting(300), &[]);
        check(waiting(315), &[("queue_age", State::Bad)]);
        check(|facts| facts.queues[0].samples.clear(), &[("queue_age", State::NotChecked)]);
    }

    #[test]
    fn what_is_missing_or_otherwise_fails_with_its_fix() {
        assert_eq!(topology(&[])[0].state, State::Good);
        let facts = [
            TopologyFact { object: "queue q".into(), differs: None },
            TopologyFact { object: "queue r".into(), differs: Some("x-queue-type".into()) },
        ];
        let found = topology(&facts);
        assert!(found.iter().all(|finding| finding.state == State::Bad));
        assert_eq!(found[0].fix.as_deref(), Some("landfall topology apply"));
        assert!(found[1].text.contains("x-queue-type"));
        assert!(unmanaged().iter().all(|finding| finding.state == State::NotChecked));
        // What is looked at with the management API is said not to be without it.
        for checked in judge(&healthy()).iter().filter(|finding| finding.state == State::Good) {
            assert!(unmanaged().iter().any(|finding| finding.check == checked.check), "{}", checked.check);
        }
        assert_eq!(unmanageable("why").len(), unmanaged().len() + 1);
    }
}
