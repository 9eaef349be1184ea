//! The store on PostgreSQL: any number of processes, one schema.
//!
//! Correctness leans on unique keys, row locks taken in ascending order and conditional updates under `READ COMMITTED`,
//! and on one advisory lock for identity; not on `SERIALIZABLE`. Statements stand in the files below, one per group of
//! tables; the order of steps of a batch is in `apply.rs`, the same for every engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::doctor::database::DatabaseFacts;
use domain::erasure::{Erasure, ErasureId, Found as ErasureFound, Target, Wish};
use domain::fetch::{FetchJob, PauseScope, Reaction};
use domain::id::{
    AliasKey, BackfillId, ConnectionId, DeliveryId, Environment, EventId, FetchJobId, RecordId, ReferenceId, SessionId,
    UserId,
};
use domain::outgoing::Published;
use domain::quarantine::{QuarantineId, Quarantined};
use domain::reconcile::run::Reconcile;
use domain::reconcile::{Known, ReconcileId};
use domain::record::{Kept, RecordKey, Scores};
use domain::recover::{Missed, MissedState, Pause, Recovery, RecoveryId};
use domain::replay::{ItemState, Items, Replay, ReplayId, Selection, State};
use domain::session::ConnectSession;
use domain::settle::Settlement;
use domain::silence::{Judgement, Seen};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use terra::event::DataKind;

use self::unit::{Done, Units};
use super::apply::{self, Mode, Tried};
use super::{
    AboutRecord, Applied, Audit, AuditFilter, AuditView, AuthEventFilter, AuthEventView, BackfillFilter, BackfillRound,
    BackfillView, ConnectionFilter, ConnectionView, Counted, DayRecord, DeadGroup, Decided, DeliveryFilter,
    DeliveryView, DriftCount, DriftFilter, DriftView, FetchAsk, FetchFilter, FetchView, Found, Held, Holder,
    LeasedFetch, LetIn, Listing, Nameless, OpenReference, Page, Prepared, Preview, QuarantineFilter, QuarantineTotals,
    ReconcileMarks, RecordView, Recorded, RecoveryBackfills, ReferenceAnswer, ReferencePolicy, ReplayItem,
    ReplayedView, Reprojection, Retry, RetryOf, Schema, Selected, Silences, Span, StaleView, Stats, Store, StoreError,
    StoredDocument, UsageFilter, UsageTotals, UsageView,
};
use crate::payloads::Sealed;
use crate::queue::Job;

mod audit;
mod backfill;
mod backfill_read;
mod backfill_upkeep;
mod connect;
mod drift;
mod enqueue;
mod erase;
mod erase_rows;
mod error;
mod events;
mod facts;
mod fetch;
mod fetch_read;
mod history;
mod identity;
mod ledger;
mod migrate;
mod pause;
mod payloads;
mod people;
mod processed;
mod quarantine;
mod read;
mod read_records;
mod reconcile;
mod record_sql;
mod records;
mod recover;
mod references;
mod replay;
mod retries;
mod row;
mod selection;
mod sessions;
mod silence;
mod tx;
mod unit;
mod upkeep;
mod usage;
mod why;

/// Waiting for other processes that migrate included.
const MIGRATE_MAX: Duration = Duration::from_secs(600);

pub struct PostgresSettings {
    /// A connection string of libpq's kind. `sslmode=require` verifies the certificate and its name.
    pub url: SecretString,
    pub schema: String,
    pub policy: ReferencePolicy,
    /// Connections this process may hold.
    pub pool_max: usize,
}

pub struct PostgresStore {
    units: Units,
    schema: String,
    policy: ReferencePolicy,
}

/// Runs statements that each stand for themselves.
macro_rules! single {
    ($store:expr, |$db:ident| $work:expr) => {
        $store.units.single(move |$db| Box::pin(async move { $work.await })).await
    };
}

/// Runs statements in one transaction, which is kept.
macro_rules! keep {
    ($store:expr, |$db:ident| $work:expr) => {
        $store.units.keep(move |$db| Box::pin(async move { $work.await })).await
    };
}

impl PostgresStore {
    /// Makes the store without asking the server: it may be away, and come later.
    ///
    /// - Errors: a setting that can never work; the text names it and holds no secret.
    pub fn connect(settings: PostgresSettings) -> Result<Self, StoreError> {
        let pool = connect::pool(&settings)?;
        Ok(PostgresStore { units: Units::new(pool), schema: settings.schema, policy: settings.policy })
    }

    /// What the server says of itself, and its time.
    pub async fn facts(&self, pool_max: usize) -> Result<(DatabaseFacts, Timestamp), StoreError> {
        single!(self, |db| facts::read(db, pool_max))
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn apply(&self, batch: &[Prepared], now: Timestamp) -> Result<Vec<Applied>, StoreError> {
        let batch: Arc<[Prepared]> = batch.into();
        let policy = self.policy;
        let mut mode = apply::mode(&batch);
        loop {
            let batch = Arc::clone(&batch);
            let tried = self.units.transaction(move |db| {
                Box::pin(async move {
                    Ok(match apply::apply(db, &batch, mode, policy, now).await? {
                        Tried::Applied(applied) => Done::Keep(Some(applied)),
                        Tried::NeedsExclusive => Done::Discard(None),
                    })
                })
            });
            match tried.await? {
                Some(applied) => return Ok(applied),
                None => mode = Mode::Exclusive,
            }
        }
    }

    async fn record_failure(
        &self,
        job: &Job,
        attempt: u32,
        settlement: &Settlement,
        reason: &str,
        now: Timestamp,
    ) -> Result<Recorded, StoreError> {
        let (job, settlement, reason) = (job.clone(), settlement.clone(), reason.to_owned());
        keep!(self, |db| ledger::record_failure(db, &job, attempt, &settlement, &reason, now))
    }

    async fn hand_over(&self, jobs: &[Job], reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let (jobs, reason) = (jobs.to_vec(), reason.to_owned());
        keep!(self, |db| ledger::hand_over(db, &jobs, &reason, now))
    }

    async fn lease_retries(
        &self,
        of: RetryOf,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Retry>, StoreError> {
        single!(self, |db| retries::lease(db, of, now, until, limit))
    }

    async fn lease_suspect(&self, of: RetryOf, now: Timestamp, until: Timestamp) -> Result<Option<Retry>, StoreError> {
        single!(self, |db| retries::lease_suspect(db, of, now, until))
    }

    async fn renew_retries(&self, deliveries: &[DeliveryId], until: Timestamp) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        single!(self, |db| retries::renew(db, &deliveries, until))
    }

    async fn lease_references(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OpenReference>, StoreError> {
        single!(self, |db| references::lease(db, now, until, limit))
    }

    async fn resolve(
        &self,
        reference: &OpenReference,
        answer: &ReferenceAnswer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (reference, answer, policy) = (reference.clone(), answer.clone(), self.policy);
        keep!(self, |db| people::resolve(db, &reference, &answer, policy, now))
    }

    async fn assign(
        &self,
        connection: ConnectionId,
        user: &UserId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Decided, StoreError> {
        let (user, actor, policy) = (user.clone(), actor.to_owned(), self.policy);
        self.units
            .transaction(move |db| {
                Box::pin(async move { people::assign(db, connection, &user, &actor, policy, now).await })
            })
            .await
    }

    async fn split(&self, connection: ConnectionId, actor: &str, now: Timestamp) -> Result<Decided, StoreError> {
        let (actor, policy) = (actor.to_owned(), self.policy);
        self.units
            .transaction(move |db| Box::pin(async move { people::split(db, connection, &actor, policy, now).await }))
            .await
    }

    async fn create_session(&self, session: &ConnectSession) -> Result<(), StoreError> {
        let session = session.clone();
        single!(self, |db| sessions::create(db, &session))
    }

    async fn session_opened(
        &self,
        id: SessionId,
        widget_session_id: Option<&str>,
        widget_url: &str,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let (widget, url) = (widget_session_id.map(str::to_owned), widget_url.to_owned());
        single!(self, |db| sessions::opened(db, id, widget.as_deref(), &url, expires_at))
    }

    async fn session_failed(&self, id: SessionId, reason: &str) -> Result<(), StoreError> {
        let reason = reason.to_owned();
        single!(self, |db| sessions::failed(db, id, &reason))
    }

    async fn session(&self, id: SessionId) -> Result<Option<ConnectSession>, StoreError> {
        single!(self, |db| sessions::by_id(db, id))
    }

    async fn session_by_state(&self, state_digest: &[u8; 32]) -> Result<Option<ConnectSession>, StoreError> {
        let state_digest = *state_digest;
        single!(self, |db| sessions::by_state(db, &state_digest))
    }

    async fn session_returned(&self, id: SessionId, now: Timestamp) -> Result<bool, StoreError> {
        single!(self, |db| sessions::returned(db, id, now))
    }

    async fn lease_fetch_jobs(&self, ask: &FetchAsk) -> Result<Vec<LeasedFetch>, StoreError> {
        let ask = *ask;
        keep!(self, |db| fetch::lease(db, &ask))
    }

    async fn finish_fetch(
        &self,
        leased: &LeasedFetch,
        reaction: &Reaction,
        status: Option<u16>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (leased, reaction) = (leased.clone(), reaction.clone());
        keep!(self, |db| fetch::finish(db, &leased, &reaction, status, now))
    }

    async fn pause_fetches(
        &self,
        environment: &Environment,
        scope: PauseScope,
        subject: &str,
        until: Timestamp,
        reason: &str,
    ) -> Result<(), StoreError> {
        let (environment, subject, reason) = (environment.clone(), subject.to_owned(), reason.to_owned());
        keep!(self, |db| pause::set_of_living(db, &environment, scope, &subject, until, &reason))
    }

    async fn enqueue_fetches(&self, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError> {
        let jobs = jobs.to_vec();
        keep!(self, |db| enqueue::insert_alone(db, &jobs, now))
    }

    async fn fetches(&self, filter: &FetchFilter, page: &Page) -> Result<Listing<FetchView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| fetch_read::fetches(db, &filter, &page))
    }

    async fn fetch(&self, id: FetchJobId) -> Result<Option<FetchView>, StoreError> {
        single!(self, |db| fetch_read::fetch(db, id))
    }

    async fn settle_backfills(&self, now: Timestamp, stall: Duration, limit: u32) -> Result<BackfillRound, StoreError> {
        backfill::settle(&self.units, now, stall, limit).await
    }

    async fn backfills(
        &self,
        filter: &BackfillFilter,
        page: &Page,
        now: Timestamp,
    ) -> Result<Listing<BackfillView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| backfill_read::list(db, &filter, &page, now))
    }

    async fn backfill(
        &self,
        id: BackfillId,
        now: Timestamp,
        stall: Duration,
    ) -> Result<Option<BackfillView>, StoreError> {
        single!(self, |db| backfill_read::one(db, id, now, stall))
    }

    async fn hold(&self, lease: Holder<'_>, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        single!(self, |db| events::hold(db, Holder { name: &name, holder }, now, until))
    }

    async fn let_go(&self, lease: Holder<'_>) -> Result<(), StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        single!(self, |db| events::let_go(db, Holder { name: &name, holder }))
    }

    async fn number_events(&self, lease: Holder<'_>, limit: u32) -> Result<u32, StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        keep!(self, |db| events::number(db, &name, holder, limit))
    }

    async fn unpublished_events(&self, limit: u32) -> Result<Vec<Published>, StoreError> {
        single!(self, |db| events::unpublished(db, limit))
    }

    async fn mark_published(&self, lease: Holder<'_>, position: i64) -> Result<(), StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        single!(self, |db| events::mark_published(db, &name, holder, position))
    }

    async fn events_after(&self, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
        single!(self, |db| events::after(db, position, limit))
    }

    async fn connections(&self, filter: &ConnectionFilter, page: &Page) -> Result<Listing<ConnectionView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| read::connections(db, &filter, &page))
    }

    async fn connection(&self, id: ConnectionId) -> Result<Found, StoreError> {
        single!(self, |db| read::connection(db, id))
    }

    async fn records(
        &self,
        user: &UserId,
        kind: DataKind,
        span: Span,
        page: &Page,
    ) -> Result<Listing<RecordView>, StoreError> {
        let (user, page) = (user.clone(), page.clone());
        single!(self, |db| read_records::of_user(db, &user, kind, span, &page))
    }

    async fn record(&self, id: RecordId) -> Result<Option<RecordView>, StoreError> {
        single!(self, |db| read_records::one(db, id))
    }

    async fn record_document(&self, id: RecordId) -> Result<Option<(Sealed, Scores)>, StoreError> {
        single!(self, |db| read_records::document(db, id))
    }

    async fn documents(
        &self,
        kind: DataKind,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<StoredDocument>, StoreError> {
        single!(self, |db| read_records::documents(db, kind, after, limit))
    }

    async fn reproject(&self, kind: DataKind, rows: &[Reprojection]) -> Result<u64, StoreError> {
        let rows = rows.to_vec();
        single!(self, |db| records::reproject(db, kind, &rows))
    }

    async fn count_drift(&self, counts: &[DriftCount]) -> Result<(), StoreError> {
        let counts = counts.to_vec();
        single!(self, |db| drift::count(db, &counts))
    }

    async fn drift(&self, filter: &DriftFilter) -> Result<Vec<DriftView>, StoreError> {
        let filter = filter.clone();
        single!(self, |db| drift::list(db, &filter))
    }

    async fn auth_events(&self, filter: &AuthEventFilter, page: &Page) -> Result<Listing<AuthEventView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| history::list(db, &filter, &page))
    }

    async fn deliveries(&self, filter: &DeliveryFilter, page: &Page) -> Result<Listing<DeliveryView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| read::deliveries(db, &filter, &page))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        single!(self, |db| read::delivery(db, id))
    }

    async fn delivery_body(&self, id: DeliveryId) -> Result<Option<Sealed>, StoreError> {
        single!(self, |db| read::delivery_body(db, id))
    }

    async fn usage(&self, filter: &UsageFilter, page: &Page) -> Result<Listing<UsageView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| usage::list(db, &filter, &page))
    }

    async fn usage_totals(&self, month: Date, free: u64) -> Result<UsageTotals, StoreError> {
        single!(self, |db| usage::totals(db, month, free))
    }

    async fn stats(&self, _now: Timestamp) -> Result<Stats, StoreError> {
        single!(self, |db| read::stats(db))
    }

    async fn named(
        &self,
        name: &str,
        environments: &[Environment],
        limit: u32,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let (name, environments) = (name.to_owned(), environments.to_vec());
        single!(self, |db| why::named(db, &name, &environments, limit))
    }

    async fn records_of_day(
        &self,
        connection: ConnectionId,
        kind: DataKind,
        day: Date,
    ) -> Result<Vec<DayRecord>, StoreError> {
        single!(self, |db| why::records_of_day(db, connection, kind, day))
    }

    async fn events_about(&self, events: &[EventId], records: &[RecordId]) -> Result<Vec<AboutRecord>, StoreError> {
        let (events, records) = (events.to_vec(), records.to_vec());
        single!(self, |db| why::events_about(db, &events, &records))
    }

    async fn note_quarantined(&self, requests: &[Quarantined]) -> Result<BTreeSet<[u8; 32]>, StoreError> {
        let requests = requests.to_vec();
        keep!(self, |db| quarantine::note(db, &requests.iter().collect::<Vec<_>>()))
    }

    async fn quarantine(&self, held: &[Held], bytes_max: u64) -> Result<Vec<Sealed>, StoreError> {
        let held = held.to_vec();
        keep!(self, |db| quarantine::add(db, &held, bytes_max))
    }

    async fn quarantined(&self, filter: &QuarantineFilter, page: &Page) -> Result<Listing<Held>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| quarantine::list(db, &filter, &page))
    }

    async fn verifiable(
        &self,
        filter: &QuarantineFilter,
        after: Option<QuarantineId>,
        limit: u32,
    ) -> Result<Vec<Held>, StoreError> {
        let filter = filter.clone();
        single!(self, |db| quarantine::verifiable(db, &filter, after, limit))
    }

    async fn let_in(&self, let_in: &[LetIn], actor: &str, now: Timestamp) -> Result<Vec<Sealed>, StoreError> {
        let (let_in, actor) = (let_in.to_vec(), actor.to_owned());
        keep!(self, |db| quarantine::let_in(db, &let_in, &actor, now))
    }

    async fn forget_quarantined(&self, before: Timestamp) -> Result<Vec<Sealed>, StoreError> {
        single!(self, |db| quarantine::forget(db, before))
    }

    async fn quarantine_totals(&self) -> Result<QuarantineTotals, StoreError> {
        single!(self, |db| quarantine::totals(db))
    }

    async fn known_aliases(
        &self,
        environment: &Environment,
        reference: Option<&ReferenceId>,
        page: &Page,
    ) -> Result<Listing<Known>, StoreError> {
        let (environment, reference, page) = (environment.clone(), reference.cloned(), page.clone());
        single!(self, |db| reconcile::known(db, &environment, reference.as_ref(), &page))
    }

    async fn write_reconcile(&self, run: &Reconcile) -> Result<(), StoreError> {
        let run = run.clone();
        single!(self, |db| reconcile::write(db, &run))
    }

    async fn reconcile(&self, id: ReconcileId) -> Result<Option<Reconcile>, StoreError> {
        single!(self, |db| reconcile::one(db, id))
    }

    async fn reconciles(&self, page: &Page) -> Result<Listing<Reconcile>, StoreError> {
        let page = page.clone();
        single!(self, |db| reconcile::list(db, &page))
    }

    async fn next_reconcile(&self) -> Result<Option<Reconcile>, StoreError> {
        single!(self, |db| reconcile::next(db))
    }

    async fn reconcile_marks(&self) -> Result<ReconcileMarks, StoreError> {
        single!(self, |db| reconcile::marks(db))
    }

    async fn write_recovery(&self, recovery: &Recovery) -> Result<(), StoreError> {
        let recovery = recovery.clone();
        single!(self, |db| recover::write(db, &recovery))
    }

    async fn recovery(&self, id: RecoveryId) -> Result<Option<Recovery>, StoreError> {
        single!(self, |db| recover::one(db, id))
    }

    async fn recoveries(&self, page: &Page) -> Result<Listing<Recovery>, StoreError> {
        let page = page.clone();
        single!(self, |db| recover::list(db, &page))
    }

    async fn next_recovery(&self) -> Result<Option<Recovery>, StoreError> {
        single!(self, |db| recover::next(db))
    }

    async fn add_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
        let missed = missed.to_vec();
        keep!(self, |db| recover::add_missed(db, id, &missed))
    }

    async fn missed_events(&self, id: RecoveryId, state: MissedState, limit: u32) -> Result<Vec<Missed>, StoreError> {
        single!(self, |db| recover::missed(db, id, state, limit))
    }

    async fn settle_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
        let missed = missed.to_vec();
        single!(self, |db| recover::settle_missed(db, id, &missed))
    }

    async fn missed_counts(&self, id: RecoveryId) -> Result<Vec<(MissedState, u64, u64)>, StoreError> {
        single!(self, |db| recover::missed_counts(db, id))
    }

    async fn processed_events(
        &self,
        events: &[(Environment, String)],
    ) -> Result<BTreeSet<(Environment, String)>, StoreError> {
        let events = events.to_vec();
        single!(self, |db| recover::processed(db, &events))
    }

    async fn add_recovery_jobs(&self, id: RecoveryId, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError> {
        let jobs = jobs.to_vec();
        keep!(self, |db| recover::add_jobs(db, id, &jobs, now))
    }

    async fn recovery_backfills(&self, id: RecoveryId) -> Result<RecoveryBackfills, StoreError> {
        single!(self, |db| recover::backfills(db, id))
    }

    async fn received_pauses(
        &self,
        from: Timestamp,
        to: Timestamp,
        longer_than: SignedDuration,
    ) -> Result<Vec<Pause>, StoreError> {
        single!(self, |db| recover::pauses(db, from, to, longer_than))
    }

    async fn select_deliveries(
        &self,
        selection: &Selection,
        after: Option<DeliveryId>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Selected>, StoreError> {
        let selection = selection.clone();
        single!(self, |db| selection::select(db, &selection, after, until, limit))
    }

    async fn kept_records(&self, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, Kept>, StoreError> {
        let keys = keys.to_vec();
        single!(self, |db| records::seen(db, &keys))
    }

    async fn write_replay(
        &self,
        run: &Replay,
        was: Option<State>,
        audit: Option<&Audit>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (run, audit) = (run.clone(), audit.cloned());
        keep!(self, |db| replay::write(db, &run, was, audit.as_ref(), now))
    }

    async fn add_replay_items(&self, run: &Replay, items: &[Counted], now: Timestamp) -> Result<bool, StoreError> {
        let (run, items) = (run.clone(), items.to_vec());
        keep!(self, |db| replay::add_items(db, &run, &items, now))
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        single!(self, |db| replay::one(db, id))
    }

    async fn replays(&self, page: &Page) -> Result<Listing<Replay>, StoreError> {
        let page = page.clone();
        single!(self, |db| replay::list(db, &page))
    }

    async fn next_replay(&self) -> Result<Option<Replay>, StoreError> {
        single!(self, |db| replay::next(db))
    }

    async fn replay_preview(&self, id: ReplayId) -> Result<Preview, StoreError> {
        single!(self, |db| replay::preview(db, id))
    }

    async fn replay_counts(&self, id: ReplayId) -> Result<Items, StoreError> {
        single!(self, |db| replay::counts(db, id))
    }

    async fn replay_items(&self, id: ReplayId, limit: u32) -> Result<Vec<ReplayItem>, StoreError> {
        single!(self, |db| replay::pending(db, id, limit))
    }

    async fn replayed(
        &self,
        id: ReplayId,
        state: Option<ItemState>,
        page: &Page,
    ) -> Result<Listing<ReplayedView>, StoreError> {
        let page = page.clone();
        single!(self, |db| replay::list_items(db, id, state, &page))
    }

    async fn fail_replay(&self, id: ReplayId, job: &Job, reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let (job, reason) = (job.clone(), reason.to_owned());
        keep!(self, |db| replay::fail(db, id, &job, &reason, now))
    }

    async fn replay_gone(&self, id: ReplayId, delivery: DeliveryId) -> Result<(), StoreError> {
        single!(self, |db| replay::gone(db, id, delivery))
    }

    async fn retry_failed_items(&self, id: ReplayId) -> Result<(), StoreError> {
        single!(self, |db| replay::retry_failed(db, id))
    }

    async fn dead_groups(&self, selection: &Selection, page: &Page) -> Result<Listing<DeadGroup>, StoreError> {
        let (selection, page) = (selection.clone(), page.clone());
        single!(self, |db| selection::groups(db, &selection, &page))
    }

    async fn discard(
        &self,
        selection: &Selection,
        reason: &str,
        audit: &Audit,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let (selection, reason, audit) = (selection.clone(), reason.to_owned(), audit.clone());
        keep!(self, |db| selection::discard(db, &selection, &reason, &audit, limit, now))
    }

    async fn audit(&self, entry: &Audit, now: Timestamp) -> Result<(), StoreError> {
        let entry = entry.clone();
        single!(self, |db| audit::write(db, &entry, now))
    }

    async fn audits(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| audit::list(db, &filter, &page))
    }

    async fn silence_seen(&self, now: Timestamp) -> Result<Seen, StoreError> {
        single!(self, |db| silence::seen(db, now))
    }

    async fn keep_silence(&self, lease: Holder<'_>, judgement: &Judgement, now: Timestamp) -> Result<bool, StoreError> {
        let (name, holder, judgement) = (lease.name.to_owned(), lease.holder, judgement.clone());
        keep!(self, |db| silence::keep(db, Holder { name: &name, holder }, &judgement, now))
    }

    async fn silences(&self) -> Result<Silences, StoreError> {
        single!(self, |db| silence::silences(db))
    }

    async fn stale_connections(&self, page: &Page) -> Result<Listing<StaleView>, StoreError> {
        let page = page.clone();
        single!(self, |db| silence::stale(db, &page))
    }

    async fn sessions_of(&self, user: &UserId) -> Result<Vec<ConnectSession>, StoreError> {
        let user = user.clone();
        single!(self, |db| sessions::of_user(db, &user))
    }

    async fn events_of(&self, user: &UserId, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
        let user = user.clone();
        single!(self, |db| events::of_user(db, &user, position, limit))
    }

    async fn erasure_preview(&self, user: &UserId) -> Result<ErasureFound, StoreError> {
        let user = user.clone();
        single!(self, |db| erase::preview(db, &user))
    }

    async fn begin_erasure(&self, wish: &Wish, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
        let (wish, policy) = (wish.clone(), self.policy);
        keep!(self, |db| apply::begin(db, &wish, policy, now))
    }

    async fn erase_some(&self, id: ErasureId, limit: u32, now: Timestamp) -> Result<bool, StoreError> {
        let policy = self.policy;
        keep!(self, |db| erase_rows::some(db, id, limit, policy, now))
    }

    async fn nameless_deliveries(&self, after: Option<DeliveryId>, limit: u32) -> Result<Vec<Nameless>, StoreError> {
        single!(self, |db| payloads::nameless(db, after, limit))
    }

    async fn forget_deliveries(
        &self,
        deliveries: &[(DeliveryId, Timestamp)],
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        keep!(self, |db| erase_rows::forget_found(db, &deliveries))
    }

    async fn erasure_targets(&self, id: ErasureId) -> Result<Vec<Target>, StoreError> {
        single!(self, |db| erase::targets(db, id))
    }

    async fn told(&self, id: ErasureId, targets: &[Target]) -> Result<(), StoreError> {
        let targets = targets.to_vec();
        single!(self, |db| erase::told(db, id, &targets))
    }

    async fn bury(&self, id: ErasureId, keys: &[AliasKey], now: Timestamp) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        keep!(self, |db| people::bury(db, id, &keys, now))
    }

    async fn write_erasure(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let erasure = erasure.clone();
        keep!(self, |db| erase::write(db, &erasure))
    }

    async fn erasure(&self, id: ErasureId) -> Result<Option<Erasure>, StoreError> {
        single!(self, |db| erase::one(db, id))
    }

    async fn erasures(&self, page: &Page) -> Result<Listing<Erasure>, StoreError> {
        let page = page.clone();
        single!(self, |db| erase::list(db, &page))
    }

    async fn next_erasure(&self, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
        single!(self, |db| erase::next(db, now))
    }

    async fn closed_connections(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionId>, StoreError> {
        single!(self, |db| erase::closed(db, before, limit))
    }

    async fn unneeded_payloads(&self, limit: u32) -> Result<Vec<(i64, Sealed)>, StoreError> {
        single!(self, |db| payloads::unneeded(db, limit))
    }

    async fn gone(&self, payloads: &[i64]) -> Result<(), StoreError> {
        let payloads = payloads.to_vec();
        single!(self, |db| payloads::gone(db, &payloads))
    }

    async fn write_audit(
        &self,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (actor, action, subject, detail) =
            (actor.to_owned(), action.to_owned(), subject.to_owned(), detail.clone());
        single!(self, |db| erase::audit(db, &actor, &action, &subject, &detail, now))
    }

    async fn schema(&self) -> Result<Schema, StoreError> {
        single!(self, |db| migrate::schema(db))
    }

    async fn migrate(&self) -> Result<Vec<u32>, StoreError> {
        let schema = self.schema.clone();
        self.units.dedicated(MIGRATE_MAX, move |db| Box::pin(async move { migrate::migrate(db, &schema).await })).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        single!(self, |db| db.command("SELECT 1"))
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        single!(self, |db| facts::clock(db))
    }

    async fn upkeep(&self, now: Timestamp, keep_deliveries: Duration) -> Result<(), StoreError> {
        upkeep::run(&self.units, now, keep_deliveries).await
    }

    async fn close(&self) {
        self.units.close().await;
    }
}
