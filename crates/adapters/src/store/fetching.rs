//! Fetching, as far as both engines do it alike: what is asked of a lease, what it leaves behind, and which columns an
//! answer changes.

use std::collections::BTreeMap;

use domain::fetch::{Budget, Candidate, Choice, FetchJob, Pace, Reaction};
use domain::id::AliasKey;
use jiff::{SignedDuration, Timestamp};

/// What a fetcher wants to do now, and within which limits.
#[derive(Debug, Clone, Copy)]
pub struct FetchAsk {
    pub now: Timestamp,
    /// Leased jobs are hidden from others until then.
    pub until: Timestamp,
    pub pace: Pace,
    pub budget: Budget,
    pub limit: u32,
    /// Only what somebody waits for.
    pub urgent_only: bool,
}

/// Jobs, backfills and what came of them, after they were closed.
pub(super) const KEEP_ACCOUNTS: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What was spent and what rested, far beyond any budget's time.
pub(super) const KEEP_SPENDS: SignedDuration = SignedDuration::from_hours(48);

/// A user whose turn it may be.
pub(super) struct Turn {
    pub(super) alias: AliasKey,
    pub(super) priority: u8,
    pub(super) is_revoked: bool,
}

/// Looks at further users where those looked at have no room in their budget.
pub(super) const SCANS_MAX: usize = 8;

/// Users looked at in one go.
pub(super) fn turns_max(granted: u32) -> u32 {
    granted.saturating_mul(2).max(16)
}

/// Jobs read of each user: enough to fill what is granted, however many users there are.
pub(super) fn jobs_per_turn(granted: u32, turns: usize) -> u32 {
    granted.div_ceil(u32::try_from(turns.max(1)).unwrap_or(u32::MAX)) + 1
}

/// What a turn leaves behind: when it is due again (`None`: its jobs say so), and whether it was served.
pub(super) struct After {
    pub(super) due: Option<Timestamp>,
    pub(super) is_served: bool,
}

pub(super) fn afters(candidates: &[Candidate], choice: &Choice, per_turn: u32, now: Timestamp) -> Vec<After> {
    let mut chosen: BTreeMap<usize, usize> = BTreeMap::new();
    for (turn, _) in &choice.jobs {
        *chosen.entry(*turn).or_default() += 1;
    }
    let after = |(index, candidate): (usize, &Candidate)| {
        let taken = chosen.get(&index).copied().unwrap_or(0);
        let blocked = choice.blocked.iter().find(|(turn, _)| *turn == index).map(|(_, then)| *then);
        let has_more = taken < candidate.jobs.len() || candidate.jobs.len() >= per_turn as usize;
        After { due: blocked.or(has_more.then_some(now)), is_served: taken > 0 }
    };
    candidates.iter().enumerate().map(after).collect()
}

/// Which jobs of the candidates were chosen.
pub(super) fn chosen_jobs<'a>(candidates: &'a [Candidate], choice: &Choice) -> Vec<&'a FetchJob> {
    choice.jobs.iter().map(|(turn, job)| &candidates[*turn].jobs[*job]).collect()
}

/// What of a reaction is kept in columns.
pub(super) struct Ending<'a> {
    pub(super) state: &'static str,
    pub(super) run_at: Option<Timestamp>,
    pub(super) failed_tries: i32,
    pub(super) reason: Option<&'a str>,
    pub(super) reference: Option<&'a str>,
    pub(super) bytes: i64,
}

impl<'a> Ending<'a> {
    pub(super) fn of(reaction: &'a Reaction) -> Self {
        let end = Ending { state: "queued", run_at: None, failed_tries: 0, reason: None, reference: None, bytes: 0 };
        match reaction {
            Reaction::Requested { reference } => Ending { state: "requested", reference: reference.as_deref(), ..end },
            Reaction::Inline { bytes } => {
                Ending { state: "done", bytes: i64::try_from(*bytes).unwrap_or(i64::MAX), ..end }
            }
            Reaction::Nothing => Ending { state: "nothing", ..end },
            Reaction::Wait { until, reason } | Reaction::RestUser { until, reason } => {
                Ending { run_at: Some(*until), reason: Some(reason), ..end }
            }
            Reaction::Retry { at, reason } => {
                Ending { run_at: Some(*at), reason: Some(reason), failed_tries: 1, ..end }
            }
            Reaction::BackOff { at, reason, is_try, .. } => {
                Ending { run_at: Some(*at), reason: Some(reason), failed_tries: i32::from(*is_try), ..end }
            }
            Reaction::PauseEnvironment { until } => {
                Ending { run_at: Some(*until), reason: Some("credentials_refused"), ..end }
            }
            Reaction::Failed { reason } => Ending { state: "failed", reason: Some(reason), failed_tries: 1, ..end },
        }
    }
}
