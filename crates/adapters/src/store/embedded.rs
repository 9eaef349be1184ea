//! The store on the embedded engine: every change is one operation on the writer's thread.
//!
//! One thread writes, so a batch is alone from its first statement to its last: there are no locks to take and no
//! races to lose. Statements are loops over prepared ones, which inside one transaction cost as little as a set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
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
use rusqlite::Connection;
use terra::event::DataKind;

use super::{
    AboutRecord, Applied, Audit, AuditFilter, AuditView, AuthEventFilter, AuthEventView, BackfillFilter, BackfillRound,
    BackfillView, ConnectionFilter, ConnectionView, Counted, DayRecord, DeadGroup, Decided, DeliveryFilter,
    DeliveryView, DriftCount, DriftFilter, DriftView, FetchAsk, FetchFilter, FetchView, Found, Held, Holder,
    LeasedFetch, LetIn, Listing, Nameless, OpenReference, Page, Prepared, Preview, QuarantineFilter, QuarantineTotals,
    ReconcileMarks, RecordView, Recorded, RecoveryBackfills, ReferenceAnswer, ReferencePolicy, ReplayItem,
    ReplayedView, Reprojection, Retry, RetryOf, Schema, Selected, Silences, Span, StaleView, Stats, Store, StoreError,
    StoredDocument, UsageFilter, UsageTotals, UsageView,
};
use crate::embedded::Embedded;
use crate::embedded::writer::Unwritten;
use crate::payloads::Sealed;
use crate::queue::Job;

mod audit;
mod backfill;
mod backfill_read;
mod backfill_upkeep;
mod column;
mod decide;
mod deliveries;
mod drift;
mod enqueue;
mod erase;
mod erase_rows;
mod error;
mod events;
mod fetch;
mod fetch_read;
mod identity;
mod leases;
mod ledger;
mod pause;
mod payloads;
mod quarantine;
mod read;
mod read_records;
mod reconcile;
mod record_sql;
mod records;
mod recover;
mod replay;
mod retries;
mod selection;
mod sessions;
mod silence;
mod tx;
mod upkeep;
mod usage;
mod why;

pub struct EmbeddedStore {
    embedded: Arc<Embedded>,
    policy: ReferencePolicy,
}

impl EmbeddedStore {
    pub fn new(embedded: Arc<Embedded>, policy: ReferencePolicy) -> Self {
        EmbeddedStore { embedded, policy }
    }

    async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.embedded.writer.write(work).await
    }

    async fn read<T, R>(&self, read: R) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        if !self.embedded.writer.is_alive() {
            return Err(Unwritten::Closed.into());
        }
        self.embedded.readers.read(read).await
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn apply(&self, batch: &[Prepared], now: Timestamp) -> Result<Vec<Applied>, StoreError> {
        let (batch, policy) = (batch.to_vec(), self.policy);
        self.write(move |connection| tx::apply(connection, &batch, policy, now)).await
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
        self.write(move |connection| ledger::record_failure(connection, &job, attempt, &settlement, &reason, now)).await
    }

    async fn hand_over(&self, jobs: &[Job], reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let (jobs, reason) = (jobs.to_vec(), reason.to_owned());
        self.write(move |connection| ledger::hand_over(connection, &jobs, &reason, now)).await
    }

    async fn lease_retries(
        &self,
        of: RetryOf,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Retry>, StoreError> {
        self.write(move |connection| retries::lease(connection, of, now, until, limit)).await
    }

    async fn lease_suspect(&self, of: RetryOf, now: Timestamp, until: Timestamp) -> Result<Option<Retry>, StoreError> {
        self.write(move |connection| retries::lease_suspect(connection, of, now, until)).await
    }

    async fn renew_retries(&self, deliveries: &[DeliveryId], until: Timestamp) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        self.write(move |connection| retries::renew(connection, &deliveries, until)).await
    }

    async fn lease_references(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OpenReference>, StoreError> {
        self.write(move |connection| decide::lease_references(connection, now, until, limit)).await
    }

    async fn resolve(
        &self,
        reference: &OpenReference,
        answer: &ReferenceAnswer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (reference, answer, policy) = (reference.clone(), answer.clone(), self.policy);
        self.write(move |connection| decide::resolve(connection, &reference, &answer, policy, now)).await
    }

    async fn assign(
        &self,
        connection: ConnectionId,
        user: &UserId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Decided, StoreError> {
        let (user, actor, policy) = (user.clone(), actor.to_owned(), self.policy);
        self.write(move |open| decide::assign(open, connection, &user, &actor, policy, now)).await
    }

    async fn split(&self, connection: ConnectionId, actor: &str, now: Timestamp) -> Result<Decided, StoreError> {
        let (actor, policy) = (actor.to_owned(), self.policy);
        self.write(move |open| decide::split(open, connection, &actor, policy, now)).await
    }

    async fn create_session(&self, session: &ConnectSession) -> Result<(), StoreError> {
        let session = session.clone();
        self.write(move |connection| sessions::create(connection, &session)).await
    }

    async fn session_opened(
        &self,
        id: SessionId,
        widget_session_id: Option<&str>,
        widget_url: &str,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let (widget_session_id, widget_url) = (widget_session_id.map(str::to_owned), widget_url.to_owned());
        self.write(move |connection| {
            sessions::opened(connection, id, widget_session_id.as_deref(), &widget_url, expires_at)
        })
        .await
    }

    async fn session_failed(&self, id: SessionId, reason: &str) -> Result<(), StoreError> {
        let reason = reason.to_owned();
        self.write(move |connection| sessions::failed(connection, id, &reason)).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<ConnectSession>, StoreError> {
        self.read(move |connection| sessions::by_id(connection, id)).await
    }

    async fn session_by_state(&self, state_digest: &[u8; 32]) -> Result<Option<ConnectSession>, StoreError> {
        let state_digest = *state_digest;
        self.read(move |connection| sessions::by_state(connection, &state_digest)).await
    }

    async fn session_returned(&self, id: SessionId, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |connection| sessions::returned(connection, id, now)).await
    }

    async fn lease_fetch_jobs(&self, ask: &FetchAsk) -> Result<Vec<LeasedFetch>, StoreError> {
        let ask = *ask;
        self.write(move |connection| fetch::lease(connection, &ask)).await
    }

    async fn finish_fetch(
        &self,
        leased: &LeasedFetch,
        reaction: &Reaction,
        status: Option<u16>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (leased, reaction) = (leased.clone(), reaction.clone());
        self.write(move |connection| fetch::finish(connection, &leased, &reaction, status, now)).await
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
        self.write(move |connection| pause::set_of_living(connection, &environment, scope, &subject, until, &reason))
            .await
    }

    async fn enqueue_fetches(&self, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError> {
        let jobs = jobs.to_vec();
        self.write(move |connection| enqueue::insert(connection, &jobs, now)).await
    }

    async fn fetches(&self, filter: &FetchFilter, page: &Page) -> Result<Listing<FetchView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| fetch_read::fetches(connection, &filter, &page)).await
    }

    async fn fetch(&self, id: FetchJobId) -> Result<Option<FetchView>, StoreError> {
        self.read(move |connection| fetch_read::fetch(connection, id)).await
    }

    async fn settle_backfills(&self, now: Timestamp, stall: Duration, limit: u32) -> Result<BackfillRound, StoreError> {
        let mut round = BackfillRound::default();
        for (account, _) in self.write(move |connection| backfill::claim(connection, now, limit)).await? {
            let look = move |connection: &mut Connection| backfill::look_at_one(connection, &account, now, stall);
            round.add(self.write(look).await?);
        }
        Ok(round)
    }

    async fn backfills(
        &self,
        filter: &BackfillFilter,
        page: &Page,
        now: Timestamp,
    ) -> Result<Listing<BackfillView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| backfill_read::list(connection, &filter, &page, now)).await
    }

    async fn backfill(
        &self,
        id: BackfillId,
        now: Timestamp,
        stall: Duration,
    ) -> Result<Option<BackfillView>, StoreError> {
        self.read(move |connection| backfill_read::one(connection, id, now, stall)).await
    }

    async fn hold(&self, lease: Holder<'_>, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        self.write(move |connection| leases::hold(connection, Holder { name: &name, holder }, now, until)).await
    }

    async fn let_go(&self, lease: Holder<'_>) -> Result<(), StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        self.write(move |connection| leases::let_go(connection, Holder { name: &name, holder })).await
    }

    async fn number_events(&self, lease: Holder<'_>, limit: u32) -> Result<u32, StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        self.write(move |connection| events::number(connection, Holder { name: &name, holder }, limit)).await
    }

    async fn unpublished_events(&self, limit: u32) -> Result<Vec<Published>, StoreError> {
        self.read(move |connection| events::unpublished(connection, limit)).await
    }

    async fn mark_published(&self, lease: Holder<'_>, position: i64) -> Result<(), StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        self.write(move |connection| events::mark_published(connection, Holder { name: &name, holder }, position)).await
    }

    async fn events_after(&self, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
        self.read(move |connection| events::after(connection, position, limit)).await
    }

    async fn connections(&self, filter: &ConnectionFilter, page: &Page) -> Result<Listing<ConnectionView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| read::connections(connection, &filter, &page)).await
    }

    async fn connection(&self, id: ConnectionId) -> Result<Found, StoreError> {
        self.read(move |connection| read::connection(connection, id)).await
    }

    async fn records(
        &self,
        user: &UserId,
        kind: DataKind,
        span: Span,
        page: &Page,
    ) -> Result<Listing<RecordView>, StoreError> {
        let (user, page) = (user.clone(), page.clone());
        self.read(move |connection| read_records::of_user(connection, &user, kind, span, &page)).await
    }

    async fn record(&self, id: RecordId) -> Result<Option<RecordView>, StoreError> {
        self.read(move |connection| read_records::one(connection, id)).await
    }

    async fn record_document(&self, id: RecordId) -> Result<Option<(Sealed, Scores)>, StoreError> {
        self.read(move |connection| read_records::document(connection, id)).await
    }

    async fn documents(
        &self,
        kind: DataKind,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<StoredDocument>, StoreError> {
        self.read(move |connection| read_records::documents(connection, kind, after, limit)).await
    }

    async fn reproject(&self, kind: DataKind, rows: &[Reprojection]) -> Result<u64, StoreError> {
        let rows = rows.to_vec();
        self.write(move |connection| records::reproject(connection, kind, &rows)).await
    }

    async fn count_drift(&self, counts: &[DriftCount]) -> Result<(), StoreError> {
        let counts = counts.to_vec();
        self.write(move |connection| drift::count(connection, &counts)).await
    }

    async fn drift(&self, filter: &DriftFilter) -> Result<Vec<DriftView>, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| drift::list(connection, &filter)).await
    }

    async fn auth_events(&self, filter: &AuthEventFilter, page: &Page) -> Result<Listing<AuthEventView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| read::auth_events(connection, &filter, &page)).await
    }

    async fn deliveries(&self, filter: &DeliveryFilter, page: &Page) -> Result<Listing<DeliveryView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| deliveries::list(connection, &filter, &page)).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        self.read(move |connection| deliveries::one(connection, id)).await
    }

    async fn delivery_body(&self, id: DeliveryId) -> Result<Option<Sealed>, StoreError> {
        self.read(move |connection| deliveries::body(connection, id)).await
    }

    async fn usage(&self, filter: &UsageFilter, page: &Page) -> Result<Listing<UsageView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| usage::list(connection, &filter, &page)).await
    }

    async fn usage_totals(&self, month: Date, free: u64) -> Result<UsageTotals, StoreError> {
        self.read(move |connection| usage::totals(connection, month, free)).await
    }

    async fn stats(&self, _now: Timestamp) -> Result<Stats, StoreError> {
        self.read(|connection| read::stats(connection)).await
    }

    async fn named(
        &self,
        name: &str,
        environments: &[Environment],
        limit: u32,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let (name, environments) = (name.to_owned(), environments.to_vec());
        self.read(move |connection| why::named(connection, &name, &environments, limit)).await
    }

    async fn records_of_day(
        &self,
        connection: ConnectionId,
        kind: DataKind,
        day: Date,
    ) -> Result<Vec<DayRecord>, StoreError> {
        self.read(move |reader| why::records_of_day(reader, connection, kind, day)).await
    }

    async fn events_about(&self, events: &[EventId], records: &[RecordId]) -> Result<Vec<AboutRecord>, StoreError> {
        let (events, records) = (events.to_vec(), records.to_vec());
        self.read(move |connection| why::events_about(connection, &events, &records)).await
    }

    async fn note_quarantined(&self, requests: &[Quarantined]) -> Result<BTreeSet<[u8; 32]>, StoreError> {
        let requests = requests.to_vec();
        self.write(move |connection| quarantine::note(connection, &requests)).await
    }

    async fn quarantine(&self, held: &[Held], bytes_max: u64) -> Result<Vec<Sealed>, StoreError> {
        let held = held.to_vec();
        self.write(move |connection| quarantine::add(connection, &held, bytes_max)).await
    }

    async fn quarantined(&self, filter: &QuarantineFilter, page: &Page) -> Result<Listing<Held>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| quarantine::list(connection, &filter, &page)).await
    }

    async fn verifiable(
        &self,
        filter: &QuarantineFilter,
        after: Option<QuarantineId>,
        limit: u32,
    ) -> Result<Vec<Held>, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| quarantine::verifiable(connection, &filter, after, limit)).await
    }

    async fn let_in(&self, let_in: &[LetIn], actor: &str, now: Timestamp) -> Result<Vec<Sealed>, StoreError> {
        let (let_in, actor) = (let_in.to_vec(), actor.to_owned());
        self.write(move |connection| quarantine::let_in(connection, &let_in, &actor, now)).await
    }

    async fn forget_quarantined(&self, before: Timestamp) -> Result<Vec<Sealed>, StoreError> {
        self.write(move |connection| quarantine::forget(connection, before)).await
    }

    async fn quarantine_totals(&self) -> Result<QuarantineTotals, StoreError> {
        self.read(|connection| quarantine::totals(connection)).await
    }

    async fn known_aliases(
        &self,
        environment: &Environment,
        reference: Option<&ReferenceId>,
        page: &Page,
    ) -> Result<Listing<Known>, StoreError> {
        let (environment, reference, page) = (environment.clone(), reference.cloned(), page.clone());
        self.read(move |connection| reconcile::known(connection, &environment, reference.as_ref(), &page)).await
    }

    async fn write_reconcile(&self, run: &Reconcile) -> Result<(), StoreError> {
        let run = run.clone();
        self.write(move |connection| reconcile::write(connection, &run)).await
    }

    async fn reconcile(&self, id: ReconcileId) -> Result<Option<Reconcile>, StoreError> {
        self.read(move |connection| reconcile::one(connection, id)).await
    }

    async fn reconciles(&self, page: &Page) -> Result<Listing<Reconcile>, StoreError> {
        let page = page.clone();
        self.read(move |connection| reconcile::list(connection, &page)).await
    }

    async fn next_reconcile(&self) -> Result<Option<Reconcile>, StoreError> {
        self.read(|connection| reconcile::next(connection)).await
    }

    async fn reconcile_marks(&self) -> Result<ReconcileMarks, StoreError> {
        self.read(|connection| reconcile::marks(connection)).await
    }

    async fn write_recovery(&self, recovery: &Recovery) -> Result<(), StoreError> {
        let recovery = recovery.clone();
        self.write(move |connection| recover::write(connection, &recovery)).await
    }

    async fn recovery(&self, id: RecoveryId) -> Result<Option<Recovery>, StoreError> {
        self.read(move |connection| recover::one(connection, id)).await
    }

    async fn recoveries(&self, page: &Page) -> Result<Listing<Recovery>, StoreError> {
        let page = page.clone();
        self.read(move |connection| recover::list(connection, &page)).await
    }

    async fn next_recovery(&self) -> Result<Option<Recovery>, StoreError> {
        self.read(move |connection| recover::next(connection)).await
    }

    async fn add_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
        let missed = missed.to_vec();
        self.write(move |connection| recover::add_missed(connection, id, &missed)).await
    }

    async fn missed_events(&self, id: RecoveryId, state: MissedState, limit: u32) -> Result<Vec<Missed>, StoreError> {
        self.read(move |connection| recover::missed(connection, id, state, limit)).await
    }

    async fn settle_missed(&self, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
        let missed = missed.to_vec();
        self.write(move |connection| recover::settle_missed(connection, id, &missed)).await
    }

    async fn missed_counts(&self, id: RecoveryId) -> Result<Vec<(MissedState, u64, u64)>, StoreError> {
        self.read(move |connection| recover::missed_counts(connection, id)).await
    }

    async fn processed_events(
        &self,
        events: &[(Environment, String)],
    ) -> Result<BTreeSet<(Environment, String)>, StoreError> {
        let events = events.to_vec();
        self.read(move |connection| recover::processed(connection, &events)).await
    }

    async fn add_recovery_jobs(&self, id: RecoveryId, jobs: &[FetchJob], now: Timestamp) -> Result<(), StoreError> {
        let jobs = jobs.to_vec();
        self.write(move |connection| recover::add_jobs(connection, id, &jobs, now)).await
    }

    async fn recovery_backfills(&self, id: RecoveryId) -> Result<RecoveryBackfills, StoreError> {
        self.read(move |connection| recover::backfills(connection, id)).await
    }

    async fn received_pauses(
        &self,
        from: Timestamp,
        to: Timestamp,
        longer_than: SignedDuration,
    ) -> Result<Vec<Pause>, StoreError> {
        self.read(move |connection| recover::pauses(connection, from, to, longer_than)).await
    }

    async fn select_deliveries(
        &self,
        selection: &Selection,
        after: Option<DeliveryId>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Selected>, StoreError> {
        let selection = selection.clone();
        self.read(move |connection| selection::select(connection, &selection, after, until, limit)).await
    }

    async fn kept_records(&self, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, Kept>, StoreError> {
        let keys = keys.to_vec();
        let kept = self.read(move |connection| records::kept(connection, &keys)).await?;
        Ok(kept.into_iter().map(|(key, row)| (key, row.kept)).collect())
    }

    async fn write_replay(
        &self,
        run: &Replay,
        was: Option<State>,
        audit: Option<&Audit>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (run, audit) = (run.clone(), audit.cloned());
        self.write(move |connection| replay::write(connection, &run, was, audit.as_ref(), now)).await
    }

    async fn add_replay_items(&self, run: &Replay, items: &[Counted], now: Timestamp) -> Result<bool, StoreError> {
        let (run, items) = (run.clone(), items.to_vec());
        self.write(move |connection| replay::add_items(connection, &run, &items, now)).await
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        self.read(move |connection| replay::one(connection, id)).await
    }

    async fn replays(&self, page: &Page) -> Result<Listing<Replay>, StoreError> {
        let page = page.clone();
        self.read(move |connection| replay::list(connection, &page)).await
    }

    async fn next_replay(&self) -> Result<Option<Replay>, StoreError> {
        self.read(move |connection| replay::next(connection)).await
    }

    async fn replay_preview(&self, id: ReplayId) -> Result<Preview, StoreError> {
        self.read(move |connection| replay::preview(connection, id)).await
    }

    async fn replay_counts(&self, id: ReplayId) -> Result<Items, StoreError> {
        self.read(move |connection| replay::counts(connection, id)).await
    }

    async fn replay_items(&self, id: ReplayId, limit: u32) -> Result<Vec<ReplayItem>, StoreError> {
        self.read(move |connection| replay::pending(connection, id, limit)).await
    }

    async fn replayed(
        &self,
        id: ReplayId,
        state: Option<ItemState>,
        page: &Page,
    ) -> Result<Listing<ReplayedView>, StoreError> {
        let page = page.clone();
        self.read(move |connection| replay::list_items(connection, id, state, &page)).await
    }

    async fn fail_replay(&self, id: ReplayId, job: &Job, reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let (job, reason) = (job.clone(), reason.to_owned());
        self.write(move |connection| replay::fail(connection, id, &job, &reason, now)).await
    }

    async fn replay_gone(&self, id: ReplayId, delivery: DeliveryId) -> Result<(), StoreError> {
        self.write(move |connection| replay::gone(connection, id, delivery)).await
    }

    async fn retry_failed_items(&self, id: ReplayId) -> Result<(), StoreError> {
        self.write(move |connection| replay::retry_failed(connection, id)).await
    }

    async fn dead_groups(&self, selection: &Selection, page: &Page) -> Result<Listing<DeadGroup>, StoreError> {
        let (selection, page) = (selection.clone(), page.clone());
        self.read(move |connection| selection::groups(connection, &selection, &page)).await
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
        self.write(move |connection| selection::discard(connection, &selection, &reason, &audit, limit, now)).await
    }

    async fn audit(&self, entry: &Audit, now: Timestamp) -> Result<(), StoreError> {
        let entry = entry.clone();
        self.write(move |connection| audit::write(connection, &entry, now)).await
    }

    async fn audits(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| audit::list(connection, &filter, &page)).await
    }

    async fn silence_seen(&self, now: Timestamp) -> Result<Seen, StoreError> {
        self.read(move |connection| silence::seen(connection, now)).await
    }

    async fn keep_silence(&self, lease: Holder<'_>, judgement: &Judgement, now: Timestamp) -> Result<bool, StoreError> {
        let (name, holder, judgement) = (lease.name.to_owned(), lease.holder, judgement.clone());
        self.write(move |connection| silence::keep(connection, Holder { name: &name, holder }, &judgement, now)).await
    }

    async fn silences(&self) -> Result<Silences, StoreError> {
        self.read(|connection| silence::silences(connection)).await
    }

    async fn stale_connections(&self, page: &Page) -> Result<Listing<StaleView>, StoreError> {
        let page = page.clone();
        self.read(move |connection| silence::stale(connection, &page)).await
    }

    async fn sessions_of(&self, user: &UserId) -> Result<Vec<ConnectSession>, StoreError> {
        let user = user.clone();
        self.read(move |connection| sessions::of_user(connection, &user)).await
    }

    async fn events_of(&self, user: &UserId, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
        let user = user.clone();
        self.read(move |connection| events::of_user(connection, &user, position, limit)).await
    }

    async fn erasure_preview(&self, user: &UserId) -> Result<ErasureFound, StoreError> {
        let user = user.clone();
        self.read(move |connection| erase::preview(connection, &user)).await
    }

    async fn begin_erasure(&self, wish: &Wish, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
        let (wish, policy) = (wish.clone(), self.policy);
        self.write(move |connection| erase::begin(connection, &wish, policy, now)).await
    }

    async fn erase_some(&self, id: ErasureId, limit: u32, now: Timestamp) -> Result<bool, StoreError> {
        let policy = self.policy;
        self.write(move |connection| erase_rows::some(connection, id, limit, policy, now)).await
    }

    async fn nameless_deliveries(&self, after: Option<DeliveryId>, limit: u32) -> Result<Vec<Nameless>, StoreError> {
        self.read(move |connection| payloads::nameless(connection, after, limit)).await
    }

    async fn forget_deliveries(
        &self,
        deliveries: &[(DeliveryId, Timestamp)],
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        let deliveries = deliveries.to_vec();
        self.write(move |connection| erase_rows::forget_found(connection, &deliveries)).await
    }

    async fn erasure_targets(&self, id: ErasureId) -> Result<Vec<Target>, StoreError> {
        self.read(move |connection| erase::targets(connection, id)).await
    }

    async fn told(&self, id: ErasureId, targets: &[Target]) -> Result<(), StoreError> {
        let targets = targets.to_vec();
        self.write(move |connection| erase::told(connection, id, &targets)).await
    }

    async fn bury(&self, id: ErasureId, keys: &[AliasKey], now: Timestamp) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        self.write(move |connection| erase::bury(connection, id, &keys, now)).await
    }

    async fn write_erasure(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let erasure = erasure.clone();
        self.write(move |connection| erase::write(connection, &erasure)).await
    }

    async fn erasure(&self, id: ErasureId) -> Result<Option<Erasure>, StoreError> {
        self.read(move |connection| erase::one(connection, id)).await
    }

    async fn erasures(&self, page: &Page) -> Result<Listing<Erasure>, StoreError> {
        let page = page.clone();
        self.read(move |connection| erase::list(connection, &page)).await
    }

    async fn next_erasure(&self, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
        self.read(move |connection| erase::next(connection, now)).await
    }

    async fn closed_connections(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionId>, StoreError> {
        self.read(move |connection| erase::closed(connection, before, limit)).await
    }

    async fn unneeded_payloads(&self, limit: u32) -> Result<Vec<(i64, Sealed)>, StoreError> {
        self.write(move |connection| payloads::unneeded(connection, limit)).await
    }

    async fn gone(&self, payloads: &[i64]) -> Result<(), StoreError> {
        let payloads = payloads.to_vec();
        self.write(move |connection| payloads::gone(connection, &payloads)).await
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
        self.write(move |connection| erase::audit(connection, &actor, &action, &subject, &detail, now)).await
    }

    async fn schema(&self) -> Result<Schema, StoreError> {
        self.read(|connection| upkeep::schema(connection)).await
    }

    /// Opening has migrated already; this tells what it applied.
    async fn migrate(&self) -> Result<Vec<u32>, StoreError> {
        Ok(self.embedded.take_migrated())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.embedded.ping().await?)
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Deletes in small operations, so that receiving goes on between them.
    async fn upkeep(&self, now: Timestamp, keep_deliveries: Duration) -> Result<(), StoreError> {
        while self.write(move |connection| upkeep::step(connection, now, keep_deliveries)).await? {}
        Ok(())
    }

    async fn close(&self) {
        self.embedded.close().await;
    }
}

#[cfg(test)]
mod tests;
