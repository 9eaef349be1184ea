//! Rhythms are learned in the transaction of the effects, from fresh data that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use domain::delivery::{Delivery, Origin};
use domain::id::AliasKey;
use domain::identity::Said;
use domain::plan::Cause;
use domain::silence::Rhythm;
use terra::event::DataKind;

use crate::store::tx::{RhythmRow, Tx};
use crate::store::{Prepared, StoreError};

/// Aliases are locked by now, so nobody learns of the same one beside us.
pub(super) async fn learn<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    origins: &[Origin],
    fresh: &[usize],
) -> Result<(), StoreError> {
    let mut heard: Vec<Heard<'_>> =
        fresh.iter().filter_map(|index| Heard::of(&batch[*index], origins[*index])).collect();
    heard.sort_by_key(|heard| heard.delivery.received_at);
    let keys: BTreeSet<(AliasKey, DataKind)> = heard.iter().map(|heard| (heard.alias.clone(), heard.kind)).collect();
    let known = tx.rhythms(&keys.into_iter().collect::<Vec<_>>()).await?;
    let mut rows: BTreeMap<(AliasKey, DataKind), RhythmRow> =
        known.into_iter().map(|row| ((row.alias.clone(), row.kind), row)).collect();
    for one in heard {
        let at = one.delivery.received_at;
        rows.entry((one.alias.clone(), one.kind)).and_modify(|row| row.hear(at, one.provider)).or_insert_with(|| {
            RhythmRow {
                alias: one.alias.clone(),
                kind: one.kind,
                provider: one.provider.unwrap_or_default().to_owned(),
                rhythm: Rhythm::begin(at),
            }
        });
    }
    tx.write_rhythms(&rows.into_values().collect::<Vec<_>>()).await
}

struct Heard<'a> {
    delivery: &'a Delivery,
    alias: &'a AliasKey,
    kind: DataKind,
    provider: Option<&'a str>,
}

impl<'a> Heard<'a> {
    fn of(prepared: &'a Prepared, origin: Origin) -> Option<Self> {
        let Cause::Delivery(delivery) = &prepared.plan.cause else { return None };
        let kind = delivery.kind().data_kind().filter(|_| origin == Origin::Live)?;
        let fact = prepared.plan.facts.iter().find(|fact| fact.said == Said::Seen)?;
        Some(Heard { delivery, alias: &fact.alias, kind, provider: fact.provider.as_deref() })
    }
}
