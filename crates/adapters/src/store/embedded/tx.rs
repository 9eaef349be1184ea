//! The transaction of a batch: what `apply` asks for, answered by the statements of the files beside.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::erasure::{Erasure, ErasureId, Target};
use domain::fetch::{FetchJob, FetchOrigin};
use domain::id::{AliasKey, ConnectionId, DeliveryId, Environment, RecordId, ReferenceId, UserId};
use domain::identity::{Connection, Edge, Resolution};
use domain::order::Order;
use domain::outgoing::Outgoing;
use domain::plan::AuthEvent;
use domain::record::RecordKey;
use domain::replay::ReplayId;
use domain::session::SessionResult;
use domain::usage::{Account, Tally};
use futures_util::FutureExt;
use jiff::Timestamp;
use terra::event::DataKind;

use super::{
    backfill, enqueue, erase, erase_rows, events, fetch, identity, ledger, payloads, records, replay, sessions,
    silence, usage,
};
use crate::store::apply::{self, Mode, Tried};
use crate::store::backfill::Notes;
use crate::store::tx::{
    AliasRow, AskedReplay, Grave, KeptRow, LedgerOutcome, LedgerRow, ProcessedRow, RecordWrite, RhythmRow, ScoreWrite,
    SettledReplay, Tx, Unneeded,
};
use crate::store::{Applied, Prepared, ReferencePolicy, StoreError};

/// An open transaction. The connection is borrowed exclusively, so that futures over it may move between threads.
pub(super) struct SqliteTx<'c> {
    pub(super) connection: &'c mut rusqlite::Connection,
}

/// Applies a batch. The writer's thread is alone in any case, so identity is always concluded anew.
pub(super) fn apply(
    connection: &mut rusqlite::Connection,
    batch: &[Prepared],
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Vec<Applied>, StoreError> {
    let mut tx = SqliteTx { connection };
    match at_once(apply::apply(&mut tx, batch, Mode::Exclusive, policy, now))? {
        Tried::Applied(applied) => Ok(applied),
        Tried::NeedsExclusive => Err(StoreError::Contention),
    }
}

/// Runs a future over a [`SqliteTx`]: SQLite answers in the call, so it never has to wait.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("invariant: no statement of SQLite waits")
}

#[async_trait]
impl Tx for SqliteTx<'_> {
    async fn lock_identity(&mut self, _exclusive: bool) -> Result<(), StoreError> {
        Ok(())
    }

    async fn claim(&mut self, rows: &[ProcessedRow]) -> Result<BTreeSet<(Environment, String)>, StoreError> {
        ledger::claim(self.connection, rows)
    }

    async fn claimed(
        &mut self,
        keys: &[(Environment, String)],
    ) -> Result<BTreeMap<(Environment, String), [u8; 32]>, StoreError> {
        ledger::claimed(self.connection, keys)
    }

    async fn signed_seen(
        &mut self,
        digests: &[(Environment, [u8; 32])],
    ) -> Result<BTreeSet<(Environment, [u8; 32])>, StoreError> {
        ledger::signed_seen(self.connection, digests)
    }

    async fn aliases(&mut self, keys: &[AliasKey]) -> Result<Vec<AliasRow>, StoreError> {
        identity::aliases(self.connection, keys)
    }

    async fn components(&mut self, keys: &[AliasKey]) -> Result<(Vec<AliasRow>, Vec<Edge>), StoreError> {
        identity::components(self.connection, keys)
    }

    async fn write_aliases(&mut self, rows: &[AliasRow]) -> Result<(), StoreError> {
        identity::write_aliases(self.connection, rows)
    }

    async fn write_edges(&mut self, edges: &[Edge]) -> Result<(), StoreError> {
        identity::write_edges(self.connection, edges)
    }

    async fn write_connections(
        &mut self,
        connections: &[Connection],
        gone: &[ConnectionId],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        identity::write_connections(self.connection, connections, gone, at)
    }

    async fn resolutions(
        &mut self,
        references: &[(Environment, ReferenceId)],
        at: Timestamp,
    ) -> Result<BTreeMap<(Environment, ReferenceId), Resolution>, StoreError> {
        identity::resolutions(self.connection, references, at)
    }

    async fn aliases_of_references(
        &mut self,
        references: &[(Environment, ReferenceId)],
    ) -> Result<Vec<AliasKey>, StoreError> {
        identity::aliases_of_references(self.connection, references)
    }

    async fn kept_records(&mut self, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, KeptRow>, StoreError> {
        records::kept(self.connection, keys)
    }

    async fn write_records(&mut self, writes: &[RecordWrite<'_>]) -> Result<BTreeSet<RecordId>, StoreError> {
        records::write(self.connection, writes)
    }

    async fn write_scores(&mut self, writes: &[ScoreWrite<'_>]) -> Result<(), StoreError> {
        records::write_scores(self.connection, writes)
    }

    async fn insert_events(&mut self, events: &[Outgoing]) -> Result<(), StoreError> {
        events::insert(self.connection, events)
    }

    async fn release_events(&mut self, owned: &[(AliasKey, ConnectionId, UserId)]) -> Result<(), StoreError> {
        events::release(self.connection, owned)
    }

    async fn insert_auth_events(&mut self, events: &[(AuthEvent, Timestamp)]) -> Result<(), StoreError> {
        identity::insert_auth_events(self.connection, events)
    }

    async fn insert_fetch_jobs(&mut self, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
        enqueue::insert(self.connection, jobs, at)
    }

    async fn fetch_references(
        &mut self,
        references: &[(Environment, String)],
    ) -> Result<BTreeMap<(Environment, String), FetchOrigin>, StoreError> {
        fetch::references(self.connection, references)
    }

    async fn note_requests(&mut self, notes: &Notes, at: Timestamp) -> Result<(), StoreError> {
        backfill::note(self.connection, notes, at)
    }

    async fn decide_sessions(
        &mut self,
        results: &[SessionResult],
        at: Timestamp,
    ) -> Result<BTreeSet<usize>, StoreError> {
        sessions::decide(self.connection, results, at)
    }

    async fn write_ledger(&mut self, rows: &[LedgerRow<'_>]) -> Result<(), StoreError> {
        ledger::write(self.connection, rows)
    }

    async fn outcomes(
        &mut self,
        deliveries: &[(DeliveryId, Timestamp)],
    ) -> Result<BTreeMap<DeliveryId, LedgerOutcome>, StoreError> {
        ledger::outcomes(self.connection, deliveries)
    }

    async fn pending_replays(
        &mut self,
        asked: &[AskedReplay],
    ) -> Result<BTreeMap<(ReplayId, DeliveryId), Option<LedgerOutcome>>, StoreError> {
        replay::lock(self.connection, asked)
    }

    async fn settle_replays(&mut self, settled: &[SettledReplay]) -> Result<(), StoreError> {
        replay::settle(self.connection, settled)
    }

    async fn add_usage(&mut self, sums: &BTreeMap<Account, Tally>) -> Result<(), StoreError> {
        usage::add(self.connection, sums)
    }

    async fn rhythms(&mut self, keys: &[(AliasKey, DataKind)]) -> Result<Vec<RhythmRow>, StoreError> {
        silence::rhythms(self.connection, keys)
    }

    async fn write_rhythms(&mut self, rows: &[RhythmRow]) -> Result<(), StoreError> {
        silence::write_rhythms(self.connection, rows)
    }

    async fn tombstones(&mut self, digests: &[[u8; 32]]) -> Result<Vec<Grave>, StoreError> {
        erase::tombstones(self.connection, digests)
    }

    async fn write_tombstones(&mut self, graves: &[Grave]) -> Result<(), StoreError> {
        erase::write_tombstones(self.connection, graves)
    }

    async fn reopen(&mut self, digests: &[([u8; 32], Order)]) -> Result<(), StoreError> {
        erase::reopen(self.connection, digests)
    }

    async fn add_targets(&mut self, id: ErasureId, targets: &[Target], at: Timestamp) -> Result<(), StoreError> {
        erase::add_targets(self.connection, id, targets, at)
    }

    async fn write_erasure(&mut self, erasure: &Erasure) -> Result<(), StoreError> {
        erase::write(self.connection, erasure)
    }

    async fn aliases_of(
        &mut self,
        user: Option<&UserId>,
        connection: Option<ConnectionId>,
    ) -> Result<Vec<AliasKey>, StoreError> {
        erase::aliases_of(self.connection, user, connection)
    }

    async fn references_of(&mut self, user: &UserId) -> Result<BTreeSet<(Environment, ReferenceId)>, StoreError> {
        erase::references_of(self.connection, user)
    }

    async fn delete_aliases(&mut self, keys: &[AliasKey]) -> Result<(), StoreError> {
        erase::delete_aliases(self.connection, keys)
    }

    async fn forget_deliveries(&mut self, deliveries: &[(DeliveryId, Timestamp)]) -> Result<(), StoreError> {
        erase_rows::forget(self.connection, deliveries).map(|_| ())
    }

    async fn let_go(&mut self, unneeded: &[Unneeded]) -> Result<(), StoreError> {
        payloads::let_go(self.connection, unneeded)
    }

    async fn write_audit(
        &mut self,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        erase::audit(self.connection, actor, action, subject, detail, at)
    }
}
