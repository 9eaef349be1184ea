//! Getting back what was lost while we could not be reached: what it is, what it costs, and whether it is all.
//!
//! First the connections (a reconcile), then what Terra says it could not deliver is sent again, then REST covers the
//! rest: events that cannot be sent again, and the time of which Terra's log tells nothing. The end is a sentence.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use terra::event::{DataKind, Kind};
use uuid::Uuid;

use crate::fetch::{HISTORY_KINDS, Window};
use crate::id::{AliasKey, Environment};
use crate::reconcile::ReconcileId;

pub mod words;

pub use words::{preview, sentence};

/// Terra forgets deliveries after this (agent-skills, webhook-debugging.md, read 2026-11-22).
pub const LOG_KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// After so long without one success Terra disables the destination: from then on it does not even try, and its log
/// has nothing.
pub const DISABLED_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// How long an event that Terra was asked to send again may take to arrive.
pub const ARRIVES_WITHIN: SignedDuration = SignedDuration::from_secs(120);

/// How often Terra is asked to send one event again. Each time is an event on its bill.
pub const RESENDS_MAX: u32 = 3;

/// Pauses in what we received that are worth a word.
pub const PAUSE_MIN: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecoveryId(pub Uuid);

impl std::fmt::Display for RecoveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One recovery as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    pub id: RecoveryId,
    /// `None`: every environment that has credentials.
    pub environment: Option<Environment>,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Terra's names of events; empty: all.
    pub kinds: Vec<String>,
    pub dry_run: bool,
    pub actor: String,
    pub requested_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub step: Step,
    pub progress: Progress,
    /// Why it failed.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Queued,
    /// Reconciling, and reading Terra's log.
    Counting,
    /// The end of a dry run.
    Previewed,
    Resending,
    Arriving,
    Fetching,
    Complete,
    Incomplete,
    Failed,
}

impl Step {
    pub const ALL: [Step; 9] = [
        Step::Queued,
        Step::Counting,
        Step::Previewed,
        Step::Resending,
        Step::Arriving,
        Step::Fetching,
        Step::Complete,
        Step::Incomplete,
        Step::Failed,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Step::Queued => "queued",
            Step::Counting => "counting",
            Step::Previewed => "previewed",
            Step::Resending => "resending",
            Step::Arriving => "arriving",
            Step::Fetching => "fetching",
            Step::Complete => "complete",
            Step::Incomplete => "incomplete",
            Step::Failed => "failed",
        }
    }

    pub fn parse(label: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.label() == label)
    }

    pub fn is_over(self) -> bool {
        match self {
            Step::Queued | Step::Counting | Step::Resending | Step::Arriving | Step::Fetching => false,
            Step::Previewed | Step::Complete | Step::Incomplete | Step::Failed => true,
        }
    }
}

/// A time in which nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// What was found, and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The longest pauses in what we received, longest first.
    pub pauses: Vec<Pause>,
    /// Terra's own log could be read.
    pub has_log: bool,
    /// Events that Terra could not deliver and that we have not.
    pub events: u64,
    pub events_by_type: BTreeMap<String, u64>,
    /// The time of which Terra's log tells nothing: every connection is asked for it.
    pub unlogged: Option<Pause>,
    /// Connections that are asked for the unlogged time.
    pub connections: u64,
    /// Requests for data, expected at first, then those that were made.
    pub requests: u64,
    pub resent: u64,
    pub arrived: u64,
    /// Could not be sent again, or did not arrive.
    pub lost: u64,
    /// Of these: the ones that no request for data brings back.
    pub beyond_reach: BTreeMap<String, u64>,
    pub requests_open: u64,
    pub requests_failed: u64,
    pub reconcile: Option<ReconcileId>,
    /// Why who is connected could not be compared.
    pub reconcile_failed: Option<String>,
    /// What it costs: events that Terra will deliver and count, at least.
    pub cost_events: u64,
    /// How long it takes, about, in seconds.
    pub seconds: u64,
}

/// An event that Terra could not deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    pub environment: Environment,
    /// Terra's id of the event; for most the trace id of its deliveries.
    pub event_id: String,
    pub event_type: String,
    /// Empty where it is nobody's.
    pub terra_user_id: String,
    pub sent_at: Timestamp,
    pub state: MissedState,
    pub resent_at: Option<Timestamp>,
    /// How often Terra was asked to send it again.
    pub attempts: u32,
}

impl Missed {
    /// What becomes of an event that was sent again: `processed` says that it reached us, `delivered` what Terra's log says
    /// of the newest attempt, if it was asked and knows one that is newer than the loss.
    pub fn after(&self, processed: bool, delivered: Option<bool>, waited: SignedDuration) -> MissedState {
        match (processed, delivered) {
            (true, _) | (_, Some(true)) => MissedState::Arrived,
            (false, Some(false)) if self.attempts < RESENDS_MAX => MissedState::Pending,
            (false, Some(false)) => MissedState::Lost,
            (false, None) if waited >= ARRIVES_WITHIN => MissedState::Lost,
            (false, None) => MissedState::Resent,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MissedState {
    Pending,
    Resent,
    Arrived,
    Lost,
}

impl MissedState {
    pub const ALL: [MissedState; 4] =
        [MissedState::Pending, MissedState::Resent, MissedState::Arrived, MissedState::Lost];

    pub fn label(self) -> &'static str {
        match self {
            MissedState::Pending => "pending",
            MissedState::Resent => "resent",
            MissedState::Arrived => "arrived",
            MissedState::Lost => "lost",
        }
    }

    pub fn parse(label: &str) -> Option<MissedState> {
        MissedState::ALL.into_iter().find(|state| state.label() == label)
    }
}

/// How fast this may go, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    pub resend: u32,
    pub fetch: u32,
}

/// The part of an outage of which Terra's log tells nothing: older than it is kept, or when it had given up on us.
pub fn unlogged(from: Timestamp, to: Timestamp, now: Timestamp, has_log: bool) -> Option<Pause> {
    if !has_log {
        return Some(Pause { from, to });
    }
    let kept_since = now.checked_sub(LOG_KEPT).unwrap_or(Timestamp::MIN);
    let forgotten = (from < kept_since).then(|| Pause { from, to: to.min(kept_since) });
    let given_up_at = from.checked_add(DISABLED_AFTER).unwrap_or(Timestamp::MAX);
    let given_up = (given_up_at < to).then_some(Pause { from: given_up_at, to });
    match (forgotten, given_up) {
        (Some(forgotten), Some(given_up)) => {
            Some(Pause { from: forgotten.from.min(given_up.from), to: forgotten.to.max(given_up.to) })
        }
        (forgotten, given_up) => forgotten.or(given_up),
    }
}

/// The days that may hold what was to be sent in this time: data of a day comes until the day after.
pub fn days(pause: Pause) -> Window {
    let date = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let start = date(pause.from);
    Window {
        start: start.yesterday().unwrap_or(start),
        end: date(pause.to).tomorrow().unwrap_or(jiff::civil::Date::MAX),
    }
}

/// The kinds that REST brings back, out of those that are wanted.
pub fn fetchable(kinds: &[String]) -> Vec<DataKind> {
    let is_wanted = |kind: &DataKind| kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind.label());
    HISTORY_KINDS.into_iter().filter(is_wanted).collect()
}

/// Whether requests for data, or comparing connections, bring back what an event of this type told.
pub fn is_within_reach(event_type: &str) -> bool {
    let kind = Kind::parse(event_type);
    let is_data = kind.data_kind().is_some_and(|kind| HISTORY_KINDS.contains(&kind));
    // What announces, warns or measures is of no use afterwards.
    let is_passing = match kind {
        Kind::LargeRequestProcessing
        | Kind::LargeRequestSending
        | Kind::S3Payload
        | Kind::Processing
        | Kind::RateLimitHit
        | Kind::Healthcheck
        | Kind::GoogleNoDatasource
        | Kind::AuthCancelled => true,
        Kind::Auth
        | Kind::UserReauth
        | Kind::Deauth
        | Kind::AccessRevoked
        | Kind::ConnectionError
        | Kind::PermissionChange
        | Kind::Activity
        | Kind::Sleep
        | Kind::Daily
        | Kind::Body
        | Kind::Nutrition
        | Kind::Menstruation
        | Kind::Athlete
        | Kind::PlannedWorkout
        | Kind::Hormone
        | Kind::HealthObservation
        | Kind::LabReportCompleted
        | Kind::LabReportFailed
        | Kind::Other => false,
    };
    is_data || is_passing || kind.is_lifecycle()
}

/// One wish per alias and kind for events that are lost: the days around all of them.
pub fn rest(lost: &[Missed]) -> Vec<(AliasKey, DataKind, Window)> {
    let mut wishes: BTreeMap<(AliasKey, DataKind), Window> = BTreeMap::new();
    for event in lost.iter().filter(|event| !event.terra_user_id.is_empty()) {
        let kind = Kind::parse(&event.event_type).data_kind().filter(|kind| HISTORY_KINDS.contains(kind));
        let Some(kind) = kind else { continue };
        let days = days(Pause { from: event.sent_at, to: event.sent_at });
        wishes
            .entry((AliasKey::new(&event.environment, &event.terra_user_id), kind))
            .and_modify(|known| *known = known.hull(&days))
            .or_insert(days);
    }
    wishes.into_iter().map(|((alias, kind), days)| (alias, kind, days)).collect()
}

/// Counts lost events that nothing brings back, by type.
pub fn beyond_reach(lost: &[Missed]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for event in lost.iter().filter(|event| !is_within_reach(&event.event_type)) {
        *counts.entry(event.event_type.clone()).or_default() += 1;
    }
    counts
}

/// Of several attempts of one event the first counts; what has arrived since is left out.
pub fn missed(attempts: Vec<Missed>, arrived: &BTreeSet<(Environment, String)>) -> Vec<Missed> {
    let mut first: BTreeMap<(Environment, String), Missed> = BTreeMap::new();
    for attempt in attempts {
        let key = (attempt.environment.clone(), attempt.event_id.clone());
        if !arrived.contains(&key) {
            first.entry(key).and_modify(|known| known.sent_at = known.sent_at.min(attempt.sent_at)).or_insert(attempt);
        }
    }
    first.into_values().collect()
}

impl Progress {
    /// What the recovery will cost: every event that is sent again, and at least one for every request.
    pub fn estimate(&mut self, rates: Rates) {
        self.cost_events = self.events + self.requests;
        let seconds = |count: u64, rate: u32| count.div_ceil(u64::from(rate.max(1)));
        let arriving = if self.events > 0 { ARRIVES_WITHIN.as_secs() as u64 / 4 } else { 0 };
        self.seconds = seconds(self.events, rates.resend) + arriving + seconds(self.requests, rates.fetch);
    }

    /// How it ended, once nothing is open any more.
    pub fn end(&self) -> Step {
        let is_whole = self.beyond_reach.is_empty() && self.requests_failed == 0 && self.reconcile_failed.is_none();
        if is_whole { Step::Complete } else { Step::Incomplete }
    }
}

#[cfg(test)]
mod tests;
