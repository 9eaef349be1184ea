//! Chance that can be repeated: the same seed and names always throw the same numbers.
//!
//! Each value is drawn from its own stream, named by what it is for, so that a new field in one
//! generator does not shift every number of the others.

use sha2::{Digest, Sha256};
use uuid::Uuid;

pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64, names: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        for name in names {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name.as_bytes());
        }
        let digest = hash.finalize();
        let mut state = [0_u8; 8];
        state.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(state))
    }

    /// SplitMix64: small, quick, and good enough to look like life.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0.0 up to, but not including, 1.0.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Both ends included.
    pub(crate) fn whole(&mut self, low: i64, high: i64) -> i64 {
        let span = (high - low).max(0) as u64 + 1;
        low + (self.bits() % span) as i64
    }

    pub(crate) fn real(&mut self, low: f64, high: f64, digits: i32) -> f64 {
        round(low + (high - low) * self.unit(), digits)
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[(self.bits() % choices.len().max(1) as u64) as usize]
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.whole(0, last as i64) as usize;
            items.swap(last, other);
        }
    }

    /// Shaped like Terra's ids, which are random UUIDs.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let mut bytes = [0_u8; 16];
        bytes[..8].copy_from_slice(&self.bits().to_be_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_be_bytes());
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// Providers send a few digits, not what floating point happens to leave.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_names_throw_the_same_numbers() {
        assert_eq!(Dice::of(7, &["a", "b"]).bits(), Dice::of(7, &["a", "b"]).bits());
        assert_ne!(Dice::of(7, &["a", "b"]).bits(), Dice::of(7, &["ab"]).bits());
        assert_ne!(Dice::of(7, &["a"]).bits(), Dice::of(8, &["a"]).bits());
    }

    #[test]
    fn numbers_stay_between_their_ends() {
        let mut dice = Dice::of(1, &["range"]);
        assert!((0..1_000).map(|_| dice.whole(-2, 2)).all(|n| (-2..=2).contains(&n)));
        assert!((0..1_000).map(|_| dice.real(1.0, 2.0, 3)).all(|n| (1.0..=2.0).contains(&n)));
    }
}
