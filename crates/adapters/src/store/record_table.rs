//! The tables of records: one per kind, the same first columns in each, then the kind's own.
//!
//! Their statements are the same text with the kind's columns in it, so they are put together here and in
//! `<engine>/record_sql.rs` from `terra::record::columns`, once per process; everywhere else SQL stands whole.

use domain::record::Scores;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{RoundMode, Span as Days, Timestamp, TimestampRound, Unit};
use terra::event::DataKind;
use terra::record::columns::score_values;
use terra::record::{Column, Scalar, columns, is_by_day, times};

use super::Span;

/// What every record has, in the order in which it is written.
pub(super) const BASE: [&str; 14] = [
    "id",
    "environment",
    "terra_user_id",
    "natural_key",
    "record_order",
    "order_inferred",
    "deleted",
    "start_at",
    "start_time",
    "end_time",
    "fingerprint",
    "enrichment",
    "document",
    "updated_at",
];

/// The columns of a kind's table that are not [`BASE`], as SQL spells them.
pub(super) fn typed(kind: DataKind) -> Vec<String> {
    columns(kind).iter().map(quoted).collect()
}

/// Those of them that hold scores of Terra's.
pub(super) fn scored(kind: DataKind) -> Vec<(usize, &'static Column)> {
    columns(kind).iter().enumerate().filter(|(_, column)| column.score().is_some()).collect()
}

/// Terra's names are words of SQL here and there.
pub(super) fn quoted(column: &Column) -> String {
    format!("\"{}\"", column.sql_name())
}

/// Columns of a table or an alias of one, joined by commas.
pub(super) fn listed(of: &str, names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("{of}{}", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The moment of a time as delivered, in whole milliseconds as cursors have them. A time without an offset is the
/// person's own; it is sorted and looked for as if it were UTC, hours off at most, rather than not at all.
pub(super) fn instant(time: &str) -> Option<Timestamp> {
    let local = || time.parse::<jiff::civil::DateTime>().ok().or_else(|| time.parse::<Date>().ok().map(Into::into));
    let exact = times::instant(time).or_else(|| TimeZone::UTC.to_timestamp(local()?).ok())?;
    exact.round(TimestampRound::new().smallest(Unit::Millisecond).mode(RoundMode::Trunc)).ok()
}

/// Where a listing begins and ends: days of the person's calendar for kinds that are kept by day, moments for others.
pub(super) enum Bounds {
    Days { from: Option<String>, to: Option<String> },
    Moments(Span),
}

pub(super) fn bounds(kind: DataKind, span: Span) -> Bounds {
    if !is_by_day(kind) {
        return Bounds::Moments(span);
    }
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let end = |at: Timestamp| {
        let zoned = at.to_zoned(TimeZone::UTC);
        let whole = zoned.datetime() == zoned.date().to_datetime(jiff::civil::Time::midnight());
        if whole { zoned.date() } else { zoned.date().saturating_add(Days::new().days(1)) }
    };
    Bounds::Days { from: span.from.map(|at| day(at).to_string()), to: span.to.map(|at| end(at).to_string()) }
}

/// Values as read from a row, with the scores as merged over all aliases.
pub(super) fn with_scores(kind: DataKind, mut values: Vec<Option<Scalar>>, scores: &Scores) -> Vec<Option<Scalar>> {
    score_values(kind, &mut values, |name| scores.get(name));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_looked_for_on_the_persons_calendar() {
        let span = Span { from: "2026-03-01T00:00:00Z".parse().ok(), to: "2026-03-02T00:00:00Z".parse().ok() };
        match bounds(DataKind::Daily, span) {
            Bounds::Days { from, to } => {
                assert_eq!((from.as_deref(), to.as_deref()), (Some("2026-03-01"), Some("2026-03-02")));
            }
            Bounds::Moments(_) => panic!("days are kept by day"),
        }
        let span = Span { from: None, to: "2026-03-02T00:00:01Z".parse().ok() };
        assert!(matches!(bounds(DataKind::Body, span), Bounds::Days { to: Some(day), .. } if day == "2026-03-03"));
        assert!(matches!(bounds(DataKind::Sleep, span), Bounds::Moments(_)));
    }

    #[test]
    fn a_time_without_an_offset_is_sorted_as_if_it_were_utc() {
        assert_eq!(instant("2026-03-01T07:00:00"), "2026-03-01T07:00:00Z".parse().ok());
        assert_eq!(instant("2026-03-01"), "2026-03-01T00:00:00Z".parse().ok());
        assert_eq!(instant("2026-03-01T07:00:00.1239+02:00"), "2026-03-01T05:00:00.123Z".parse().ok());
        assert_eq!(instant("never"), None);
    }
}
