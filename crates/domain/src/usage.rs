//! What Terra delivered, as its bill counts it: deliveries per Terra user, kind, month and origin.
//!
//! Terra's price is made of events: "each individual event transmission is counted", beyond a free number a month per
//! connection (docs.tryterra.co, Pricing, read 2026-11-22). Whether a retry of the same event is billed is not
//! documented, so duplicates are counted apart.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use terra::event::Kind;

use crate::delivery::{Delivery, Origin};
use crate::id::Environment;

/// Who made Terra send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A person's device: nobody asked.
    Live,
    /// A request of ours: history, repair.
    Ours,
}

impl Cause {
    pub fn label(self) -> &'static str {
        match self {
            Cause::Live => "live",
            Cause::Ours => "ours",
        }
    }

    /// `None` for a replay: Terra sent nothing for it.
    pub fn of(origin: Origin) -> Option<Cause> {
        match origin {
            Origin::Live => Some(Cause::Live),
            Origin::Backfill | Origin::Reconcile => Some(Cause::Ours),
            Origin::Replay => None,
        }
    }
}

/// What deliveries are counted under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    pub environment: Environment,
    /// Empty where a delivery names nobody.
    pub terra_user_id: String,
    pub kind: Kind,
    /// The first day of the month (UTC) in which it was received.
    pub month: Date,
    pub cause: Cause,
}

/// What a delivery did here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changed something, or was no data.
    Counted,
    /// Data that changed no record.
    Unchanged,
    /// It was processed before.
    Duplicate,
}

/// Numbers under one account; adding is the only thing that happens to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Events: each counts once, however often it was delivered.
    pub deliveries: u64,
    /// Of these: data that changed no record.
    pub unchanged: u64,
    /// Further deliveries of events that were processed before.
    pub duplicates: u64,
    /// Of all bodies as received, duplicates included.
    pub bytes: u64,
}

impl Tally {
    pub fn of(effect: Effect, bytes: u64) -> Tally {
        let (deliveries, unchanged, duplicates) = match effect {
            Effect::Counted => (1, 0, 0),
            Effect::Unchanged => (1, 1, 0),
            Effect::Duplicate => (0, 0, 1),
        };
        Tally { deliveries, unchanged, duplicates, bytes }
    }

    pub fn add(&mut self, other: Tally) {
        self.deliveries += other.deliveries;
        self.unchanged += other.unchanged;
        self.duplicates += other.duplicates;
        self.bytes += other.bytes;
    }

    /// The share of all that was delivered, duplicates included, that changed nothing: 0.0 to 1.0.
    pub fn unchanged_share(&self) -> f64 {
        let delivered = self.deliveries + self.duplicates;
        if delivered == 0 { 0.0 } else { (self.unchanged + self.duplicates) as f64 / delivered as f64 }
    }
}

/// Sums what single deliveries did.
pub fn tally<'a>(counted: impl Iterator<Item = (&'a Delivery, Origin, Effect)>) -> BTreeMap<Account, Tally> {
    let mut sums: BTreeMap<Account, Tally> = BTreeMap::new();
    for (delivery, origin, effect) in counted {
        let Some(cause) = Cause::of(origin) else { continue };
        let account = Account {
            environment: delivery.environment.clone(),
            terra_user_id: delivery.terra_user_id.clone().unwrap_or_default(),
            kind: delivery.kind(),
            month: month_of(delivery.received_at),
            cause,
        };
        sums.entry(account).or_default().add(Tally::of(effect, delivery.size_bytes));
    }
    sums
}

/// The first day of the month, UTC.
pub fn month_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date().first_of_month()
}

/// Events beyond what Terra gives for free to one connection in one month.
pub fn over_free(deliveries: u64, free: u64) -> u64 {
    deliveries.saturating_sub(free)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn effect() -> impl Strategy<Value = (Effect, u64)> {
        (prop::sample::select(vec![Effect::Counted, Effect::Unchanged, Effect::Duplicate]), 0_u64..1_000)
    }

    #[test]
    fn a_month_begins_on_its_first_day_in_utc() {
        let at = |text: &str| month_of(text.parse().unwrap()).to_string();
        assert_eq!(at("2026-11-30T23:59:59Z"), "2026-11-01");
        assert_eq!(at("2026-12-01T00:30:00+01:00"), "2026-11-01");
    }

    #[test]
    fn a_replay_is_nothing_that_terra_sent() {
        assert_eq!(Cause::of(Origin::Replay), None);
        assert_eq!(Cause::of(Origin::Backfill), Some(Cause::Ours));
    }

    #[test]
    fn nothing_delivered_has_no_share() {
        assert!(Tally::default().unchanged_share().abs() < f64::EPSILON);
        assert_eq!((over_free(400, 400), over_free(412, 400)), (0, 12));
    }

    proptest! {
        #[test]
        fn every_delivery_is_counted_once_in_any_order(effects in prop::collection::vec(effect(), 0..40)) {
            let sum = |effects: &[(Effect, u64)]| {
                let mut sum = Tally::default();
                effects.iter().for_each(|(effect, bytes)| sum.add(Tally::of(*effect, *bytes)));
                sum
            };
            let forth = sum(&effects);
            prop_assert_eq!(forth, sum(&effects.iter().rev().copied().collect::<Vec<_>>()));
            prop_assert_eq!(forth.deliveries + forth.duplicates, effects.len() as u64);
            prop_assert!(forth.unchanged <= forth.deliveries);
            prop_assert!((0.0..=1.0).contains(&forth.unchanged_share()));
        }
    }
}
