//! The statements behind the shared algorithm.

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
use jiff::Timestamp;
use terra::event::DataKind;

use super::unit::Db;
use super::{
    backfill, enqueue, erase, erase_rows, events, fetch, history, identity, ledger, payloads, processed, records,
    references, replay, sessions, silence, usage,
};
use crate::store::StoreError;
use crate::store::backfill::Notes;
use crate::store::tx::{
    AliasRow, AskedReplay, Grave, KeptRow, LedgerOutcome, LedgerRow, ProcessedRow, RecordWrite, RhythmRow, ScoreWrite,
    SettledReplay, Tx, Unneeded,
};

#[async_trait]
impl Tx for Db {
    async fn lock_identity(&mut self, exclusive: bool) -> Result<(), StoreError> {
        identity::lock(self, exclusive).await
    }

    async fn claim(&mut self, rows: &[ProcessedRow]) -> Result<BTreeSet<(Environment, String)>, StoreError> {
        processed::claim(self, rows).await
    }

    async fn claimed(
        &mut self,
        keys: &[(Environment, String)],
    ) -> Result<BTreeMap<(Environment, String), [u8; 32]>, StoreError> {
        processed::claimed(self, keys).await
    }

    async fn signed_seen(
        &mut self,
        digests: &[(Environment, [u8; 32])],
    ) -> Result<BTreeSet<(Environment, [u8; 32])>, StoreError> {
        processed::signed_seen(self, digests).await
    }

    async fn aliases(&mut self, keys: &[AliasKey]) -> Result<Vec<AliasRow>, StoreError> {
        identity::aliases(self, keys).await
    }

    async fn components(&mut self, keys: &[AliasKey]) -> Result<(Vec<AliasRow>, Vec<Edge>), StoreError> {
        identity::components(self, keys).await
    }

    async fn write_aliases(&mut self, rows: &[AliasRow]) -> Result<(), StoreError> {
        identity::write_aliases(self, rows).await
    }

    async fn write_edges(&mut self, edges: &[Edge]) -> Result<(), StoreError> {
        identity::write_edges(self, edges).await
    }

    async fn write_connections(
        &mut self,
        connections: &[Connection],
        gone: &[ConnectionId],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        identity::write_connections(self, connections, gone, at).await
    }

    async fn resolutions(
        &mut self,
        references: &[(Environment, ReferenceId)],
        at: Timestamp,
    ) -> Result<BTreeMap<(Environment, ReferenceId), Resolution>, StoreError> {
        references::resolutions(self, references, at).await
    }

    async fn aliases_of_references(
        &mut self,
        references: &[(Environment, ReferenceId)],
    ) -> Result<Vec<AliasKey>, StoreError> {
        references::aliases_of(self, references).await
    }

    async fn kept_records(&mut self, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, KeptRow>, StoreError> {
        records::kept(self, keys).await
    }

    async fn write_records(&mut self, writes: &[RecordWrite<'_>]) -> Result<BTreeSet<RecordId>, StoreError> {
        records::write(self, writes).await
    }

    async fn write_scores(&mut self, writes: &[ScoreWrite<'_>]) -> Result<(), StoreError> {
        records::write_scores(self, writes).await
    }

    async fn insert_events(&mut self, events: &[Outgoing]) -> Result<(), StoreError> {
        events::insert(self, events).await
    }

    async fn release_events(&mut self, owned: &[(AliasKey, ConnectionId, UserId)]) -> Result<(), StoreError> {
        events::release(self, owned).await
    }

    async fn insert_auth_events(&mut self, events: &[(AuthEvent, Timestamp)]) -> Result<(), StoreError> {
        history::insert(self, events).await
    }

    async fn insert_fetch_jobs(&mut self, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
        enqueue::insert(self, jobs, at).await
    }

    async fn fetch_references(
        &mut self,
        references: &[(Environment, String)],
    ) -> Result<BTreeMap<(Environment, String), FetchOrigin>, StoreError> {
        fetch::references(self, references).await
    }

    async fn note_requests(&mut self, notes: &Notes, at: Timestamp) -> Result<(), StoreError> {
        backfill::note(self, notes, at).await
    }

    async fn decide_sessions(
        &mut self,
        results: &[SessionResult],
        at: Timestamp,
    ) -> Result<BTreeSet<usize>, StoreError> {
        sessions::decide(self, results, at).await
    }

    async fn write_ledger(&mut self, rows: &[LedgerRow<'_>]) -> Result<(), StoreError> {
        ledger::write(self, rows).await
    }

    async fn outcomes(
        &mut self,
        deliveries: &[(DeliveryId, Timestamp)],
    ) -> Result<BTreeMap<DeliveryId, LedgerOutcome>, StoreError> {
        ledger::outcomes(self, deliveries).await
    }

    async fn pending_replays(
        &mut self,
        asked: &[AskedReplay],
    ) -> Result<BTreeMap<(ReplayId, DeliveryId), Option<LedgerOutcome>>, StoreError> {
        replay::lock(self, asked).await
    }

    async fn settle_replays(&mut self, settled: &[SettledReplay]) -> Result<(), StoreError> {
        replay::settle(self, settled).await
    }

    async fn add_usage(&mut self, sums: &BTreeMap<Account, Tally>) -> Result<(), StoreError> {
        usage::add(self, sums).await
    }

    async fn rhythms(&mut self, keys: &[(AliasKey, DataKind)]) -> Result<Vec<RhythmRow>, StoreError> {
        silence::rhythms(self, keys).await
    }

    async fn write_rhythms(&mut self, rows: &[RhythmRow]) -> Result<(), StoreError> {
        silence::write_rhythms(self, rows).await
    }

    async fn tombstones(&mut self, digests: &[[u8; 32]]) -> Result<Vec<Grave>, StoreError> {
        erase::tombstones(self, digests).await
    }

    async fn write_tombstones(&mut self, graves: &[Grave]) -> Result<(), StoreError> {
        erase::write_tombstones(self, graves).await
    }

    async fn reopen(&mut self, digests: &[([u8; 32], Order)]) -> Result<(), StoreError> {
        erase::reopen(self, digests).await
    }

    async fn add_targets(&mut self, id: ErasureId, targets: &[Target], at: Timestamp) -> Result<(), StoreError> {
        erase::add_targets(self, id, targets, at).await
    }

    async fn write_erasure(&mut self, erasure: &Erasure) -> Result<(), StoreError> {
        erase::write(self, erasure).await
    }

    async fn aliases_of(
        &mut self,
        user: Option<&UserId>,
        connection: Option<ConnectionId>,
    ) -> Result<Vec<AliasKey>, StoreError> {
        erase::aliases_of(self, user, connection).await
    }

    async fn references_of(&mut self, user: &UserId) -> Result<BTreeSet<(Environment, ReferenceId)>, StoreError> {
        erase::references_of(self, user).await
    }

    async fn delete_aliases(&mut self, keys: &[AliasKey]) -> Result<(), StoreError> {
        erase::delete_aliases(self, keys).await
    }

    async fn forget_deliveries(&mut self, deliveries: &[(DeliveryId, Timestamp)]) -> Result<(), StoreError> {
        erase_rows::forget(self, deliveries).await.map(|_| ())
    }

    async fn let_go(&mut self, unneeded: &[Unneeded]) -> Result<(), StoreError> {
        payloads::let_go(self, unneeded).await
    }

    async fn write_audit(
        &mut self,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        erase::audit(self, actor, action, subject, detail, at).await
    }
}
