//! Every leaf of Terra's schemas is filled by the generators.
//!
//! The lists in `tests/leaves` were derived from Terra's published schemas (`tryterra/openapi`,
//! version 2026.07.17.1): a path for each leaf, `[]` for the items of a list, and no leaves below a
//! map from names to numbers.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::civil::date;
use serde_json::Value;
use simulator::Dialect;
use simulator::event::{SampleInput, sample};
use simulator::generate::Detail;

use crate::golden::user;

/// Unions fill one of their fields at a time.
const SEEDS: u64 = 40;

fn wanted(kind: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/leaves/{kind}.txt"));
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

fn made(kind: &str, seed: u64) -> Value {
    let user = user();
    let input = SampleInput {
        seed,
        dialect: Dialect::Newer,
        user: &user,
        date: date(2026, 3, 14),
        now: "2026-03-15T09:00:00.000000+00:00",
        detail: Detail::Complete,
        reference: "r-1",
    };
    let event = if kind == "lab_report" { "lab_report.completed" } else { kind };
    let event = sample(event, &input).unwrap();
    match kind {
        "lab_report" => event["data"].clone(),
        "athlete" => event["athlete"].clone(),
        _ => event["data"][0].clone(),
    }
}

fn collect(value: &Value, path: &str, wanted: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !wanted.contains(path) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(value, &path, wanted, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(item, &format!("{path}[]"), wanted, found);
            }
        }
        Value::Object(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => drop(found.insert(path.to_owned())),
    }
}

#[track_caller]
fn check(kind: &str) {
    let wanted = wanted(kind);
    let mut found = BTreeSet::new();
    for seed in 0..SEEDS {
        collect(&made(kind, seed), "", &wanted, &mut found);
    }
    let missing: Vec<&String> = wanted.difference(&found).collect();
    let unknown: Vec<&String> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "{kind}: missing {missing:?}, unknown {unknown:?}");
}

#[test]
fn every_leaf_of_every_kind_occurs_and_no_other() {
    for kind in [
        "activity",
        "athlete",
        "body",
        "daily",
        "health_observation",
        "hormone",
        "lab_report",
        "menstruation",
        "nutrition",
        "planned_workout",
        "sleep",
    ] {
        check(kind);
    }
}
