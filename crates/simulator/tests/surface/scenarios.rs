//! Every scenario reaches its end state in the eyes of a receiver that does all it should.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{RetrySchedule, Settings};

use crate::model::Model;
use crate::stage::Stage;

const WANTED: [&str; 26] = [
    "first-connect",
    "cancelled-connect",
    "reconnect-new-id",
    "deauth",
    "access-revoked",
    "connection-trouble",
    "older-dialect",
    "missed-auth",
    "gone-at-terra",
    "every-kind",
    "superset-daily",
    "late-retry-older",
    "nulled-scores",
    "deleted-workout",
    "backfill-in-chunks",
    "chunk-before-announcement",
    "late-duplicate-chunk",
    "history",
    "lost-chunks",
    "provider-outage",
    "day-budget",
    "html-500",
    "outage-and-recover",
    "s3-payload",
    "s3-payload-expired",
    "unknown-kind-and-fields",
];

#[tokio::test]
async fn scenarios_are_listed_with_what_they_must_reach() {
    let stage = Stage::set().await;
    let listed = stage.control_get("/scenarios").await;
    let items = listed["items"].as_array().unwrap();
    let names: Vec<&str> = items.iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names[..26], WANTED);
    assert_eq!(names[26..], ["bad-records"]);
    assert!(items.iter().all(|item| item["about"].is_string() && item["end_state"].is_string()));
    let url = format!("{}/_simulator/scenarios/none/run", stage.simulator.base_url());
    assert_eq!(stage.client.post(url).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_seed_and_references_choose_the_people() {
    let stage = Stage::set().await;
    let run = async |body: Value| stage.control("/scenarios/first-connect/run", body).await["users"][0].clone();
    let first = run(json!({})).await;
    assert_eq!(first["reference_id"], "scenario-first-connect-1");
    assert_eq!(run(json!({})).await["user_id"], first["user_id"]);
    let other = run(json!({ "seed": 2, "reference_ids": ["anna"] })).await;
    assert_ne!(other["user_id"], first["user_id"]);
    assert_eq!(other["reference_id"], "anna");
    assert_eq!(stage.receiver.received().last().unwrap().json()["user"]["reference_id"], "anna");
}

macro_rules! reaches_its_end_state {
    ($($test:ident: $name:literal,)*) => {
        $(#[tokio::test] async fn $test() { check($name).await; })*
    };
}

reaches_its_end_state! {
    first_connect: "first-connect",
    cancelled_connect: "cancelled-connect",
    reconnect_new_id: "reconnect-new-id",
    deauth: "deauth",
    access_revoked: "access-revoked",
    connection_trouble: "connection-trouble",
    older_dialect: "older-dialect",
    missed_auth: "missed-auth",
    gone_at_terra: "gone-at-terra",
    every_kind: "every-kind",
    superset_daily: "superset-daily",
    late_retry_older: "late-retry-older",
    nulled_scores: "nulled-scores",
    deleted_workout: "deleted-workout",
    backfill_in_chunks: "backfill-in-chunks",
    chunk_before_announcement: "chunk-before-announcement",
    late_duplicate_chunk: "late-duplicate-chunk",
    history: "history",
    lost_chunks: "lost-chunks",
    provider_outage: "provider-outage",
    day_budget: "day-budget",
    html_500: "html-500",
    outage_and_recover: "outage-and-recover",
    s3_payload: "s3-payload",
    s3_payload_expired: "s3-payload-expired",
    unknown_kind_and_fields: "unknown-kind-and-fields",
    bad_records: "bad-records",
}

#[tokio::test]
async fn another_seed_makes_another_history() {
    check_with("history", json!({ "seed": 5 })).await;
}

async fn check(name: &str) {
    check_with(name, json!({})).await;
}

async fn check_with(name: &str, options: Value) {
    let retry = RetrySchedule { retries_max: 0, ..RetrySchedule::default() };
    let stage = Stage::set_with(Settings { retry, ..Settings::default() }).await;
    let end = stage.control(&format!("/scenarios/{name}/run"), options).await;
    assert_eq!(end["deliveries"]["sent"], end["deliveries"]["accepted"], "{end}");
    let mut model = Model::default();
    let mut taken = take_new(&stage, &mut model, 0).await;
    let required: Vec<&str> = end["requires"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    if required.contains(&"event_log") {
        taken = resend_failed(&stage, &mut model, taken).await;
    }
    if required.contains(&"backfill") {
        ask_for_history(&stage, &mut model, &end["users"][0], taken).await;
    }
    if required.contains(&"reconcile") {
        reconcile(&stage, &mut model).await;
    }
    compare(&model, &end);
}

async fn take_new(stage: &Stage, model: &mut Model, taken: usize) -> usize {
    let received = stage.receiver.received();
    for delivery in &received[taken..] {
        model.take(stage, delivery).await;
    }
    received.len()
}

async fn resend_failed(stage: &Stage, model: &mut Model, taken: usize) -> usize {
    let url = format!("{}/environments/{}/events", stage.simulator.admin_url(), stage.settings.dev_id);
    let list = stage.client.get(format!("{url}?outcome=failed")).bearer_auth(&stage.settings.admin_token);
    let page: Value = list.send().await.unwrap().json().await.unwrap();
    let mut rows = page["data"].as_array().unwrap().clone();
    rows.dedup_by_key(|row| row["event_id"].clone());
    assert_eq!(rows.len(), 4, "{rows:?}");
    for row in &rows {
        let body = json!({ "event_id": row["event_id"], "event_type": row["data_type"], "user_id": row["user_id"] });
        let resend = stage.client.post(format!("{url}/resend")).bearer_auth(&stage.settings.admin_token).json(&body);
        assert_eq!(resend.send().await.unwrap().status(), 202);
    }
    stage.receiver.wait_for(taken + rows.len()).await;
    take_new(stage, model, taken).await
}

/// Asks kind by kind until everything was answered and everything answered came.
async fn ask_for_history(stage: &Stage, model: &mut Model, user: &Value, mut taken: usize) {
    let (user_id, backfill) = (user["user_id"].as_str().unwrap(), &user["backfill"]);
    let window = format!(
        "start_date={}&end_date={}",
        backfill["start_date"].as_str().unwrap(),
        backfill["end_date"].as_str().unwrap()
    );
    for kind in backfill["kinds"].as_array().unwrap() {
        let kind = kind.as_str().unwrap();
        let wanted = user["records"][kind]["items"].as_array().unwrap().len();
        for _ in 0..200 {
            let answer = stage.get(&format!("/{kind}?user_id={user_id}&{window}")).await;
            let wait = if answer.status() == 200 { 20 } else { 100 };
            tokio::time::sleep(Duration::from_millis(wait)).await;
            taken = take_new(stage, model, taken).await;
            if model.of(user_id, kind).len() >= wanted {
                break;
            }
        }
    }
}

async fn reconcile(stage: &Stage, model: &mut Model) {
    let users = stage.get_json("/subscriptions").await;
    let ids: Vec<&str> =
        users["users"].as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap()).collect();
    for (user_id, state) in &mut model.connections {
        if *state == "connected" && !ids.contains(&user_id.as_str()) {
            *state = "revoked";
        }
    }
    for id in ids {
        model.connections.entry(id.to_owned()).or_insert("connected");
    }
}

fn compare(model: &Model, end: &Value) {
    for user in end["users"].as_array().unwrap() {
        let user_id = user["user_id"].as_str().unwrap();
        let connection = model.connections.get(user_id).copied().unwrap_or("absent");
        assert_eq!(connection, user["connection"], "{user_id}");
        assert_eq!(json!(model.replaced_by.get(user_id)), user["replaced_by"]);
        for (kind, records) in user["records"].as_object().unwrap() {
            let found = model.of(user_id, kind);
            for item in records["items"].as_array().unwrap() {
                let key = item["key"].as_str().unwrap();
                let leaves = found.get(key).unwrap_or_else(|| panic!("no {kind} {key}"));
                for (leaf, value) in item["fields"].as_object().unwrap() {
                    assert_eq!(leaves.get(leaf), Some(value), "{leaf} of {kind} {key}");
                }
            }
            if let Some(count) = records["count"].as_u64() {
                assert_eq!(found.len() as u64, count, "{kind}");
            }
            for key in records["absent"].as_array().unwrap() {
                assert!(!found.contains_key(key.as_str().unwrap()), "{kind} {key}");
            }
            for key in records["deleted"].as_array().unwrap() {
                assert!(model.is_deleted(user_id, kind, key.as_str().unwrap()), "{kind} {key}");
                assert!(!found.contains_key(key.as_str().unwrap()), "{kind} {key}");
            }
        }
    }
    for report in end["lab_reports"].as_array().unwrap() {
        let leaves = &model.lab_reports[report["key"].as_str().unwrap()];
        let fields = report["fields"].as_object().unwrap();
        assert!(fields.iter().all(|(leaf, value)| leaves.get(leaf) == Some(value)), "{report}");
    }
    for raw in end["stored_raw"].as_array().unwrap() {
        assert_eq!(json!(model.raw[raw["type"].as_str().unwrap()]), raw["count"]);
    }
    for request in end["large_requests"].as_array().unwrap() {
        let chunks = &model.chunks[request["reference"].as_str().unwrap()];
        assert_eq!((&json!(chunks.len()), &request["expected_payloads"]), (&request["received"], &request["received"]));
    }
}
