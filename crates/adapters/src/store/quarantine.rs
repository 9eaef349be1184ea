//! What the store keeps of requests whose signature failed.

use domain::id::{DeliveryId, Environment};
use domain::quarantine::{Part, QuarantineId, Quarantined};

use crate::payloads::Sealed;

/// A request and its body, if that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub request: Quarantined,
    pub body: Option<Sealed>,
}

#[derive(Debug, Clone, Default)]
pub struct QuarantineFilter {
    pub part: Option<Part>,
    /// The one that the address names, or whose secret fits.
    pub environment: Option<Environment>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuarantineTotals {
    pub rows: u64,
    pub bytes: u64,
}

/// A request that was let in, and the delivery it became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetIn {
    pub id: QuarantineId,
    pub delivery: DeliveryId,
}

/// What is kept where there is no room: a tenth is freed at once, so that a flood does not have every request make room.
pub(super) fn kept_when_full(bytes_max: u64) -> u64 {
    bytes_max - bytes_max / 10
}
