//! Filters of listings; `None` means any.

use domain::backfill::BackfillState;
use domain::id::{Environment, UserId};
use domain::replay::ReplayId;
use domain::settle::class::Class;
use jiff::Timestamp;

use crate::store::LedgerOutcome;

/// Filters of listings; `None` means any.
#[derive(Debug, Clone, Default)]
pub struct ConnectionFilter {
    pub user: Option<UserId>,
    pub status: Option<domain::identity::Status>,
    pub provider: Option<String>,
    pub terra_user_id: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub outcome: Option<LedgerOutcome>,
    pub type_name: Option<String>,
    pub terra_user_id: Option<String>,
    pub trace_id: Option<String>,
    pub environment: Option<Environment>,
    pub class: Option<Class>,
    pub fingerprint: Option<String>,
    /// The last replay that worked it again.
    pub replay: Option<ReplayId>,
    /// Received within.
    pub span: Span,
}

#[derive(Debug, Clone, Default)]
pub struct AuthEventFilter {
    /// The internal user, through the aliases that are theirs now.
    pub user: Option<UserId>,
    pub terra_user_id: Option<String>,
    pub kind: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct FetchFilter {
    pub terra_user_id: Option<String>,
    pub user: Option<UserId>,
    /// `queued`, `requested`, `done`, `nothing`, `failed`.
    pub state: Option<String>,
    /// Terra's of an accepted request.
    pub reference: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct DriftFilter {
    /// Terra's name of the event.
    pub kind: Option<String>,
    pub provider: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct BackfillFilter {
    pub user: Option<UserId>,
    pub state: Option<BackfillState>,
}

/// The instants a listing of records covers: `from` inclusive, `to` exclusive.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}
