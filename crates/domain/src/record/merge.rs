//! The merge rule: of everything said about a record the greatest order counts, whatever arrived last.
//!
//! What is kept after any deliveries is a function of the set of them, never of their order of arrival: the row is the
//! one of greatest order, each score the non-null one of greatest order. So a late retry overwrites nothing newer, and
//! still brings a score that nothing newer had.

use std::collections::BTreeMap;

use super::{Fingerprint, Record, RecordKey, Scores};
use crate::order::Order;

/// Two deliveries of one record, both without an ordering header, may be told apart wrongly within this time: the
/// signed time is renewed when Terra tries again, so the later one may be the older.
const DOUBT_MS: u64 = 24 * 3_600 * 1_000;

/// What is kept of a record, as far as the merge rule asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub order: Order,
    pub order_inferred: bool,
    pub deleted: bool,
    pub fingerprint: Fingerprint,
    pub scores: Scores,
}

/// What those who read a record see of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing: older, the same again, or a tombstone for something that was never there.
    None,
    Inserted,
    /// Members that differ; scores by their path.
    Changed {
        fields: Vec<String>,
    },
    Deleted,
}

/// What becomes of a record when some deliveries of it are merged into what is kept.
#[derive(Debug, Clone)]
pub struct Merged<'r, T> {
    /// The delivery that becomes the row; `None` where what is kept is at least as new as all of them.
    pub row: Option<(T, &'r Record)>,
    pub scores: Scores,
    /// Scores moved though the row stays.
    pub only_scores: bool,
    pub change: Change,
    /// The delivery that those who read are told of.
    pub cause: (T, &'r Record),
    /// Which of two versions is the newer is not sure: both are ordered by their signed time alone.
    pub in_doubt: bool,
}

/// Records of a batch by their key, each with where it came from.
pub fn by_key<'r, T>(records: impl Iterator<Item = (T, &'r Record)>) -> BTreeMap<&'r RecordKey, Vec<(T, &'r Record)>> {
    let mut by_key: BTreeMap<&RecordKey, Vec<(T, &Record)>> = BTreeMap::new();
    for (source, record) in records {
        by_key.entry(&record.key).or_default().push((source, record));
    }
    by_key
}

/// Merges deliveries of one record into what is kept; `None` where they change nothing at all.
pub fn merge<'r, T: Copy>(kept: Option<&Kept>, mut incoming: Vec<(T, &'r Record)>) -> Option<Merged<'r, T>> {
    incoming.sort_by_key(|(_, record)| record.order);
    let last = *incoming.last()?;
    let row = kept.is_none_or(|kept| last.1.order > kept.order).then_some(last);
    let before = kept.map(|kept| kept.scores.clone()).unwrap_or_default();
    let mut scores = before.clone();
    let mut scored = None;
    for (source, record) in &incoming {
        if scores.take(record.order, &record.reading.scores) {
            scored = Some((*source, *record));
        }
    }
    let cause = row.or(scored)?;
    let now_deleted = row.map_or_else(|| kept.is_some_and(|kept| kept.deleted), |(_, record)| record.is_deleted());
    let change = match (kept.filter(|kept| !kept.deleted), now_deleted) {
        (None, true) => Change::None,
        (None, false) => Change::Inserted,
        (Some(_), true) => Change::Deleted,
        (Some(kept), false) => {
            let fields = row.map(|(_, record)| record.fingerprint.changed(&kept.fingerprint));
            let fields: Vec<String> = fields.into_iter().flatten().chain(scores.changed(&before)).collect();
            if fields.is_empty() { Change::None } else { Change::Changed { fields } }
        }
    };
    let in_doubt = is_in_doubt(kept, &incoming);
    Some(Merged { row, scores, only_scores: row.is_none(), change, cause, in_doubt })
}

/// True where two neighbours in order differ and both orders are inferred.
fn is_in_doubt<T>(kept: Option<&Kept>, incoming: &[(T, &Record)]) -> bool {
    let versions = incoming.iter().map(|(_, record)| (record.order, record.order_inferred, &record.fingerprint));
    let mut versions: Vec<(Order, bool, &Fingerprint)> =
        versions.chain(kept.map(|kept| (kept.order, kept.order_inferred, &kept.fingerprint))).collect();
    versions.sort_by_key(|(order, ..)| *order);
    versions.windows(2).any(|pair| match pair {
        [(older, true, one), (newer, true, other)] => one != other && newer.ms().abs_diff(older.ms()) <= DOUBT_MS,
        _ => false,
    })
}

#[cfg(test)]
mod tests;
