//! The simulator's time: the system's, or one that starts where a test says so and then runs on.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

pub(crate) struct Clock {
    fixed_start: Option<(i64, Instant)>,
    last_order_ms: AtomicI64,
}

impl Clock {
    pub(crate) fn starting_at(start_unix_seconds: Option<i64>) -> Self {
        Self {
            fixed_start: start_unix_seconds.map(|start| (start, Instant::now())),
            last_order_ms: AtomicI64::new(i64::MIN),
        }
    }

    pub(crate) fn unix_ms(&self) -> i64 {
        match self.fixed_start {
            Some((start, since)) => start * 1_000 + i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX / 2),
            None => system_now().as_millisecond(),
        }
    }

    pub(crate) fn unix_seconds(&self) -> i64 {
        self.unix_ms().div_euclid(1_000)
    }

    /// The moment an event is emitted, in milliseconds. Never the same twice: two events of one
    /// millisecond would otherwise have no order at all, which says nothing about the receiver.
    pub(crate) fn order_ms(&self) -> i64 {
        let now = self.unix_ms();
        let mut stamped = now;
        // The closure always answers `Some`, so the update cannot fail.
        let _ = self.last_order_ms.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| {
            stamped = now.max(last.saturating_add(1));
            Some(stamped)
        });
        stamped
    }

    pub(crate) fn today(&self) -> Date {
        day_of(self.unix_seconds())
    }

    /// Now, written as Terra writes the times of a user object.
    pub(crate) fn stamp(&self) -> String {
        stamp_of(self.unix_ms())
    }
}

pub(crate) fn stamp_of(unix_ms: i64) -> String {
    let moment = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// A moment as signed URLs of object stores write it.
pub(crate) fn amz_stamp_of(unix_ms: i64) -> String {
    let moment = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The UTC day that holds a moment.
pub(crate) fn day_of(unix_seconds: i64) -> Date {
    let moment = Timestamp::from_second(unix_seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.to_zoned(TimeZone::UTC).date()
}

#[expect(clippy::disallowed_methods, reason = "the one place of the simulator that reads the system clock")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_events_never_share_an_order() {
        let clock = Clock::starting_at(Some(1_700_000_000));
        let orders: Vec<i64> = (0..50).map(|_| clock.order_ms()).collect();
        assert!(orders.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn times_carry_microseconds_and_an_offset() {
        assert_eq!(stamp_of(1_700_000_000_123), "2023-11-14T22:13:20.123000+00:00");
    }
}
