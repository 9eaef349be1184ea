//! Records of which two versions could not be put in order: what Terra has now decides.

use domain::delivery::Origin;
use domain::fetch::{self, FetchJob, FetchOrigin, HISTORY_KINDS, WINDOW_DAYS_MAX, Window, Wish};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use terra::event::DataKind;
use terra::record::times;

use super::records::InDoubt;

/// A day's totals come many times within minutes; they are asked for once, when they have settled.
pub(super) const SETTLE: SignedDuration = SignedDuration::from_mins(10);

/// One request per alias, kind and day, and at most one a day for each. What we asked for ourselves raises no doubt:
/// without an ordering header the answer would ask for itself for ever.
pub(super) fn jobs(in_doubt: &[InDoubt], origins: &[Origin], now: Timestamp) -> Vec<FetchJob> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let live = in_doubt.iter().filter(|doubt| origins[doubt.position] == Origin::Live);
    live.filter_map(|doubt| job(doubt, today)).flatten().collect()
}

fn job(doubt: &InDoubt, today: Date) -> Option<Vec<FetchJob>> {
    let kind = doubt.key.kind;
    if !HISTORY_KINDS.contains(&kind) {
        return None;
    }
    let day = if kind == DataKind::Athlete { today } else { day(doubt)? };
    let end = day.checked_add(Span::new().days(1)).ok()?;
    let cause = format!("order {} {day} on {today}", kind.label());
    Some(fetch::jobs(&Wish {
        alias: &doubt.key.alias,
        provider: doubt.provider.as_deref(),
        kinds: &[kind],
        days: Window { start: day, end },
        origin: FetchOrigin::Order,
        cause: cause.as_bytes(),
        window_days_max: WINDOW_DAYS_MAX,
    }))
}

fn day(doubt: &InDoubt) -> Option<Date> {
    times::day(doubt.start_time.as_deref()?)?.parse().ok()
}
