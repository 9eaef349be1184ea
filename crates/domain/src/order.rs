//! The order of a delivery: fixed at receipt, compared instead of time of arrival.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far ahead of the signed time an ordering header may lie. The header is unsigned: without a cap a forged
/// year 2100 would win for ever.
const ORDERING_AHEAD_MAX_MS: i64 = 5 * 60 * 1_000;

/// When a delivery was made, for comparison: milliseconds since the Unix epoch, ties broken by the body's SHA-256.
///
/// - Shapes: 16 bytes, big-endian: 8 of milliseconds, then the first 8 of the digest. Comparing the bytes compares
///   the orders, so both stores keep it as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Order([u8; 16]);

impl Order {
    pub fn new(ms: i64, body_digest: &[u8; 32]) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&ms.max(0).to_be_bytes());
        bytes[8..].copy_from_slice(&body_digest[..8]);
        Self(bytes)
    }

    /// The order of a delivery: `min(ordering header, t + 5 min)`, or `t` where there is no header.
    pub fn of_delivery(ordering_ms: Option<i64>, t_seconds: i64, body_digest: &[u8; 32]) -> Self {
        let signed_ms = t_seconds.saturating_mul(1_000);
        let ms = ordering_ms.map_or(signed_ms, |ms| ms.min(signed_ms.saturating_add(ORDERING_AHEAD_MAX_MS)));
        Self::new(ms, body_digest)
    }

    /// An order that is not a delivery's: an answer of Terra that we asked for, a person's decision.
    pub fn at(ms: i64) -> Self {
        Self::new(ms, &[0; 32])
    }

    pub fn ms(&self) -> i64 {
        let mut ms = [0; 8];
        ms.copy_from_slice(&self.0[..8]);
        i64::from_be_bytes(ms)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From a column; `None` where the length is not 16.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({} {})", self.ms(), hex::encode(&self.0[8..]))
    }
}

/// A value and the order of the delivery that said so; the greater order wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<T> {
    pub order: Order,
    pub value: T,
}

/// Keeps the statement of greatest order. Commutative, associative and idempotent.
pub fn keep_greatest<T: Ord>(kept: &mut Option<Stamped<T>>, said: Option<Stamped<T>>) {
    if let Some(said) = said
        && kept.as_ref().is_none_or(|kept| (kept.order, &kept.value) < (said.order, &said.value))
    {
        *kept = Some(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_ordering_header_is_capped_at_five_minutes_ahead() {
        let digest = [7; 32];
        assert_eq!(Order::of_delivery(Some(i64::MAX), 1_000, &digest).ms(), 1_300_000);
        assert_eq!(Order::of_delivery(Some(5), 1_000, &digest).ms(), 5);
        assert_eq!(Order::of_delivery(None, 1_000, &digest).ms(), 1_000_000);
    }

    #[test]
    fn ties_go_to_the_greater_digest() {
        assert!(Order::new(1, &[2; 32]) > Order::new(1, &[1; 32]));
        assert!(Order::new(2, &[0; 32]) > Order::new(1, &[9; 32]));
    }
}
