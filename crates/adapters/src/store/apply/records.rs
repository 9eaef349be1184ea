//! Records of a batch: folded per key, merged with what is kept, and told of where something changed.

use std::collections::HashMap;

use domain::id::AliasKey;
use domain::identity::Connection;
use domain::outgoing::{self, Happening, Outgoing};
use domain::record::{self, Merge, Record};
use jiff::Timestamp;

use crate::payloads::Sealed;
use crate::store::tx::{AliasRow, RecordWrite, Tx};
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

/// What became of the records of each fresh plan.
pub(super) struct Written {
    /// Rows written.
    pub(super) rows: Vec<u32>,
    /// Of these, the ones whose content is another now.
    pub(super) changed: Vec<u32>,
}

/// Writes what is newer and adds its events.
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
    let folded = record::fold(records);
    let keys: Vec<_> = folded.keys().map(|key| (*key).clone()).collect();
    let kept = tx.kept_records(&keys).await?;
    let merges: Vec<(usize, &Sealed, &Record, Merge)> = folded
        .into_values()
        .map(|((position, at), record)| {
            (position, &batch[fresh[position]].documents[at], record, record::merge(kept.get(&record.key), record))
        })
        .filter(|(.., merge)| merge.writes())
        .collect();
    let writes: Vec<RecordWrite<'_>> =
        merges.iter().map(|(_, document, record, _)| RecordWrite { record, document, at: now }).collect();
    let written = tx.write_records(&writes).await?;
    let mut rows = vec![0; fresh.len()];
    let mut changed = vec![0; fresh.len()];
    for (position, _, record, merge) in merges.iter().filter(|(_, _, record, _)| written.contains(&record.key.id())) {
        rows[*position] += 1;
        let event = outgoing::of_record(record, merge, owners.by_alias.get(&record.key.alias), &happenings[*position]);
        changed[*position] += u32::from(event.is_some());
        events.extend(event);
    }
    Ok(Written { rows, changed })
}
