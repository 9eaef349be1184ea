//! Pauses: what not to ask for until when. They are rows of their own, so they hold jobs that are queued later as well.

use std::time::Duration;

use jiff::Timestamp;

use super::{FetchJob, Reaction, later};

/// For whom a pause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PauseScope {
    /// Credentials are refused: nothing of the environment works.
    Environment,
    /// A provider is down, or its quota is used up.
    Provider,
    /// This user alone.
    Alias,
}

impl PauseScope {
    pub const ALL: [PauseScope; 3] = [PauseScope::Environment, PauseScope::Provider, PauseScope::Alias];

    pub fn label(self) -> &'static str {
        match self {
            PauseScope::Environment => "environment",
            PauseScope::Provider => "provider",
            PauseScope::Alias => "alias",
        }
    }

    /// What a pause of this scope is named by, for this job; a job of an unknown provider has none for it.
    pub fn subject(self, job: &FetchJob) -> Option<String> {
        match self {
            PauseScope::Environment => Some(String::new()),
            PauseScope::Provider => job.provider.as_deref().map(str::to_uppercase),
            PauseScope::Alias => Some(job.alias.terra_user_id.to_string()),
        }
    }
}

/// What an answer means for pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseEffect {
    /// Wait until then, whatever there was before; a later end stays.
    Set { scope: PauseScope, until: Timestamp, reason: &'static str },
    /// One more failure in a row: the pause grows.
    Grow { scope: PauseScope, at_least: Option<Timestamp>, reason: &'static str },
    /// It works: failures in a row are over.
    Clear { scope: PauseScope },
}

pub fn effects(reaction: &Reaction) -> Vec<PauseEffect> {
    match reaction {
        Reaction::Requested { .. } | Reaction::Inline { .. } | Reaction::Nothing => {
            [PauseScope::Alias, PauseScope::Provider].map(|scope| PauseEffect::Clear { scope }).into()
        }
        Reaction::PauseEnvironment { until } => {
            vec![PauseEffect::Set { scope: PauseScope::Environment, until: *until, reason: "credentials_refused" }]
        }
        Reaction::RestUser { until, reason } => {
            vec![PauseEffect::Set { scope: PauseScope::Alias, until: *until, reason }]
        }
        Reaction::BackOff { at_least, reason, .. } => vec![
            PauseEffect::Grow { scope: PauseScope::Alias, at_least: *at_least, reason },
            PauseEffect::Grow { scope: PauseScope::Provider, at_least: None, reason },
        ],
        Reaction::Wait { .. } | Reaction::Retry { .. } | Reaction::Failed { .. } => Vec::new(),
    }
}

/// Failures in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streak {
    pub failures: u32,
    /// Whose failure counted last.
    pub last: String,
    pub until: Timestamp,
}

const ALIAS_FIRST: Duration = Duration::from_secs(8);
const ALIAS_MAX: Duration = Duration::from_secs(6 * 3_600);
const PROVIDER_FIRST: Duration = Duration::from_secs(15);
const PROVIDER_MAX: Duration = Duration::from_secs(30 * 60);

/// The streak after one more failure. `who` failed.
///
/// One person whose connection is broken at the provider says nothing of the provider: its own pause grows from the
/// second person in a row on. Requests that were under way when a pause began count as one.
pub fn grown(
    streak: Option<&Streak>,
    scope: PauseScope,
    who: &str,
    at_least: Option<Timestamp>,
    now: Timestamp,
) -> Streak {
    let before = streak.map_or(0, |streak| streak.failures);
    let is_news = streak.is_none_or(|streak| now >= streak.until && (scope == PauseScope::Alias || streak.last != who));
    let failures = if is_news { before.saturating_add(1) } else { before };
    let wait = match scope {
        PauseScope::Environment | PauseScope::Alias => doubled(ALIAS_FIRST, failures, ALIAS_MAX),
        PauseScope::Provider if failures < 2 => Duration::ZERO,
        PauseScope::Provider => doubled(PROVIDER_FIRST, failures - 1, PROVIDER_MAX),
    };
    let kept = streak.map_or(now, |streak| streak.until);
    let until = if is_news { later(now, wait) } else { kept };
    Streak { failures, last: who.to_owned(), until: until.max(kept).max(at_least.unwrap_or(now)) }
}

fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    fn waits(streak: &Streak, now: u64) -> u64 {
        u64::try_from(streak.until.duration_since(at(now)).as_secs()).unwrap()
    }

    #[test]
    fn the_pause_of_a_user_doubles_with_each_failure_after_it() {
        let first = grown(None, PauseScope::Alias, "ann", None, at(0));
        assert_eq!((first.failures, waits(&first, 0)), (1, 8));
        let meanwhile = grown(Some(&first), PauseScope::Alias, "ann", None, at(3));
        assert_eq!((meanwhile.failures, meanwhile.until), (1, first.until), "was under way already");
        let second = grown(Some(&first), PauseScope::Alias, "ann", None, at(8));
        assert_eq!((second.failures, waits(&second, 8)), (2, 16));
        let many = Streak { failures: 60, ..second };
        assert_eq!(waits(&grown(Some(&many), PauseScope::Alias, "ann", None, at(100)), 100), 6 * 3_600);
    }

    #[test]
    fn one_person_alone_does_not_pause_a_provider() {
        let first = grown(None, PauseScope::Provider, "ann", None, at(0));
        assert_eq!(waits(&first, 0), 0);
        let again = grown(Some(&first), PauseScope::Provider, "ann", None, at(100));
        assert_eq!((again.failures, waits(&again, 100)), (1, 0));
        let another = grown(Some(&again), PauseScope::Provider, "bob", None, at(200));
        assert_eq!((another.failures, waits(&another, 200)), (2, 15));
        let third = grown(Some(&another), PauseScope::Provider, "ann", None, at(215));
        assert_eq!(waits(&third, 215), 30);
    }

    #[test]
    fn what_terra_says_is_obeyed() {
        let streak = grown(None, PauseScope::Alias, "ann", Some(at(900)), at(0));
        assert_eq!(waits(&streak, 0), 900);
    }
}
