//! Terra counts days, not requests: per user, one request may ask for so many days (rule r1), and an
//! hour for so many in all (rule r2).

use std::collections::VecDeque;

/// What is allowed. The hour is a length like any other, so that a test can live through it in a
/// second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// r1.
    pub days_per_request: i64,
    /// r2.
    pub days_per_window: i64,
    pub window_ms: i64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { days_per_request: 1_825, days_per_window: 6_000, window_ms: 3_600_000 }
    }
}

/// What one user has asked for.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    granted: Sliding,
    asked: Sliding,
    pub(crate) requests: u64,
    /// Requests that were answered with 429, whatever the reason.
    pub(crate) too_many: u64,
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
    pub(crate) fn ask(&mut self, budget: Budget, days: i64, now_ms: i64) -> Verdict {
        self.requests += 1;
        self.asked.add(days, now_ms, budget.window_ms);
        self.granted.forget(now_ms, budget.window_ms);
        if days > budget.days_per_request {
            return Verdict::TooWide;
        }
        let over = self.granted.days + days - budget.days_per_window;
        if over > 0 {
            let wait_ms = self.granted.freed_in(over, now_ms, budget.window_ms);
            return Verdict::Exhausted { retry_after_seconds: whole_seconds(wait_ms) };
        }
        self.granted.add(days, now_ms, budget.window_ms);
        Verdict::Granted {
            remaining: -over,
            reset_after_seconds: whole_seconds(self.granted.freed_in(1, now_ms, budget.window_ms)),
        }
    }

    /// The most days that were asked for within any one window, refused requests included.
    pub(crate) fn days_asked_max(&self) -> i64 {
        self.asked.days_max
    }

    /// The same without what was refused.
    pub(crate) fn days_granted_max(&self) -> i64 {
        self.granted.days_max
    }
}

/// Days within a window that ends now and moves on.
#[derive(Debug, Default)]
struct Sliding {
    requests: VecDeque<(i64, i64)>,
    days: i64,
    days_max: i64,
}

impl Sliding {
    fn add(&mut self, days: i64, now_ms: i64, window_ms: i64) {
        self.forget(now_ms, window_ms);
        self.requests.push_back((now_ms, days));
        self.days += days;
        self.days_max = self.days_max.max(self.days);
    }

    fn forget(&mut self, now_ms: i64, window_ms: i64) {
        while let Some((_, days)) = self.requests.pop_front_if(|(at_ms, _)| now_ms - *at_ms >= window_ms) {
            self.days -= days;
        }
    }

    /// Milliseconds until so many days have left the window.
    fn freed_in(&self, needed: i64, now_ms: i64, window_ms: i64) -> i64 {
        let mut freed = 0;
        for (at_ms, days) in &self.requests {
            freed += days;
            if freed >= needed {
                return at_ms + window_ms - now_ms;
            }
        }
        window_ms
    }
}

/// Rounded up: who waits that long finds room.
fn whole_seconds(ms: i64) -> i64 {
    ms.max(0).saturating_add(999) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Budget = Budget { days_per_request: 1_825, days_per_window: 6_000, window_ms: 3_600_000 };

    #[test]
    fn a_request_of_more_than_five_years_is_refused_and_costs_nothing() {
        let mut spent = Spent::default();
        assert_eq!(spent.ask(HOUR, 1_826, 0), Verdict::TooWide);
        assert!(matches!(spent.ask(HOUR, 1_825, 0), Verdict::Granted { remaining: 4_175, .. }));
    }

    #[test]
    fn an_hour_holds_six_thousand_days() {
        let mut spent = Spent::default();
        for minute in 0..3 {
            assert!(matches!(spent.ask(HOUR, 1_825, minute * 60_000), Verdict::Granted { .. }));
        }
        assert!(matches!(spent.ask(HOUR, 525, 180_000), Verdict::Granted { remaining: 0, .. }));
        assert_eq!(spent.ask(HOUR, 1, 200_000), Verdict::Exhausted { retry_after_seconds: 3_400 });
        assert_eq!(spent.ask(HOUR, 1_826, 200_000), Verdict::TooWide);
        assert!(matches!(spent.ask(HOUR, 1, 3_600_000), Verdict::Granted { .. }));
        assert_eq!(spent.days_granted_max(), 6_000);
        assert_eq!(spent.days_asked_max(), 3 * 1_825 + 525 + 1 + 1_826);
    }

    #[test]
    fn an_hour_can_be_short_and_a_wait_is_rounded_up() {
        let second = Budget { days_per_window: 10, window_ms: 1_000, ..HOUR };
        let mut spent = Spent::default();
        assert!(matches!(spent.ask(second, 10, 0), Verdict::Granted { remaining: 0, reset_after_seconds: 1 }));
        assert_eq!(spent.ask(second, 1, 400), Verdict::Exhausted { retry_after_seconds: 1 });
        assert!(matches!(spent.ask(second, 1, 1_000), Verdict::Granted { .. }));
    }
}
