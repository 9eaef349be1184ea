//! Terra counts days, not requests: so many per user within a rolling hour (rule r2).

use std::time::Duration;

use jiff::Timestamp;
use terra::event::DataKind;

use super::{FetchJob, later};

/// What Terra allows one user, whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub days: u32,
    pub window: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { days: 6_000, window: Duration::from_secs(3_600) }
    }
}

impl Budget {
    /// How long a spend counts with us: a little longer than with Terra, whose clock is not ours.
    pub fn counts_for(&self) -> Duration {
        self.window + self.window / 100 + Duration::from_secs(1)
    }

    /// A tenth is kept for what somebody waits for: a history of years must not make them wait for an hour.
    fn limit(&self, urgent: bool) -> u64 {
        u64::from(if urgent { self.days } else { self.days - self.days / 10 })
    }
}

/// Days that were asked for. `at` is the answer's time, and as long as there is none, the latest time at which Terra
/// may still take the request: so it never counts for less long with us than with Terra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spend {
    pub at: Timestamp,
    pub days: u32,
}

/// When a request may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Now,
    NotBefore(Timestamp),
}

/// What a job costs. A profile has no days and counts as one.
pub fn cost(job: &FetchJob) -> u32 {
    if job.kind == DataKind::Athlete { 1 } else { u32::try_from(job.window.days()).unwrap_or(1).max(1) }
}

/// Whether so many days more fit into the budget. What exceeds the budget by itself goes out alone.
pub fn room(spends: &[Spend], days: u32, urgent: bool, budget: &Budget, now: Timestamp) -> Room {
    let limit = budget.limit(urgent);
    let ends = |spend: &Spend| later(spend.at, budget.counts_for());
    let mut counted: Vec<&Spend> = spends.iter().filter(|spend| ends(spend) > now).collect();
    counted.sort_by_key(|spend| spend.at);
    let mut used: u64 = counted.iter().map(|spend| u64::from(spend.days)).sum();
    let mut from = Room::Now;
    for spend in counted {
        if used == 0 || used + u64::from(days) <= limit {
            break;
        }
        used -= u64::from(spend.days);
        from = Room::NotBefore(ends(spend));
    }
    from
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    proptest! {
        /// Terra's own clock: a request arrives some time after it was let out and before its answer is known.
        #[test]
        fn no_rolling_hour_ever_holds_more_than_the_budget(
            asks in proptest::collection::vec((0..1_200_u64, 1..1_825_u32, any::<bool>(), 0..30_u64, 0..15_u64), 1..60),
        ) {
            let budget = Budget::default();
            let (mut now, mut spends, mut arrivals) = (0, Vec::<Spend>::new(), Vec::<(u64, u32)>::new());
            for (pause, days, urgent, on_the_way, until_answered) in asks {
                now += pause;
                if room(&spends, days, urgent, &budget, at(now)) == Room::Now {
                    arrivals.push((now + on_the_way, days));
                    spends.push(Spend { at: at(now + on_the_way + until_answered), days });
                }
            }
            for (end, _) in &arrivals {
                let within: u32 = arrivals.iter().filter(|(at, _)| *at <= *end && *at + 3_600 > *end).map(|(_, days)| days).sum();
                prop_assert!(within <= 6_000, "{} days in the hour before {}", within, end);
            }
        }

        #[test]
        fn whoever_waits_as_long_as_told_finds_room(
            spent in proptest::collection::vec((0..7_200_u64, 1..1_825_u32), 0..30), days in 1..1_825_u32, urgent: bool,
        ) {
            let budget = Budget::default();
            let spends: Vec<Spend> = spent.into_iter().map(|(seconds, days)| Spend { at: at(seconds), days }).collect();
            match room(&spends, days, urgent, &budget, at(7_200)) {
                Room::Now => {}
                Room::NotBefore(then) => {
                    prop_assert!(then > at(7_200));
                    prop_assert_eq!(room(&spends, days, urgent, &budget, then), Room::Now);
                }
            }
        }
    }

    #[test]
    fn history_leaves_a_tenth_for_what_somebody_waits_for() {
        let budget = Budget::default();
        let spends = [Spend { at: at(0), days: 5_400 }];
        assert_eq!(room(&spends, 1, false, &budget, at(10)), Room::NotBefore(at(3_637)));
        assert_eq!(room(&spends, 600, true, &budget, at(10)), Room::Now);
        assert_eq!(room(&spends, 601, true, &budget, at(10)), Room::NotBefore(at(3_637)));
        assert_eq!(room(&spends, 1, false, &budget, at(3_637)), Room::Now);
    }

    #[test]
    fn what_exceeds_the_budget_by_itself_goes_out_alone() {
        let budget = Budget { days: 100, window: Duration::from_secs(100) };
        assert_eq!(room(&[], 500, false, &budget, at(0)), Room::Now);
        assert_eq!(room(&[Spend { at: at(0), days: 1 }], 500, false, &budget, at(0)), Room::NotBefore(at(102)));
    }
}
