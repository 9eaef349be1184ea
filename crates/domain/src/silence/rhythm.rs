//! A rhythm: how long something is usually quiet.
//!
//! What is learned is the longest pause lately. It is forgotten by half every thirty days, by time and not by count:
//! a burst of deliveries between two nights does not make the nights look long. A pause that was too long to be
//! expected counts no more than what was, so that an outage does not become the rhythm at once.

use jiff::{SignedDuration, Timestamp};

/// In this time half of the longest pause is forgotten.
pub const HALF_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How far beyond its longest pause something may be quiet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    pub factor: f64,
    /// However quick a rhythm seems, this much is allowed.
    pub floor: SignedDuration,
    /// Nothing is learned before deliveries span this much: a day and its night have been seen twice.
    pub span_min: SignedDuration,
    /// Nor before there were so many.
    pub deliveries_min: u64,
}

/// With one person: a day off, or a charger left at home, is no news.
pub const CONNECTION: Patience = Patience {
    factor: 2.0,
    floor: SignedDuration::from_hours(12),
    span_min: SignedDuration::from_hours(48),
    deliveries_min: 4,
};

/// With a provider, whose many people do not rest together.
pub const PROVIDER: Patience = Patience {
    factor: 1.5,
    floor: SignedDuration::from_mins(30),
    span_min: SignedDuration::from_hours(48),
    deliveries_min: 0,
};

impl Patience {
    pub fn bound(&self, longest: SignedDuration) -> SignedDuration {
        SignedDuration::try_from_secs_f64(longest.as_secs_f64() * self.factor).unwrap_or(longest).max(self.floor)
    }
}

/// What is known of one series of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The longest pause lately, as of `last_at`.
    pub longest: SignedDuration,
    pub deliveries: u64,
}

impl Rhythm {
    pub fn begin(at: Timestamp) -> Rhythm {
        Rhythm { first_at: at, last_at: at, longest: SignedDuration::ZERO, deliveries: 1 }
    }

    /// Takes in a delivery received at `at`. One that is handed over late tells of no pause.
    pub fn hear(&mut self, at: Timestamp) {
        self.deliveries += 1;
        if at <= self.last_at {
            return;
        }
        let pause = at.duration_since(self.last_at);
        let counted = self.bound().map_or(pause, |bound| pause.min(bound));
        self.longest = faded(self.longest, pause).max(counted);
        self.last_at = at;
    }

    /// How long it may be quiet after `last_at`; `None` while too little is known.
    pub fn bound(&self) -> Option<SignedDuration> {
        let span = self.last_at.duration_since(self.first_at);
        let is_learned = self.deliveries >= CONNECTION.deliveries_min && span >= CONNECTION.span_min;
        is_learned.then(|| CONNECTION.bound(self.longest))
    }

    /// When it will have been quiet for too long.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.bound().map(|bound| self.last_at.checked_add(bound).unwrap_or(Timestamp::MAX))
    }
}

/// What is left of a longest pause after some time.
pub fn faded(longest: SignedDuration, after: SignedDuration) -> SignedDuration {
    let halves = after.as_secs_f64().max(0.0) / HALF_LIFE.as_secs_f64();
    SignedDuration::try_from_secs_f64(longest.as_secs_f64() * 0.5_f64.powf(halves)).unwrap_or(longest)
}
