//! What is said of an event is what its plan does.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use terra::headers::DeliveryHeaders;

use super::*;
use crate::backfill::Noted;
use crate::delivery::{Admission, Delivery, Receipt};
use crate::id::{DeliveryId, Environment};
use crate::plan::{Context, Disposition, Plan, plan};

fn planned(body: &str) -> Plan {
    let receipt = Receipt {
        id: DeliveryId(uuid::Uuid::from_u128(1)),
        environment: Environment::new("default"),
        received_at: "2026-03-15T09:00:00Z".parse().unwrap(),
        t_seconds: 1_773_565_200,
        headers: DeliveryHeaders::default(),
        body_digest: [0; 32],
        signed_digest: [0; 32],
        size_bytes: body.len() as u64,
        admission: Admission::Fresh,
    };
    let body = Bytes::copy_from_slice(body.as_bytes());
    let context = Context { backfill_days: 7, ..Context::default() };
    plan(Delivery::new(receipt, terra::event::peek(&body)), &body, &context)
}

fn rows(plan: &Plan) -> BTreeSet<Row> {
    let called_for = [
        (Row::Record, !plan.records.is_empty()),
        (Row::Connection, !plan.facts.is_empty() || !plan.edges.is_empty()),
        (Row::AuthEvent, plan.auth_event.is_some()),
        (Row::ConnectSession, plan.session.is_some()),
        (Row::Fetch, plan.backfill.as_ref().is_some_and(|backfill| !backfill.jobs.is_empty())),
        (Row::Backfill, matches!(plan.noted, Some(Noted::Announced { .. }))),
        (Row::Drift, !plan.strange.is_empty()),
    ];
    called_for.into_iter().filter(|(_, is_called_for)| *is_called_for).map(|(row, _)| row).collect()
}

#[test]
fn every_event_does_what_is_said_of_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../simulator/tests/golden");
    let mut seen = BTreeSet::from([Kind::Other]);
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let body = std::fs::read_to_string(&file).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
        let kind = Kind::parse(parsed["type"].as_str().unwrap());
        // The older platform's `auth` of a failure does what a cancelled one does.
        let kind = if kind == Kind::Auth && parsed["status"] == "error" { Kind::AuthCancelled } else { kind };
        let plan = planned(&body);
        assert_eq!(plan.disposition, Disposition::Process, "{name}");
        assert_eq!(rows(&plan), effects(kind).rows.iter().copied().collect(), "{name}");
        seen.insert(kind);
    }
    assert_eq!(seen, Kind::ALL.into_iter().collect());
    assert_eq!(rows(&planned(r#"{"type":"route"}"#)), BTreeSet::from([Row::Drift]));
}

#[test]
fn rows_are_in_order_and_cells_do_not_break_the_table() {
    for kind in Kind::ALL {
        assert!(effects(kind).rows.is_sorted(), "{kind:?}");
    }
    let table = table();
    assert_eq!(table.lines().count(), Kind::ALL.len() + 2);
    assert!(table.lines().all(|line| line.matches('|').count() == 6), "{table}");
}
