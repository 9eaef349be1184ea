//! Asking Terra for data: which windows, how fast, and what each answer means.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};
use terra::event::DataKind;
use terra::reply::{DataReply, RateLimit};

use crate::id::{AliasKey, FetchJobId, derived_uuid};
use crate::settle;

/// Longer ranges are large requests at Terra, built in the background and sent in chunks.
pub const WINDOW_DAYS_MAX: i64 = 28;

/// Tries that count, before a job fails for good. Being asked to wait (429, paused credentials) is no try.
pub const ATTEMPTS_MAX: u32 = 8;

/// Pause of a whole environment whose credentials Terra refuses.
pub const CREDENTIALS_PAUSE: Duration = Duration::from_secs(300);

const RATE_LIMIT_WAIT: Duration = Duration::from_secs(60);
const RATE_LIMIT_WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The kinds that Terra's REST API serves by date. `athlete` has no window and is asked once.
pub const HISTORY_KINDS: [DataKind; 7] = [
    DataKind::Activity,
    DataKind::Sleep,
    DataKind::Daily,
    DataKind::Body,
    DataKind::Nutrition,
    DataKind::Menstruation,
    DataKind::Athlete,
];

/// Days to ask for: `start` inclusive, `end` exclusive, both UTC dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    pub start: Date,
    pub end: Date,
}

impl Window {
    pub fn days(&self) -> i64 {
        i64::from((self.end - self.start).get_days())
    }
}

/// The last `days` days up to and including today, cut into windows of at most [`WINDOW_DAYS_MAX`] days, newest first.
pub fn windows(days: u32, today: Date) -> Vec<Window> {
    let mut windows = Vec::new();
    let Ok(mut end) = today.checked_add(Span::new().days(1)) else { return windows };
    let mut left = i64::from(days);
    while left > 0 {
        let step = left.min(WINDOW_DAYS_MAX);
        let Ok(start) = end.checked_sub(Span::new().days(step)) else { break };
        windows.push(Window { start, end });
        end = start;
        left -= step;
    }
    windows
}

/// One request to make: unique per alias, kind and window while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchJob {
    pub id: FetchJobId,
    pub alias: AliasKey,
    pub provider: Option<String>,
    pub kind: DataKind,
    pub window: Window,
    /// Failed tries so far.
    pub attempts: u32,
}

/// The jobs of one backfill, with ids derived from what caused them.
pub fn backfill_jobs(
    alias: &AliasKey,
    provider: Option<&str>,
    kinds: &[DataKind],
    days: u32,
    today: Date,
    cause: &[u8],
) -> Vec<FetchJob> {
    let windows = windows(days, today);
    let mut jobs = Vec::new();
    for kind in kinds {
        let wanted = if *kind == DataKind::Athlete { &windows[..windows.len().min(1)] } else { &windows[..] };
        for window in wanted {
            let id = derived_uuid(&[b"fetch", cause, kind.label().as_bytes(), window.start.to_string().as_bytes()]);
            jobs.push(FetchJob {
                id: FetchJobId(id),
                alias: alias.clone(),
                provider: provider.map(str::to_owned),
                kind: *kind,
                window: *window,
                attempts: 0,
            });
        }
    }
    jobs
}

/// What came back from Terra.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Reply {
        status: u16,
        reply: DataReply,
        limit: RateLimit,
    },
    /// No answer: connection refused, reset, or too slow.
    Unreachable,
}

/// What becomes of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// Terra took it; the data comes by webhook under `reference`.
    Requested {
        reference: Option<String>,
    },
    /// The data is in the answer.
    Inline,
    /// Nothing there for this window.
    Nothing,
    /// Asked to wait: no try is used up.
    Wait {
        until: Timestamp,
        reason: &'static str,
    },
    /// Failed for now: one try used up.
    Retry {
        at: Timestamp,
        reason: &'static str,
    },
    /// 401: nothing of this environment will work until somebody sets the right credentials.
    PauseEnvironment {
        until: Timestamp,
    },
    Failed {
        reason: &'static str,
    },
}

/// Decides on an answer. `jitter` in 0.0..1.0.
pub fn react(answer: &Answer, attempts: u32, now: Timestamp, jitter: f64) -> Reaction {
    let later = |wait: Duration| {
        now.checked_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO)).unwrap_or(Timestamp::MAX)
    };
    let again = |reason: &'static str| {
        if attempts + 1 >= ATTEMPTS_MAX {
            Reaction::Failed { reason }
        } else {
            Reaction::Retry { at: later(settle::backoff(attempts + 4, jitter)), reason }
        }
    };
    let wait = |seconds: Option<u64>, reason: &'static str| {
        let base = seconds.map_or(RATE_LIMIT_WAIT, Duration::from_secs).min(RATE_LIMIT_WAIT_MAX);
        Reaction::Wait { until: later(base + Duration::from_millis((jitter.clamp(0.0, 1.0) * 2_000.0) as u64)), reason }
    };
    match answer {
        Answer::Unreachable => again("unreachable"),
        Answer::Reply { status: 200..=299, reply, .. } => match reply {
            DataReply::Accepted { reference, .. } => Reaction::Requested { reference: reference.clone() },
            DataReply::Inline => Reaction::Inline,
            DataReply::NoData => Reaction::Nothing,
            DataReply::Processing { retry_after_seconds } => wait(*retry_after_seconds, "processing"),
            DataReply::ProviderRateLimited => wait(Some(900), "provider_rate_limited"),
            DataReply::Unreadable => again("unreadable_answer"),
        },
        Answer::Reply { status, limit, .. } => match status {
            400 => Reaction::Failed { reason: "bad_request" },
            401 => Reaction::PauseEnvironment { until: later(CREDENTIALS_PAUSE) },
            403 => Reaction::Failed { reason: "not_enabled" },
            404 => Reaction::Failed { reason: "user_unknown_to_terra" },
            410 => Reaction::Failed { reason: "endpoint_gone" },
            424 => again("provider_failed"),
            // r1: the request itself is too long; asking again is useless.
            429 if limit.rule.as_deref() == Some("r1") => Reaction::Failed { reason: "window_too_long" },
            429 => wait(limit.retry_after_seconds.or(limit.reset_after_seconds), "rate_limited"),
            503 if limit.retry_after_seconds.is_some() => wait(limit.retry_after_seconds, "unavailable"),
            408 | 413 | 500..=599 => again("terra_failed"),
            _ => Reaction::Failed { reason: "unexpected_status" },
        },
    }
}

/// How long to leave an alias alone after a successful answer that used up its allowance.
pub fn rest_after(limit: &RateLimit, now: Timestamp) -> Option<Timestamp> {
    let seconds = limit.reset_after_seconds?;
    (limit.remaining == Some(0))
        .then(|| now.checked_add(SignedDuration::from_secs(seconds.min(86_400) as i64)).unwrap_or(Timestamp::MAX))
}

/// How fast the whole installation may ask Terra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub per_second: u32,
    pub daily_max: u64,
}

/// The shared allowance, kept as one row in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests that may go out now, in thousandths.
    pub millitokens: i64,
    pub refilled_at: Timestamp,
    pub day: Date,
    pub used_today: u64,
}

/// How many requests may go out now, at most `wanted`, and the allowance after taking them.
pub fn take(allowance: Allowance, pace: Pace, wanted: u32, now: Timestamp, today: Date) -> (u32, Allowance) {
    let elapsed_ms = now.duration_since(allowance.refilled_at).as_millis().clamp(0, 60_000) as i64;
    let full = i64::from(pace.per_second.max(1)) * 1_000;
    let millitokens = (allowance.millitokens + elapsed_ms * i64::from(pace.per_second)).min(full);
    let used_today = if allowance.day == today { allowance.used_today } else { 0 };
    let left_today = u32::try_from(pace.daily_max.saturating_sub(used_today)).unwrap_or(u32::MAX);
    let granted = u32::try_from(millitokens.max(0) / 1_000).unwrap_or(0).min(wanted).min(left_today);
    let after = Allowance {
        millitokens: millitokens - i64::from(granted) * 1_000,
        refilled_at: now,
        day: today,
        used_today: used_today + u64::from(granted),
    };
    (granted, after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn reply(status: u16, reply: DataReply, limit: RateLimit) -> Answer {
        Answer::Reply { status, reply, limit }
    }

    #[track_caller]
    fn check(status: u16, limit: RateLimit, expected: &str) {
        let now = Timestamp::UNIX_EPOCH;
        let reaction = react(&reply(status, DataReply::Unreadable, limit), 0, now, 0.0);
        assert!(format!("{reaction:?}").starts_with(expected), "{status}: {reaction:?}");
    }

    #[test]
    fn every_refusal_gets_its_own_reaction() {
        check(401, RateLimit::default(), "PauseEnvironment");
        check(403, RateLimit::default(), "Failed { reason: \"not_enabled\"");
        check(404, RateLimit::default(), "Failed { reason: \"user_unknown_to_terra\"");
        check(410, RateLimit::default(), "Failed { reason: \"endpoint_gone\"");
        check(424, RateLimit::default(), "Retry");
        check(429, RateLimit::default(), "Wait");
        check(
            429,
            RateLimit { rule: Some("r1".into()), ..RateLimit::default() },
            "Failed { reason: \"window_too_long\"",
        );
        check(500, RateLimit::default(), "Retry");
    }

    #[test]
    fn retry_after_is_obeyed_and_uses_up_no_try() {
        let limit = RateLimit { retry_after_seconds: Some(120), ..RateLimit::default() };
        let reaction = react(&reply(429, DataReply::Unreadable, limit), ATTEMPTS_MAX, Timestamp::UNIX_EPOCH, 0.0);
        assert_eq!(reaction, Reaction::Wait { until: Timestamp::from_second(120).unwrap(), reason: "rate_limited" });
    }

    #[test]
    fn tries_run_out() {
        assert_eq!(
            react(&Answer::Unreachable, ATTEMPTS_MAX - 1, Timestamp::UNIX_EPOCH, 0.0),
            Reaction::Failed { reason: "unreachable" }
        );
    }

    #[test]
    fn windows_cover_the_days_without_gap_or_overlap() {
        for days in [0, 1, 28, 29, 100, 1_825] {
            let windows = windows(days, date(2026, 3, 1));
            assert_eq!(windows.iter().map(Window::days).sum::<i64>(), i64::from(days));
            assert!(windows.iter().all(|window| window.days() <= WINDOW_DAYS_MAX));
            assert!(windows.windows(2).all(|pair| pair[0].start == pair[1].end));
        }
    }

    #[test]
    fn the_allowance_bounds_rate_and_day() {
        let pace = Pace { per_second: 5, daily_max: 7 };
        let day = date(2026, 3, 1);
        let start = Allowance { millitokens: 0, refilled_at: Timestamp::UNIX_EPOCH, day, used_today: 0 };
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let (granted, after) = take(start, pace, 100, at(1), day);
        assert_eq!(granted, 5);
        let (granted, after) = take(after, pace, 100, at(1), day);
        assert_eq!(granted, 0);
        let (granted, after) = take(after, pace, 100, at(3), day);
        assert_eq!(granted, 2, "the day's allowance is used up");
        let (granted, _) = take(after, pace, 100, at(9), date(2026, 3, 2));
        assert_eq!(granted, 5, "a new day");
    }
}
