//! Replaying: deliveries of the ledger are worked again from their stored bytes, under their old order and key.
//!
//! A run is counted first, then one delivery is worked, and only if one went well the rest. What it did to each is kept
//! with the effects, so that a run goes on exactly where it was stopped, however that happened.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::delivery::{Admission, Delivery};
use crate::id::{DeliveryId, derived_uuid};
use crate::plan::{Disposition, Plan};
use crate::record::{self, Change, Kept, RecordKey};
use crate::settle::class::Class;

pub mod care;
pub mod words;

pub use care::{Care, InHand, care};
pub use words::sentence;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplayId(pub Uuid);

impl std::fmt::Display for ReplayId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ReplayId {
    /// What the ids of the events of one replayed delivery are made of: another run makes others.
    pub fn cause(self, delivery: DeliveryId) -> Uuid {
        derived_uuid(&[b"replay", self.0.as_bytes(), delivery.0.as_bytes()])
    }
}

/// One start of a run. What a try puts into the payload store is named after it: what the try before has let go of may be
/// deleted just now, also where that was a try of the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub run: ReplayId,
    /// How often it was started before.
    pub number: u32,
}

/// Which deliveries of the ledger; what is left out is any. Ids stand alone: with them only the outcome counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<DeliveryId>,
    /// A label of the ledger. Left out: what was processed, set aside, or is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Terra's name of the event.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// The internal user, through the aliases that are theirs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terra_user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Received at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Received before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// One run as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    pub id: ReplayId,
    pub selection: Selection,
    pub state: State,
    /// Count, say what it would do, and wait to be started.
    pub dry_run: bool,
    pub actor: String,
    /// Deliveries a second at most.
    pub rate: u32,
    pub requested_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// The last delivery that was counted.
    pub position: Option<DeliveryId>,
    pub progress: Progress,
    /// Why it failed.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Choosing deliveries, and looking what working each again would do.
    Counting,
    /// Counted, and nothing was done.
    Previewed,
    Running,
    Done,
    /// A person stopped it; it may be started again.
    Cancelled,
    /// Those that were tried first failed again, and no other was touched; it may be started again.
    Failed,
}

impl State {
    pub const ALL: [State; 6] =
        [State::Counting, State::Previewed, State::Running, State::Done, State::Cancelled, State::Failed];

    pub fn label(self) -> &'static str {
        match self {
            State::Counting => "counting",
            State::Previewed => "previewed",
            State::Running => "running",
            State::Done => "done",
            State::Cancelled => "cancelled",
            State::Failed => "failed",
        }
    }

    pub fn parse(label: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.label() == label)
    }
}

/// What a person may say to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Start,
    Cancel,
}

impl Replay {
    /// The run after an order; `None` where there is nothing to start or to cancel.
    pub fn ordered(&self, order: Order, now: Timestamp) -> Option<Replay> {
        match (order, self.state) {
            (Order::Start, State::Previewed | State::Cancelled | State::Failed) => Some(Replay {
                state: if self.progress.counted { State::Running } else { State::Counting },
                dry_run: false,
                finished_at: None,
                reason: None,
                // After a pause one goes first again: what was true then may not be now.
                progress: Progress {
                    proven: false,
                    in_hand: None,
                    starts: self.progress.starts + 1,
                    ..self.progress.clone()
                },
                ..self.clone()
            }),
            (Order::Cancel, State::Counting | State::Previewed | State::Running) => {
                Some(Replay { state: State::Cancelled, finished_at: Some(now), ..self.clone() })
            }
            (Order::Start, State::Counting | State::Running | State::Done)
            | (Order::Cancel, State::Done | State::Cancelled | State::Failed) => None,
        }
    }

    pub fn last_start(&self) -> Start {
        Start { run: self.id, number: self.progress.starts }
    }

    /// How many deliveries may be worked at once: one until one went well.
    pub fn step(&self) -> u32 {
        if self.progress.proven { (self.rate / STEPS_PER_SECOND).clamp(1, STEP_MAX) } else { 1 }
    }
}

/// Deliveries that may fail at the beginning, of different causes where there are some, before a run stops: one that is bad
/// for itself must not keep all others waiting.
pub const FIRSTS_MAX: u64 = 3;

/// A run that is fast works small batches instead of waiting between single deliveries.
const STEPS_PER_SECOND: u32 = 10;
const STEP_MAX: u32 = 50;

/// What was found, and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Everything that matches was found.
    pub counted: bool,
    pub deliveries: u64,
    pub users: u64,
    /// When the first and the last of them were received.
    pub first_at: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
    pub predicted: Predictions,
    pub by_type: BTreeMap<String, u64>,
    /// Of those in trouble.
    pub by_class: BTreeMap<String, u64>,
    pub by_outcome: BTreeMap<String, u64>,
    /// A person started it so often.
    pub starts: u32,
    /// One went well since the last start.
    pub proven: bool,
    pub items: Items,
    /// The last delivery that may be chosen, which is the highest id in the ledger when the run was asked for. A time would
    /// leave out what a receiver whose clock is ahead has stamped; every delivery that was in the ledger then is within
    /// this, whatever any clock said. What comes later from a clock that is ahead may be within it too: it is chosen if
    /// the counting has not passed its place yet, and the counting ends, because ids only go up to here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DeliveryId>,
    /// What the last step took; written before it is worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_hand: Option<InHand>,
}

/// What a look at the deliveries says that replaying would do, by number of deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Predictions {
    pub change: u64,
    pub nothing: u64,
    /// Kept without effects again.
    pub kept: u64,
    pub fail: u64,
    /// It has ended a process, and nobody looked.
    pub unknown: u64,
}

impl Predictions {
    pub fn add(&mut self, predicted: Predicted, deliveries: u64) {
        match predicted {
            Predicted::Change => self.change += deliveries,
            Predicted::Nothing => self.nothing += deliveries,
            Predicted::Kept => self.kept += deliveries,
            Predicted::Fail => self.fail += deliveries,
            Predicted::Unknown => self.unknown += deliveries,
        }
    }
}

/// What became of the deliveries of a run, by number of deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Items {
    pub pending: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub kept: u64,
    pub failed: u64,
    pub gone: u64,
    pub discarded: u64,
}

impl Items {
    pub fn add(&mut self, state: ItemState, deliveries: u64) {
        match state {
            ItemState::Pending => self.pending += deliveries,
            ItemState::Changed => self.changed += deliveries,
            ItemState::Unchanged => self.unchanged += deliveries,
            ItemState::Kept => self.kept += deliveries,
            ItemState::Failed => self.failed += deliveries,
            ItemState::Gone => self.gone += deliveries,
            ItemState::Discarded => self.discarded += deliveries,
        }
    }

    /// Worked, with or without an effect.
    pub fn worked(&self) -> u64 {
        self.changed + self.unchanged + self.kept
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemState {
    Pending,
    /// It took effect for the first time, or changed something.
    Changed,
    /// Everything it says is known, or something newer is.
    Unchanged,
    /// Set aside or quarantined again.
    Kept,
    Failed,
    /// Its row in the ledger was past the retention.
    Gone,
    /// A person discarded it before its turn came.
    Discarded,
}

impl ItemState {
    pub const ALL: [ItemState; 7] = [
        ItemState::Pending,
        ItemState::Changed,
        ItemState::Unchanged,
        ItemState::Kept,
        ItemState::Failed,
        ItemState::Gone,
        ItemState::Discarded,
    ];

    pub fn label(self) -> &'static str {
        match self {
            ItemState::Pending => "pending",
            ItemState::Changed => "changed",
            ItemState::Unchanged => "unchanged",
            ItemState::Kept => "kept",
            ItemState::Failed => "failed",
            ItemState::Gone => "gone",
            ItemState::Discarded => "discarded",
        }
    }

    pub fn parse(label: &str) -> Option<ItemState> {
        ItemState::ALL.into_iter().find(|state| state.label() == label)
    }
}

/// What replaying one delivery would do, as far as a look can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predicted {
    Change,
    Nothing,
    Kept,
    Fail,
    /// It has ended a process: not even a look is worth another one.
    Unknown,
}

impl Predicted {
    pub const ALL: [Predicted; 5] =
        [Predicted::Change, Predicted::Nothing, Predicted::Kept, Predicted::Fail, Predicted::Unknown];

    pub fn label(self) -> &'static str {
        match self {
            Predicted::Change => "change",
            Predicted::Nothing => "nothing",
            Predicted::Kept => "kept",
            Predicted::Fail => "fail",
            Predicted::Unknown => "unknown",
        }
    }

    /// Where it stands in line: what is likely to fail goes last, and does not decide how a run begins.
    pub fn place(self) -> u32 {
        match self {
            Predicted::Change | Predicted::Nothing | Predicted::Kept => 0,
            Predicted::Fail | Predicted::Unknown => 1,
        }
    }

    pub fn parse(label: &str) -> Option<Predicted> {
        Predicted::ALL.into_iter().find(|predicted| predicted.label() == label)
    }
}

/// Predicts from the plan of a delivery and what is kept of its records. `took_effect`: it was processed before, or another
/// delivery of the same bytes was.
pub fn predict(plan: &Plan, kept: &BTreeMap<RecordKey, Kept>, took_effect: bool) -> Predicted {
    match plan.disposition {
        Disposition::Process => {}
        Disposition::SetAside { .. } | Disposition::Quarantine { .. } | Disposition::Bury => return Predicted::Kept,
    }
    let records = plan.records.iter().enumerate();
    let changes = record::by_key(records).into_iter().any(|(key, incoming)| {
        record::merge(kept.get(key), incoming).is_some_and(|merged| merged.change != Change::None)
    });
    if changes || (plan.records.is_empty() && !took_effect) { Predicted::Change } else { Predicted::Nothing }
}

/// The delivery as a replay plans it: a person vouches for what came too late.
pub fn admitted(delivery: Delivery) -> Delivery {
    match delivery.admission {
        Admission::Quarantined => Delivery { admission: Admission::Late, ..delivery },
        Admission::Fresh | Admission::Late => delivery,
    }
}

/// The plan of a delivery that has had its effect before: what it states of records and people, which the greatest order
/// settles, and nothing that would happen a second time.
pub fn again(plan: &Plan) -> Plan {
    Plan { auth_event: None, session: None, backfill: None, instead: Vec::new(), notices: Vec::new(), ..plan.clone() }
}

#[cfg(test)]
mod tests;
