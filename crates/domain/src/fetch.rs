//! Asking Terra for data: which windows, how fast, and what each answer means.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use terra::event::DataKind;

mod budget;
mod coalesce;
mod job;
mod pace;
mod pause;
mod reaction;
mod turn;
mod window;

pub use budget::{Budget, Room, Spend, cost, room};
pub use coalesce::{Coalesced, Queued, coalesce};
pub use job::{FetchJob, FetchOrigin, Gap, PRIORITY_URGENT, Wish, jobs};
pub use pace::{Allowance, Pace, take};
pub use pause::{PauseEffect, PauseScope, Streak, effects, grown};
pub use reaction::{ATTEMPTS_MAX, Answer, CREDENTIALS_PAUSE, Reaction, react, rest_after};
pub use turn::{Candidate, Choice, choose};
pub use window::{DAYS_PER_REQUEST_MAX, WINDOW_DAYS_MAX, Window, split};

/// The kinds that Terra's REST API serves by date. `athlete` has no window and is asked once.
pub const HISTORY_KINDS: [DataKind; 7] = [
    DataKind::Activity,
    DataKind::Sleep,
    DataKind::Daily,
    DataKind::Body,
    DataKind::Nutrition,
    DataKind::Menstruation,
    DataKind::Athlete,
];

/// A moment so much later; the end of time where there is none.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}
