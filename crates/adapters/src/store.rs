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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use domain::backfill::BackfillState;
use domain::erasure::{Erasure, ErasureId, Found as ErasureFound, Target, Wish};
use domain::fetch::{FetchJob, PauseScope, Reaction};
use domain::id::{
    AliasKey, BackfillId, ConnectionId, DeliveryId, Environment, EventId, FetchJobId, RecordId, ReferenceId, SessionId,
    UserId,
};
use domain::outgoing::Published;
use domain::plan::{Plan, Sighting};
use domain::quarantine::{QuarantineId, Quarantined};
use domain::reconcile::run::Reconcile;
use domain::reconcile::{Known, ReconcileId};
use domain::record::{Kept, RecordKey, Scores};
use domain::recover::{Missed, MissedState, Pause, Recovery, RecoveryId};
use domain::replay::{ItemState, Items, Replay, ReplayId, Selection, State};
use domain::session::ConnectSession;
use domain::settle::Settlement;
use domain::settle::class::Class;
use domain::silence::{Judgement, Seen};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use terra::event::DataKind;

use crate::payloads::Sealed;
use crate::queue::Job;

pub mod apply;
mod backfill;
pub mod embedded;
mod erasing;
mod fetching;
pub mod postgres;
mod quarantine;
mod record_table;
mod replay;
pub mod tx;
pub mod view;
pub mod why;

pub use backfill::{BackfillRound, Notes};
pub use fetching::FetchAsk;
pub use quarantine::{Held, LetIn, QuarantineFilter, QuarantineTotals};
pub use replay::{Audit, AuditFilter, AuditView, Counted, DeadGroup, Preview, ReplayItem, ReplayedView, Selected};
pub use tx::{LedgerOutcome, Reprojection, StoredDocument, Unneeded};
pub use view::{
    AuthEventView, BackfillView, ConnectionView, DeliveryView, DriftView, FetchView, Listing, Page, RecordView,
    Silences, SilentView, StaleView, Stats, UsageBy, UsageFilter, UsageTotals, UsageView,
};
pub use why::{AboutRecord, DayRecord};

/// A plan with its bytes sealed: the delivery's own, and one document per record, in the plan's order.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub plan: Plan,
    pub body: Sealed,
    pub documents: Vec<Sealed>,
    /// Which try this is, counted from 1.
    pub attempt: u32,
    /// The run that works it again, if one does: it takes effect once per run, whether or not it was processed before.
    pub replay: Option<ReplayId>,
}

/// What applying did, per plan of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Stored {
        rows: u32,
    },
    AlreadyProcessed,
    SetAside {
        reason: String,
    },
    Quarantined {
        reason: String,
    },
    /// It names somebody who was erased: dropped.
    Erased,
}

/// What became of a failed try that was to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Kept,
    /// It names somebody who was erased: dropped instead.
    Erased,
}

/// A part of the ledger that names nobody, to be searched.
#[derive(Debug, Clone)]
pub struct Nameless {
    pub id: domain::id::DeliveryId,
    pub received_at: Timestamp,
    pub body: Sealed,
}

/// What a `reference_id` is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferencePolicy {
    /// It *is* the internal user.
    IsTheUser,
    /// A resolver says whose it is; its answers are rows.
    Resolved,
}

/// A delivery that is due again, with this try counted: a worker that dies of it cannot count it any more.
#[derive(Debug, Clone)]
pub struct Retry {
    pub job: Job,
    /// Tries, this one included.
    pub attempts: u32,
    /// Tries in a row whose worker died.
    pub crashes: u32,
}

/// What a delivery that is due again waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOf {
    Work,
    /// Its payload lies in storage and has yet to be downloaded.
    Download,
}

/// A reference that waits for a resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReference {
    pub environment: Environment,
    pub reference: ReferenceId,
    /// Answers of "unknown" so far.
    pub attempts: u32,
}

/// A resolver's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceAnswer {
    Found(UserId),
    /// Nobody knows it; asked again at `again_at`.
    Unknown {
        again_at: Timestamp,
    },
    /// The resolver is away; not an answer.
    Unavailable {
        again_at: Timestamp,
    },
}

/// A fetch job held by one fetcher: `token` fences one that was taken for dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedFetch {
    pub job: FetchJob,
    pub token: i64,
}

/// No lease is as long. One that seems to be was written by a clock that is wrong, and counts as run out: otherwise
/// whoever dies a day ahead of us would keep its work for a day.
const LEASE_MAX: SignedDuration = SignedDuration::from_mins(15);

/// Nothing that failed waits as long for its next try; the same.
const RETRY_WAIT_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Who a lease of something that runs once belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// What is leased: `relay`, `upkeep` …
    pub name: &'a str,
    pub holder: uuid::Uuid,
}

/// A person's decision about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Done {
        connection: ConnectionId,
    },
    UnknownConnection,
    /// Nothing to split: it has one alias.
    Indivisible,
}

/// Where a connection id leads.
#[derive(Debug, Clone)]
pub enum Found {
    Here(Box<ConnectionView>),
    /// It became part of an older one.
    Moved {
        to: ConnectionId,
    },
    Unknown,
}

/// The schema in the database, against what this binary can work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    Fits {
        version: u32,
    },
    /// Nothing there, or too old: migrate up.
    Behind {
        version: u32,
        needed: u32,
    },
    /// Made by a binary so new that this one may harm it.
    Ahead {
        version: u32,
        readable_from: u32,
    },
}

/// The schema level of this binary: it needs exactly what migrations up to here create.
pub const SCHEMA_VERSION: u32 = 10;

/// The oldest schema this binary still works with. Migrations only expand, so the schema goes first, and processes of
/// the version before are replaced one by one on it.
pub const SCHEMA_OLDEST: u32 = 10;

/// Judges a schema: `version` is the last migration applied, `readable_from` the oldest binary level that it suits,
/// as its own migrations say.
pub fn judge_schema(version: u32, readable_from: u32) -> Schema {
    if version < SCHEMA_OLDEST {
        Schema::Behind { version, needed: SCHEMA_OLDEST }
    } else if readable_from > SCHEMA_VERSION {
        Schema::Ahead { version, readable_from }
    } else {
        Schema::Fits { version }
    }
}

/// What former reconciles tell the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReconcileMarks {
    /// When the schedule last asked for one.
    pub scheduled: Option<Timestamp>,
    /// The beginning of the last list of all users that was read to its end.
    pub listed: Option<Timestamp>,
    /// The last one revoked nobody because so many were gone.
    pub refused: bool,
}

/// What became of the requests for data of a recovery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecoveryBackfills {
    pub all: u64,
    /// Requests that they take together.
    pub requests: u64,
    pub open: u64,
    /// Not everything came.
    pub incomplete: u64,
}

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

/// Deliveries that had something Terra's schema does not have, counted since the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftCount {
    pub environment: Environment,
    pub sighting: Sighting,
    pub seen: u64,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
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

#[async_trait]
pub trait Store: Send + Sync {
    // --- the way of a webhook

    /// Applies a batch in one transaction; answers in the order of the batch.
    async fn apply(&self, batch: &[Prepared], now: Timestamp) -> Result<Vec<Applied>, StoreError>;

    /// Records a failed try in the ledger; a dead one also tells the company's services.
    async fn record_failure(
        &self,
        job: &Job,
        attempt: u32,
        settlement: &Settlement,
        reason: &str,
        now: Timestamp,
    ) -> Result<Recorded, StoreError>;

    /// Writes deliveries into the ledger as due at once, so that the queue need not keep them any longer. What has its
    /// row already is left as it is. Of somebody who was erased too: it is dropped when it is worked, with whatever a
    /// try that was cut off left in the payload store.
    async fn hand_over(&self, jobs: &[Job], reason: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Takes deliveries that are due, hidden from others until `until`; none that a worker held when it died.
    async fn lease_retries(
        &self,
        of: RetryOf,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Retry>, StoreError>;

    /// Takes one of those whose lease ran out without a word: what its worker died of may be this very delivery, so it
    /// is worked alone. The longest without a turn comes first.
    async fn lease_suspect(&self, of: RetryOf, now: Timestamp, until: Timestamp) -> Result<Option<Retry>, StoreError>;

    /// Keeps deliveries that are leased hidden until `until`; those that were settled meanwhile stay as they are.
    async fn renew_retries(&self, deliveries: &[DeliveryId], until: Timestamp) -> Result<(), StoreError>;

    // --- identity

    /// Takes references that wait for a resolver, hidden from others until `until`.
    async fn lease_references(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OpenReference>, StoreError>;

    /// Keeps a resolver's answer and concludes anew whom it concerns.
    async fn resolve(
        &self,
        reference: &OpenReference,
        answer: &ReferenceAnswer,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// A person decides whose connection this is: every alias of it belongs to `user` from now on.
    async fn assign(
        &self,
        connection: ConnectionId,
        user: &UserId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Decided, StoreError>;

    /// A person decides that the aliases of this connection are not one: each stands for itself again.
    async fn split(&self, connection: ConnectionId, actor: &str, now: Timestamp) -> Result<Decided, StoreError>;

    // --- connect

    async fn create_session(&self, session: &ConnectSession) -> Result<(), StoreError>;
    /// Adds what Terra answered to a new session.
    async fn session_opened(
        &self,
        id: SessionId,
        widget_session_id: Option<&str>,
        widget_url: &str,
        expires_at: Timestamp,
    ) -> Result<(), StoreError>;
    async fn session_failed(&self, id: SessionId, reason: &str) -> Result<(), StoreError>;
    async fn session(&self, id: SessionId) -> Result<Option<ConnectSession>, StoreError>;
    async fn session_by_state(&self, state_digest: &[u8; 32]) -> Result<Option<ConnectSession>, StoreError>;
    /// Marks that the browser came back; true for the first time.
    async fn session_returned(&self, id: SessionId, now: Timestamp) -> Result<bool, StoreError>;

    // --- fetch

    /// Takes due fetch jobs within the installation's pace and each user's budget, hidden from others for a while:
    /// urgent ones first, users in turn.
    async fn lease_fetch_jobs(&self, ask: &FetchAsk) -> Result<Vec<LeasedFetch>, StoreError>;
    /// Keeps what became of a job, and the pauses that follow; false where the lease was lost meanwhile, and then nothing was kept.
    async fn finish_fetch(
        &self,
        leased: &LeasedFetch,
        reaction: &Reaction,
        status: Option<u16>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Lets jobs rest, those queued later as well. `subject` is what [`PauseScope::subject`] says of a job.
    async fn pause_fetches(
        &self,
        environment: &Environment,
        scope: PauseScope,
        subject: &str,
        until: Timestamp,
        reason: &str,
    ) -> Result<(), StoreError>;
    /// Queues jobs, each day of an alias and kind once: what overlaps or adjoins a waiting one becomes one with it.
    async fn enqueue_fetches(&self, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError>;
    async fn fetch(&self, id: FetchJobId) -> Result<Option<FetchView>, StoreError>;
    async fn fetches(&self, filter: &FetchFilter, page: &Page) -> Result<Listing<FetchView>, StoreError>;

    // --- backfills

    /// Looks at open backfills that are due: counts what came, asks again for what is missing of those that stall, and
    /// closes those that are done, with an event. Safe to run from many processes at once.
    async fn settle_backfills(&self, now: Timestamp, stall: Duration, limit: u32) -> Result<BackfillRound, StoreError>;
    async fn backfills(
        &self,
        filter: &BackfillFilter,
        page: &Page,
        now: Timestamp,
    ) -> Result<Listing<BackfillView>, StoreError>;
    /// One with all its requests, counted now.
    async fn backfill(
        &self,
        id: BackfillId,
        now: Timestamp,
        stall: Duration,
    ) -> Result<Option<BackfillView>, StoreError>;

    // --- what runs once

    /// Takes or renews a lease; false while another holder has it.
    async fn hold(&self, lease: Holder<'_>, now: Timestamp, until: Timestamp) -> Result<bool, StoreError>;
    async fn let_go(&self, lease: Holder<'_>) -> Result<(), StoreError>;

    // --- the event log

    /// Gives at most `limit` committed events their positions, if the lease is still held; answers how many.
    async fn number_events(&self, lease: Holder<'_>, limit: u32) -> Result<u32, StoreError>;
    /// Events with a position that are not known to be published, in order.
    async fn unpublished_events(&self, limit: u32) -> Result<Vec<Published>, StoreError>;
    /// Events up to this position are published.
    async fn mark_published(&self, lease: Holder<'_>, position: i64) -> Result<(), StoreError>;
    /// The log after a position, in order.
    async fn events_after(&self, position: i64, limit: u32) -> Result<Vec<Published>, StoreError>;

    // --- reading

    async fn connections(&self, filter: &ConnectionFilter, page: &Page) -> Result<Listing<ConnectionView>, StoreError>;
    async fn connection(&self, id: ConnectionId) -> Result<Found, StoreError>;
    /// Records of a kind: per connection and key the greatest order, tombstones left out, newest start first.
    async fn records(
        &self,
        user: &UserId,
        kind: DataKind,
        span: Span,
        page: &Page,
    ) -> Result<Listing<RecordView>, StoreError>;
    async fn record(&self, id: RecordId) -> Result<Option<RecordView>, StoreError>;
    /// Terra's object as last sent, and the scores as merged, which belong into it.
    async fn record_document(&self, id: RecordId) -> Result<Option<(Sealed, Scores)>, StoreError>;
    /// Documents of a kind in the order of their ids, at most `limit` after `after`.
    async fn documents(
        &self,
        kind: DataKind,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<StoredDocument>, StoreError>;
    /// Refills columns; answers how many rows were still those that were read.
    async fn reproject(&self, kind: DataKind, rows: &[Reprojection]) -> Result<u64, StoreError>;
    /// Adds to the counts of what payloads held that Terra's schema does not have.
    async fn count_drift(&self, counts: &[DriftCount]) -> Result<(), StoreError>;
    /// Newest first sighting first, at most 1,000.
    async fn drift(&self, filter: &DriftFilter) -> Result<Vec<DriftView>, StoreError>;
    async fn auth_events(&self, filter: &AuthEventFilter, page: &Page) -> Result<Listing<AuthEventView>, StoreError>;
    async fn deliveries(&self, filter: &DeliveryFilter, page: &Page) -> Result<Listing<DeliveryView>, StoreError>;
    async fn delivery(&self, id: domain::id::DeliveryId) -> Result<Option<DeliveryView>, StoreError>;
    async fn delivery_body(&self, id: domain::id::DeliveryId) -> Result<Option<Sealed>, StoreError>;
    /// What Terra delivered in a month, summed.
    async fn usage(&self, filter: &UsageFilter, page: &Page) -> Result<Listing<UsageView>, StoreError>;
    /// What Terra delivered in the month that begins on `month`; `free` is the number of events a connection has free.
    async fn usage_totals(&self, month: Date, free: u64) -> Result<UsageTotals, StoreError>;
    /// Numbers for gauges.
    async fn stats(&self, now: Timestamp) -> Result<Stats, StoreError>;

    // --- why

    /// Connections of an internal user, with a reference, or with a Terra user of this name, at most `limit`.
    async fn named(
        &self,
        name: &str,
        environments: &[Environment],
        limit: u32,
    ) -> Result<Vec<ConnectionId>, StoreError>;
    /// Records of a connection on a day of the person's calendar, at most 100: per key the greatest order, tombstones
    /// included. Kinds kept by day by their key, others where they begin or end on it; a profile is of any day.
    async fn records_of_day(
        &self,
        connection: ConnectionId,
        kind: DataKind,
        day: Date,
    ) -> Result<Vec<DayRecord>, StoreError>;
    /// Events about records: those with these ids, and those held about these records, in the order of their times.
    async fn events_about(&self, events: &[EventId], records: &[RecordId]) -> Result<Vec<AboutRecord>, StoreError>;

    // --- quarantine

    /// Counts requests whose signature failed among those kept; answers the fingerprints that are known.
    async fn note_quarantined(&self, requests: &[Quarantined]) -> Result<BTreeSet<[u8; 32]>, StoreError>;
    /// Keeps requests, at most `bytes_max` with those before: what does not look like Terra's goes first, then the oldest.
    /// Answers payloads that nothing needs any more.
    async fn quarantine(&self, held: &[Held], bytes_max: u64) -> Result<Vec<Sealed>, StoreError>;
    /// Newest first; of a body only whether it is kept.
    async fn quarantined(&self, filter: &QuarantineFilter, page: &Page) -> Result<Listing<Held>, StoreError>;
    /// Requests with a well-formed signature and a body, oldest first, at most `limit` after `after`.
    async fn verifiable(
        &self,
        filter: &QuarantineFilter,
        after: Option<QuarantineId>,
        limit: u32,
    ) -> Result<Vec<Held>, StoreError>;
    /// These are deliveries now: they leave the quarantine, and who let them in is kept. Answers payloads that nothing
    /// needs any more.
    async fn let_in(&self, let_in: &[LetIn], actor: &str, now: Timestamp) -> Result<Vec<Sealed>, StoreError>;
    /// Forgets what was first seen before this; answers payloads that nothing needs any more.
    async fn forget_quarantined(&self, before: Timestamp) -> Result<Vec<Sealed>, StoreError>;
    async fn quarantine_totals(&self) -> Result<QuarantineTotals, StoreError>;

    // --- reconcile

    /// Aliases of an environment, or of a reference, by Terra user id.
    async fn known_aliases(
        &self,
        environment: &Environment,
        reference: Option<&ReferenceId>,
        page: &Page,
    ) -> Result<Listing<Known>, StoreError>;
    /// Adds a run, or keeps how far it is.
    async fn write_reconcile(&self, run: &Reconcile) -> Result<(), StoreError>;
    async fn reconcile(&self, id: ReconcileId) -> Result<Option<Reconcile>, StoreError>;
    /// Newest first.
    async fn reconciles(&self, page: &Page) -> Result<Listing<Reconcile>, StoreError>;
    /// The oldest run that is not over.
    async fn next_reconcile(&self) -> Result<Option<Reconcile>, StoreError>;
    async fn reconcile_marks(&self) -> Result<ReconcileMarks, StoreError>;

    // --- recover

    /// Adds a recovery, or keeps how far it is.
    async fn write_recovery(&self, recovery: &Recovery) -> Result<(), StoreError>;
    async fn recovery(&self, id: RecoveryId) -> Result<Option<Recovery>, StoreError>;
    /// Newest first.
    async fn recoveries(&self, page: &Page) -> Result<Listing<Recovery>, StoreError>;
    /// The oldest that is not over.
    async fn next_recovery(&self) -> Result<Option<Recovery>, StoreError>;
    /// Adds events that are not among those of the recovery yet, as pending.
    async fn add_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError>;
    /// Events in this state, the oldest first.
    async fn missed_events(&self, id: RecoveryId, state: MissedState, limit: u32) -> Result<Vec<Missed>, StoreError>;
    /// Keeps state and `resent_at` of these events.
    async fn settle_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError>;
    /// Events per state: all, and those that Terra was asked to send again.
    async fn missed_counts(&self, id: RecoveryId) -> Result<Vec<(MissedState, u64, u64)>, StoreError>;
    /// Which of these ids of Terra's are trace ids of deliveries that were processed.
    async fn processed_events(
        &self,
        events: &[(Environment, String)],
    ) -> Result<BTreeSet<(Environment, String)>, StoreError>;
    /// Queues requests for data that belong to a recovery.
    async fn add_recovery_jobs(&self, id: RecoveryId, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError>;
    async fn recovery_backfills(&self, id: RecoveryId) -> Result<RecoveryBackfills, StoreError>;
    /// The longest times within `from` and `to` in which nothing was received, longest first.
    async fn received_pauses(
        &self,
        from: Timestamp,
        to: Timestamp,
        longer_than: SignedDuration,
    ) -> Result<Vec<Pause>, StoreError>;

    // --- replays and dead letters

    /// Deliveries that match, in the order of their ids, after `after` and received until `until`. Never one whose payload
    /// lies in storage: its link is past.
    async fn select_deliveries(
        &self,
        selection: &Selection,
        after: Option<DeliveryId>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Selected>, StoreError>;
    /// What is kept under these keys right now; locks nothing.
    async fn kept_records(&self, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, Kept>, StoreError>;
    /// Adds a run (`was` is `None`), or changes one that is still in the state `was`; false where it is not, and then
    /// nothing was kept. The entry of the audit is written with it.
    async fn write_replay(
        &self,
        run: &Replay,
        was: Option<State>,
        audit: Option<&Audit>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Adds chosen deliveries, each once, and keeps how far the counting is; false where it was stopped meanwhile.
    async fn add_replay_items(&self, run: &Replay, items: &[Counted], now: Timestamp) -> Result<bool, StoreError>;
    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError>;
    /// Newest first.
    async fn replays(&self, page: &Page) -> Result<Listing<Replay>, StoreError>;
    /// The oldest that is to be counted, else the oldest that runs.
    async fn next_replay(&self) -> Result<Option<Replay>, StoreError>;
    async fn replay_preview(&self, id: ReplayId) -> Result<Preview, StoreError>;
    async fn replay_counts(&self, id: ReplayId) -> Result<Items, StoreError>;
    /// Pending deliveries of a run, in the order of their ids.
    async fn replay_items(&self, id: ReplayId, limit: u32) -> Result<Vec<ReplayItem>, StoreError>;
    /// Deliveries of a run and what became of them, in the order of their ids; `state` of `None` is any.
    async fn replayed(
        &self,
        id: ReplayId,
        state: Option<ItemState>,
        page: &Page,
    ) -> Result<Listing<ReplayedView>, StoreError>;
    /// Keeps that a pending delivery of a run failed again. A dead letter stays one, with the new reason.
    async fn fail_replay(&self, id: ReplayId, job: &Job, reason: &str, now: Timestamp) -> Result<(), StoreError>;
    /// Keeps that a pending delivery of a run is past the retention.
    async fn replay_gone(&self, id: ReplayId, delivery: DeliveryId) -> Result<(), StoreError>;
    /// Makes what failed in a run pending again.
    async fn retry_failed_items(&self, id: ReplayId) -> Result<(), StoreError>;
    /// Dead letters that match, by fingerprint.
    async fn dead_groups(&self, selection: &Selection, page: &Page) -> Result<Listing<DeadGroup>, StoreError>;
    /// Marks at most `limit` dead letters that match as discarded by the actor of the entry, which gets their number as
    /// `deliveries`; answers how many.
    async fn discard(
        &self,
        selection: &Selection,
        reason: &str,
        audit: &Audit,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    // --- audit

    async fn audit(&self, entry: &Audit, now: Timestamp) -> Result<(), StoreError>;
    /// Newest first.
    async fn audits(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError>;

    // --- silence

    /// Everything one look at who is silent needs.
    async fn silence_seen(&self, now: Timestamp) -> Result<Seen, StoreError>;
    /// Keeps verdicts and sends their events, if the lease is still held; false where it is not.
    async fn keep_silence(&self, lease: Holder<'_>, judgement: &Judgement, now: Timestamp) -> Result<bool, StoreError>;
    /// Who is silent, as last judged.
    async fn silences(&self) -> Result<Silences, StoreError>;
    async fn stale_connections(&self, page: &Page) -> Result<Listing<StaleView>, StoreError>;

    // --- export

    /// Connect sessions of a user, the oldest first.
    async fn sessions_of(&self, user: &UserId) -> Result<Vec<ConnectSession>, StoreError>;
    /// Events about a user or one of their aliases, after a position, in order.
    async fn events_of(&self, user: &UserId, position: i64, limit: u32) -> Result<Vec<Published>, StoreError>;

    // --- erasure

    /// What there is of a user.
    async fn erasure_preview(&self, user: &UserId) -> Result<ErasureFound, StoreError>;
    /// Begins an erasure: once this is committed, nothing that comes or is under way leaves a row of whom it is about,
    /// and no listing has them. What is there already goes step by step. `None`: there is no such connection.
    async fn begin_erasure(&self, wish: &Wish, now: Timestamp) -> Result<Option<Erasure>, StoreError>;
    /// Deletes about `limit` rows of each kind of what an erasure is about; false once there is nothing left to delete.
    async fn erase_some(&self, id: ErasureId, limit: u32, now: Timestamp) -> Result<bool, StoreError>;
    /// Rows of the ledger that name nobody, in the order of their ids.
    async fn nameless_deliveries(
        &self,
        after: Option<domain::id::DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Nameless>, StoreError>;
    /// Deletes rows of the ledger.
    async fn forget_deliveries(
        &self,
        deliveries: &[(domain::id::DeliveryId, Timestamp)],
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Whom an erasure is about, as long as it is not done.
    async fn erasure_targets(&self, id: ErasureId) -> Result<Vec<Target>, StoreError>;
    /// Terra agreed to these.
    async fn told(&self, id: ErasureId, targets: &[Target]) -> Result<(), StoreError>;
    /// More Terra users that an erasure is about.
    async fn bury(&self, id: ErasureId, keys: &[AliasKey], now: Timestamp) -> Result<(), StoreError>;
    /// Keeps how far an erasure is; one that is done forgets whom it was about.
    async fn write_erasure(&self, erasure: &Erasure) -> Result<(), StoreError>;
    async fn erasure(&self, id: ErasureId) -> Result<Option<Erasure>, StoreError>;
    /// Newest first.
    async fn erasures(&self, page: &Page) -> Result<Listing<Erasure>, StoreError>;
    /// The one that has waited longest of those that are not done and due.
    async fn next_erasure(&self, now: Timestamp) -> Result<Option<Erasure>, StoreError>;
    /// Connections of which the current alias was closed before `before`.
    async fn closed_connections(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionId>, StoreError>;
    /// Payloads that no row needs any more, each with a number to [`Store::gone`] it by. What a record points to again is
    /// not among them, and forgotten.
    async fn unneeded_payloads(&self, limit: u32) -> Result<Vec<(i64, Sealed)>, StoreError>;
    /// These have been deleted.
    async fn gone(&self, payloads: &[i64]) -> Result<(), StoreError>;
    /// Who did what.
    async fn write_audit(
        &self,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    // --- upkeep

    async fn schema(&self) -> Result<Schema, StoreError>;
    /// Applies missing migrations, under a lock; answers the versions applied. Safe to run from many processes at once.
    async fn migrate(&self) -> Result<Vec<u32>, StoreError>;
    async fn ping(&self) -> Result<(), StoreError>;
    /// What time it is there; `None` where it has no clock but ours.
    async fn clock(&self) -> Result<Option<Timestamp>, StoreError>;
    /// Creates the partitions of the coming days, drops ledger rows older than `keep_deliveries`, `processed` rows
    /// older than 90 days, and sessions a day past their end. Payloads that nothing needs any more are among
    /// [`Store::unneeded_payloads`] from the same transaction on.
    async fn upkeep(&self, now: Timestamp, keep_deliveries: Duration) -> Result<(), StoreError>;
    /// Closes connections; for an orderly end.
    async fn close(&self);
}

/// A failed call to the store; each variant calls for another reaction.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is away, or the outcome is unknown: wait, then do the same again.
    #[error("the store is not reachable: {0}")]
    Unavailable(String),
    /// Lost a race for locks: do the same again at once.
    #[error("the store asks to try again")]
    Contention,
    /// A row breaks a rule of the schema: doing it again will not help.
    #[error("the store refused a row: {constraint}")]
    Rejected { constraint: String },
    /// The schema is not the one this binary knows.
    #[error("the schema does not fit: {0}")]
    Incompatible(String),
    /// A page cursor that this store did not give out.
    #[error("the cursor is not one of ours")]
    BadCursor,
}
