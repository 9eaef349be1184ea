//! What the store answers to those who read: shapes as the API shows them.

use domain::fetch::Window;
use domain::id::{AliasKey, BackfillId, ConnectionId, DeliveryId, Environment, FetchJobId, RecordId, UserId};
use domain::identity::{Alias, Status};
use domain::plan::{Asked, UnreadParts};
use domain::replay::ReplayId;
use domain::silence::Channel;
use domain::usage::Tally;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use terra::event::DataKind;
use terra::record::{Scalar, columns};

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

/// A record of any kind without its document. In JSON the kind's columns stand beside what every record has, under
/// Terra's own leaf names.
#[derive(Debug, Clone)]
pub struct RecordView {
    pub id: RecordId,
    pub kind: DataKind,
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
    /// For cursors; not shown.
    pub start_at: Option<Timestamp>,
    /// One per column of the kind.
    pub values: Vec<Option<Scalar>>,
}

impl RecordView {
    /// The value of a column by its name.
    pub fn value(&self, name: &str) -> Option<&Scalar> {
        let place = columns(self.kind).iter().position(|column| column.name() == name)?;
        self.values.get(place)?.as_ref()
    }
}

impl Serialize for RecordView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("kind", self.kind.label())?;
        map.serialize_entry("key", &self.key)?;
        map.serialize_entry("connection", &self.connection)?;
        map.serialize_entry("environment", &self.environment)?;
        map.serialize_entry("terra_user_id", &self.terra_user_id)?;
        map.serialize_entry("provider", &self.provider)?;
        map.serialize_entry("start_time", &self.start_time)?;
        map.serialize_entry("end_time", &self.end_time)?;
        map.serialize_entry("deleted", &self.deleted)?;
        map.serialize_entry("order_inferred", &self.order_inferred)?;
        map.serialize_entry("updated_at", &self.updated_at)?;
        for (column, value) in columns(self.kind).iter().zip(&self.values) {
            map.serialize_entry(column.name(), value)?;
        }
        map.end()
    }
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
    /// What of it could not be read; the rest was applied.
    pub unread: Option<UnreadParts>,
    pub settled_at: Timestamp,
    /// What sort of trouble the reason is, and which other rows have the same cause.
    pub class: Option<String>,
    pub fingerprint: Option<String>,
    /// The last replay that worked it again.
    pub replay: Option<ReplayId>,
    pub discarded_by: Option<String>,
    pub discard_reason: Option<String>,
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

impl FetchView {
    /// What was asked for; `None` where a row holds what this binary does not know.
    pub fn asked(&self) -> Option<Asked> {
        Some(Asked {
            alias: AliasKey::new(&self.environment, &self.terra_user_id),
            kind: DataKind::parse(&self.kind)?,
            days: Window { start: self.start.parse().ok()?, end: self.end.parse().ok()? },
        })
    }
}

/// Something that payloads held and Terra's schema does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriftView {
    pub environment: Environment,
    /// Terra's name of the event.
    pub kind: String,
    pub provider: Option<String>,
    /// Members joined by dots; empty for a kind of event that is new as a whole.
    pub path: String,
    /// The shape that was found: `object`, `array`, `number`, `string`, `boolean`, or `event`.
    pub found: String,
    /// Deliveries that had it.
    pub seen: u64,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
}

/// What usage is summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    Connection,
    Kind,
    Provider,
}

impl UsageBy {
    pub const LABELS: [&str; 3] = ["connection", "kind", "provider"];

    pub fn parse(label: &str) -> Option<UsageBy> {
        [UsageBy::Connection, UsageBy::Kind, UsageBy::Provider]
            .into_iter()
            .zip(UsageBy::LABELS)
            .find_map(|(by, known)| (known == label).then_some(by))
    }
}

#[derive(Debug, Clone)]
pub struct UsageFilter {
    /// The first day of the month.
    pub month: Date,
    pub by: UsageBy,
    /// Only sums of more events than this; 0 is all.
    pub above: u64,
}

/// What Terra delivered in one month for one connection, kind or provider; the fields that do not belong are `None`.
#[derive(Debug, Clone)]
pub struct UsageView {
    /// `None` also where deliveries name nobody, or an alias that is not there any more.
    pub connection: Option<ConnectionId>,
    pub user: Option<String>,
    pub environment: Option<String>,
    pub terra_user_id: Option<String>,
    pub provider: Option<String>,
    pub kind: Option<String>,
    pub tally: Tally,
    /// Of the deliveries: those nobody asked for. The others answer requests of ours.
    pub live: u64,
    /// For cursors.
    pub place: String,
}

/// What Terra delivered in one month.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageTotals {
    pub tally: Tally,
    pub live: u64,
    /// Connections that anything came for.
    pub connections: u64,
    /// Of these: the ones over the free events.
    pub connections_over: u64,
    /// How many events these are over, in all.
    pub events_over: u64,
}

/// A provider that is silent for a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SilentView {
    #[serde(flatten)]
    pub channel: Channel,
    /// Its last delivery.
    pub since: Timestamp,
    /// Connections that delivered this kind before.
    pub users: u64,
}

/// Who is silent right now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Silences {
    pub providers: Vec<SilentView>,
    /// (provider, stale connections)
    pub stale: Vec<(String, u64)>,
}

/// A connection that is quiet while its provider delivers to others.
#[derive(Debug, Clone, Serialize)]
pub struct StaleView {
    pub connection: ConnectionId,
    pub environment: Environment,
    pub user: Option<UserId>,
    pub terra_user_id: String,
    pub provider: Option<String>,
    pub last_data_at: Timestamp,
    pub expected_within_seconds: i64,
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
    /// Payloads in storage that no row needs any more and that are not deleted yet.
    pub unneeded_payloads: u64,
    pub erasures_open: u64,
    /// What the store takes on disk: (part, bytes). Parts are those that the engine tells apart.
    pub bytes: Vec<(String, u64)>,
}
