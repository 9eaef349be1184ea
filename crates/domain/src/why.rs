//! Why a person's data of one kind and day is there, or is not: evidence → steps, and the layer at fault in words.
//!
//! The layers stand in the order in which data passes them. What is told are ids, times, outcomes and reasons; no value
//! of a record is among the evidence, so none can be among the words.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;
use terra::event::DataKind;

use crate::id::{ConnectionId, DeliveryId, FetchJobId, RecordId, UserId};
use crate::identity::{AliasStatus, Status};

mod steps;
mod verdict;

/// Where data passes on its way, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    Connection,
    Provider,
    Scopes,
    /// Terra had it, and sent it.
    Terra,
    /// We received it.
    Received,
    /// What became of what we received.
    Decision,
    Record,
    Event,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    Fault,
    /// Nothing speaks for it or against it.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    pub layer: Layer,
    pub state: State,
    pub words: String,
    pub facts: Value,
}

/// What it comes down to. No layer: nothing is missing, or nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub layer: Option<Layer>,
    pub words: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    pub verdict: Verdict,
    pub steps: Vec<Step>,
}

/// Everything known about one connection, kind and day.
#[derive(Debug, Clone)]
pub struct Evidence {
    pub kind: DataKind,
    pub date: Date,
    pub now: Timestamp,
    pub connection: ConnectionSeen,
    /// Whether the provider serves the kind, as far as Terra's list says.
    pub serves: Option<bool>,
    /// Older rows of the ledger are dropped.
    pub ledger_from: Timestamp,
    /// Requests of ours for that day.
    pub jobs: Vec<JobSeen>,
    /// Deliveries of the kind around that day, in answer to `jobs`, or that wrote one of `records`; newest first.
    pub deliveries: Vec<DeliverySeen>,
    /// What Terra's own log says of that kind around that day.
    pub log: LogSeen,
    /// Of that day; tombstones included.
    pub records: Vec<RecordSeen>,
    /// About `records`.
    pub events: Vec<EventSeen>,
}

#[derive(Debug, Clone)]
pub struct ConnectionSeen {
    pub id: ConnectionId,
    pub user: Option<UserId>,
    pub provider: Option<String>,
    pub status: Status,
    /// Of its current alias, whether or not a user is known.
    pub health: AliasStatus,
    pub terra_user_id: String,
    pub connected_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// The last `connection_error`.
    pub failed_at: Option<Timestamp>,
    pub scopes: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct JobSeen {
    pub id: FetchJobId,
    /// `queued`, `requested`, `done`, `nothing`, `failed`.
    pub state: String,
    pub reason: Option<String>,
    /// Of Terra's last answer.
    pub status: Option<u16>,
    pub reference: Option<String>,
    pub run_at: Timestamp,
}

/// Terra's own log of what it sent, asked where nothing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "own_log", rename_all = "snake_case")]
pub enum LogSeen {
    /// Nothing is missing, or no token is set.
    NotAsked,
    Unreachable,
    Asked {
        /// Attempts that somebody answered with 2xx.
        delivered: u32,
        failed: u32,
        /// The last answer that Terra got; absent where nobody answered.
        last_status: Option<u16>,
    },
}

/// What became of a delivery, as the ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Processed,
    Duplicate,
    SetAside,
    Quarantined,
    Retry,
    Dead,
}

#[derive(Debug, Clone)]
pub struct DeliverySeen {
    pub id: DeliveryId,
    pub received_at: Timestamp,
    pub outcome: Outcome,
    pub reason: Option<String>,
    pub retry_at: Option<Timestamp>,
    /// Parts that could not be read.
    pub unread: u32,
}

#[derive(Debug, Clone)]
pub struct RecordSeen {
    pub id: RecordId,
    pub key: String,
    pub deleted: bool,
    pub order_inferred: bool,
    /// When Terra made the version that counts.
    pub sent_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct EventSeen {
    pub record: RecordId,
    pub verb: String,
    pub position: Option<i64>,
    pub held: bool,
}

impl Evidence {
    /// Records that readers see.
    fn alive(&self) -> impl Iterator<Item = &RecordSeen> {
        self.records.iter().filter(|record| !record.deleted)
    }

    /// The first moment after the day, in UTC.
    fn day_end(&self) -> Timestamp {
        let end = self.date.tomorrow().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
        end.map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }

    fn day_start(&self) -> Timestamp {
        self.date.to_zoned(TimeZone::UTC).map_or(Timestamp::MIN, |zoned| zoned.timestamp())
    }

    fn provider(&self) -> &str {
        self.connection.provider.as_deref().unwrap_or("the provider")
    }
}

/// Walks all layers and says at which one it ended.
pub fn explain(evidence: &Evidence) -> Explanation {
    let steps = vec![
        steps::connection(evidence),
        steps::provider(evidence),
        steps::scopes(evidence),
        steps::terra(evidence),
        steps::received(evidence),
        steps::decision(evidence),
        steps::record(evidence),
        steps::event(evidence),
    ];
    Explanation { verdict: verdict::of_steps(evidence, &steps), steps }
}

/// The verdict of several connections: of the one that data came furthest through.
pub fn overall(name: &str, of_connections: &[&Explanation]) -> Verdict {
    let furthest = of_connections.iter().map(|one| &one.verdict).max_by_key(|verdict| match verdict.layer {
        Some(layer) => (false, Some(layer)),
        None => (true, None),
    });
    furthest.cloned().unwrap_or_else(|| Verdict {
        layer: Some(Layer::Connection),
        words: format!(
            "nobody is connected under `{name}`: no connection has it as its user, reference or Terra user id"
        ),
    })
}

#[cfg(test)]
mod tests;
