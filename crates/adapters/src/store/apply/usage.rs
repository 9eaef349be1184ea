//! What Terra delivered is counted in the transaction of its effects: each delivery once, whoever hands it out again.

use std::collections::BTreeSet;

use domain::delivery::{Delivery, Origin};
use domain::id::DeliveryId;
use domain::plan::Cause;
use domain::usage::{self, Effect};

use super::claim::Verdict;
use crate::store::tx::{LedgerOutcome, Tx};
use crate::store::{Prepared, StoreError};

/// Adds a batch to the usage. `changed` is how many records each fresh delivery changed.
///
/// A delivery that takes effect does so once. One that does not is counted unless it stands in the ledger: then the
/// queue has given it out again, and Terra has sent it no second time. The same holds for what a replay works: a dead
/// letter is counted by the one that brings it to effect. So this runs before the ledger is written.
pub(super) async fn count<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    origins: &[Origin],
    verdicts: &[Verdict],
    fresh: &[usize],
    changed: &[u32],
) -> Result<(), StoreError> {
    let deliveries: Vec<(usize, &Delivery)> =
        batch.iter().enumerate().filter_map(|(index, prepared)| Some((index, delivery(prepared)?))).collect();
    let doubtful: Vec<_> = deliveries
        .iter()
        .filter(|(index, _)| verdicts[*index] != Verdict::Fresh || batch[*index].replay.is_some())
        .map(|(_, delivery)| (delivery.id, delivery.received_at))
        .collect();
    let outcomes = tx.outcomes(&doubtful).await?;
    let is_settled = |delivery: &Delivery| match outcomes.get(&delivery.id) {
        None | Some(LedgerOutcome::Retry | LedgerOutcome::Dead | LedgerOutcome::Discarded) => false,
        Some(
            LedgerOutcome::Processed
            | LedgerOutcome::Duplicate
            | LedgerOutcome::SetAside
            | LedgerOutcome::Quarantined
            | LedgerOutcome::Erased,
        ) => true,
    };
    let mut counted: BTreeSet<DeliveryId> =
        deliveries.iter().filter(|(index, _)| verdicts[*index] == Verdict::Fresh).map(|(_, one)| one.id).collect();
    let mut effects = Vec::new();
    for (index, delivery) in deliveries {
        let effect = match verdicts[index] {
            Verdict::Fresh if is_settled(delivery) => continue,
            Verdict::Fresh => {
                let is_changed = fresh.iter().position(|at| *at == index).is_none_or(|position| changed[position] > 0);
                if is_changed || delivery.kind().data_kind().is_none() { Effect::Counted } else { Effect::Unchanged }
            }
            Verdict::Past => continue,
            Verdict::Again | Verdict::Duplicate | Verdict::Kept
                if is_settled(delivery) || !counted.insert(delivery.id) =>
            {
                continue;
            }
            Verdict::Again | Verdict::Duplicate => Effect::Duplicate,
            Verdict::Kept => Effect::Counted,
        };
        effects.push((delivery, origins[index], effect));
    }
    tx.add_usage(&usage::tally(effects.into_iter())).await
}

fn delivery(prepared: &Prepared) -> Option<&Delivery> {
    match &prepared.plan.cause {
        Cause::Delivery(delivery) => Some(delivery),
        Cause::Confirmation { .. } | Cause::Reconcile { .. } => None,
    }
}
