//! How fast the whole installation may ask Terra.

use jiff::Timestamp;
use jiff::civil::Date;

/// How fast the whole installation may ask Terra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub per_second: u32,
    pub daily_max: u64,
}

/// The shared allowance, kept as one row in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests that may go out now, in thousandths.
    pub millitokens: i64,
    pub refilled_at: Timestamp,
    pub day: Date,
    pub used_today: u64,
}

/// How many requests may go out now, at most `wanted`, and the allowance after taking them.
pub fn take(allowance: Allowance, pace: Pace, wanted: u32, now: Timestamp, today: Date) -> (u32, Allowance) {
    let elapsed_ms = now.duration_since(allowance.refilled_at).as_millis().clamp(0, 60_000) as i64;
    let full = i64::from(pace.per_second.max(1)) * 1_000;
    let millitokens = (allowance.millitokens + elapsed_ms * i64::from(pace.per_second)).min(full);
    let used_today = if allowance.day == today { allowance.used_today } else { 0 };
    let left_today = u32::try_from(pace.daily_max.saturating_sub(used_today)).unwrap_or(u32::MAX);
    let granted = u32::try_from(millitokens.max(0) / 1_000).unwrap_or(0).min(wanted).min(left_today);
    let after = Allowance {
        millitokens: millitokens - i64::from(granted) * 1_000,
        refilled_at: now,
        day: today,
        used_today: used_today + u64::from(granted),
    };
    (granted, after)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_allowance_bounds_rate_and_day() {
        let pace = Pace { per_second: 5, daily_max: 7 };
        let day = date(2026, 3, 1);
        let start = Allowance { millitokens: 0, refilled_at: Timestamp::UNIX_EPOCH, day, used_today: 0 };
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let (granted, after) = take(start, pace, 100, at(1), day);
        assert_eq!(granted, 5);
        let (granted, after) = take(after, pace, 100, at(1), day);
        assert_eq!(granted, 0);
        let (granted, after) = take(after, pace, 100, at(3), day);
        assert_eq!(granted, 2, "the day's allowance is used up");
        let (granted, _) = take(after, pace, 100, at(9), date(2026, 3, 2));
        assert_eq!(granted, 5, "a new day");
    }
}
