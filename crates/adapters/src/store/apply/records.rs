//! Records of a batch: folded per key, merged with what is kept, and told of where something changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::id::{AliasKey, RecordId};
use domain::identity::Connection;
use domain::outgoing::{self, Happening, Outgoing};
use domain::record::{self, Merged, Record, RecordKey};
use jiff::Timestamp;
use terra::record::Scalar;
use terra::record::columns::score_values;

use crate::payloads::Sealed;
use crate::store::tx::{AliasRow, KeptRow, RecordWrite, ScoreWrite, Tx, Unneeded};
use crate::store::{Prepared, StoreError};

/// Whose an alias is right now.
pub(super) struct Owners {
    by_alias: HashMap<AliasKey, Connection>,
}

impl Owners {
    pub(super) fn new(rows: &[AliasRow], connections: Vec<Connection>) -> Self {
        let mut by_alias: HashMap<AliasKey, Connection> =
            rows.iter().map(|row| (row.alias.key.clone(), as_connection(row))).collect();
        for connection in connections {
            for member in &connection.members {
                by_alias.insert(member.clone(), connection.clone());
            }
        }
        Owners { by_alias }
    }
}

/// As much of an alias's connection as events about its records need.
fn as_connection(row: &AliasRow) -> Connection {
    let alias = &row.alias;
    Connection {
        id: row.placement.connection,
        members: vec![alias.key.clone()],
        current: alias.key.clone(),
        user: row.placement.user.clone(),
        status: row.placement.status,
        health: alias.status(),
        provider: alias.provider.as_ref().map(|stated| stated.value.clone()),
        reference: alias.reference.as_ref().map(|stated| stated.value.clone()),
        scopes: Vec::new(),
        scopes_known: false,
        opened: alias.opened,
        seen: alias.seen,
    }
}

/// What writing records did.
pub(super) struct Written {
    /// Records inserted, changed or deleted, per fresh plan.
    pub(super) rows: Vec<u32>,
    /// Records of which two versions could not be put in order.
    pub(super) in_doubt: Vec<InDoubt>,
}

pub(super) struct InDoubt {
    /// Its plan's place among the fresh ones.
    pub(super) position: usize,
    pub(super) key: RecordKey,
    pub(super) provider: Option<String>,
    /// As delivered.
    pub(super) start_time: Option<String>,
}

/// Merges the records of the batch into what is kept, and adds the events that follow.
pub(super) async fn write_records<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    fresh: &[usize],
    happenings: &[Happening<'_>],
    owners: &Owners,
    now: Timestamp,
    events: &mut Vec<Outgoing>,
) -> Result<Written, StoreError> {
    let records = fresh.iter().enumerate().flat_map(|(position, index)| {
        batch[*index].plan.records.iter().enumerate().map(move |(at, record)| ((position, at), record))
    });
    let by_key = record::by_key(records);
    let keys: Vec<RecordKey> = by_key.keys().map(|key| (*key).clone()).collect();
    let kept = tx.kept_records(&keys).await?;
    let merged: Vec<Merged<'_, (usize, usize)>> = by_key
        .into_iter()
        .filter_map(|(key, incoming)| record::merge(kept.get(key).map(|row| &row.kept), incoming))
        .collect();
    let writes: Vec<RecordWrite<'_>> = merged
        .iter()
        .filter_map(|merged| {
            let ((position, at), record) = merged.row?;
            let document = &batch[fresh[position]].documents[at];
            Some(RecordWrite { record, document, scores: &merged.scores, values: values(record, merged), at: now })
        })
        .collect();
    let written = tx.write_records(&writes).await?;
    let scores: Vec<ScoreWrite<'_>> = merged
        .iter()
        .filter(|merged| merged.only_scores)
        .map(|merged| {
            let (_, record) = merged.cause;
            ScoreWrite { key: &record.key, scores: &merged.scores, values: values(record, merged), at: now }
        })
        .collect();
    tx.write_scores(&scores).await?;

    tx.let_go(&unneeded(batch, &writes, &written, &kept)).await?;

    let mut done = Written { rows: vec![0; fresh.len()], in_doubt: Vec::new() };
    for merged in merged.iter().filter(|merged| merged.only_scores || written.contains(&merged.cause.1.key.id())) {
        let ((position, _), record) = merged.cause;
        let owner = owners.by_alias.get(&record.key.alias);
        if let Some(event) = outgoing::of_record(record, &merged.change, owner, &happenings[position]) {
            done.rows[position] += 1;
            events.push(event);
        }
        if merged.in_doubt {
            done.in_doubt.push(InDoubt {
                position,
                key: record.key.clone(),
                provider: owner.and_then(|owner| owner.provider.clone()),
                start_time: record.reading.start_time.clone(),
            });
        }
    }
    Ok(done)
}

/// Documents in the payload store that no record points to after this batch: what was overwritten, and what of the batch
/// was never written, be it older or a duplicate.
fn unneeded(
    batch: &[Prepared],
    writes: &[RecordWrite<'_>],
    written: &BTreeSet<RecordId>,
    kept: &BTreeMap<RecordKey, KeptRow>,
) -> Vec<Unneeded> {
    let of =
        |key: &RecordKey, payload: &Sealed| Unneeded { payload: payload.clone(), record: Some((key.kind, key.id())) };
    let is_written = |key: &RecordKey| written.contains(&key.id());
    let overwritten = kept.iter().filter(|(key, _)| is_written(key));
    let mut unneeded: Vec<Unneeded> =
        overwritten.filter_map(|(key, row)| Some(of(key, row.stored.as_ref()?))).collect();
    let documents = writes.iter().filter(|write| is_written(&write.record.key)).map(|write| write.document);
    let pointed_to: HashSet<&Sealed> = documents.filter(|document| document.is_stored()).collect();
    for prepared in batch {
        let documents = prepared.plan.records.iter().zip(&prepared.documents);
        let unwritten = documents.filter(|(_, document)| document.is_stored() && !pointed_to.contains(document));
        unneeded.extend(unwritten.map(|(record, document)| of(&record.key, document)));
    }
    unneeded
}

fn values<T>(record: &Record, merged: &Merged<'_, T>) -> Vec<Option<Scalar>> {
    let mut values = record.reading.values.clone();
    score_values(record.key.kind, &mut values, |name| merged.scores.get(name));
    values
}
