//! Health data that never happened to anybody.
//!
//! Everything follows from (seed, user id, date): the same question always has the same answer, and
//! the days of one user fit together, because they are drawn around one [`person::Person`].

mod activity;
mod body;
mod complete;
mod daily;
mod day;
mod device;
mod lab;
mod menstruation;
mod nutrition;
mod observation;
mod person;
mod profile;
mod samples;
mod sleep;
mod workout;

use jiff::civil::Date;
use serde_json::Value;

pub use activity::{activities, activity};
pub use body::body;
pub use daily::{daily, daily_so_far};
pub(crate) use day::shifted;
pub use lab::lab_results;
pub use menstruation::menstruation;
pub use nutrition::nutrition;
pub use observation::{health_observation, hormone};
pub use profile::athlete;
pub use sleep::sleep;
pub use workout::planned_workout;

/// How much of a record is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// The few numbers that every provider has: an event of about 1 kB.
    Brief,
    /// All summaries, no samples: 1 to 3 kB a record.
    #[default]
    Summary,
    /// Summaries and samples: an activity of about 60 kB.
    Samples,
    /// Every field that Terra's schema has, in short: lists of two. Only [`record`] makes it.
    Complete,
    /// A marathon with position, heart rate and speed of every second: about 5 MB. Other records
    /// are as with `Samples`.
    PerSecond,
}

impl Detail {
    pub(crate) fn has_summaries(self) -> bool {
        match self {
            Self::Brief => false,
            Self::Summary | Self::Samples | Self::Complete | Self::PerSecond => true,
        }
    }

    pub(crate) fn has_samples(self) -> bool {
        match self {
            Self::Brief | Self::Summary | Self::Complete => false,
            Self::Samples | Self::PerSecond => true,
        }
    }
}

/// The records with a `data` array, by Terra's names.
pub const RECORD_TYPES: [&str; 9] = [
    "activity",
    "body",
    "daily",
    "health_observation",
    "hormone",
    "menstruation",
    "nutrition",
    "planned_workout",
    "sleep",
];

/// One record of a type named as Terra names it; none for a name that is not a record's.
#[must_use]
pub fn record(kind: &str, seed: u64, user_id: &str, date: Date, detail: Detail) -> Option<Value> {
    let mut record = match kind {
        "activity" => Some(activity(seed, user_id, date, detail)),
        "athlete" => Some(athlete(seed, user_id, date)),
        "body" => Some(body(seed, user_id, date, detail)),
        "daily" => Some(daily(seed, user_id, date, detail)),
        "health_observation" => Some(health_observation(seed, user_id, date, detail)),
        "hormone" => Some(hormone(seed, user_id, date)),
        "menstruation" => Some(menstruation(seed, user_id, date)),
        "nutrition" => Some(nutrition(seed, user_id, date, detail)),
        "planned_workout" => Some(planned_workout(seed, user_id, date)),
        "sleep" => Some(sleep(seed, user_id, date, detail)),
        _ => None,
    }?;
    if detail == Detail::Complete {
        complete::fill(kind, &mut record, seed, user_id, date);
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const DAY: Date = date(2026, 3, 14);

    #[test]
    fn the_same_question_has_the_same_answer() {
        for kind in RECORD_TYPES.iter().chain(["athlete"].iter()) {
            for detail in [Detail::Brief, Detail::Summary, Detail::Samples] {
                let first = record(kind, 5, "user-1", DAY, detail).unwrap();
                assert_eq!(first, record(kind, 5, "user-1", DAY, detail).unwrap(), "{kind}");
            }
            let one = record(kind, 5, "user-1", DAY, Detail::Summary).unwrap();
            assert_ne!(one, record(kind, 5, "user-2", DAY, Detail::Summary).unwrap(), "{kind}");
            assert_ne!(one, record(kind, 6, "user-1", DAY, Detail::Summary).unwrap(), "{kind}");
        }
    }

    #[test]
    fn records_that_need_metadata_have_their_times() {
        for kind in ["activity", "body", "daily", "menstruation", "nutrition", "sleep"] {
            let record = record(kind, 5, "user-1", DAY, Detail::Brief).unwrap();
            for field in ["start_time", "end_time"] {
                let time = record["metadata"][field].as_str().unwrap();
                assert!(time.parse::<jiff::Timestamp>().is_ok(), "{kind} {field} {time}");
                assert!(time.contains(".000000"), "{kind} {field} {time}");
            }
        }
    }

    #[track_caller]
    fn check_size(detail: Detail, at_least: usize, at_most: usize) {
        for user_id in ["user-1", "user-2", "user-3", "user-4"] {
            let bytes = activity(5, user_id, DAY, detail).to_string().len();
            assert!((at_least..=at_most).contains(&bytes), "{detail:?} {user_id}: {bytes} bytes");
        }
    }

    #[test]
    fn activities_come_in_four_sizes() {
        check_size(Detail::Brief, 450, 1_000);
        check_size(Detail::Summary, 1_000, 3_500);
        check_size(Detail::Samples, 50_000, 72_000);
        check_size(Detail::PerSecond, 4_500_000, 5_800_000);
    }
}
