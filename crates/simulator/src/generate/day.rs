//! Times of one day, written as Terra writes them: local, with offset and microseconds.

use jiff::ToSpan;
use jiff::civil::Date;

pub(crate) const SECONDS_PER_DAY: i64 = 86_400;

pub(crate) struct Day {
    date: Date,
    offset: String,
}

impl Day {
    pub(crate) fn of(date: Date, offset_minutes: i64) -> Self {
        let sign = if offset_minutes < 0 { '-' } else { '+' };
        let minutes = offset_minutes.abs();
        Self { date, offset: format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60) }
    }

    /// So many seconds after local midnight; negative ones are the evening before.
    pub(crate) fn at(&self, second: i64) -> String {
        let days = second.div_euclid(SECONDS_PER_DAY);
        let date = if days == 0 { self.date } else { shifted(self.date, days) };
        let of_day = second.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        format!("{date}T{hour:02}:{minute:02}:{second:02}.000000{}", self.offset)
    }

    /// Midnight to midnight, which is what the records of a day cover.
    pub(crate) fn whole(&self) -> (String, String) {
        (self.at(0), self.at(SECONDS_PER_DAY))
    }
}

/// A date some days away; at the end of the calendar it stays where it is.
pub(crate) fn shifted(date: Date, days: i64) -> Date {
    date.checked_add(days.days()).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[track_caller]
    fn check(offset_minutes: i64, second: i64, expected: &str) {
        assert_eq!(Day::of(date(2026, 3, 1), offset_minutes).at(second), expected);
    }

    #[test]
    fn times_are_local_with_their_offset() {
        check(330, 3_661, "2026-03-01T01:01:01.000000+05:30");
        check(-480, -1, "2026-02-28T23:59:59.000000-08:00");
        check(0, SECONDS_PER_DAY, "2026-03-02T00:00:00.000000+00:00");
    }
}
