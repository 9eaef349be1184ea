//! Nothing of somebody who was erased is stored: plans that name them are emptied before anything is decided.
//!
//! An erasure writes its tombstones alone under the lock that every batch shares. So a batch either sees them here, or
//! was committed before, and what it wrote is found by the erasure.

use std::collections::{BTreeMap, BTreeSet};

use domain::erasure::{Fate, Judged, Target, Tombstones, alias_digest, judge, named, order_of, reference_digest};
use domain::fetch::FetchJob;
use domain::id::{AliasKey, RecordId};
use domain::order::Order;
use domain::outgoing::Outgoing;
use domain::plan::Cause;
use domain::recover::Missed;
use jiff::Timestamp;
use terra::event::DataKind;

use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::tx::{Grave, LedgerOutcome, LedgerRow, Tx, Unneeded};
use crate::store::{Applied, Prepared, StoreError};

/// The batch without what may not be stored; `None` where it may stay as it is.
pub(super) async fn sift<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    now: Timestamp,
) -> Result<Option<Vec<Prepared>>, StoreError> {
    let tombstones = tombstones(tx, batch).await?;
    if tombstones.aliases.is_empty() && tombstones.references.is_empty() {
        return Ok(None);
    }
    let judged: Vec<Judged> = batch.iter().map(|prepared| judge(&prepared.plan, &tombstones)).collect();
    follow(tx, &judged, now).await?;
    let reopened: Vec<([u8; 32], Order)> =
        judged.iter().flat_map(|one| &one.reopened).map(|(key, order)| (alias_digest(key), *order)).collect();
    tx.reopen(&reopened).await?;
    let buried: Vec<&Prepared> = batch
        .iter()
        .zip(&judged)
        .filter(|(_, judged)| judged.fate == Fate::Buried)
        .map(|(prepared, _)| prepared)
        .collect();
    let unneeded: Vec<Unneeded> = buried.iter().flat_map(|prepared| payloads(prepared)).collect();
    tx.let_go(&unneeded).await?;
    let emptied = |(prepared, judged): (&Prepared, Judged)| match judged.fate {
        Fate::Lives => prepared.clone(),
        Fate::Buried => Prepared {
            plan: prepared.plan.buried(),
            body: Sealed::nothing(),
            documents: Vec::new(),
            attempt: prepared.attempt,
            replay: prepared.replay,
        },
        Fate::Without(erased) => Prepared { plan: prepared.plan.without(&erased), ..prepared.clone() },
    };
    Ok(Some(batch.iter().zip(judged).map(emptied).collect()))
}

/// A try that failed before has a row that names them: it gives way to the one that is written now.
pub(super) async fn forget_failed<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    applied: &[Applied],
) -> Result<(), StoreError> {
    let erased = batch.iter().zip(applied).filter(|(_, applied)| **applied == Applied::Erased);
    let rows: Vec<_> = erased
        .filter_map(|(prepared, _)| match &prepared.plan.cause {
            Cause::Delivery(delivery) => Some((delivery.id, delivery.received_at)),
            Cause::Confirmation { .. } | Cause::Reconcile { .. } => None,
        })
        .collect();
    tx.forget_deliveries(&rows).await
}

async fn tombstones<T: Tx + ?Sized>(tx: &mut T, batch: &[Prepared]) -> Result<Tombstones, StoreError> {
    let (mut aliases, mut references) = (BTreeMap::new(), BTreeMap::new());
    for prepared in batch {
        let named = named(&prepared.plan);
        aliases.extend(named.aliases.into_iter().map(|key| (alias_digest(&key), key)));
        references.extend(named.references.into_iter().map(|name| (reference_digest(&name.0, &name.1), name)));
    }
    let digests: Vec<[u8; 32]> = aliases.keys().chain(references.keys()).copied().collect();
    let mut found = Tombstones::default();
    for Grave { digest, tombstone } in tx.tombstones(&digests).await? {
        if let Some(key) = aliases.remove(&digest) {
            found.aliases.insert(key, tombstone);
        } else if let Some(name) = references.remove(&digest) {
            found.references.insert(name, tombstone);
        }
    }
    Ok(found)
}

/// Whoever turns out to be the same person goes the same way: the erasure goes on with them.
async fn follow<T: Tx + ?Sized>(tx: &mut T, judged: &[Judged], now: Timestamp) -> Result<(), StoreError> {
    for (erasure, key) in judged.iter().flat_map(|one| &one.follow) {
        super::bury(tx, *erasure, std::slice::from_ref(key), now).await?;
    }
    Ok(())
}

fn payloads(prepared: &Prepared) -> impl Iterator<Item = Unneeded> {
    let body = Unneeded { payload: prepared.body.clone(), record: None };
    std::iter::once(body).chain(prepared.unneeded_documents())
}

/// Whether an alias is erased as of now, whoever asks.
pub(in crate::store) async fn erased_aliases<T: Tx + ?Sized>(
    tx: &mut T,
    keys: BTreeSet<AliasKey>,
) -> Result<BTreeSet<AliasKey>, StoreError> {
    let by_digest: BTreeMap<[u8; 32], AliasKey> = keys.into_iter().map(|key| (alias_digest(&key), key)).collect();
    let graves = tx.tombstones(&by_digest.keys().copied().collect::<Vec<_>>()).await?;
    let closed = graves.into_iter().filter(|grave| !grave.tombstone.is_reopened());
    Ok(closed.filter_map(|grave| by_digest.get(&grave.digest).cloned()).collect())
}

/// Jobs without those of people who were erased since somebody wished for them.
pub(in crate::store) async fn of_the_living<T: Tx + ?Sized>(
    tx: &mut T,
    jobs: &[FetchJob],
) -> Result<Vec<FetchJob>, StoreError> {
    let erased = erased_aliases(tx, jobs.iter().map(|job| job.alias.clone()).collect()).await?;
    Ok(jobs.iter().filter(|job| !erased.contains(&job.alias)).cloned().collect())
}

pub(in crate::store) async fn missed_of_the_living<T: Tx + ?Sized>(
    tx: &mut T,
    missed: &[Missed],
) -> Result<Vec<Missed>, StoreError> {
    let key = |one: &Missed| AliasKey::new(&one.environment, &one.terra_user_id);
    let erased = erased_aliases(tx, missed.iter().map(key).collect()).await?;
    Ok(missed.iter().filter(|one| !erased.contains(&key(one))).cloned().collect())
}

pub(in crate::store) async fn events_of_the_living<T: Tx + ?Sized>(
    tx: &mut T,
    events: &[Outgoing],
) -> Result<Vec<Outgoing>, StoreError> {
    let erased = erased_aliases(tx, events.iter().filter_map(|event| event.alias.clone()).collect()).await?;
    let lives = |event: &&Outgoing| event.alias.as_ref().is_none_or(|alias| !erased.contains(alias));
    Ok(events.iter().filter(lives).cloned().collect())
}

/// Keeps no failed try of a delivery that names somebody who was erased; true where it was one. Identity is locked.
pub(super) async fn drop_failed<T: Tx + ?Sized>(
    tx: &mut T,
    job: &Job,
    attempt: u32,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(user) = &job.delivery.terra_user_id else { return Ok(false) };
    let digest = alias_digest(&AliasKey::new(&job.delivery.environment, user));
    let graves = tx.tombstones(&[digest]).await?;
    if !graves.iter().any(|grave| grave.tombstone.buries(job.delivery.order())) {
        return Ok(false);
    }
    tx.forget_deliveries(&[(job.delivery.id, job.delivery.received_at)]).await?;
    // Of tries before this one, too.
    let documents = Sealed::documents_of(job.delivery.id, job.delivery.received_at);
    let left = [job.body.clone(), documents].map(|payload| Unneeded { payload, record: None });
    tx.let_go(&left).await?;
    let row = LedgerRow {
        delivery: &job.delivery.nameless(),
        body: &Sealed::nothing(),
        outcome: LedgerOutcome::Erased,
        reason: None,
        attempts: attempt,
        retry_at: None,
        rows: 0,
        unread: None,
        replay: None,
        at: now,
    };
    tx.write_ledger(&[row]).await?;
    Ok(true)
}

/// A target, and the tombstone that goes with it.
pub(super) fn grave(erasure: domain::erasure::ErasureId, digest: [u8; 32], now: Timestamp) -> Grave {
    let tombstone = domain::erasure::Tombstone { erasure, erased: order_of(now), reopened: None };
    Grave { digest, tombstone }
}

pub(super) fn targets(keys: &[AliasKey], is_told: impl Fn(&AliasKey) -> bool) -> Vec<Target> {
    keys.iter().map(|key| Target::alias(key, is_told(key))).collect()
}

/// A document that a record lets go of.
pub(in crate::store) fn document(kind: DataKind, id: RecordId, payload: Sealed) -> Unneeded {
    Unneeded { payload, record: Some((kind, id)) }
}
