//! One reconcile as it is kept: who asked for it, how far it is, what it found.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Comparison, Finding, ReconcileId};
use crate::id::{Environment, ReferenceId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconcile {
    pub id: ReconcileId,
    /// `None`: every environment that has credentials.
    pub environment: Option<Environment>,
    /// `None`: all users.
    pub reference: Option<ReferenceId>,
    pub dry_run: bool,
    /// True where the schedule asked, false where a person did.
    pub scheduled: bool,
    pub requested_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub state: State,
    pub counts: Counts,
    /// Why it failed or was refused.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Queued,
    Running,
    Done,
    /// So many users were gone that none was revoked; all else was done.
    Refused,
    /// The list was not read to its end: nothing was revoked.
    Failed,
}

impl State {
    pub const ALL: [State; 5] = [State::Queued, State::Running, State::Done, State::Refused, State::Failed];

    pub fn label(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Done => "done",
            State::Refused => "refused",
            State::Failed => "failed",
        }
    }

    pub fn parse(label: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.label() == label)
    }

    pub fn is_over(self) -> bool {
        match self {
            State::Queued | State::Running => false,
            State::Done | State::Refused | State::Failed => true,
        }
    }
}

/// What a reconcile found, over all its environments. In a dry run: what it would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Active users that Terra listed.
    pub seen: u64,
    /// Connections of whose `auth` nothing had come.
    pub new: u64,
    pub reopened: u64,
    /// Whose reference, provider or scopes were others.
    pub changed: u64,
    /// Known to us, gone at Terra.
    pub revoked: u64,
    /// Reopened or gone by the list, and not so when Terra was asked.
    pub unconfirmed: u64,
    /// For whom Terra has sent more than we have.
    pub gaps: u64,
    /// Requests for data that were queued for them.
    pub jobs: u64,
    /// For whom Terra itself has had nothing for days.
    pub silent: u64,
}

impl Counts {
    pub fn add_comparison(&mut self, comparison: &Comparison) {
        self.seen += comparison.seen;
        self.gaps += comparison.gaps.len() as u64;
        self.silent += comparison.silent;
    }

    pub fn add_finding(&mut self, finding: &Finding) {
        match finding {
            Finding::Opened { .. } => self.new += 1,
            Finding::Reopened { .. } => self.reopened += 1,
            Finding::Changed { .. } => self.changed += 1,
            Finding::Gone { .. } => self.revoked += 1,
        }
    }
}

impl Reconcile {
    /// What came of it, as a sentence.
    pub fn text(&self) -> String {
        let counts = &self.counts;
        let would = if self.dry_run { " (nothing was changed: a dry run)" } else { "" };
        let found = format!(
            "{} users at Terra: {} new, {} reopened, {} changed, {} revoked, {} gaps ({} requests), {} silent{would}",
            counts.seen,
            counts.new,
            counts.reopened,
            counts.changed,
            counts.revoked,
            counts.gaps,
            counts.jobs,
            counts.silent
        );
        let reason = self.reason.as_deref().unwrap_or("no reason given");
        match self.state {
            State::Queued => "waiting to begin".into(),
            State::Running => format!("under way; {found}"),
            State::Done => found,
            State::Refused => format!("nobody was revoked: {reason}; {found}"),
            State::Failed => format!("failed, and nobody was revoked: {reason}"),
        }
    }
}
