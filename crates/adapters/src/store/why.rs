//! What an explanation of one day reads: records without their values, and the events about them.

use domain::id::{RecordId, UserId};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// How long before a day something may begin that ends on it.
const DAYS_BEFORE: i64 = 3;

/// A record of a day: the newest version under its connection, tombstones included, and nothing of what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayRecord {
    pub id: RecordId,
    pub key: String,
    pub deleted: bool,
    /// The order comes from the signed time alone.
    pub order_inferred: bool,
    /// When Terra made the version that counts.
    pub sent_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An event about a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AboutRecord {
    pub record: RecordId,
    pub verb: String,
    /// `None` while it waits for the relay, or is held.
    pub position: Option<i64>,
    pub held: bool,
    pub subject: Option<UserId>,
    pub happened_at: Timestamp,
}

/// Where the starts of what belongs to a day lie, whatever the time zone.
pub(super) fn around(day: Date) -> (Timestamp, Timestamp) {
    let at = |day: Date, otherwise| day.to_zoned(TimeZone::UTC).map_or(otherwise, |zoned| zoned.timestamp());
    let from = at(day.saturating_sub(Span::new().days(DAYS_BEFORE)), Timestamp::MIN);
    (from, at(day.saturating_add(Span::new().days(2)), Timestamp::MAX))
}
