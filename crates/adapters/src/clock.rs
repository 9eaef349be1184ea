//! The clock: the system's, or one that tests set by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Reads the time. Cheap to clone; the shell reads it once per event and passes the time on.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    ByHand(Arc<AtomicI64>),
}

impl Clock {
    pub fn system() -> Self {
        Clock(Source::System)
    }

    /// A clock that stands still until [`Clock::set`].
    pub fn by_hand(at: Timestamp) -> Self {
        Clock(Source::ByHand(Arc::new(AtomicI64::new(at.as_millisecond()))))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn now(&self) -> Timestamp {
        fail::fail_point!("clock", |seconds| skewed(seconds.as_deref()));
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::ByHand(ms) => {
                Timestamp::from_millisecond(ms.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        }
    }

    /// Moves a clock that is set by hand; the system's clock stays as it is.
    pub fn set(&self, at: Timestamp) {
        if let Source::ByHand(ms) = &self.0 {
            ms.store(at.as_millisecond(), Ordering::SeqCst);
        }
    }
}

/// The clock of a test that wants it wrong by so many seconds.
#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "it is off by a given time from the system clock")]
fn skewed(seconds: Option<&str>) -> Timestamp {
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(0);
    Timestamp::now() + jiff::SignedDuration::from_secs(seconds)
}
