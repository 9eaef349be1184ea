//! Windows of days: cut so that Terra takes them as ordinary requests, and always at the same places.

use jiff::Span;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Longer ranges are large requests at Terra, built in the background and sent in chunks.
pub const WINDOW_DAYS_MAX: u32 = 28;

/// Terra refuses a request for more days (rule r1); asking again is useless.
pub const DAYS_PER_REQUEST_MAX: u32 = 1_825;

/// A month that has more days than a window may have is cut before this day.
const MIDDLE: i8 = 15;

const MONTH_DAYS_MAX: u32 = 31;

/// Days to ask for: `start` inclusive, `end` exclusive, both UTC dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    pub start: Date,
    pub end: Date,
}

impl Window {
    /// The last `days` days up to and including `today`; at most what one request may ask for.
    pub fn last(days: u32, today: Date) -> Window {
        let end = today.tomorrow().unwrap_or(Date::MAX);
        let days = i64::from(days.min(DAYS_PER_REQUEST_MAX));
        Window { start: end.checked_sub(Span::new().days(days)).unwrap_or(Date::MIN), end }
    }

    pub fn days(&self) -> i64 {
        i64::from((self.end - self.start).get_days())
    }

    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    pub fn holds(&self, other: &Window) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// True where no day lies between the two: together they are one range.
    pub fn touches(&self, other: &Window) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// From the first day of either to the last day of either.
    pub fn hull(&self, other: &Window) -> Window {
        Window { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The newest days, as many as one request may ask for.
    pub fn newest(self) -> Window {
        let start = self.end.checked_sub(Span::new().days(i64::from(DAYS_PER_REQUEST_MAX))).unwrap_or(Date::MIN);
        Window { start: self.start.max(start), end: self.end }
    }
}

/// Cuts a range into windows of at most `days_max` days, newest first.
///
/// Cuts lie on the calendar and not at distances from today, so that the same days asked for twice are the same
/// windows: at the beginning of months (of every so many, counted from the year 0, where a window may have several),
/// and in the middle of a month that is too long itself.
pub fn split(range: Window, days_max: u32) -> Vec<Window> {
    let days_max = days_max.clamp(MIDDLE.unsigned_abs().into(), DAYS_PER_REQUEST_MAX).max(17);
    let mut windows = Vec::new();
    let mut end = range.end;
    while range.start < end {
        let start = cell_of(end.yesterday().unwrap_or(Date::MIN), days_max).start.max(range.start);
        let window = Window { start, end };
        let middle = Date::new(start.year(), start.month(), MIDDLE).ok();
        match middle {
            Some(middle) if window.days() > i64::from(days_max) && start < middle && middle < end => {
                windows.push(Window { start: middle, end });
                windows.push(Window { start, end: middle });
            }
            _ => windows.push(window),
        }
        end = start;
    }
    windows
}

/// The whole months, as many as fit into a window, that hold this day.
pub(super) fn cell_of(day: Date, days_max: u32) -> Window {
    let months = i32::try_from((days_max / MONTH_DAYS_MAX).max(1)).unwrap_or(1);
    let month = i32::from(day.year()) * 12 + i32::from(day.month()) - 1;
    let first = month.div_euclid(months) * months;
    let start_of = |month: i32| {
        let year = i16::try_from(month.div_euclid(12)).ok()?;
        Date::new(year, i8::try_from(month.rem_euclid(12) + 1).ok()?, 1).ok()
    };
    Window { start: start_of(first).unwrap_or(Date::MIN), end: start_of(first + months).unwrap_or(Date::MAX) }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn day(offset: i32) -> Date {
        date(2020, 1, 1).checked_add(Span::new().days(offset)).unwrap()
    }

    proptest! {
        #[test]
        fn windows_cover_the_days_without_gap_or_overlap(start in 0..2_000_i32, days in 0..1_900_i32, days_max in 17..1_825_u32) {
            let range = Window { start: day(start), end: day(start + days) };
            let windows = split(range, days_max);
            prop_assert_eq!(windows.iter().map(Window::days).sum::<i64>(), i64::from(days));
            prop_assert!(windows.iter().all(|window| (1..=i64::from(days_max)).contains(&window.days())));
            prop_assert!(windows.windows(2).all(|pair| pair[0].start == pair[1].end));
        }

        #[test]
        fn the_same_days_asked_on_another_day_are_the_same_windows(start in 0..400_i32, days in 0..800_i32, more in 0..60_i32, days_max in 17..400_u32) {
            let first = split(Window { start: day(start), end: day(start + days) }, days_max);
            let second = split(Window { start: day(start), end: day(start + days + more) }, days_max);
            // All but the newest cell, which may hold two windows, are found again.
            let cell = cell_of(day(start + days), days_max);
            for window in first.iter().filter(|window| window.end <= cell.start) {
                prop_assert!(second.contains(window), "{:?}", window);
            }
        }
    }

    #[test]
    fn windows_end_with_the_month_and_long_months_are_halved() {
        let windows = split(Window { start: date(2026, 1, 1), end: date(2026, 3, 2) }, WINDOW_DAYS_MAX);
        let days = |month: i8, from: i8, end: Date| Window { start: date(2026, month, from), end };
        assert_eq!(
            windows,
            [
                days(3, 1, date(2026, 3, 2)),
                days(2, 1, date(2026, 3, 1)),
                days(1, 15, date(2026, 2, 1)),
                days(1, 1, date(2026, 1, 15)),
            ]
        );
    }

    #[test]
    fn a_range_of_more_than_a_request_may_ask_for_is_cut() {
        let window = Window { start: date(2000, 1, 1), end: date(2026, 1, 1) }.newest();
        assert_eq!((window.days(), window.end), (1_825, date(2026, 1, 1)));
        assert_eq!(Window::last(28, date(2026, 3, 1)).start, date(2026, 2, 2));
        assert_eq!(Window::last(9_999, date(2026, 3, 1)).days(), 1_825);
        assert!(Window::last(0, date(2026, 3, 1)).is_empty());
    }
}
