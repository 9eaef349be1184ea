//! Replays: each delivery of a run takes effect once, and what became of it is kept with the effects.

use domain::id::DeliveryId;
use domain::plan::Cause;
use domain::replay::{ItemState, ReplayId};

use super::claim::Verdict;
use crate::store::tx::{AskedReplay, LedgerOutcome, SettledReplay, Tx};
use crate::store::{Prepared, StoreError};

/// A delivery of the batch that a run works again.
pub(super) struct Replayed {
    run: ReplayId,
    delivery: DeliveryId,
    /// It was not worked in this run before.
    is_pending: bool,
    /// A person discarded it since it was chosen: it stays so.
    is_discarded: bool,
    /// What the ledger said of it so far.
    pub(super) before: Option<LedgerOutcome>,
}

impl Replayed {
    pub(super) fn is_to_be_worked(&self) -> bool {
        self.is_pending && !self.is_discarded
    }

    /// The ids of its events are made of this: another run makes others.
    pub(super) fn cause(&self) -> [u8; 16] {
        *self.run.cause(self.delivery).as_bytes()
    }
}

/// One entry per delivery of the batch. What is pending stays so for nobody else until this transaction ends.
pub(super) async fn lock<T: Tx + ?Sized>(tx: &mut T, batch: &[Prepared]) -> Result<Vec<Option<Replayed>>, StoreError> {
    let mut asked = Vec::new();
    let mut deliveries = Vec::new();
    for prepared in batch {
        if let (Some(run), Cause::Delivery(delivery)) = (prepared.replay, &prepared.plan.cause) {
            asked.push(AskedReplay { run, delivery: delivery.id, received_at: delivery.received_at });
            deliveries.push((delivery.id, delivery.received_at));
        }
    }
    if asked.is_empty() {
        return Ok(batch.iter().map(|_| None).collect());
    }
    asked.sort();
    let pending = tx.pending_replays(&asked).await?;
    let outcomes = tx.outcomes(&deliveries).await?;
    let replayed = |prepared: &Prepared| {
        let (Some(run), Cause::Delivery(delivery)) = (prepared.replay, &prepared.plan.cause) else { return None };
        let (chosen_as, before) = (pending.get(&(run, delivery.id)), outcomes.get(&delivery.id).copied());
        let is_discarded = before == Some(LedgerOutcome::Discarded);
        Some(Replayed {
            run,
            delivery: delivery.id,
            is_pending: chosen_as.is_some(),
            is_discarded: is_discarded && chosen_as.is_some_and(|chosen_as| *chosen_as != before),
            before,
        })
    };
    Ok(batch.iter().map(replayed).collect())
}

/// Keeps what became of the deliveries of runs. `changed` is how many records each effective one changed.
pub(super) async fn settle<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    replayed: &[Option<Replayed>],
    verdicts: &[Verdict],
    effective: &[usize],
    changed: &[u32],
) -> Result<(), StoreError> {
    let mut settled = Vec::new();
    for (index, replayed) in replayed.iter().enumerate() {
        let Some(Replayed { run, delivery, is_discarded, .. }) = replayed else { continue };
        let records = || effective.iter().position(|at| *at == index).map_or(0, |position| changed[position]);
        let state = match verdicts[index] {
            // A first effect that is no record, such as that of an `auth`, is one too.
            Verdict::Fresh if records() > 0 || batch[index].plan.records.is_empty() => ItemState::Changed,
            Verdict::Again if records() > 0 => ItemState::Changed,
            Verdict::Fresh | Verdict::Again | Verdict::Duplicate => ItemState::Unchanged,
            Verdict::Kept => ItemState::Kept,
            Verdict::Past if *is_discarded => ItemState::Discarded,
            Verdict::Past => continue,
        };
        settled.push(SettledReplay { run: *run, delivery: *delivery, state });
    }
    settled.sort_by_key(|settled| (settled.run, settled.delivery));
    tx.settle_replays(&settled).await
}
