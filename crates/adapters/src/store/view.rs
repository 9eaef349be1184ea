//! What the store answers to those who read: shapes as the API shows them.

use domain::id::{AliasKey, BackfillId, ConnectionId, DeliveryId, Environment, FetchJobId, RecordId, UserId};
use domain::identity::{Alias, Status};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::tx::LedgerOutcome;

pub const LIMIT_DEFAULT: u32 = 100;
pub const LIMIT_MAX: u32 = 1_000;

/// Which part of a listing is asked for.
#[derive(Debug, Clone)]
pub struct Page {
    /// The `next` of the page before.
    pub after: Option<String>,
    /// 1 to [`LIMIT_MAX`].
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Page { after: None, limit: LIMIT_DEFAULT }
    }
}

/// One page: `next` is the cursor of the page after it.
#[derive(Debug, Clone, Serialize)]
pub struct Listing<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

impl<T> Listing<T> {
    /// Makes a page of rows that were read with `limit + 1`: the surplus row only says that there is more.
    pub fn of(mut rows: Vec<T>, page: &Page, cursor: impl Fn(&T) -> String) -> Self {
        let limit = page.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(cursor) } else { None };
        Listing { items: rows, next }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct ConnectionView {
    pub id: ConnectionId,
    pub user: Option<UserId>,
    pub reference_id: Option<String>,
    pub provider: Option<String>,
    pub environment: Environment,
    pub status: Status,
    pub scopes: Vec<String>,
    pub aliases: Vec<AliasView>,
    /// The current one.
    pub terra_user_id: String,
    pub connected_at: Option<Timestamp>,
    pub last_data_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub struct AliasView {
    pub terra_user_id: String,
    pub status: &'static str,
    /// When it was opened, else first named.
    pub since: Option<Timestamp>,
}

impl ConnectionView {
    /// Puts a connection together from its row and its aliases (in any order).
    pub fn assemble(
        id: ConnectionId,
        user: Option<UserId>,
        status: Status,
        current: &AliasKey,
        mut aliases: Vec<Alias>,
    ) -> Self {
        aliases.sort_by(|a, b| (a.opened, &a.key).cmp(&(b.opened, &b.key)));
        let at = |order: domain::order::Order| Timestamp::from_millisecond(order.ms()).ok();
        let speaker = aliases.iter().find(|alias| alias.key == *current);
        ConnectionView {
            id,
            user,
            reference_id: speaker.and_then(|alias| alias.reference.as_ref()).map(|stated| stated.value.to_string()),
            provider: speaker.and_then(|alias| alias.provider.as_ref()).map(|stated| stated.value.clone()),
            environment: current.environment.clone(),
            status,
            scopes: speaker
                .and_then(|alias| alias.scopes.as_ref())
                .map(|stated| stated.value.clone())
                .unwrap_or_default(),
            terra_user_id: current.terra_user_id.to_string(),
            connected_at: aliases.iter().filter_map(|alias| alias.opened).max().and_then(at),
            last_data_at: aliases.iter().filter_map(|alias| alias.seen).max().and_then(at),
            aliases: aliases
                .iter()
                .map(|alias| AliasView {
                    terra_user_id: alias.key.terra_user_id.to_string(),
                    status: alias.status().label(),
                    since: alias.opened.or(alias.seen).or(alias.closed).and_then(at),
                })
                .collect(),
        }
    }
}

/// A record of any kind without its document.
#[derive(Debug, Clone, Serialize)]
pub struct RecordView {
    pub id: RecordId,
    pub kind: &'static str,
    pub key: String,
    pub connection: ConnectionId,
    pub environment: Environment,
    pub terra_user_id: String,
    pub provider: Option<String>,
    /// As delivered.
    pub start_time: Option<String>,
    pub end_time: Option<String>,
    pub deleted: bool,
    /// The order comes from the signed time alone.
    pub order_inferred: bool,
    pub updated_at: Timestamp,
    /// For cursors.
    #[serde(skip)]
    pub start_at: Option<Timestamp>,
}

/// An activity: the record and Terra's own leaf names beside it.
#[derive(Debug, Clone, Serialize)]
pub struct ActivityView {
    #[serde(flatten)]
    pub record: RecordView,
    #[serde(flatten)]
    pub columns: terra::record::Activity,
}

#[derive(Debug, Clone, Serialize)]
pub struct AuthEventView {
    /// Ascending in the order of processing.
    pub id: i64,
    pub environment: Environment,
    #[serde(rename = "type")]
    pub kind: String,
    pub succeeded: bool,
    pub terra_user_id: Option<String>,
    pub reference_id: Option<String>,
    pub provider: Option<String>,
    /// When it happened at Terra, as far as known.
    pub happened_at: Timestamp,
    pub received_at: Timestamp,
    pub detail: Value,
}

#[derive(Debug, Clone, Serialize)]
pub struct DeliveryView {
    pub id: DeliveryId,
    pub environment: Environment,
    pub received_at: Timestamp,
    pub trace_id: Option<String>,
    pub reference: Option<String>,
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    pub terra_user_id: Option<String>,
    pub outcome: LedgerOutcome,
    pub reason: Option<String>,
    pub attempts: u32,
    pub retry_at: Option<Timestamp>,
    pub rows: u32,
    pub size_bytes: u64,
    /// Hex SHA-256 of the body.
    pub body_digest: String,
    pub late: bool,
    pub settled_at: Timestamp,
}

#[derive(Debug, Clone, Serialize)]
pub struct FetchView {
    pub id: FetchJobId,
    pub environment: Environment,
    pub terra_user_id: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Dates, `end` exclusive.
    pub start: String,
    pub end: String,
    /// Why it was made, and for which wish.
    pub origin: String,
    pub backfill: BackfillId,
    /// `queued`, `requested`, `done`, `nothing`, `failed`, or `merged` into another job.
    pub state: String,
    pub reason: Option<String>,
    pub merged_into: Option<FetchJobId>,
    pub attempts: u32,
    /// Status of the last answer.
    pub status: Option<u16>,
    /// Terra's reference of an accepted request.
    pub reference: Option<String>,
    /// Not before then; pauses count.
    pub run_at: Timestamp,
}

/// A wish for data, and how much of it has come.
#[derive(Debug, Clone, Serialize)]
pub struct BackfillView {
    pub id: BackfillId,
    pub environment: Environment,
    pub terra_user_id: String,
    pub user: Option<UserId>,
    pub provider: Option<String>,
    /// As of a fetch, or `terra` for a large request that we did not make.
    pub origin: String,
    pub types: Vec<String>,
    /// Dates, `to` exclusive; absent where only Terra knows them.
    pub from: Option<String>,
    pub to: Option<String>,
    /// `open`, `complete`, `incomplete`.
    pub state: &'static str,
    pub reason: Option<String>,
    /// Requests to Terra.
    pub requested: u32,
    /// Payloads: as many as announced, else one for each request.
    pub expected: u64,
    pub received: u64,
    pub missing: u64,
    /// 0 to 1.
    pub progress: f64,
    pub bytes: u64,
    /// How long nothing has come; absent while things come, or wait for their turn.
    pub stalled_for_seconds: Option<i64>,
    pub created_at: Timestamp,
    /// When something last came.
    pub progressed_at: Timestamp,
    pub settled_at: Option<Timestamp>,
    /// Of one backfill, not in listings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Vec<BackfillRequestView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_days: Option<Vec<DaysView>>,
}

#[derive(Debug, Clone, Serialize)]
pub struct BackfillRequestView {
    /// Absent for a request that we did not make.
    pub fetch: Option<FetchJobId>,
    #[serde(flatten)]
    pub days: Option<DaysView>,
    /// `queued`, `requested`, `answered`, `failed`.
    pub state: &'static str,
    pub reason: Option<String>,
    pub reference: Option<String>,
    /// As announced; absent for an ordinary request.
    pub expected: Option<u32>,
    /// Deliveries that came under its reference.
    pub received: u64,
    pub bytes: u64,
    /// The fetch whose missing part this one asks for.
    pub asks_again_for: Option<FetchJobId>,
}

#[derive(Debug, Clone, Serialize)]
pub struct DaysView {
    #[serde(rename = "type")]
    pub kind: String,
    /// Dates, `end` exclusive.
    pub start: String,
    pub end: String,
}

/// Numbers for gauges and for the overview.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    /// (status, provider, connections)
    pub connections: Vec<(Status, String, u64)>,
    pub dead_letters: u64,
    /// Failed deliveries that wait for another try, per lane label.
    pub retries: Vec<(String, u64)>,
    /// Events that may be published and are not.
    pub outbox_pending: u64,
    pub events_held: u64,
    pub open_references: u64,
    pub fetch_open: u64,
    pub backfills_open: u64,
    /// Of these, such as nothing came of for too long.
    pub backfills_stalled: u64,
}
