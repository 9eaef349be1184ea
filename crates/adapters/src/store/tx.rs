//! What the transaction of a batch needs from an engine: set-based reads and writes, one statement each.
//!
//! The order of steps and every decision are in `apply.rs`, once for all engines. An engine supplies the statements.
//! All slices may be empty; an engine then does nothing.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::delivery::Delivery;
use domain::erasure::{Erasure, ErasureId, Target, Tombstone};
use domain::fetch::{FetchJob, FetchOrigin};
use domain::id::{AliasKey, ConnectionId, Environment, RecordId, ReferenceId, UserId};
use domain::identity::{Alias, Connection, Edge, Resolution, Status};
use domain::order::Order;
use domain::outgoing::Outgoing;
use domain::plan::{AuthEvent, UnreadParts};
use domain::record::{Fingerprint, Kept, Record, RecordKey, Scores};
use domain::replay::{ItemState, ReplayId};
use domain::session::SessionResult;
use domain::settle::Settlement;
use domain::settle::class::{self, Class};
use domain::silence::Rhythm;
use domain::usage::{Account, Tally};
use jiff::Timestamp;
use terra::event::DataKind;
use terra::record::Scalar;

use super::StoreError;
use super::backfill::Notes;
use crate::payloads::Sealed;
use crate::queue::Job;

/// An alias as stored: its facts, and what was last concluded of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRow {
    pub alias: Alias,
    pub placement: Placement,
}

/// Where an alias stands: derived, kept beside the facts so that reads need no conclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub connection: ConnectionId,
    pub user: Option<UserId>,
    pub status: Status,
}

impl Placement {
    /// Whom events of this alias go to; `None` holds them.
    pub fn owner(&self) -> Option<&UserId> {
        if self.status == Status::Disputed { None } else { self.user.as_ref() }
    }
}

/// A row of `processed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessedRow {
    pub environment: Environment,
    pub key: String,
    pub body_digest: [u8; 32],
    pub signed_digest: [u8; 32],
    pub delivery: domain::id::DeliveryId,
    pub processed_at: Timestamp,
}

/// A row of the ledger `delivery`. Writing one whose (received_at, id) is there replaces outcome, reason, attempts,
/// retry_at, rows and settled_at; a replay adds to the rows, and where it changed none of what was processed, the time
/// stays that of the effects.
#[derive(Debug, Clone)]
pub struct LedgerRow<'a> {
    pub delivery: &'a Delivery,
    pub body: &'a Sealed,
    pub outcome: LedgerOutcome,
    pub reason: Option<String>,
    pub attempts: u32,
    pub retry_at: Option<Timestamp>,
    /// Records of ours that this delivery inserted, changed or deleted.
    pub rows: u32,
    /// `None` where everything could be read.
    pub unread: Option<&'a UnreadParts>,
    /// The replay that worked it, if one did.
    pub replay: Option<ReplayId>,
    pub at: Timestamp,
}

impl<'a> LedgerRow<'a> {
    /// Of a delivery that was not tried yet and is due at once.
    pub fn waiting(job: &'a Job, reason: &str, now: Timestamp) -> LedgerRow<'a> {
        LedgerRow {
            delivery: &job.delivery,
            body: &job.body,
            outcome: LedgerOutcome::Retry,
            reason: Some(reason.to_owned()),
            attempts: 0,
            retry_at: Some(now),
            rows: 0,
            unread: None,
            replay: None,
            at: now,
        }
    }

    /// Of a try that failed.
    pub fn failed(job: &'a Job, attempts: u32, settlement: &Settlement, reason: &str, now: Timestamp) -> LedgerRow<'a> {
        let (outcome, retry_at) = match settlement {
            Settlement::RetryAt(at) => (LedgerOutcome::Retry, Some(*at)),
            Settlement::Dead { .. } => (LedgerOutcome::Dead, None),
        };
        LedgerRow { outcome, attempts, retry_at, ..LedgerRow::waiting(job, reason, now) }
    }

    /// Class and fingerprint of what keeps this delivery from having its effects.
    pub fn trouble(&self) -> Option<(Class, String)> {
        match self.outcome {
            LedgerOutcome::SetAside | LedgerOutcome::Quarantined | LedgerOutcome::Retry | LedgerOutcome::Dead => {
                let reason = self.reason.as_deref()?;
                Some((Class::of(reason), class::fingerprint(reason, self.delivery.kind())))
            }
            LedgerOutcome::Processed | LedgerOutcome::Duplicate | LedgerOutcome::Discarded | LedgerOutcome::Erased => {
                None
            }
        }
    }
}

/// A delivery that a replay is about to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskedReplay {
    pub run: ReplayId,
    pub delivery: domain::id::DeliveryId,
    pub received_at: Timestamp,
}

/// What became of a delivery of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettledReplay {
    pub run: ReplayId,
    pub delivery: domain::id::DeliveryId,
    pub state: ItemState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerOutcome {
    Processed,
    Duplicate,
    /// Genuine, but nothing can be made of it.
    SetAside,
    Quarantined,
    /// Of somebody who was erased: dropped. The row names nobody.
    Erased,
    /// Failed; tried again at `retry_at`.
    Retry,
    Dead,
    /// A dead one of which a person decided that nobody will replay it.
    Discarded,
}

impl LedgerOutcome {
    pub const ALL: [LedgerOutcome; 8] = [
        LedgerOutcome::Processed,
        LedgerOutcome::Duplicate,
        LedgerOutcome::SetAside,
        LedgerOutcome::Quarantined,
        LedgerOutcome::Erased,
        LedgerOutcome::Retry,
        LedgerOutcome::Dead,
        LedgerOutcome::Discarded,
    ];

    pub fn label(self) -> &'static str {
        match self {
            LedgerOutcome::Processed => "processed",
            LedgerOutcome::Duplicate => "duplicate",
            LedgerOutcome::SetAside => "set_aside",
            LedgerOutcome::Quarantined => "quarantined",
            LedgerOutcome::Erased => "erased",
            LedgerOutcome::Retry => "retry",
            LedgerOutcome::Dead => "dead",
            LedgerOutcome::Discarded => "discarded",
        }
    }

    pub fn parse(label: &str) -> Option<LedgerOutcome> {
        LedgerOutcome::ALL.into_iter().find(|outcome| outcome.label() == label)
    }
}

/// The rhythm of one alias and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RhythmRow {
    pub alias: AliasKey,
    pub kind: DataKind,
    /// As Terra spells it; empty where it is not known.
    pub provider: String,
    pub rhythm: Rhythm,
}

impl RhythmRow {
    pub fn hear(&mut self, at: Timestamp, provider: Option<&str>) {
        self.rhythm.hear(at);
        if let Some(provider) = provider {
            provider.clone_into(&mut self.provider);
        }
    }
}

/// What is kept of a record, and where its document lies if that is in the payload store.
#[derive(Debug, Clone)]
pub struct KeptRow {
    pub kept: Kept,
    pub stored: Option<Sealed>,
}

/// No pointer is longer; a document that is as short may ride in its row all the same.
pub(super) const POINTER_BYTES_MAX: usize = 512;

/// A record to write: upsert on its key, only where the stored order is smaller.
#[derive(Debug, Clone)]
pub struct RecordWrite<'a> {
    pub record: &'a Record,
    pub document: &'a Sealed,
    /// As merged.
    pub scores: &'a Scores,
    /// One per column of the kind, scores as merged.
    pub values: Vec<Option<Scalar>>,
    pub at: Timestamp,
}

/// Scores of a record whose row stays as it is. The row was locked when it was read.
#[derive(Debug, Clone)]
pub struct ScoreWrite<'a> {
    pub key: &'a RecordKey,
    pub scores: &'a Scores,
    /// One per column of the kind; only those of scores count.
    pub values: Vec<Option<Scalar>>,
    pub at: Timestamp,
}

/// A record's document, to be read again.
#[derive(Debug, Clone)]
pub struct StoredDocument {
    pub id: RecordId,
    pub alias: AliasKey,
    pub order: Order,
    pub scores: Scores,
    pub document: Sealed,
}

/// What a document says when it is read again: it replaces the columns of the row, if that is still of this order.
#[derive(Debug, Clone)]
pub struct Reprojection {
    pub id: RecordId,
    pub order: Order,
    pub fingerprint: Fingerprint,
    pub scores: Scores,
    pub start_time: Option<String>,
    /// One per column of the kind, scores as merged.
    pub values: Vec<Option<Scalar>>,
}

/// Somebody of whom a tombstone is left, and the order that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grave {
    pub digest: [u8; 32],
    pub tombstone: Tombstone,
}

/// A payload that its row lets go of; only what lies in the payload store counts.
#[derive(Debug, Clone)]
pub struct Unneeded {
    pub payload: Sealed,
    /// The record whose document it is or was to be: if that points to it, it stays.
    pub record: Option<(DataKind, RecordId)>,
}

/// A session that a delivery or a confirmation decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionMatched {
    /// Index into the slice that was given.
    pub index: usize,
}

#[async_trait]
pub trait Tx: Send {
    /// Serialises identity: shared holders run side by side, an exclusive one alone. First statement of the
    /// transaction; held to its end. An engine with one writer has nothing to do.
    async fn lock_identity(&mut self, exclusive: bool) -> Result<(), StoreError>;

    /// Inserts rows whose (environment, key) is new, in ascending key order; answers the keys that were new.
    async fn claim(&mut self, rows: &[ProcessedRow]) -> Result<BTreeSet<(Environment, String)>, StoreError>;

    /// The body digests under these keys.
    async fn claimed(
        &mut self,
        keys: &[(Environment, String)],
    ) -> Result<BTreeMap<(Environment, String), [u8; 32]>, StoreError>;

    /// Which of these signed digests were processed under any key.
    async fn signed_seen(
        &mut self,
        digests: &[(Environment, [u8; 32])],
    ) -> Result<BTreeSet<(Environment, [u8; 32])>, StoreError>;

    /// Locks and reads these aliases, in ascending key order; unknown ones are left out.
    async fn aliases(&mut self, keys: &[AliasKey]) -> Result<Vec<AliasRow>, StoreError>;

    /// Reads the whole components of these aliases over all edges, severed ones included.
    async fn components(&mut self, keys: &[AliasKey]) -> Result<(Vec<AliasRow>, Vec<Edge>), StoreError>;

    /// Upserts whole rows.
    async fn write_aliases(&mut self, rows: &[AliasRow]) -> Result<(), StoreError>;

    /// Upserts edges on (environment, old, new).
    async fn write_edges(&mut self, edges: &[Edge]) -> Result<(), StoreError>;

    /// Upserts connections and deletes those that are gone.
    async fn write_connections(
        &mut self,
        connections: &[Connection],
        gone: &[ConnectionId],
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// What resolvers answered for these references; references never asked are inserted as open and due at once.
    async fn resolutions(
        &mut self,
        references: &[(Environment, ReferenceId)],
        at: Timestamp,
    ) -> Result<BTreeMap<(Environment, ReferenceId), Resolution>, StoreError>;

    /// Aliases whose greatest statement names one of these references.
    async fn aliases_of_references(
        &mut self,
        references: &[(Environment, ReferenceId)],
    ) -> Result<Vec<AliasKey>, StoreError>;

    /// Locks and reads what is kept under these keys, in ascending key order.
    async fn kept_records(&mut self, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, KeptRow>, StoreError>;

    /// Upserts records where the stored order is smaller; answers the ids that were written.
    async fn write_records(&mut self, writes: &[RecordWrite<'_>]) -> Result<BTreeSet<RecordId>, StoreError>;

    /// Replaces the scores of records read before in this transaction.
    async fn write_scores(&mut self, writes: &[ScoreWrite<'_>]) -> Result<(), StoreError>;

    /// Inserts events without a position. Those with an alias and without a subject are held; a held event about a
    /// record replaces an earlier held one about the same record.
    async fn insert_events(&mut self, events: &[Outgoing]) -> Result<(), StoreError>;

    /// Gives the held events of these aliases their connection and subject, so that the relay takes them.
    async fn release_events(&mut self, owned: &[(AliasKey, ConnectionId, UserId)]) -> Result<(), StoreError>;

    async fn insert_auth_events(&mut self, events: &[(AuthEvent, Timestamp)]) -> Result<(), StoreError>;

    /// Queues jobs, each day of an alias and kind once, with the backfills they belong to.
    async fn insert_fetch_jobs(&mut self, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError>;

    /// Which of these Terra references belong to fetch jobs of ours, and why those were made.
    async fn fetch_references(
        &mut self,
        references: &[(Environment, String)],
    ) -> Result<BTreeMap<(Environment, String), FetchOrigin>, StoreError>;

    /// Keeps what deliveries say of requests for data, and has the backfills concerned looked at.
    async fn note_requests(&mut self, notes: &Notes, at: Timestamp) -> Result<(), StoreError>;

    /// Decides pending sessions; answers the indexes whose result belongs to a session of ours, decided now or before
    /// with the same outcome.
    async fn decide_sessions(
        &mut self,
        results: &[SessionResult],
        at: Timestamp,
    ) -> Result<BTreeSet<usize>, StoreError>;

    async fn write_ledger(&mut self, rows: &[LedgerRow<'_>]) -> Result<(), StoreError>;

    /// What the ledger says of these deliveries so far; those it does not have are left out.
    async fn outcomes(
        &mut self,
        deliveries: &[(domain::id::DeliveryId, Timestamp)],
    ) -> Result<BTreeMap<domain::id::DeliveryId, LedgerOutcome>, StoreError>;

    /// Locks these deliveries of replays in ascending order, and the dead letters among them against being discarded;
    /// answers those that are still pending, with their outcome when they were chosen.
    async fn pending_replays(
        &mut self,
        asked: &[AskedReplay],
    ) -> Result<BTreeMap<(ReplayId, domain::id::DeliveryId), Option<LedgerOutcome>>, StoreError>;

    /// Keeps what became of deliveries that were locked before in this transaction.
    async fn settle_replays(&mut self, settled: &[SettledReplay]) -> Result<(), StoreError>;

    /// Adds to what Terra has delivered, in ascending order of accounts.
    async fn add_usage(&mut self, sums: &BTreeMap<Account, Tally>) -> Result<(), StoreError>;

    /// The rhythms of these aliases and kinds, as far as there are any. Their aliases are locked.
    async fn rhythms(&mut self, keys: &[(AliasKey, DataKind)]) -> Result<Vec<RhythmRow>, StoreError>;

    /// Upserts whole rows.
    async fn write_rhythms(&mut self, rows: &[RhythmRow]) -> Result<(), StoreError>;

    // --- erasure

    /// The tombstones with these digests, as far as there are any.
    async fn tombstones(&mut self, digests: &[[u8; 32]]) -> Result<Vec<Grave>, StoreError>;

    /// Inserts tombstones; one that is there is buried again, as of the greater order.
    async fn write_tombstones(&mut self, graves: &[Grave]) -> Result<(), StoreError>;

    /// The people of these digests came back.
    async fn reopen(&mut self, digests: &[([u8; 32], Order)]) -> Result<(), StoreError>;

    /// Adds whom an erasure is about; those that are there stay as they are. It goes on, if it was over.
    async fn add_targets(&mut self, id: ErasureId, targets: &[Target], at: Timestamp) -> Result<(), StoreError>;

    /// Adds an erasure, or keeps how far it is.
    async fn write_erasure(&mut self, erasure: &Erasure) -> Result<(), StoreError>;

    /// Aliases of an internal user, or of a connection.
    async fn aliases_of(
        &mut self,
        user: Option<&UserId>,
        connection: Option<ConnectionId>,
    ) -> Result<Vec<AliasKey>, StoreError>;

    /// References that connect sessions or resolvers tie to an internal user.
    async fn references_of(&mut self, user: &UserId) -> Result<BTreeSet<(Environment, ReferenceId)>, StoreError>;

    /// Deletes aliases, and every edge that touches one.
    async fn delete_aliases(&mut self, keys: &[AliasKey]) -> Result<(), StoreError>;

    /// Deletes rows of the ledger, which let go of their payloads.
    async fn forget_deliveries(&mut self, deliveries: &[(domain::id::DeliveryId, Timestamp)])
    -> Result<(), StoreError>;

    /// Has payloads deleted once this transaction is committed.
    async fn let_go(&mut self, unneeded: &[Unneeded]) -> Result<(), StoreError>;

    async fn write_audit(
        &mut self,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
        at: Timestamp,
    ) -> Result<(), StoreError>;
}
