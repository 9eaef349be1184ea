//! Every scenario the simulator knows, played against the product: its end state is asserted through the API.
//!
//! The end states are written from Terra's documentation alone, by code that shares nothing with ours.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Engine, Options, TestApp, now};

crate::on_every_engine!(every_scenario_reaches_its_end_state);

/// A provider that is down, and lost chunks that are asked for again, take their time.
const REACHED: Duration = Duration::from_secs(90);
/// Of the simulator.
const ADMIN_TOKEN: &str = "terra_at_simulated";
const POLL: Duration = Duration::from_millis(100);

/// The simulator's name of a kind → ours in paths.
const KINDS: [(&str, &str); 10] = [
    ("activity", "activities"),
    ("sleep", "sleeps"),
    ("daily", "dailies"),
    ("body", "bodies"),
    ("nutrition", "nutritions"),
    ("menstruation", "menstruations"),
    ("athlete", "athletes"),
    ("planned_workout", "planned-workouts"),
    ("hormone", "hormones"),
    ("health_observation", "observations"),
];

async fn every_scenario_reaches_its_end_state(engine: Engine) {
    let options = Options::default()
        .set("LANDFALL_BACKFILL_STALL", "2s")
        .set("LANDFALL_BACKFILL_DAYS", "42")
        .set("LANDFALL_TERRA_ADMIN_TOKEN", ADMIN_TOKEN)
        .set("LANDFALL_RECONCILE_EVERY", "0");
    let app = TestApp::start_with(engine, options).await;
    let known = app.http.get(format!("{}/_simulator/scenarios", app.terra.base_url())).send().await.unwrap();
    let known: Value = known.json().await.unwrap();
    let mut failed = Vec::new();
    for scenario in known["items"].as_array().unwrap() {
        if let Err(missing) = play(&app, scenario).await {
            failed.push(format!("{}: {missing}", scenario["name"]));
        }
    }
    assert!(failed.is_empty(), "end states not reached:\n{}", failed.join("\n"));
}

async fn play(app: &TestApp, scenario: &Value) -> Result<(), String> {
    let name = scenario["name"].as_str().unwrap();
    let requires = |what: &str| scenario["requires"].as_array().unwrap().contains(&json!(what));
    let end = app.terra_control(&format!("scenarios/{name}/run"), json!({})).await;
    assert!(end["users"].is_array(), "{name}: {end}");
    if requires("reconcile") {
        settled(app, "reconciles", json!({}), &["done"]).await?;
    }
    if requires("event_log") {
        let now = now();
        let from = now - jiff::SignedDuration::from_hours(1);
        let wanted = json!({ "from": from.to_string(), "to": now.to_string() });
        settled(app, "recoveries", wanted, &["complete"]).await?;
    }
    let deadline = Instant::now() + REACHED;
    loop {
        match reached(app, &end).await {
            Err(missing) if Instant::now() > deadline => return Err(missing),
            Err(_) => tokio::time::sleep(POLL).await,
            Ok(()) => return Ok(()),
        }
    }
}

/// Asks for a run and waits for its end.
async fn settled(app: &TestApp, what: &str, wanted: Value, good: &[&str]) -> Result<(), String> {
    let (status, run) = app.post(&format!("/v1/{what}"), wanted).await;
    assert_eq!(status, 202, "{run}");
    let path = format!("/v1/{what}/{}", run["id"].as_str().unwrap());
    let deadline = Instant::now() + REACHED;
    loop {
        let run = app.get(&path).await;
        let state = run["state"].as_str().unwrap();
        if good.contains(&state) {
            return Ok(());
        }
        if ["refused", "failed", "incomplete"].contains(&state) || Instant::now() > deadline {
            return Err(format!("{what}: {state}: {}", run["text"]));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn reached(app: &TestApp, end: &Value) -> Result<(), String> {
    for user in end["users"].as_array().unwrap() {
        connection(app, user).await?;
        for (kind, wanted) in user["records"].as_object().unwrap() {
            records(app, user, kind, wanted).await?;
        }
    }
    lab_reports(app, end).await?;
    for raw in end["stored_raw"].as_array().unwrap() {
        let kept = app.all(&format!("/v1/deliveries?type={}", raw["type"].as_str().unwrap())).await;
        if kept.is_empty() {
            return Err(format!("no delivery of type {}", raw["type"]));
        }
    }
    Ok(())
}

async fn connection(app: &TestApp, user: &Value) -> Result<(), String> {
    let id = user["user_id"].as_str().unwrap();
    let found = app.all(&format!("/v1/connections?terra_user_id={id}")).await;
    let status = found.first().map(|connection| connection["status"].as_str().unwrap_or_default());
    let wanted = match user["connection"].as_str().unwrap() {
        "connected" | "replaced" => Some("active"),
        "degraded" => Some("degraded"),
        "revoked" => Some("revoked"),
        _ => None,
    };
    if status != wanted {
        return Err(format!("{id} is {status:?}, not {wanted:?}"));
    }
    match (user["replaced_by"].as_str(), found.first()) {
        (Some(current), Some(connection)) if connection["terra_user_id"] != current => {
            Err(format!("{id} does not lead to {current}"))
        }
        _ => Ok(()),
    }
}

async fn records(app: &TestApp, user: &Value, kind: &str, wanted: &Value) -> Result<(), String> {
    let plural = KINDS.iter().find(|(known, _)| *known == kind).map(|(_, plural)| *plural).unwrap();
    let person = user["reference_id"].as_str().unwrap();
    let mut found = app.all(&format!("/v1/users/{person}/{plural}")).await;
    // What came without a key is kept too, under its content.
    found.retain(|record| !record["key"].as_str().unwrap().starts_with("sha256:"));
    let by_key = |key: &Value| found.iter().find(|record| record["key"] == *key);
    for item in wanted["items"].as_array().unwrap() {
        let record = by_key(&item["key"]).ok_or_else(|| format!("{person} has no {kind} {}", item["key"]))?;
        same(kind, record, item)?;
    }
    for gone in wanted["deleted"].as_array().unwrap().iter().chain(wanted["absent"].as_array().unwrap()) {
        if by_key(gone).is_some() {
            return Err(format!("{person} still has {kind} {gone}"));
        }
    }
    match wanted["count"].as_u64() {
        Some(count) if count != found.len() as u64 => {
            Err(format!("{person} has {} of {kind}, not {count}", found.len()))
        }
        _ => Ok(()),
    }
}

fn same(kind: &str, record: &Value, item: &Value) -> Result<(), String> {
    for (leaf, value) in item["fields"].as_object().unwrap() {
        let equal = match (value.as_f64(), record[leaf].as_f64()) {
            (Some(wanted), Some(found)) => (wanted - found).abs() < 1e-9,
            _ => record[leaf] == *value,
        };
        if !equal {
            return Err(format!("{kind} {}: {leaf} is {}, not {value}", item["key"], record[leaf]));
        }
    }
    Ok(())
}

/// Reports belong to no user of Terra's, but to whom the uploader named.
async fn lab_reports(app: &TestApp, end: &Value) -> Result<(), String> {
    let wanted = end["lab_reports"].as_array().unwrap();
    if wanted.is_empty() {
        return Ok(());
    }
    let person = end["users"][0]["reference_id"].as_str().unwrap();
    let found = app.all(&format!("/v1/users/{person}/lab-reports")).await;
    for item in wanted {
        let report = found.iter().find(|report| report["key"] == item["key"]);
        same("lab_report", report.ok_or_else(|| format!("no report {}", item["key"]))?, item)?;
    }
    Ok(())
}
