//! Backfills: how much of a wish has come, what is missing, and what to do about it.
//!
//! What is stored are facts that may arrive in any order and more than once: what we asked, what Terra announced, which
//! chunks came. Everything here is a pure function of them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use terra::event::DataKind;

use crate::fetch::Window;
use crate::id::FetchJobId;

mod missing;
mod note;

pub use missing::missing;
pub use note::{Noted, note};

/// How often the same gap is asked for again.
pub const ROUNDS_MAX: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillState {
    Open,
    Complete,
    /// Nobody asks any more, and not everything came.
    Incomplete,
}

impl BackfillState {
    pub const ALL: [BackfillState; 3] = [BackfillState::Open, BackfillState::Complete, BackfillState::Incomplete];

    pub fn label(self) -> &'static str {
        match self {
            BackfillState::Open => "open",
            BackfillState::Complete => "complete",
            BackfillState::Incomplete => "incomplete",
        }
    }

    pub fn parse(label: &str) -> Option<BackfillState> {
        BackfillState::ALL.into_iter().find(|state| state.label() == label)
    }
}

/// One delivery of data that came under Terra's reference of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// As its trace id has it, `<id>:chunk:<n>`: only large requests number what they send.
    pub number: Option<u32>,
    pub items: u32,
    pub bytes: u64,
    /// First and last start of a record in it, as dated by Terra.
    pub days: Option<(Date, Date)>,
    pub received_at: Timestamp,
}

/// What Terra sent under one reference, by dedupe key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// A large request was announced.
    pub announced_at: Option<Timestamp>,
    pub expected: Option<u32>,
    pub chunks: BTreeMap<String, Chunk>,
}

impl Sent {
    /// Adds a chunk: the same one again changes nothing.
    pub fn absorb_chunk(&mut self, key: &str, chunk: Chunk) {
        let Some(kept) = self.chunks.get_mut(key) else {
            self.chunks.insert(key.to_owned(), chunk);
            return;
        };
        kept.items = kept.items.max(chunk.items);
        kept.bytes = kept.bytes.max(chunk.bytes);
        kept.received_at = kept.received_at.min(chunk.received_at);
    }

    /// Adds an announcement. Of different counts the greater is believed.
    pub fn absorb_announcement(&mut self, expected: Option<u32>, at: Timestamp) {
        self.announced_at = Some(self.announced_at.map_or(at, |before| before.min(at)));
        self.expected = self.expected.max(expected);
    }

    fn is_large(&self) -> bool {
        self.announced_at.is_some() || self.chunks.values().any(|chunk| chunk.number.is_some())
    }

    /// An ordinary request sends one delivery; a large one as many as it announced.
    pub fn is_whole(&self) -> bool {
        match self.expected {
            Some(expected) => self.count() >= u64::from(expected),
            None => !self.is_large() && !self.chunks.is_empty(),
        }
    }

    fn count(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// Payloads to come in all, as far as known.
    fn expected(&self) -> u64 {
        let unknown = self.count() + u64::from(self.is_large());
        self.expected.map_or(unknown, u64::from).max(u64::from(self.expected.is_none()))
    }

    fn last_at(&self) -> Option<Timestamp> {
        self.chunks.values().map(|chunk| chunk.received_at).chain(self.announced_at).max()
    }
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskState {
    Queued,
    /// Terra took it: the data comes by webhook.
    Requested,
    /// The data was in the answer, or there is none.
    Answered,
    Failed {
        reason: String,
    },
}

/// One request of a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub id: FetchJobId,
    /// `None` for a request that we did not make.
    pub kind: Option<DataKind>,
    pub window: Option<Window>,
    pub state: AskState,
    /// When it came into this state.
    pub since: Timestamp,
    /// Of an answer that held the data.
    pub bytes: u64,
    pub reference: Option<String>,
    pub sent: Sent,
    /// Whose missing part it asks for, and for the how-manieth time.
    pub gap: Option<(FetchJobId, u32)>,
}

impl Asked {
    fn is_whole(&self) -> bool {
        match self.state {
            AskState::Answered => true,
            AskState::Requested => self.sent.is_whole(),
            AskState::Queued | AskState::Failed { .. } => false,
        }
    }

    fn last_at(&self) -> Timestamp {
        self.sent.last_at().map_or(self.since, |last| last.max(self.since))
    }
}

/// How far a backfill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub requested: u32,
    pub expected: u64,
    pub received: u64,
    pub bytes: u64,
    pub items: u64,
    pub last_at: Option<Timestamp>,
}

/// Counts payloads: those announced, else one for each request. What was asked for again counts once.
pub fn progress(asked: &[Asked]) -> Progress {
    let mut progress = Progress { requested: 0, expected: 0, received: 0, bytes: 0, items: 0, last_at: None };
    for one in asked {
        progress.bytes += one.bytes + one.sent.chunks.values().map(|chunk| chunk.bytes).sum::<u64>();
        progress.items += one.sent.chunks.values().map(|chunk| u64::from(chunk.items)).sum::<u64>();
        progress.last_at = progress.last_at.max(Some(one.last_at()));
    }
    for root in roots(asked) {
        let expected = root.sent.expected();
        progress.requested += 1;
        progress.expected += expected;
        progress.received += if is_filled(root, asked) { expected } else { root.sent.count().min(expected) };
    }
    progress
}

fn roots(asked: &[Asked]) -> impl Iterator<Item = &Asked> {
    asked.iter().filter(|one| one.gap.is_none())
}

fn round_of<'a>(root: &'a Asked, asked: &'a [Asked], round: u32) -> impl Iterator<Item = &'a Asked> {
    asked.iter().filter(move |one| one.gap == Some((root.id, round)))
}

fn last_round(root: &Asked, asked: &[Asked]) -> u32 {
    asked.iter().filter_map(|one| one.gap).filter(|(of, _)| *of == root.id).map(|(_, round)| round).max().unwrap_or(0)
}

/// It came whole, or what was missing of it came when it was asked for again.
fn is_filled(root: &Asked, asked: &[Asked]) -> bool {
    let filled = |round| {
        let mut gaps = round_of(root, asked, round).peekable();
        gaps.peek().is_some() && gaps.all(Asked::is_whole)
    };
    root.is_whole() || (1..=last_round(root, asked)).any(filled)
}

/// A part to ask for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    pub of: FetchJobId,
    pub kind: DataKind,
    pub windows: Vec<Window>,
    pub round: u32,
}

/// What to do about a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// Some of it is on its way, some may be due to be asked for again.
    Open {
        again: Vec<Again>,
        look_at: Timestamp,
    },
    Complete,
    Incomplete {
        reason: String,
    },
}

enum Standing {
    Filled,
    /// Nothing to do before then.
    Waits(Timestamp),
    Again(Again),
    Lost(String),
}

/// Judges a backfill. `stall`: nothing new for so long, and what is missing is asked for again.
pub fn conclude(asked: &[Asked], now: Timestamp, stall: Duration) -> Conclusion {
    let (mut again, mut look_at, mut lost) = (Vec::new(), None, None);
    for root in roots(asked) {
        match standing(root, asked, now, stall) {
            Standing::Filled => {}
            Standing::Waits(until) => look_at = Some(look_at.map_or(until, |at: Timestamp| at.min(until))),
            Standing::Again(part) => again.push(part),
            Standing::Lost(reason) => lost = lost.or(Some(reason)),
        }
    }
    match (look_at, lost) {
        (None, _) if !again.is_empty() => Conclusion::Open { again, look_at: crate::fetch::later(now, stall) },
        (Some(look_at), _) => Conclusion::Open { again, look_at },
        (None, Some(reason)) => Conclusion::Incomplete { reason },
        (None, None) => Conclusion::Complete,
    }
}

fn standing(root: &Asked, asked: &[Asked], now: Timestamp, stall: Duration) -> Standing {
    if is_filled(root, asked) {
        return Standing::Filled;
    }
    let round = last_round(root, asked);
    let current: Vec<&Asked> =
        if round == 0 { vec![root] } else { round_of(root, asked, round).filter(|one| !one.is_whole()).collect() };
    let stalls_at = |one: &Asked| crate::fetch::later(one.last_at(), stall);
    // What waits in the queue is nobody's loss: it is looked at again when it was asked.
    let waits = |one: &&Asked| match one.state {
        AskState::Queued => Some(Timestamp::MAX),
        AskState::Requested => Some(stalls_at(one)).filter(|at| *at > now),
        AskState::Answered | AskState::Failed { .. } => None,
    };
    if let Some(until) = current.iter().filter_map(waits).min() {
        return Standing::Waits(until);
    }
    if let AskState::Failed { reason } = &root.state {
        return Standing::Lost(reason.clone());
    }
    // Its own data may still have trickled in while a gap was asked for.
    if stalls_at(root) > now && round == 0 {
        return Standing::Waits(stalls_at(root));
    }
    let (Some(kind), Some(window)) = (root.kind, root.window) else { return Standing::Lost("days_unknown".into()) };
    if round >= ROUNDS_MAX {
        let failed = current.iter().find_map(|one| match &one.state {
            AskState::Failed { reason } => Some(reason.clone()),
            AskState::Queued | AskState::Requested | AskState::Answered => None,
        });
        return Standing::Lost(failed.unwrap_or_else(|| "never_came".into()));
    }
    Standing::Again(Again { of: root.id, kind, windows: missing(window, &root.sent), round: round + 1 })
}

/// Since when nothing has come of a request that was taken and has not come whole.
pub fn stalled_since(asked: &[Asked], now: Timestamp, stall: Duration) -> Option<Timestamp> {
    let stalls = |root: &&Asked| {
        root.state == AskState::Requested
            && !is_filled(root, asked)
            && crate::fetch::later(root.last_at(), stall) <= now
    };
    roots(asked).filter(stalls).map(Asked::last_at).min()
}

/// The days that are missing of each request that has not come whole.
pub fn missing_days(asked: &[Asked]) -> Vec<(DataKind, Window)> {
    let mut days = Vec::new();
    for root in roots(asked).filter(|root| !is_filled(root, asked)) {
        if let (Some(kind), Some(window)) = (root.kind, root.window) {
            days.extend(missing(window, &root.sent).into_iter().map(|window| (kind, window)));
        }
    }
    days
}

#[cfg(test)]
mod tests;
