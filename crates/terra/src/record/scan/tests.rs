//! One pass, whatever the spelling.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::DataKind;
use crate::record::schema::schema;

fn scanned(text: &str) -> Scanned<'_> {
    scan(schema(DataKind::Daily), text)
}

fn fingerprint(text: &str) -> BTreeMap<String, u64> {
    scanned(text).fingerprint
}

#[test]
fn a_fingerprint_does_not_depend_on_spelling() {
    let one = fingerprint(r#"{"a":{"x":145,"y":[1,2]},"b":"t"}"#);
    assert_eq!(one, fingerprint(" { \"b\" : \"t\" , \"a\" : { \"y\" : [ 1.0 , 2 ] , \"x\":145.0, \"z\": null } } "));
    assert_ne!(one["a"], fingerprint(r#"{"a":{"x":145,"y":[2,1]},"b":"t"}"#)["a"]);
    assert_ne!(one["a"], fingerprint(r#"{"a":{"x":"145","y":[1,2]},"b":"t"}"#)["a"]);
    assert_eq!(one["b"], fingerprint(r#"{"b":"t"}"#)["b"]);
    assert_eq!(fingerprint(r#"{"a":null}"#), BTreeMap::new());
}

#[test]
fn scores_are_no_part_of_the_fingerprint() {
    let text = r#"{"metadata":{},"data_enrichment":{"strain_index":2.5,"immune_index":null}}"#;
    let found = scanned(text);
    assert_eq!(found.fingerprint.keys().collect::<Vec<_>>(), ["metadata"]);
    assert_eq!(found.scores.into_iter().collect::<Vec<_>>(), [("strain_index".into(), "2.5")]);
}

#[test]
fn names_that_come_twice_are_noted_and_the_last_counts() {
    let text = r#"{"metadata":{"start_time":"a","end_time":"e"},"metadata":{"start_time":"b"},"q":1,"q":2}"#;
    let found = scanned(text);
    assert_eq!(found.twice, ["metadata", "q"]);
    let schema = schema(DataKind::Daily);
    assert_eq!(found.slots[usize::from(schema.start_slots[0])], Some("\"b\""));
    assert_eq!(found.slots[usize::from(schema.end_slots[0])], None, "the first metadata does not count");
}

#[test]
fn strangers_are_named_by_path_and_shape_once_each() {
    let text = r#"{"metadata":{"moon":"full","start_time":7},"heart_rate_data":{"detailed":{"hr_samples":[
        {"bpm":"60","x":1},{"bpm":61,"x":2}]}},"data_enrichment":{"stress_contributors":{"anything":1}},"new":{"y":1}}"#;
    let found = scanned(text).strange;
    let expected = [
        ("metadata.moon", "string"),
        ("metadata.start_time", "number"),
        ("heart_rate_data.detailed.hr_samples[].bpm", "string"),
        ("heart_rate_data.detailed.hr_samples[].x", "number"),
        ("new", "object"),
    ];
    assert_eq!(found, expected.map(|(path, shape)| (path.to_owned(), shape)));
}

#[test]
fn of_several_in_a_list_the_last_one_with_a_value_is_taken() {
    let text = r#"{"measurements_data":{"measurements":[{"weight_kg":70},{"weight_kg":71.5},{"weight_kg":null}]}}"#;
    let schema = schema(DataKind::Body);
    let column = schema.columns.iter().position(|column| column.name() == "weight_kg").unwrap();
    assert_eq!(scan(schema, text).slots[usize::from(schema.column_slots[column][0])], Some("71.5"));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let name = prop_oneof![Just("metadata".to_owned()), Just("summary".to_owned()), ".*"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

/// Empty objects and null members say the same as nothing.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), bare(value)))
            .collect(),
        Value::Array(items) => items.iter().map(bare).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

proptest! {
    #[test]
    fn any_json_is_read_to_its_end(value in value()) {
        let text = value.to_string();
        let mut scan = Scan { schema: schema(DataKind::Daily), text: &text, bytes: text.as_bytes(), at: 0, found: Scanned::default() };
        scan.found.slots = vec![None; usize::from(scan.schema.slots)];
        scan.value(Some(0));
        prop_assert_eq!(scan.at, text.len());
    }

    #[test]
    fn equal_fingerprints_mean_equal_content(one in value(), other in value()) {
        let digest = |value: &Value| fingerprint(&json!({ "it": value }).to_string()).get("it").copied();
        prop_assert_eq!(digest(&one) == digest(&other), bare(&one) == bare(&other));
        prop_assert_eq!(digest(&one), digest(&bare(&one)));
    }

    #[test]
    fn what_is_no_json_is_survived(text in ".*") {
        scanned(&text);
        scanned(&format!("{{{text}"));
    }
}
