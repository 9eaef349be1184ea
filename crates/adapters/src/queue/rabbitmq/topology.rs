//! Exchanges, queues and bindings: as data, made on request, looked for at run time, never silently declared.

use std::fmt;

use domain::delivery::Lane;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind};
use tracing::warn;

use super::super::QueueError;
use super::{ASK_DEADLINE, RabbitSettings, unavailable, within};

/// Returns to the queue before a message is set aside: a last guard against a crashing worker.
const DELIVERY_LIMIT: i64 = 100;

/// The dead queue keeps what was looked at and left there; without a limit of its own RabbitMQ 4 would drop it after 20.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// What bounds a queue; with `reject-publish` more is refused.
const BOUND: &str = "x-max-length-bytes";

const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;

/// One object that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopologyObject {
    Exchange { name: String, kind: &'static str },
    Queue { name: String, arguments: Vec<(&'static str, String)> },
    Binding { exchange: String, queue: String, routing_key: String },
}

impl fmt::Display for TopologyObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopologyObject::Exchange { name, .. } => write!(f, "exchange {name}"),
            TopologyObject::Queue { name, .. } => write!(f, "queue {name}"),
            TopologyObject::Binding { exchange, queue, routing_key } => {
                write!(f, "binding {exchange} --{routing_key}--> {queue}")
            }
        }
    }
}

/// What is not as it should be. Bindings cannot be looked at over AMQP: a missing one shows as unroutable jobs, and the
/// management API tells it (`Management::unbound`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub object: TopologyObject,
    pub problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    Missing,
    /// It is there with other arguments; the broker's words. Only deleting and making it anew helps.
    Differs(String),
    /// A lane's queue was made with another bound, or none. It serves as it is; a policy can bound it.
    Bound {
        bytes_max: Option<u64>,
    },
}

pub(super) fn deliveries_exchange(prefix: &str) -> String {
    format!("{prefix}.deliveries")
}

pub(super) fn events_exchange(prefix: &str) -> String {
    format!("{prefix}.events")
}

pub(super) fn lane_queue(prefix: &str, lane: Lane) -> String {
    format!("{prefix}.deliveries.{}", lane.label())
}

pub(super) fn dead_queue(prefix: &str) -> String {
    format!("{prefix}.dead")
}

/// Everything we need on the broker, in the order in which it can be made. No alternate exchange: it would turn an
/// unroutable job into a confirmed one.
pub fn describe_topology(settings: &RabbitSettings) -> Vec<TopologyObject> {
    let prefix = &settings.prefix;
    let dead = dead_queue(prefix);
    let quorum = ("x-queue-type", "quorum".to_owned());
    let mut objects = vec![
        TopologyObject::Exchange { name: deliveries_exchange(prefix), kind: "direct" },
        TopologyObject::Exchange { name: events_exchange(prefix), kind: "topic" },
        TopologyObject::Queue {
            name: dead.clone(),
            arguments: vec![quorum.clone(), ("x-delivery-limit", DEAD_DELIVERY_LIMIT.to_string())],
        },
    ];
    for lane in Lane::ALL {
        let arguments = vec![
            quorum.clone(),
            ("x-delivery-limit", DELIVERY_LIMIT.to_string()),
            ("x-dead-letter-exchange", String::new()),
            ("x-dead-letter-routing-key", dead.clone()),
            ("x-dead-letter-strategy", "at-least-once".into()),
            ("x-overflow", "reject-publish".into()),
            (BOUND, settings.lane_bytes_max.to_string()),
        ];
        objects.push(TopologyObject::Queue { name: lane_queue(prefix, lane), arguments });
    }
    for lane in Lane::ALL {
        objects.push(TopologyObject::Binding {
            exchange: deliveries_exchange(prefix),
            queue: lane_queue(prefix, lane),
            routing_key: lane.label().into(),
        });
    }
    objects
}

/// Makes what is missing. What is there with other arguments is left alone and reported; a lane's queue that differs in
/// its bound alone will do.
pub async fn apply_topology(settings: &RabbitSettings) -> Result<(), QueueError> {
    let connection = connect(settings).await?;
    for object in describe_topology(settings) {
        match within(ASK_DEADLINE, "declare the topology", try_to_declare(&connection, &object)).await? {
            None => {}
            Some(Problem::Bound { bytes_max }) => {
                let bound = bytes_max.map_or_else(|| "no bound".into(), |bytes| format!("a bound of {bytes} bytes"));
                warn!("{object} is there with {bound} of its own: `landfall doctor` says how to set one");
            }
            Some(Problem::Differs(text)) => return Err(QueueError::Topology(format!("{object}: {text}"))),
            Some(Problem::Missing) => return Err(QueueError::Topology(format!("{object}: it was not made"))),
        }
    }
    Ok(())
}

/// Compares the broker with [`describe_topology`], but for bindings.
pub async fn topology_differences(settings: &RabbitSettings) -> Result<Vec<Difference>, QueueError> {
    let connection = connect(settings).await?;
    let mut differences = Vec::new();
    for object in describe_topology(settings) {
        if matches!(object, TopologyObject::Binding { .. }) {
            continue;
        }
        let comparing = compare(&connection, &object);
        if let Some(problem) = within(ASK_DEADLINE, "compare the topology", comparing).await? {
            differences.push(Difference { object, problem });
        }
    }
    Ok(differences)
}

/// Names what is missing, without changing anything.
pub(super) async fn missing(connection: &Connection, settings: &RabbitSettings) -> Result<Vec<String>, QueueError> {
    let mut missing = Vec::new();
    let mut channel = connection.create_channel().await.map_err(unavailable)?;
    for object in describe_topology(settings) {
        let Err(error) = declare(&channel, &object, true).await else { continue };
        if refusal(&error).is_none() {
            return Err(unavailable(error));
        }
        missing.push(object.to_string());
        // The broker closes a channel on which something was not found.
        channel = connection.create_channel().await.map_err(unavailable)?;
    }
    Ok(missing)
}

/// Messages that wait, per lane; those in the hands of consumers are not among them.
pub(super) async fn waiting(connection: &Connection, prefix: &str) -> Result<Vec<(Lane, u64)>, QueueError> {
    let channel = connection.create_channel().await.map_err(unavailable)?;
    let mut waiting = Vec::new();
    for lane in Lane::ALL {
        let name = lane_queue(prefix, lane);
        let options = QueueDeclareOptions::durable().passive();
        let asking = channel.queue_declare(short(&name), options, FieldTable::default());
        let queue = asking.await.map_err(|error| match refusal(&error) {
            Some((_, text)) => QueueError::Topology(text),
            None => unavailable(error),
        })?;
        waiting.push((lane, u64::from(queue.message_count())));
    }
    Ok(waiting)
}

/// A name or a key as AMQP has them: at most 255 bytes. Ours are shorter; of a longer one the beginning counts.
pub(super) fn short(text: &str) -> ShortString {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::from(&text[..end])
}

/// What the broker says about a channel it closed: code and text. `None` for everything else.
pub(super) fn refusal(error: &lapin::Error) -> Option<(u16, String)> {
    let ErrorKind::ProtocolError(said) = error.kind() else { return None };
    error.is_amqp_soft_error().then(|| (said.get_id(), said.get_message().to_string()))
}

/// To the first node that lets us in.
async fn connect(settings: &RabbitSettings) -> Result<Connection, QueueError> {
    let mut failed = QueueError::Unavailable("no node is named".into());
    for node in &settings.nodes {
        let connecting = async {
            let properties = ConnectionProperties::default().with_connection_name("landfall topology".into());
            Connection::connect_uri(node.clone(), properties).await.map_err(unavailable)
        };
        match within(ASK_DEADLINE * 2, "connect", connecting).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Looks first, so that comparing makes nothing; then declares anew, which the broker refuses if arguments differ.
async fn compare(connection: &Connection, object: &TopologyObject) -> Result<Option<Problem>, QueueError> {
    let channel = connection.create_channel().await.map_err(unavailable)?;
    if let Err(error) = declare(&channel, object, true).await {
        return match refusal(&error) {
            Some((NOT_FOUND, _)) => Ok(Some(Problem::Missing)),
            Some((PRECONDITION_FAILED, text)) => Ok(Some(Problem::Differs(text))),
            Some((_, text)) => Err(QueueError::Topology(text)),
            None => Err(unavailable(error)),
        };
    }
    try_to_declare(connection, object).await
}

/// Declares an object. The broker compares one argument after another and names the first that differs: a queue that is
/// there with another bound is declared once more with that one, to see whether all else fits.
async fn try_to_declare(connection: &Connection, object: &TopologyObject) -> Result<Option<Problem>, QueueError> {
    let mut object = object.clone();
    let mut bound = None;
    loop {
        let channel = connection.create_channel().await.map_err(unavailable)?;
        let Err(error) = declare(&channel, &object, false).await else { return Ok(bound) };
        let text = match refusal(&error) {
            Some((PRECONDITION_FAILED, text)) => text,
            Some((_, text)) => return Err(QueueError::Topology(format!("{object}: {text}"))),
            None => return Err(unavailable(error)),
        };
        let (TopologyObject::Queue { arguments, .. }, Some(bytes_max), None) = (&mut object, bound_of(&text), &bound)
        else {
            return Ok(Some(Problem::Differs(text)));
        };
        arguments.retain(|(name, _)| *name != BOUND);
        arguments.extend(bytes_max.map(|bytes| (BOUND, bytes.to_string())));
        bound = Some(Problem::Bound { bytes_max });
    }
}

/// The bound that a queue has, if the broker says that this is where it differs.
///
/// - Shapes: `… inequivalent arg 'x-max-length-bytes' for queue … received … but current is none`, or `… but current is
///   the value '1024' of type 'long'`.
fn bound_of(text: &str) -> Option<Option<u64>> {
    text.split_once(&format!("inequivalent arg '{BOUND}'"))?;
    let (_, current) = text.rsplit_once("but current is ")?;
    if current.starts_with("none") {
        return Some(None);
    }
    current.split('\'').nth(1)?.parse().ok().map(Some)
}

/// Declares an object, or with `passive` only looks for it. A binding can only be made.
async fn declare(channel: &Channel, object: &TopologyObject, passive: bool) -> lapin::Result<()> {
    match object {
        TopologyObject::Exchange { name, kind } => {
            let options = ExchangeDeclareOptions { durable: true, passive, ..Default::default() };
            let kind = ExchangeKind::Custom((*kind).into());
            channel.exchange_declare(short(name), kind, options, FieldTable::default()).await
        }
        TopologyObject::Queue { name, arguments } => {
            let options = QueueDeclareOptions { durable: true, passive, ..Default::default() };
            channel.queue_declare(short(name), options, table(arguments)).await.map(drop)
        }
        TopologyObject::Binding { .. } if passive => Ok(()),
        TopologyObject::Binding { exchange, queue, routing_key } => {
            let (queue, exchange, key) = (short(queue), short(exchange), short(routing_key));
            channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await
        }
    }
}

/// Numbers as numbers: the broker compares types too.
fn table(arguments: &[(&'static str, String)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value.parse::<i64>() {
            Ok(number) => AMQPValue::LongLongInt(number),
            Err(_) => AMQPValue::LongString(value.as_str().into()),
        };
        table.insert((*name).into(), value);
    }
    table
}
