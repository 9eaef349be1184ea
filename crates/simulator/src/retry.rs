//! When Terra tries again.

use std::time::Duration;

/// Ten retries, the wait doubling from 30 s, none longer than 8 h; a try may take 8 s. Terra's pages
/// disagree about the details, so each of them can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrySchedule {
    /// The wait before the first retry.
    pub first: Duration,
    /// Tries after the first one.
    pub retries_max: u32,
    /// No wait is longer.
    pub cap: Duration,
    /// How long the destination may take to answer.
    pub timeout: Duration,
    /// Every wait is divided by this, so that a test can live through a night in seconds. The
    /// timeout is not.
    pub factor: f64,
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(30),
            retries_max: 10,
            cap: Duration::from_secs(8 * 60 * 60),
            timeout: Duration::from_secs(8),
            factor: 1.0,
        }
    }
}

impl RetrySchedule {
    /// The wait before retry number `retry`, counted from 1; none when the schedule is over.
    #[must_use]
    pub fn wait_before(&self, retry: u32) -> Option<Duration> {
        if retry == 0 || retry > self.retries_max {
            return None;
        }
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(retry - 1));
        Some(self.compressed(doubled.min(self.cap)))
    }

    fn compressed(&self, wait: Duration) -> Duration {
        if self.factor.is_finite() && self.factor > 0.0 { wait.div_f64(self.factor) } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(retry: u32, seconds: Option<u64>) {
        let waited = RetrySchedule::default().wait_before(retry);
        assert_eq!(waited, seconds.map(Duration::from_secs));
    }

    #[test]
    fn waits_double_from_half_a_minute_and_end_after_ten() {
        check(0, None);
        check(1, Some(30));
        check(2, Some(60));
        check(10, Some(256 * 60));
        check(11, None);
    }

    #[test]
    fn all_waits_together_are_eight_and_a_half_hours() {
        let total: Duration = (1..).map_while(|retry| RetrySchedule::default().wait_before(retry)).sum();
        assert_eq!(total, Duration::from_secs(1_023 * 30));
    }

    #[test]
    fn no_wait_is_longer_than_the_cap() {
        let schedule = RetrySchedule { retries_max: 40, ..RetrySchedule::default() };
        assert_eq!(schedule.wait_before(40), Some(schedule.cap));
    }

    #[test]
    fn a_factor_compresses_every_wait() {
        let schedule = RetrySchedule { factor: 1_000.0, ..RetrySchedule::default() };
        assert_eq!(schedule.wait_before(1), Some(Duration::from_millis(30)));
    }
}
