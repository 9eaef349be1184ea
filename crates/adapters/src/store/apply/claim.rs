//! Which deliveries of a batch take effect: each key once, for ever.

use std::collections::BTreeMap;

use domain::delivery::{Admission, Delivery};
use domain::id::Environment;
use domain::plan::{Cause, Disposition};
use jiff::Timestamp;

use super::replay::Replayed;
use crate::store::tx::{LedgerOutcome, ProcessedRow, Tx};
use crate::store::{Prepared, StoreError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be processed now.
    Fresh,
    /// To be worked again by a replay: it, or another delivery of the same event, was processed before.
    Again,
    Duplicate,
    /// Kept without effects, as its plan says.
    Kept,
    /// This replay has worked it already, or must not: it was discarded meanwhile.
    Past,
}

impl Verdict {
    pub(super) fn is_effective(self) -> bool {
        matches!(self, Verdict::Fresh | Verdict::Again)
    }
}

/// Takes the dedupe keys of the batch. Two deliveries with one key and different bodies are both fresh: the header
/// that holds the key is unsigned.
pub(super) async fn claim<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    replayed: &[Option<Replayed>],
    now: Timestamp,
) -> Result<Vec<Verdict>, StoreError> {
    let mut verdicts = vec![Verdict::Kept; batch.len()];
    let mut wanted: Vec<(usize, &Delivery)> = Vec::new();
    for (index, prepared) in batch.iter().enumerate() {
        if replayed[index].as_ref().is_some_and(|replayed| !replayed.is_to_be_worked()) {
            verdicts[index] = Verdict::Past;
            continue;
        }
        match (&prepared.plan.disposition, &prepared.plan.cause) {
            (Disposition::Process, Cause::Delivery(delivery)) => wanted.push((index, delivery)),
            (Disposition::Process, Cause::Confirmation { .. } | Cause::Reconcile { .. }) => {
                verdicts[index] = Verdict::Fresh
            }
            (Disposition::SetAside { .. } | Disposition::Quarantine { .. } | Disposition::Bury, _) => {}
        }
    }
    let late: Vec<_> = wanted
        .iter()
        .filter(|(_, delivery)| delivery.admission == Admission::Late)
        .map(|(_, delivery)| (delivery.environment.clone(), delivery.signed_digest))
        .collect();
    let already_signed = tx.signed_seen(&late).await?;
    wanted.retain(|(index, delivery)| {
        let seen = delivery.admission == Admission::Late
            && already_signed.contains(&(delivery.environment.clone(), delivery.signed_digest));
        if seen {
            verdicts[*index] = Verdict::Duplicate;
        }
        !seen
    });

    let second_look = claim_under(tx, &wanted, Delivery::dedupe_key, &mut verdicts, now).await?;
    // What is left has a key that was used for another body: it claims a key of its own.
    let left = claim_under(tx, &second_look, Delivery::conflict_key, &mut verdicts, now).await?;
    for (index, _) in left {
        verdicts[index] = Verdict::Duplicate;
    }
    // What was processed stops no replay: the greatest order decides what is kept, as ever.
    for (index, replayed) in replayed.iter().enumerate() {
        let was_processed = replayed.as_ref().map(|replayed| replayed.before == Some(LedgerOutcome::Processed));
        verdicts[index] = match (verdicts[index], was_processed) {
            (Verdict::Duplicate, Some(_)) | (Verdict::Fresh, Some(true)) => Verdict::Again,
            (verdict, _) => verdict,
        };
    }
    Ok(verdicts)
}

/// Claims one key per delivery; answers those whose key stands for another body.
async fn claim_under<'a, T: Tx + ?Sized>(
    tx: &mut T,
    wanted: &[(usize, &'a Delivery)],
    key_of: fn(&Delivery) -> String,
    verdicts: &mut [Verdict],
    now: Timestamp,
) -> Result<Vec<(usize, &'a Delivery)>, StoreError> {
    let mut first: BTreeMap<(Environment, String), usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for (index, delivery) in wanted {
        let key = (delivery.environment.clone(), key_of(delivery));
        first.entry(key.clone()).or_insert_with(|| {
            rows.push(ProcessedRow {
                environment: key.0.clone(),
                key: key.1.clone(),
                body_digest: delivery.body_digest,
                signed_digest: delivery.signed_digest,
                delivery: delivery.id,
                processed_at: now,
            });
            *index
        });
    }
    rows.sort_by(|a, b| (&a.environment, &a.key).cmp(&(&b.environment, &b.key)));
    let new = tx.claim(&rows).await?;
    let taken: Vec<_> = first.keys().filter(|key| !new.contains(*key)).cloned().collect();
    let mut digests = tx.claimed(&taken).await?;
    for row in &rows {
        digests.entry((row.environment.clone(), row.key.clone())).or_insert(row.body_digest);
    }
    let mut conflicts = Vec::new();
    for (index, delivery) in wanted {
        let key = (delivery.environment.clone(), key_of(delivery));
        if new.contains(&key) && first.get(&key) == Some(index) {
            verdicts[*index] = Verdict::Fresh;
        } else if digests.get(&key) == Some(&delivery.body_digest) {
            verdicts[*index] = Verdict::Duplicate;
        } else {
            conflicts.push((*index, *delivery));
        }
    }
    Ok(conflicts)
}
