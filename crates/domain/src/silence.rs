//! Who has fallen silent: one person's device, or a whole provider?
//!
//! Every (alias, kind) has a [`Rhythm`], learned from the deliveries nobody asked for: the longest pause lately. A
//! connection is stale when it has been quiet for longer than its own rhythm explains while its provider delivers to
//! others. A provider is silent for a kind when none of its many connections has delivered for longer than the pauses
//! they usually leave among them. Only time that we were there to listen counts as silence.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::id::{ConnectionId, Environment, UserId};
use crate::outgoing::Outgoing;

pub mod rhythm;
pub mod words;

pub use rhythm::{CONNECTION, PROVIDER, Rhythm};

/// Fewer connections than this give no verdict on a provider: chance alone makes them quiet together.
pub const USERS_MIN: u64 = 20;

/// Connections count for a provider while their last delivery of the kind is not older than this.
pub const USERS_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Looks further apart than this mean that nobody was listening between them.
pub const WATCH_GAP_MAX: SignedDuration = SignedDuration::from_mins(30);

/// Since when somebody has been listening without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    pub since: Timestamp,
    pub checked_at: Timestamp,
}

impl Watch {
    /// The watch as of `now`: it begins anew after a break.
    pub fn at(before: Option<Watch>, now: Timestamp) -> Watch {
        match before {
            Some(watch) if now.duration_since(watch.checked_at) <= WATCH_GAP_MAX => {
                Watch { checked_at: now.max(watch.checked_at), ..watch }
            }
            Some(_) | None => Watch { since: now, checked_at: now },
        }
    }

    /// How long it has been quiet as far as we were there to hear.
    fn quiet_for(&self, last_at: Timestamp, now: Timestamp) -> SignedDuration {
        now.duration_since(last_at.max(self.since))
    }
}

/// One kind of one provider in one environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Channel {
    pub environment: Environment,
    pub provider: String,
    /// Terra's name of the kind.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What is kept of a channel between looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelState {
    pub channel: Channel,
    pub watched_since: Timestamp,
    pub checked_at: Timestamp,
    /// The last delivery that this look found.
    pub heard_at: Timestamp,
    /// The longest pause of all its connections together, lately.
    pub longest: SignedDuration,
    pub silent: Option<Silent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent {
    /// The last delivery before the silence.
    pub last_at: Timestamp,
    /// Connections that delivered this kind before.
    pub users: u64,
}

/// A channel as a look finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSeen {
    pub channel: Channel,
    /// Connections with a learned rhythm that delivered within [`USERS_WITHIN`].
    pub users: u64,
    pub last_at: Timestamp,
    pub before: Option<ChannelState>,
}

/// A connection that is past its time, or was and is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    pub connection: ConnectionId,
    pub environment: Environment,
    pub user: Option<UserId>,
    pub terra_user_id: String,
    pub provider: Option<String>,
    /// Its last delivery of any kind.
    pub last_at: Timestamp,
    /// How long its rhythm lets it be quiet: the shortest of its kinds.
    pub bound: SignedDuration,
}

/// A stale connection that is due to be looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasStale {
    pub quiet: Quiet,
    /// Its last delivery by now.
    pub heard_at: Option<Timestamp>,
    /// Somebody's, and neither revoked nor in doubt.
    pub is_open: bool,
}

/// Everything one look needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub watch: Option<Watch>,
    pub channels: Vec<ChannelSeen>,
    /// Not stale so far.
    pub overdue: Vec<Quiet>,
    pub stale: Vec<WasStale>,
}

/// What a look concludes: rows to write and events to send, once per change.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub watch: Watch,
    pub channels: Vec<ChannelState>,
    pub stale: Vec<Quiet>,
    /// No longer stale: heard of again, or not open any more.
    pub ended: Vec<ConnectionId>,
    pub events: Vec<Outgoing>,
}

pub fn judge(seen: &Seen, now: Timestamp) -> Judgement {
    let watch = Watch::at(seen.watch, now);
    let mut events = Vec::new();
    let mut channels = Vec::new();
    for channel in &seen.channels {
        let (state, event) = judge_channel(channel, watch, now);
        channels.push(state);
        events.extend(event);
    }
    let silent: BTreeSet<(&Environment, &str)> = channels
        .iter()
        .filter(|state| state.silent.is_some())
        .map(|state| (&state.channel.environment, state.channel.provider.as_str()))
        .collect();
    let is_its_own = |quiet: &&Quiet| {
        watch.quiet_for(quiet.last_at, now) > quiet.bound
            && !quiet.provider.as_deref().is_some_and(|provider| silent.contains(&(&quiet.environment, provider)))
    };
    let stale: Vec<Quiet> = seen.overdue.iter().filter(is_its_own).cloned().collect();
    events.extend(stale.iter().map(|quiet| words::of_connection(quiet, "stale", quiet.last_at, now)));
    let mut ended = Vec::new();
    for was in &seen.stale {
        let heard_at = was.heard_at.filter(|heard_at| *heard_at > was.quiet.last_at);
        if let (Some(heard_at), true) = (heard_at, was.is_open) {
            events.push(words::of_connection(&was.quiet, "fresh", heard_at, now));
        }
        if heard_at.is_some() || !was.is_open {
            ended.push(was.quiet.connection);
        }
    }
    Judgement { watch, channels, stale, ended, events }
}

/// Learns the pauses of a channel, and says when one is too long to be one of them.
fn judge_channel(seen: &ChannelSeen, watch: Watch, now: Timestamp) -> (ChannelState, Option<Outgoing>) {
    let Some(before) = &seen.before else {
        let longest = SignedDuration::ZERO;
        let channel = seen.channel.clone();
        let heard_at = seen.last_at;
        let state = ChannelState { channel, watched_since: now, checked_at: now, heard_at, longest, silent: None };
        return (state, None);
    };
    let bound = PROVIDER.bound(before.longest);
    let mut state = ChannelState { checked_at: now, heard_at: seen.last_at, ..before.clone() };
    match before.silent {
        Some(silent) if seen.last_at > silent.last_at => {
            // A changed rhythm is learned from its own silences, each of which counts no more than was expected.
            let pause = seen.last_at.duration_since(silent.last_at);
            state.longest = before.longest.max(pause.min(bound));
            state.silent = None;
            let event = words::of_channel(&seen.channel, "resumed", silent.users, seen.last_at, bound, now);
            (state, Some(event))
        }
        Some(_) => (state, None),
        None => {
            let pause = watch.quiet_for(seen.last_at, now);
            let is_learned = now.duration_since(before.watched_since) >= PROVIDER.span_min;
            if is_learned && seen.users >= USERS_MIN && pause > bound {
                state.silent = Some(Silent { last_at: seen.last_at, users: seen.users });
                let event = words::of_channel(&seen.channel, "silent", seen.users, seen.last_at, bound, now);
                return (state, Some(event));
            }
            // Only a pause that is over is learned: one that goes on would stretch what it is measured by.
            let over = seen.last_at.duration_since(before.heard_at.max(watch.since)).max(SignedDuration::ZERO);
            let kept = rhythm::faded(before.longest, now.duration_since(before.checked_at));
            state.longest = kept.max(if is_learned { over.min(bound) } else { over });
            (state, None)
        }
    }
}

#[cfg(test)]
mod tests;
