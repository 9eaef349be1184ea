//! What becomes of a delivery that could not be applied.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub mod class;

/// Tries before a delivery becomes a dead letter, unless the settings say otherwise: about 51 minutes of waiting in all.
pub const ATTEMPTS_MAX: u32 = 12;

/// Tries whose worker died before a delivery is a dead letter. From the first on it is tried alone, so that it takes
/// no other with it.
pub const CRASHES_MAX: u32 = 3;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Why an attempt failed. A store that is away is not among them: that stops consumption and burns no attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Our own code panicked on this delivery.
    Panicked,
    /// Whoever worked it died of it, again and again, though it was alone.
    Crashed,
    /// The store refused a row; the constraint's name says which rule it broke.
    Rejected { constraint: String },
    /// The store gave it up, though it was alone: its statement took longer than any may.
    TooSlow,
    /// The bytes cannot be had: the payload store does not know the pointer, or they do not match their digest.
    PayloadLost,
}

impl Failure {
    /// A stable word for ledger and metrics; never holds a value of the payload.
    pub fn reason(&self) -> String {
        match self {
            Failure::Panicked => "panicked".into(),
            Failure::Crashed => "crashed".into(),
            Failure::Rejected { constraint } => format!("rejected:{constraint}"),
            Failure::TooSlow => "too_slow".into(),
            Failure::PayloadLost => "payload_lost".into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    RetryAt(Timestamp),
    Dead { reason: String },
}

/// Decides on a delivery that failed for the `attempt`-th time (counted from 1) out of `attempts_max`.
///
/// - Units: `jitter` in 0.0..1.0, drawn by the caller.
pub fn settle(failure: &Failure, attempt: u32, attempts_max: u32, now: Timestamp, jitter: f64) -> Settlement {
    if attempt >= attempts_max || *failure == Failure::Crashed {
        return Settlement::Dead { reason: failure.reason() };
    }
    let wait = SignedDuration::try_from(backoff(attempt, jitter)).unwrap_or(SignedDuration::from_secs(600));
    Settlement::RetryAt(now.checked_add(wait).unwrap_or(Timestamp::MAX))
}

/// The wait before the next attempt: doubles from one second to ten minutes, with up to a quarter of jitter on top.
pub fn backoff(attempt: u32, jitter: f64) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    let base = doubled.min(BACKOFF_MAX);
    base + base.mul_f64(0.25 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_backoff(attempt: u32, seconds: u64) {
        assert_eq!(backoff(attempt, 0.0), Duration::from_secs(seconds));
    }

    #[test]
    fn backoff_doubles_up_to_its_ceiling() {
        check_backoff(1, 1);
        check_backoff(4, 8);
        check_backoff(11, 600);
        check_backoff(u32::MAX, 600);
    }

    #[test]
    fn the_last_attempt_ends_in_a_dead_letter() {
        let now = Timestamp::UNIX_EPOCH;
        let failure = Failure::Rejected { constraint: "activity_check".into() };
        assert!(matches!(settle(&failure, 1, ATTEMPTS_MAX, now, 0.5), Settlement::RetryAt(at) if at > now));
        assert_eq!(
            settle(&failure, ATTEMPTS_MAX, ATTEMPTS_MAX, now, 0.5),
            Settlement::Dead { reason: "rejected:activity_check".into() }
        );
    }

    #[test]
    fn what_is_too_slow_is_tried_as_often_as_anything_else() {
        let now = Timestamp::UNIX_EPOCH;
        let settled = |attempt| settle(&Failure::TooSlow, attempt, ATTEMPTS_MAX, now, 0.5);
        assert!(matches!(settled(ATTEMPTS_MAX - 1), Settlement::RetryAt(at) if at > now));
        assert_eq!(settled(ATTEMPTS_MAX), Settlement::Dead { reason: "too_slow".into() });
    }

    #[test]
    fn what_kills_its_worker_is_not_tried_for_an_hour() {
        let settled = settle(&Failure::Crashed, CRASHES_MAX, ATTEMPTS_MAX, Timestamp::UNIX_EPOCH, 0.5);
        assert_eq!(settled, Settlement::Dead { reason: "crashed".into() });
    }

    #[test]
    fn the_waits_before_a_dead_letter_add_up_to_less_than_an_hour() {
        let total: Duration = (1..ATTEMPTS_MAX).map(|attempt| backoff(attempt, 0.0)).sum();
        assert!(total < Duration::from_secs(3_600), "{total:?}");
    }
}
