//! What the store is asked and answers about replays, dead letters, and who did what.

use std::collections::BTreeMap;

use domain::id::DeliveryId;
use domain::replay::{Predicted, Predictions};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use terra::event::Kind;

use super::tx::LedgerOutcome;
use crate::queue::Job;

/// A delivery that a selection matches.
#[derive(Debug, Clone)]
pub struct Selected {
    pub job: Job,
    pub outcome: LedgerOutcome,
    /// Why, where it is in trouble.
    pub reason: Option<String>,
}

/// A delivery of a run whose turn has come.
#[derive(Debug, Clone)]
pub struct ReplayItem {
    pub delivery: DeliveryId,
    /// It has ended a process, and is worked alone.
    pub at_risk: bool,
    pub turn: Turn,
}

/// What there is to do with a delivery whose turn has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// It is worked: the delivery and its tries so far.
    Work(Box<Job>, u32),
    /// A person discarded it since it was chosen.
    Discarded,
    /// Its row is past the retention.
    Gone,
}

/// A delivery of a run and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayedView {
    pub delivery: DeliveryId,
    pub received_at: Timestamp,
    /// What a look at it before said that replaying would do: `change`, `nothing`, `kept`, `fail`, `unknown`.
    pub predicted: String,
    /// `pending`, `changed`, `unchanged`, `kept`, `failed`, `gone`, `discarded`.
    pub state: String,
    /// Why it failed.
    pub reason: Option<String>,
}

/// A chosen delivery, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub delivery: DeliveryId,
    pub received_at: Timestamp,
    pub outcome: LedgerOutcome,
    pub predicted: Predicted,
}

/// What a run has chosen, in numbers of deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    pub deliveries: u64,
    pub users: u64,
    pub first_at: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
    pub predicted: Predictions,
    pub by_type: BTreeMap<String, u64>,
    pub by_class: BTreeMap<String, u64>,
    pub by_outcome: BTreeMap<String, u64>,
}

/// Deliveries of a run that have all of this in common.
pub(super) struct PreviewPart {
    pub(super) type_name: Option<String>,
    pub(super) class: Option<String>,
    pub(super) outcome: String,
    pub(super) predicted: Predicted,
    pub(super) deliveries: u64,
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
}

impl Preview {
    pub(super) fn of(parts: Vec<PreviewPart>, users: u64) -> Preview {
        let mut preview = Preview { users, ..Preview::default() };
        for part in parts {
            let count = part.deliveries;
            preview.deliveries += count;
            preview.first_at = Some(preview.first_at.map_or(part.first_at, |at| at.min(part.first_at)));
            preview.last_at = Some(preview.last_at.map_or(part.last_at, |at| at.max(part.last_at)));
            preview.predicted.add(part.predicted, count);
            // From our own list of names: what is sent as one may be anything.
            let kind = part.type_name.as_deref().map_or(Kind::Other, Kind::parse);
            *preview.by_type.entry(kind.label().to_owned()).or_default() += count;
            *preview.by_outcome.entry(part.outcome).or_default() += count;
            if let Some(class) = part.class {
                *preview.by_class.entry(class).or_default() += count;
            }
        }
        preview
    }
}

/// Dead letters with one fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadGroup {
    pub fingerprint: String,
    pub class: Option<String>,
    pub reason: Option<String>,
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    pub deliveries: u64,
    pub users: u64,
    /// When the first and the last of them were received.
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// The newest of them.
    pub sample: DeliveryId,
}

/// Something a person did that must not be forgotten.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    pub actor: String,
    pub action: &'static str,
    /// What it was done to.
    pub subject: String,
    pub detail: Value,
}

#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub subject: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct AuditView {
    /// Ascending in the order of deciding.
    pub id: i64,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: Value,
}
