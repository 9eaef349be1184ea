//! What a store does, one trait for each part of the work; an engine implements them all.

mod audit;
mod backfill;
mod erasure;
mod events;
mod export;
mod fetch;
mod identity;
mod leases;
mod quarantine;
mod reading;
mod reconcile;
mod recover;
mod replay;
mod sessions;
mod silence;
mod upkeep;
mod why;
mod work;

pub use audit::Audits;
pub use backfill::Backfills;
pub use erasure::{Erasures, Nameless};
pub use events::EventLog;
pub use export::Exports;
pub use fetch::{Fetches, LeasedFetch};
pub use identity::{Decided, Identity, OpenReference, ReferenceAnswer, ReferencePolicy};
pub(crate) use leases::LEASE_MAX;
pub use leases::{Holder, Leases};
pub use quarantine::Quarantine;
pub use reading::{DriftCount, Found, Reading};
pub use reconcile::{ReconcileMarks, Reconciles};
pub use recover::{Recoveries, RecoveryBackfills};
pub use replay::Replays;
pub use sessions::Sessions;
pub use silence::Silence;
pub use upkeep::Upkeep;
pub use why::Evidence;
pub(crate) use work::SETTLED_AHEAD_MAX;
pub use work::{Applied, Prepared, Recorded, Retry, RetryOf, Work};

/// All of it, as the shell holds it.
pub trait Store:
    Work
    + Identity
    + Sessions
    + Fetches
    + Backfills
    + Leases
    + EventLog
    + Reading
    + Evidence
    + Quarantine
    + Reconciles
    + Recoveries
    + Replays
    + Audits
    + Silence
    + Exports
    + Erasures
    + Upkeep
{
}
