//! Terra counts days, not requests: per user, one request may ask for so many days (rule r1), and an
//! hour for so many in all (rule r2).

use std::collections::VecDeque;

pub(crate) const DAYS_PER_REQUEST_MAX: i64 = 1_825;
pub(crate) const DAYS_PER_HOUR_MAX: i64 = 6_000;
const WINDOW_SECONDS: i64 = 3_600;

/// What one user has asked for within the last hour.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    requests: VecDeque<(i64, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Granted {
        remaining: i64,
        reset_after_seconds: i64,
    },
    /// r1: asking again is useless.
    TooWide,
    /// r2: there is room again later.
    Exhausted {
        retry_after_seconds: i64,
    },
}

impl Spent {
    pub(crate) fn ask(&mut self, days: i64, now_unix_seconds: i64) -> Verdict {
        self.requests.retain(|(at, _)| now_unix_seconds - at < WINDOW_SECONDS);
        if days > DAYS_PER_REQUEST_MAX {
            return Verdict::TooWide;
        }
        let used: i64 = self.requests.iter().map(|(_, days)| days).sum();
        if used + days > DAYS_PER_HOUR_MAX {
            return Verdict::Exhausted {
                retry_after_seconds: self.room_in(used + days - DAYS_PER_HOUR_MAX, now_unix_seconds),
            };
        }
        self.requests.push_back((now_unix_seconds, days));
        Verdict::Granted {
            remaining: DAYS_PER_HOUR_MAX - used - days,
            reset_after_seconds: self
                .requests
                .front()
                .map_or(WINDOW_SECONDS, |(at, _)| at + WINDOW_SECONDS - now_unix_seconds),
        }
    }

    /// Seconds until so many days have left the window.
    fn room_in(&self, needed: i64, now_unix_seconds: i64) -> i64 {
        let mut freed = 0;
        for (at, days) in &self.requests {
            freed += days;
            if freed >= needed {
                return at + WINDOW_SECONDS - now_unix_seconds;
            }
        }
        WINDOW_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_more_than_five_years_is_refused_and_costs_nothing() {
        let mut spent = Spent::default();
        assert_eq!(spent.ask(1_826, 0), Verdict::TooWide);
        assert!(matches!(spent.ask(1_825, 0), Verdict::Granted { remaining: 4_175, .. }));
    }

    #[test]
    fn an_hour_holds_six_thousand_days() {
        let mut spent = Spent::default();
        for minute in 0..3 {
            assert!(matches!(spent.ask(1_825, minute * 60), Verdict::Granted { .. }));
        }
        assert!(matches!(spent.ask(525, 180), Verdict::Granted { remaining: 0, .. }));
        assert_eq!(spent.ask(1, 200), Verdict::Exhausted { retry_after_seconds: 3_400 });
        assert_eq!(spent.ask(1_826, 200), Verdict::TooWide);
        assert!(matches!(spent.ask(1, 3_600), Verdict::Granted { .. }));
    }
}
