//! The merge rule, against a model of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use terra::event::DataKind;
use terra::record::read;

use super::*;
use crate::id::{AliasKey, Environment};

fn record(ms: i64, inferred: bool, document: &str) -> Record {
    let reading = read(DataKind::Daily, document);
    Record {
        key: RecordKey {
            alias: AliasKey::new(&Environment::new("e"), "u"),
            kind: DataKind::Daily,
            natural: "2026-03-01".into(),
        },
        order: Order::at(ms),
        order_inferred: inferred,
        document: Bytes::copy_from_slice(document.as_bytes()),
        fingerprint: Fingerprint::new(reading.fingerprint.clone()),
        reading,
    }
}

fn plain(ms: i64, document: &str) -> Record {
    record(ms, false, document)
}

/// What a store keeps after a merge.
fn keep<T>(kept: Option<&Kept>, merged: &Merged<'_, T>) -> Kept {
    match (merged.row.as_ref(), kept) {
        (Some((_, record)), _) => Kept {
            order: record.order,
            order_inferred: record.order_inferred,
            deleted: record.is_deleted(),
            fingerprint: record.fingerprint.clone(),
            scores: merged.scores.clone(),
        },
        (None, Some(kept)) => Kept { scores: merged.scores.clone(), ..kept.clone() },
        (None, None) => panic!("nothing was written"),
    }
}

fn one_by_one(records: &[Record]) -> Option<Kept> {
    let mut kept = None;
    for record in records {
        if let Some(merged) = merge(kept.as_ref(), vec![((), record)]) {
            kept = Some(keep(kept.as_ref(), &merged));
        }
    }
    kept
}

#[track_caller]
fn check(kept: &[Record], incoming: &Record, expected: Option<Change>) {
    let kept = one_by_one(kept);
    assert_eq!(merge(kept.as_ref(), vec![((), incoming)]).map(|merged| merged.change), expected);
}

const GRAVE: &str = r#"{"metadata":{"upload_type":4}}"#;

#[test]
fn only_a_greater_order_overwrites() {
    let first = || plain(5, r#"{"a":1,"b":2}"#);
    check(&[], &first(), Some(Change::Inserted));
    check(&[first()], &first(), None);
    check(&[first()], &plain(4, "{}"), None);
    check(&[first()], &plain(6, r#"{"b":2, "a":1}"#), Some(Change::None));
    check(&[first()], &plain(6, r#"{"a":3,"b":2}"#), Some(Change::Changed { fields: vec!["a".into()] }));
}

#[test]
fn a_tombstone_buries_and_a_newer_delivery_revives() {
    check(&[], &plain(7, GRAVE), Some(Change::None));
    check(&[plain(7, GRAVE)], &plain(6, "{}"), None);
    check(&[plain(7, GRAVE)], &plain(8, "{}"), Some(Change::Inserted));
    check(&[plain(5, "{}")], &plain(7, GRAVE), Some(Change::Deleted));
    check(&[plain(5, "{}"), plain(7, GRAVE)], &plain(9, GRAVE), Some(Change::None));
}

#[test]
fn a_null_erases_no_score_and_a_late_retry_still_brings_one() {
    let with = |ms, score: &str| plain(ms, &format!(r#"{{"data_enrichment":{{"strain_index":{score}}}}}"#));
    let kept = one_by_one(&[with(5, "1.5"), with(9, "null")]).unwrap();
    assert_eq!((kept.order, kept.scores.get("strain_index")), (Order::at(9), Some("1.5")));
    let fields = vec!["data_enrichment.strain_index".to_owned()];
    check(&[plain(9, "{}")], &with(5, "1.5"), Some(Change::Changed { fields }));
    check(&[with(6, "2"), plain(9, "{}")], &with(5, "1.5"), None);
    check(&[with(5, "2")], &with(7, "2"), Some(Change::None));
}

#[test]
fn two_versions_ordered_by_their_signed_time_alone_are_in_doubt() {
    let hour = 3_600_000;
    let doubt = |kept: Record, incoming: &Record| {
        merge(one_by_one(&[kept]).as_ref(), vec![((), incoming)]).is_some_and(|merged| merged.in_doubt)
    };
    let one = || record(0, true, r#"{"a":1}"#);
    assert!(doubt(one(), &record(24 * hour, true, r#"{"a":2}"#)));
    assert!(!doubt(one(), &record(25 * hour, true, r#"{"a":2}"#)), "a day apart");
    assert!(!doubt(one(), &record(hour, true, r#"{"a":1}"#)), "the same content");
    assert!(!doubt(one(), &record(hour, false, r#"{"a":2}"#)), "one of them has its order");
}

fn version() -> impl Strategy<Value = Record> {
    let score = prop_oneof![Just("null".to_owned()), (0..3_u8).prop_map(|score| score.to_string())];
    (0..12_i64, 0..3, score.clone(), score, any::<bool>()).prop_map(|(ms, steps, strain, immune, deleted)| {
        let upload_type = if deleted { 4 } else { 1 };
        // One delivery has one order: what it says is a function of it.
        let document = format!(
            r#"{{"metadata":{{"upload_type":{upload_type}}},"distance_data":{{"steps":{steps}}},
                "data_enrichment":{{"strain_index":{strain},"immune_index":{immune}}}}}"#
        );
        let mut record = plain(ms, &document);
        record.order = Order::new(ms, &[u8::try_from(steps).unwrap_or(0) * 16 + u8::from(deleted); 32]);
        record
    })
}

/// Deliveries of one record; each order belongs to one of them, as a digest does to a body.
fn versions() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(version(), 1..12).prop_map(|records| {
        let by_order: BTreeMap<Order, Record> = records.into_iter().map(|record| (record.order, record)).collect();
        by_order.into_values().collect()
    })
}

fn arrivals() -> impl Strategy<Value = (Vec<Record>, Vec<Record>)> {
    versions().prop_flat_map(|records| {
        let again = prop::collection::vec(0..records.len(), 0..6);
        (Just(records), again).prop_flat_map(|(records, again)| {
            let doubled: Vec<Record> =
                records.iter().cloned().chain(again.iter().map(|index| records[*index].clone())).collect();
            (Just(records), Just(doubled).prop_shuffle())
        })
    })
}

proptest! {
    /// The model: the row is the version of greatest order, each score the non-null one of greatest order.
    #[test]
    fn any_order_of_arrival_and_any_cut_into_batches_ends_the_same((sent, arrived) in arrivals(), cut in 0_usize..12) {
        let newest = sent.last().unwrap();
        let score = |name: &str| sent.iter().rev().find_map(|record| record.reading.scores.get(name).cloned());
        let (first, rest) = arrived.split_at(cut.min(arrived.len()));
        let kept = one_by_one(first);
        let rest: Vec<_> = rest.iter().map(|record| ((), record)).collect();
        let kept = match merge(kept.as_ref(), rest) {
            Some(merged) => keep(kept.as_ref(), &merged),
            None => kept.unwrap(),
        };
        prop_assert_eq!(kept.order, newest.order);
        prop_assert_eq!(kept.deleted, newest.is_deleted());
        prop_assert_eq!(&kept.fingerprint, &newest.fingerprint);
        for name in ["strain_index", "immune_index"] {
            prop_assert_eq!(kept.scores.get(name).map(str::to_owned), score(name));
        }
        prop_assert_eq!(one_by_one(&arrived), Some(kept));
    }
}
