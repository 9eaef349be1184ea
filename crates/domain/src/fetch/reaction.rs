//! What an answer of Terra's means for the job that asked.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use terra::reply::{DataReply, RateLimit};

use super::later as after;
use crate::settle;

/// Tries that count, before a job fails for good. Being asked to wait (429, paused credentials) is no try.
pub const ATTEMPTS_MAX: u32 = 8;

/// Pause of a whole environment whose credentials Terra refuses.
pub const CREDENTIALS_PAUSE: Duration = Duration::from_secs(300);

/// Where a provider's limit is told without a time: most count by the hour.
const PROVIDER_LIMIT_WAIT: Duration = Duration::from_secs(900);
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(60);
const RATE_LIMIT_WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);

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
    Inline {
        bytes: u64,
    },
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
    /// Terra says that this user has asked for enough: no try is used up, and the user's other jobs wait too.
    RestUser {
        until: Timestamp,
        reason: &'static str,
    },
    /// The provider fails, or its quota is used up: the job is due again at `at`, and pauses grow.
    BackOff {
        at: Timestamp,
        /// Told by Terra or the provider.
        at_least: Option<Timestamp>,
        reason: &'static str,
        is_try: bool,
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
    let later = |wait: Duration| after(now, wait);
    let is_last = attempts + 1 >= ATTEMPTS_MAX;
    let next = later(settle::backoff(attempts + 4, jitter));
    let again = |reason: &'static str| {
        if is_last { Reaction::Failed { reason } } else { Reaction::Retry { at: next, reason } }
    };
    let told = |seconds: Option<u64>| {
        let base = seconds.map_or(RATE_LIMIT_WAIT, Duration::from_secs).min(RATE_LIMIT_WAIT_MAX);
        later(base + Duration::from_millis((jitter.clamp(0.0, 1.0) * 2_000.0) as u64))
    };
    let wait = |seconds: Option<u64>, reason: &'static str| Reaction::Wait { until: told(seconds), reason };
    let limited = |seconds: Option<u64>| {
        let until = later(seconds.map_or(PROVIDER_LIMIT_WAIT, Duration::from_secs).min(RATE_LIMIT_WAIT_MAX));
        Reaction::BackOff { at: until, at_least: Some(until), reason: "provider_rate_limited", is_try: false }
    };
    match answer {
        Answer::Unreachable => again("unreachable"),
        Answer::Reply { status: 200..=299, reply, .. } => match reply {
            DataReply::Accepted { reference, .. } => Reaction::Requested { reference: reference.clone() },
            DataReply::Inline => Reaction::Inline { bytes: 0 },
            DataReply::NoData => Reaction::Nothing,
            DataReply::Processing { retry_after_seconds } => wait(*retry_after_seconds, "processing"),
            DataReply::ProviderRateLimited => limited(None),
            DataReply::Unreadable => again("unreadable_answer"),
        },
        Answer::Reply { status, limit, .. } => match status {
            400 => Reaction::Failed { reason: "bad_request" },
            401 => Reaction::PauseEnvironment { until: later(CREDENTIALS_PAUSE) },
            403 => Reaction::Failed { reason: "not_enabled" },
            404 => Reaction::Failed { reason: "user_unknown_to_terra" },
            410 => Reaction::Failed { reason: "endpoint_gone" },
            424 if is_last => Reaction::Failed { reason: "provider_failed" },
            424 => {
                let at_least = limit.retry_after_seconds.map(|seconds| later(Duration::from_secs(seconds)));
                Reaction::BackOff { at: next, at_least, reason: "provider_failed", is_try: true }
            }
            // r1: the request itself is too long; asking again is useless.
            429 if limit.rule.as_deref() == Some("r1") => Reaction::Failed { reason: "window_too_long" },
            // Terra's own count names its rule; without one it hands on what the provider said.
            429 if limit.rule.is_none() && limit.remaining.is_none() => limited(limit.retry_after_seconds),
            429 => {
                let until = told(limit.retry_after_seconds.or(limit.reset_after_seconds));
                Reaction::RestUser { until, reason: "rate_limited" }
            }
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

#[cfg(test)]
mod tests {
    use super::*;

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
        check(424, RateLimit::default(), "BackOff");
        check(429, RateLimit::default(), "BackOff");
        check(429, RateLimit { rule: Some("r2".into()), ..RateLimit::default() }, "RestUser");
        check(
            429,
            RateLimit { rule: Some("r1".into()), ..RateLimit::default() },
            "Failed { reason: \"window_too_long\"",
        );
        check(500, RateLimit::default(), "Retry");
    }

    #[test]
    fn retry_after_is_obeyed_and_uses_up_no_try() {
        let limit = RateLimit { retry_after_seconds: Some(120), rule: Some("r2".into()), ..RateLimit::default() };
        let reaction = react(&reply(429, DataReply::Unreadable, limit), ATTEMPTS_MAX, Timestamp::UNIX_EPOCH, 0.0);
        assert_eq!(
            reaction,
            Reaction::RestUser { until: Timestamp::from_second(120).unwrap(), reason: "rate_limited" }
        );
    }

    #[test]
    fn tries_run_out() {
        assert_eq!(
            react(&Answer::Unreachable, ATTEMPTS_MAX - 1, Timestamp::UNIX_EPOCH, 0.0),
            Reaction::Failed { reason: "unreachable" }
        );
    }
}
