//! Times as Terra delivers them.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};

/// The moment of a time with an offset; `None` where it has none, or is no time.
pub fn instant(time: &str) -> Option<Timestamp> {
    Timestamp::from_str(time).ok()
}

/// The day of a time: its first ten characters as delivered, never converted to another zone. `None` where they are no
/// day of the calendar.
pub fn day(time: &str) -> Option<&str> {
    let day = time.get(..10)?;
    let shaped = day.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    (shaped && Date::from_str(day).is_ok()).then_some(day)
}

/// True of what is a moment, a local time or a day.
pub(super) fn is_possible(time: &str) -> bool {
    instant(time).is_some() || DateTime::from_str(time).is_ok() || Date::from_str(time).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_the_one_on_the_persons_calendar() {
        assert_eq!(day("2026-11-22T00:00:00.000000+13:00"), Some("2026-11-22"));
        assert_eq!(day("2026-11-22"), Some("2026-11-22"));
        for time in ["2026-02-30T00:00:00Z", "2026", "", "2026/11/22T", "ä026-11-22"] {
            assert_eq!(day(time), None, "{time}");
        }
    }

    #[test]
    fn a_time_may_lack_its_offset_but_not_its_day() {
        for time in ["2026-11-22T07:00:00.000000+01:00", "2026-11-22T07:00:00Z", "2026-11-22T07:00:00", "2026-11-22"] {
            assert!(is_possible(time), "{time}");
        }
        for time in ["2026-13-01T00:00:00Z", "2026-02-30", "tomorrow", "1"] {
            assert!(!is_possible(time), "{time}");
        }
        assert_eq!(instant("2026-11-22T07:00:00"), None);
    }
}
