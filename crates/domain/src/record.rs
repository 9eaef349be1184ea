//! Records: one object of Terra's `data[]`, its natural key, and whether it changes what we keep.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use terra::event::DataKind;
use terra::record::Activity;

use crate::id::{AliasKey, RecordId, derived_uuid};
use crate::order::Order;

/// What makes a record the same record: Terra's key within one alias.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    pub alias: AliasKey,
    pub kind: DataKind,
    pub natural: String,
}

impl RecordKey {
    pub fn id(&self) -> RecordId {
        RecordId(derived_uuid(&[
            b"record",
            self.alias.environment.as_str().as_bytes(),
            self.alias.terra_user_id.as_str().as_bytes(),
            self.kind.label().as_bytes(),
            self.natural.as_bytes(),
        ]))
    }
}

/// A record as one delivery has it.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: RecordKey,
    pub order: Order,
    /// The order comes from the signed time alone.
    pub order_inferred: bool,
    /// Terra marked it as deleted (`upload_type` 4).
    pub deleted: bool,
    /// Terra's object, as sent.
    pub document: Bytes,
    pub fingerprint: Fingerprint,
    pub columns: Columns,
}

/// The typed projection of a document: what people read.
#[derive(Debug, Clone)]
pub enum Columns {
    Activity(Box<Activity>),
    /// Kinds that are kept as documents.
    Document {
        start_time: Option<String>,
        end_time: Option<String>,
    },
}

/// A document's content, independent of the order of its keys: one short digest per top-level field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// - Shapes: any JSON; what is no object has the single field ``.
    pub fn of(document: &[u8]) -> Fingerprint {
        let digest = |value: &[u8]| hex::encode(&Sha256::digest(value)[..8]);
        // A database may refuse a NUL in text, and field names are Terra's to choose.
        let printable = |name: String| name.replace('\0', "\u{fffd}");
        match serde_json::from_slice::<Value>(document) {
            Ok(Value::Object(fields)) => Fingerprint(
                fields
                    .into_iter()
                    .map(|(name, value)| (printable(name), digest(value.to_string().as_bytes())))
                    .collect(),
            ),
            Ok(other) => Fingerprint(BTreeMap::from([(String::new(), digest(other.to_string().as_bytes()))])),
            Err(_) => Fingerprint(BTreeMap::from([(String::new(), digest(document))])),
        }
    }

    /// The fields that differ.
    pub fn changed(&self, from: &Fingerprint) -> Vec<String> {
        let names = self.0.keys().chain(from.0.keys()).collect::<std::collections::BTreeSet<_>>();
        names.into_iter().filter(|name| self.0.get(*name) != from.0.get(*name)).cloned().collect()
    }
}

/// What is kept of a record, as far as the merge rule asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub order: Order,
    pub deleted: bool,
    pub fingerprint: Fingerprint,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// What is kept is at least as new.
    Older,
    /// Newer, but it says the same: the order moves on, nobody is told.
    Same,
    Inserted,
    Changed {
        fields: Vec<String>,
    },
    Deleted,
    /// A tombstone for something that was never kept: remembered, nobody is told.
    Buried,
}

/// The merge rule: the greater order overwrites, whatever arrived last.
pub fn merge(kept: Option<&Kept>, incoming: &Record) -> Merge {
    match kept {
        None if incoming.deleted => Merge::Buried,
        None => Merge::Inserted,
        Some(kept) if incoming.order <= kept.order => Merge::Older,
        Some(kept) => match (kept.deleted, incoming.deleted) {
            (true, true) => Merge::Same,
            (false, true) => Merge::Deleted,
            (true, false) => Merge::Inserted,
            (false, false) if kept.fingerprint == incoming.fingerprint => Merge::Same,
            (false, false) => Merge::Changed { fields: incoming.fingerprint.changed(&kept.fingerprint) },
        },
    }
}

impl Merge {
    pub fn writes(&self) -> bool {
        *self != Merge::Older
    }
}

/// Of several records with one key keeps the greatest order: what a batch of deliveries comes down to. `T` says where
/// a record came from.
pub fn fold<'a, T>(records: impl Iterator<Item = (T, &'a Record)>) -> BTreeMap<&'a RecordKey, (T, &'a Record)> {
    let mut folded: BTreeMap<&RecordKey, (T, &Record)> = BTreeMap::new();
    for (source, record) in records {
        if folded.get(&record.key).is_none_or(|(_, kept)| record.order > kept.order) {
            folded.insert(&record.key, (source, record));
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Environment;

    fn record(ms: i64, deleted: bool, document: &str) -> Record {
        Record {
            key: RecordKey {
                alias: AliasKey::new(&Environment::new("e"), "u"),
                kind: DataKind::Activity,
                natural: "s".into(),
            },
            order: Order::at(ms),
            order_inferred: false,
            deleted,
            document: Bytes::copy_from_slice(document.as_bytes()),
            fingerprint: Fingerprint::of(document.as_bytes()),
            columns: Columns::Document { start_time: None, end_time: None },
        }
    }

    fn kept(record: &Record) -> Kept {
        Kept { order: record.order, deleted: record.deleted, fingerprint: record.fingerprint.clone() }
    }

    #[test]
    fn only_a_greater_order_overwrites() {
        let first = record(5, false, r#"{"a":1,"b":2}"#);
        assert_eq!(merge(None, &first), Merge::Inserted);
        assert_eq!(merge(Some(&kept(&first)), &first), Merge::Older);
        assert_eq!(merge(Some(&kept(&first)), &record(4, false, "{}")), Merge::Older);
        assert_eq!(merge(Some(&kept(&first)), &record(6, false, r#"{"b":2, "a":1}"#)), Merge::Same);
        assert_eq!(
            merge(Some(&kept(&first)), &record(6, false, r#"{"a":3,"b":2}"#)),
            Merge::Changed { fields: vec!["a".into()] }
        );
    }

    #[test]
    fn a_tombstone_buries_and_a_newer_delivery_revives() {
        let grave = record(7, true, "{}");
        assert_eq!(merge(None, &grave), Merge::Buried);
        assert_eq!(merge(Some(&kept(&grave)), &record(6, false, "{}")), Merge::Older);
        assert_eq!(merge(Some(&kept(&grave)), &record(8, false, "{}")), Merge::Inserted);
        assert_eq!(merge(Some(&kept(&record(5, false, "{}"))), &grave), Merge::Deleted);
    }

    #[test]
    fn a_batch_folds_to_the_greatest_order_per_key() {
        let records = [record(2, false, "{}"), record(9, false, r#"{"x":1}"#), record(4, false, "{}")];
        let folded = fold(records.iter().enumerate());
        assert_eq!(folded.len(), 1);
        assert_eq!(folded.values().next().map(|(index, record)| (*index, record.order)), Some((1, Order::at(9))));
    }
}
