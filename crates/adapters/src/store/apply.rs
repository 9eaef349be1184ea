//! One transaction for a batch of plans: every decision in order, written once for all engines.
//!
//! The invariant: after commit, each delivery of the batch has its effects exactly once, whatever was tried before and
//! whoever works beside us. `processed` and the effects stand in the same transaction; a duplicate is what was
//! *processed*, not what was seen.
//!
//! Identity has two ways. Most batches carry data of aliases that are known and change nothing about them: these run
//! side by side under the shared lock, on row locks taken in ascending order. A batch that may change a conclusion
//! (a lifecycle event, a new alias, another reference) runs alone under the exclusive lock, reads whole components,
//! and concludes them anew. A batch that finds out half-way that it should have been alone says so and is run again.
//!
//! A replay goes the same way under the same keys. What was processed does not stop it, but what happens once is left out
//! of its plan; and its own row, settled with the effects, stops it from happening twice in one run.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use domain::delivery::Origin;
use domain::fetch::FetchJob;
use domain::identity::{AliasStatus, Said};
use domain::outgoing::{Happening, Outgoing};
use domain::plan::{Cause, Disposition, Plan};
use fail::fail_point;
use jiff::Timestamp;
use terra::event::DataKind;

use super::backfill::Notes;
use super::tx::{AliasRow, LedgerOutcome, LedgerRow, Tx};
use super::{Applied, Prepared, ReferencePolicy, StoreError};

mod claim;
mod doubt;
mod erase;
pub(in crate::store) mod erased;
pub(in crate::store) mod failed;
mod identity;
mod records;
mod replay;
mod resolver;
mod silence;
mod usage;

use claim::{Verdict, claim};
pub use erase::{begin, bury};
use identity::{Identity, reconclude, touch};
pub use identity::{detach, parting, revise};
use records::{Owners, write_records};
use replay::Replayed;

/// How a batch runs beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// The outcome of one try.
pub enum Tried {
    Applied(Vec<Applied>),
    /// Nothing may be kept of this try: roll back and run again alone.
    NeedsExclusive,
}

/// The mode to begin with: alone where the plans themselves say that identity may change.
pub fn mode(batch: &[Prepared]) -> Mode {
    let lifecycle = |plan: &Plan| !plan.edges.is_empty() || plan.facts.iter().any(|fact| fact.said != Said::Seen);
    if batch.iter().any(|prepared| lifecycle(&prepared.plan)) { Mode::Exclusive } else { Mode::Shared }
}

pub async fn apply<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    mode: Mode,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Tried, StoreError> {
    tx.lock_identity(mode == Mode::Exclusive).await?;
    let sifted = erased::sift(tx, batch, now).await?;
    let batch = sifted.as_deref().unwrap_or(batch);
    let replayed = replay::lock(tx, batch).await?;
    let verdicts = claim(tx, batch, &replayed, now).await?;
    fail_point!("inbox_inserted", |_| std::process::abort());
    let fresh: Vec<usize> = (0..batch.len()).filter(|index| verdicts[*index].is_effective()).collect();
    let plans: Vec<Cow<'_, Plan>> =
        fresh.iter().map(|index| effective(&batch[*index].plan, verdicts[*index])).collect();
    let plans: Vec<&Plan> = plans.iter().map(Cow::as_ref).collect();

    let everything: Vec<&Plan> = batch.iter().map(|prepared| &prepared.plan).collect();
    let sent_as = origins(tx, &everything).await?;
    let told_as: Vec<Origin> = sent_as
        .iter()
        .zip(&replayed)
        .map(|(sent, replayed)| replayed.as_ref().map_or(*sent, |_| Origin::Replay))
        .collect();
    let origins: Vec<Origin> = fresh.iter().map(|index| told_as[*index]).collect();
    let causes: Vec<[u8; 16]> = fresh
        .iter()
        .map(|index| replayed[*index].as_ref().map_or_else(|| batch[*index].plan.cause.id_bytes(), Replayed::cause))
        .collect();
    let happenings: Vec<Happening<'_>> = plans
        .iter()
        .zip(causes.iter().zip(&origins))
        .map(|(plan, (cause, origin))| Happening { cause, time: plan.cause.time(), origin: *origin })
        .collect();
    let identity = match mode {
        Mode::Shared => match touch(tx, &plans).await? {
            Some(identity) => identity,
            None => return Ok(Tried::NeedsExclusive),
        },
        Mode::Exclusive => reconclude(tx, &plans, &happenings, policy, now).await?,
    };
    let Identity { mut rows, mut events, connections } = identity;

    request_history(tx, &plans, &mut rows, now).await?;
    tx.write_aliases(&rows).await?;

    let owners = Owners::new(&rows, connections);
    let written = write_records(tx, batch, &fresh, &happenings, &owners, now, &mut events).await?;
    let instead: Vec<FetchJob> = plans.iter().flat_map(|plan| plan.instead.iter().cloned()).collect();
    tx.insert_fetch_jobs(&instead, now).await?;
    let undecided = doubt::jobs(&written.in_doubt, &origins, now);
    tx.insert_fetch_jobs(&undecided, now + doubt::SETTLE).await?;
    tx.note_requests(&Notes::of(plans.iter().copied()), now).await?;
    events.extend(plans.iter().flat_map(|plan| &plan.notices).map(|notice| noticed(notice, policy)));
    tx.insert_events(&events).await?;
    let history: Vec<_> =
        plans.iter().filter_map(|plan| plan.auth_event.clone().map(|event| (event, plan.cause.time()))).collect();
    tx.insert_auth_events(&history).await?;

    let applied = results(batch, &verdicts, &fresh, &written.rows);
    usage::count(tx, batch, &sent_as, &verdicts, &fresh, &written.rows).await?;
    silence::learn(tx, batch, &told_as, &fresh).await?;
    replay::settle(tx, batch, &replayed, &verdicts, &fresh, &written.rows).await?;
    erased::forget_failed(tx, batch, &applied).await?;
    write_ledger(tx, batch, &verdicts, &replayed, &applied, now).await?;
    fail_point!("before_commit", |_| std::process::abort());
    Ok(Tried::Applied(applied))
}

/// What happens once is left out where it has happened.
fn effective(plan: &Plan, verdict: Verdict) -> Cow<'_, Plan> {
    match verdict {
        Verdict::Again => Cow::Owned(domain::replay::again(plan)),
        Verdict::Fresh | Verdict::Duplicate | Verdict::Kept | Verdict::Past => Cow::Borrowed(plan),
    }
}

/// A notice names its subject by reference; that is a user only where references are users.
fn noticed(notice: &Outgoing, policy: ReferencePolicy) -> Outgoing {
    let subject = match policy {
        ReferencePolicy::IsTheUser => notice.subject.clone(),
        ReferencePolicy::Resolved => None,
    };
    Outgoing { subject, ..notice.clone() }
}

async fn origins<T: Tx + ?Sized>(tx: &mut T, plans: &[&Plan]) -> Result<Vec<Origin>, StoreError> {
    let reference = |plan: &Plan| match &plan.cause {
        Cause::Delivery(delivery) => {
            delivery.headers.reference.clone().map(|reference| (delivery.environment.clone(), reference))
        }
        Cause::Confirmation { .. } | Cause::Reconcile { .. } => None,
    };
    let asked: BTreeSet<_> = plans.iter().filter_map(|plan| reference(plan)).collect();
    let ours = tx.fetch_references(&asked.into_iter().collect::<Vec<_>>()).await?;
    let origin = |plan: &&Plan| match (&plan.cause, reference(plan)) {
        (Cause::Delivery(delivery), reference) => {
            // Terra gives a reference to what somebody asked for, and the answer may be here before its reference is
            // kept. Of a lab report it is the session.
            let is_answer =
                reference.is_some() && plan.records.iter().all(|record| record.key.kind != DataKind::LabReport);
            let unknown = if is_answer && !plan.records.is_empty() { Origin::Backfill } else { delivery.origin };
            reference.and_then(|reference| ours.get(&reference)).map_or(unknown, |origin| origin.of_events())
        }
        (Cause::Confirmation { .. }, _) => Origin::Live,
        (Cause::Reconcile { .. }, _) => Origin::Reconcile,
    };
    Ok(plans.iter().map(origin).collect())
}

/// Starts backfills of connects that happened before our eyes, once per opening of an alias.
async fn request_history<T: Tx + ?Sized>(
    tx: &mut T,
    plans: &[&Plan],
    rows: &mut [AliasRow],
    now: Timestamp,
) -> Result<(), StoreError> {
    let with_result: Vec<&Plan> = plans.iter().copied().filter(|plan| plan.session.is_some()).collect();
    let results: Vec<_> = with_result.iter().filter_map(|plan| plan.session.clone()).collect();
    let ours = tx.decide_sessions(&results, now).await?;
    let mut jobs: Vec<FetchJob> = Vec::new();
    for plan in plans {
        let Some(backfill) = &plan.backfill else { continue };
        let in_session =
            with_result.iter().position(|with| std::ptr::eq(*with, *plan)).is_some_and(|index| ours.contains(&index));
        let Some(row) = rows.iter_mut().find(|row| row.alias.key == backfill.alias) else { continue };
        let alias = &mut row.alias;
        let done = alias.backfilled.is_some() && alias.backfilled >= alias.closed;
        if (backfill.certain || in_session) && !done && alias.status() != AliasStatus::Revoked {
            alias.backfilled = alias.opened;
            jobs.extend(backfill.jobs.iter().cloned());
        }
    }
    tx.insert_fetch_jobs(&jobs, now).await
}

fn results(batch: &[Prepared], verdicts: &[Verdict], fresh: &[usize], written: &[u32]) -> Vec<Applied> {
    let rows: HashMap<usize, u32> = fresh.iter().copied().zip(written.iter().copied()).collect();
    verdicts
        .iter()
        .enumerate()
        .map(|(index, verdict)| match (verdict, &batch[index].plan.disposition) {
            (Verdict::Fresh | Verdict::Again, _) => Applied::Stored { rows: rows.get(&index).copied().unwrap_or(0) },
            (Verdict::Duplicate | Verdict::Past, _) => Applied::AlreadyProcessed,
            (Verdict::Kept, Disposition::Quarantine { reason }) => Applied::Quarantined { reason: reason.clone() },
            (Verdict::Kept, Disposition::SetAside { reason }) => Applied::SetAside { reason: reason.clone() },
            (Verdict::Kept, Disposition::Bury) => Applied::Erased,
            (Verdict::Kept, Disposition::Process) => Applied::AlreadyProcessed,
        })
        .collect()
}

async fn write_ledger<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    verdicts: &[Verdict],
    replayed: &[Option<Replayed>],
    applied: &[Applied],
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows: Vec<LedgerRow<'_>> = (0..batch.len())
        .filter(|index| verdicts[*index] != Verdict::Past)
        .filter_map(|index| ledger_row(&batch[index], verdicts[index], replayed[index].as_ref(), &applied[index], now))
        .collect();
    tx.write_ledger(&rows).await
}

fn ledger_row<'a>(
    prepared: &'a Prepared,
    verdict: Verdict,
    replayed: Option<&Replayed>,
    applied: &Applied,
    now: Timestamp,
) -> Option<LedgerRow<'a>> {
    let Cause::Delivery(delivery) = &prepared.plan.cause else { return None };
    let was_processed = replayed.is_some_and(|replayed| replayed.before == Some(LedgerOutcome::Processed));
    let (outcome, reason, rows) = match applied {
        // Another delivery of the same event had the effect.
        Applied::Stored { rows } if verdict == Verdict::Again && !was_processed => {
            (LedgerOutcome::Duplicate, None, *rows)
        }
        Applied::Stored { rows } => (LedgerOutcome::Processed, prepared.plan.remark.map(str::to_owned), *rows),
        Applied::AlreadyProcessed => (LedgerOutcome::Duplicate, None, 0),
        Applied::SetAside { reason } => (LedgerOutcome::SetAside, Some(reason.clone()), 0),
        Applied::Quarantined { reason } => (LedgerOutcome::Quarantined, Some(reason.clone()), 0),
        Applied::Erased => (LedgerOutcome::Erased, None, 0),
    };
    Some(LedgerRow {
        delivery,
        body: &prepared.body,
        outcome,
        reason,
        attempts: prepared.attempt,
        retry_at: None,
        rows,
        unread: Some(&prepared.plan.unread).filter(|unread| unread.count > 0 && outcome == LedgerOutcome::Processed),
        replay: prepared.replay,
        at: now,
    })
}
