//! The store's contract: identity, records, ledger, jobs and the event log.
//!
//! Guarantees every implementation keeps (`tests/contract/store.rs`):
//!
//! - **One transaction**: a batch is applied whole or not at all; after `Ok` it survives `kill -9` and a crash of the
//!   database. An unknown outcome (the answer to a commit was lost) is reported as `Unavailable`; applying the batch
//!   again is then right, whichever way it went.
//! - **Exactly once in effect**: a delivery whose key was processed changes nothing but its row in the ledger.
//! - **Any order**: the state depends on which deliveries were applied, never on their order of arrival.
//! - **Gapless log**: readers of events see positions 1, 2, 3 … and never one that appears behind them.
//!
//! Times and ids come from the caller.

pub mod apply;
mod backfill;
pub mod embedded;
mod erasing;
mod fetching;
mod filter;
mod ports;
pub mod postgres;
mod quarantine;
mod record_table;
mod replay;
mod schema;
pub mod tx;
pub mod view;
pub mod why;

pub use backfill::{BackfillRound, Notes};
pub use fetching::FetchAsk;
pub use filter::{AuthEventFilter, BackfillFilter, ConnectionFilter, DeliveryFilter, DriftFilter, FetchFilter, Span};
pub use ports::{
    Applied, Audits, Backfills, Decided, DriftCount, Erasures, EventLog, Evidence, Exports, Fetches, Found, Holder,
    Identity, LeasedFetch, Leases, Nameless, OpenReference, Prepared, Quarantine, Reading, ReconcileMarks, Reconciles,
    Recorded, Recoveries, RecoveryBackfills, ReferenceAnswer, ReferencePolicy, Replays, Retry, RetryOf, Sessions,
    Silence, Store, Upkeep, Work,
};
pub(crate) use ports::{LEASE_MAX, SETTLED_AHEAD_MAX};
pub use quarantine::{Held, LetIn, QuarantineFilter, QuarantineTotals};
pub use replay::{
    Audit, AuditFilter, AuditView, Counted, DeadGroup, Preview, ReplayItem, ReplayedView, Selected, Turn,
};
pub use schema::{SCHEMA_OLDEST, SCHEMA_VERSION, Schema, judge_schema};
pub use tx::{LedgerOutcome, Reprojection, StoredDocument, Unneeded};
pub use view::{
    AuthEventView, BackfillView, ConnectionView, DeliveryView, DriftView, FetchView, Listing, Page, RecordView,
    Silences, SilentView, StaleView, Stats, UsageBy, UsageFilter, UsageTotals, UsageView,
};
pub use why::{AboutRecord, DayRecord};

/// A failed call to the store; each variant calls for another reaction.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is away, or the outcome is unknown: wait, then do the same again.
    #[error("the store is not reachable: {0}")]
    Unavailable(String),
    /// Lost a race for locks: do the same again at once.
    #[error("the store asks to try again")]
    Contention,
    /// The store lives, and it took too long: one statement, or all that belong together. Less at once may do.
    #[error("the store took too long")]
    TooSlow,
    /// A row breaks a rule of the schema: doing it again will not help.
    #[error("the store refused a row: {constraint}")]
    Rejected { constraint: String },
    /// The schema is not the one this binary knows.
    #[error("the schema does not fit: {0}")]
    Incompatible(String),
    /// What is on the disk is not what was written: nothing helps but to mend it.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A page cursor that this store did not give out.
    #[error("the cursor is not one of ours")]
    BadCursor,
}
