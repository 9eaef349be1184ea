//! Which days a request asks for.

use std::collections::HashMap;

use jiff::civil::Date;

use crate::clock::day_of;
use crate::generate::shifted;

/// Days from `start` up to, but not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: Date,
    pub(crate) end: Date,
}

impl Window {
    /// Reads `start_date` and `end_date`; an error names the parameter that is wrong. Without an end
    /// it reaches through today.
    pub(crate) fn parse(query: &HashMap<String, String>, today: Date) -> Result<Self, &'static str> {
        let start = query.get("start_date").ok_or("start_date is missing")?;
        let start = day(start).ok_or("invalid start_date")?;
        let end = match query.get("end_date") {
            Some(end) => day(end).ok_or("invalid end_date")?,
            None => shifted(today.max(start), 1),
        };
        if end < start {
            return Err("end_date is before start_date");
        }
        Ok(Self { start, end })
    }

    /// What the request costs. Even an empty window costs a day.
    pub(crate) fn cost_days(self) -> i64 {
        i64::from((self.end - self.start).get_days()).max(1)
    }

    pub(crate) fn holds(self, date: Date) -> bool {
        self.start <= date && date < self.end
    }

    /// The days of the window within limits, oldest first.
    pub(crate) fn days(self, earliest: Date, latest: Date) -> impl Iterator<Item = Date> {
        let first = self.start.max(earliest);
        let last = shifted(self.end, -1).min(latest);
        first.series(jiff::Span::new().days(1)).take_while(move |date| *date <= last)
    }
}

/// `YYYY-MM-DD`, or unix seconds of ten digits.
fn day(text: &str) -> Option<Date> {
    if text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(day_of);
    }
    if text.len() == 10 { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[track_caller]
    fn check(start: &str, end: Option<&str>, expected: Result<i64, &str>) {
        let mut query = HashMap::from([("start_date".to_owned(), start.to_owned())]);
        query.extend(end.map(|end| ("end_date".to_owned(), end.to_owned())));
        let window = Window::parse(&query, date(2026, 3, 14));
        assert_eq!(window.map(Window::cost_days), expected);
    }

    #[test]
    fn dates_and_unix_seconds_are_read_and_the_end_is_exclusive() {
        check("2026-03-01", Some("2026-03-29"), Ok(28));
        check("1772323200", Some("2026-03-02"), Ok(1));
        check("2026-03-14", None, Ok(1));
        check("2026-03-14", Some("2026-03-14"), Ok(1));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        check("14.03.2026", None, Err("invalid start_date"));
        check("2026-03-14T00:00:00Z", None, Err("invalid start_date"));
        check("2026-03-14", Some("tomorrow"), Err("invalid end_date"));
        check("2026-03-14", Some("2026-03-13"), Err("end_date is before start_date"));
    }
}
