//! One event of every type, in both dialects, signed and posted: what each has led to, through the API.
//!
//! The events are the simulator's golden files; what must have been read of them is checked in beside the tests of
//! `terra`. Each event gets people of its own, so that no event covers for another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Engine, TestApp};

crate::on_every_engine!(every_event_of_terras_specification_takes_effect);

/// As the golden files have them.
const USER: &str = "0b7f4f3e-6d5a-4c5e-9a53-0d7c1f6f2a11";
const OLD_USER: &str = "65624707-bfd2-4987-b9dd-66fb511c1fdf";
const REFERENCE: &str = "person-1";

/// One event with people of its own.
struct Sent {
    name: String,
    user: String,
    old_user: String,
    person: String,
    body: Value,
}

fn golden(folder: &str) -> BTreeMap<String, String> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| (file.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&file).unwrap()))
        .collect()
}

fn events() -> Vec<Sent> {
    let made = golden("simulator/tests/golden").into_iter().map(|(name, text)| {
        let (user, old_user, person) = (format!("user-{name}"), format!("old-{name}"), format!("person-{name}"));
        let text = text.replace(USER, &user).replace(OLD_USER, &old_user).replace(REFERENCE, &person);
        Sent { body: serde_json::from_str(&text).unwrap(), name, user, old_user, person }
    });
    made.collect()
}

async fn every_event_of_terras_specification_takes_effect(engine: Engine) {
    let app = TestApp::start(engine).await;
    let read = golden("terra/tests/golden");
    let sent = events();
    assert!(sent.len() > 40, "{} events", sent.len());
    let pointed_to = sent.iter().find(|event| event.name == "activity.newer").unwrap().body.clone();
    for event in &sent {
        post(&app, event, &pointed_to).await;
    }
    app.quiet().await;
    for event in &sent {
        let read: Value = serde_json::from_str(&read[&event.name]).unwrap();
        let name = &event.name;
        match event.body["type"].as_str().unwrap() {
            "auth" if event.body["status"] == "success" => {
                is(&app, name, &event.user, "active").await;
                told(&app, event, "connected").await;
                remembered(&app, event, true).await;
            }
            "auth" | "auth_cancelled" => {
                let known = app.all(&format!("/v1/connections?terra_user_id={}", event.user)).await;
                assert!(known.is_empty(), "{name}: a failed attempt is no connection");
                failed_attempt(&app, event).await;
            }
            "user_reauth" => {
                is(&app, name, &event.user, "active").await;
                let old = app.all(&format!("/v1/connections?terra_user_id={}", event.old_user)).await;
                assert_eq!(old[0]["terra_user_id"], event.user, "{name}: the old id leads to the new one");
                remembered(&app, event, true).await;
            }
            "deauth" | "access_revoked" => {
                is(&app, name, &event.user, "revoked").await;
                remembered(&app, event, true).await;
            }
            "connection_error" => {
                is(&app, name, &event.user, "degraded").await;
                remembered(&app, event, true).await;
            }
            "permission_change" => {
                let found = is(&app, name, &event.user, "active").await;
                assert_eq!(found["scopes"], json!(["activity:read", "daily:read"]), "{name}");
                remembered(&app, event, true).await;
            }
            "s3_payload" | "s3_upload" => {
                let records = app.all(&format!("/v1/users/{}/activities", event.person)).await;
                assert_eq!(records.len(), 1, "{name}: downloaded and processed");
            }
            "lab_report.failed" => of_nobody_yet(&app, event).await,
            kind => match plural(kind) {
                Some(plural) => recorded(&app, event, plural, &read["items"]).await,
                None => {
                    let known = app.all(&format!("/v1/connections?terra_user_id={}", event.user)).await;
                    assert!(known.is_empty(), "{name} states nothing of anybody");
                }
            },
        }
    }
    all_are_processed(&app, sent.len()).await;
    app.end().await;
}

/// Posts the event as it is; an event that points to a payload needs one that is there.
async fn post(app: &TestApp, event: &Sent, pointed_to: &Value) {
    let name = &event.name;
    let kind = event.body["type"].as_str().unwrap();
    if matches!(kind, "s3_payload" | "s3_upload") {
        let mut body = pointed_to.clone();
        body["user"]["user_id"] = json!(event.user);
        body["user"]["reference_id"] = json!(event.person);
        app.terra_control("events", json!({ "body": body, "ping": { "spelling": kind } })).await;
    } else {
        assert_eq!(app.send(&event.body, &[("x-terra-trace-id", name)]).await, 200, "{name}");
    }
}

/// The path under which records of the events of that type are listed.
fn plural(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "activity" => "activities",
        "sleep" => "sleeps",
        "daily" => "dailies",
        "body" => "bodies",
        "nutrition" => "nutritions",
        "menstruation" => "menstruations",
        "hormone" => "hormones",
        "health_observation" => "observations",
        "athlete" => "athletes",
        "planned_workout" => "planned-workouts",
        "lab_report" | "lab_report.completed" => "lab-reports",
        _ => return None,
    })
}

async fn is(app: &TestApp, name: &str, user: &str, status: &str) -> Value {
    let found = app.all(&format!("/v1/connections?terra_user_id={user}")).await;
    assert_eq!(found.len(), 1, "{name}");
    assert_eq!(found[0]["status"], status, "{name}");
    found[0].clone()
}

/// The event log says it, once.
async fn told(app: &TestApp, event: &Sent, verb: &str) {
    let told = app.events().await;
    let told = told.iter().filter(|told| {
        told["type"] == format!("landfall.connection.{verb}.v1") && told["data"]["terra_user_id"] == event.user
    });
    assert_eq!(told.count(), 1, "{}: {verb}", event.name);
}

/// The history of connects and disconnects has it.
async fn remembered(app: &TestApp, event: &Sent, succeeded: bool) {
    let history = app.all(&format!("/v1/auth-events?terra_user_id={}", event.user)).await;
    assert_eq!(history.len(), 1, "{}", event.name);
    assert_eq!(history[0]["type"], event.body["type"], "{}", event.name);
    assert_eq!(history[0]["succeeded"], json!(succeeded), "{}", event.name);
}

async fn failed_attempt(app: &TestApp, event: &Sent) {
    let history = app.all("/v1/auth-events").await;
    let attempt = history.iter().find(|attempt| attempt["reference_id"] == event.person);
    let attempt = attempt.unwrap_or_else(|| panic!("{}: not in {history:?}", event.name));
    assert_eq!((&attempt["succeeded"], &attempt["type"]), (&json!(false), &event.body["type"]), "{}", event.name);
    let told = app.events().await;
    let told = told
        .iter()
        .filter(|told| told["type"] == "landfall.auth.failed.v1" && told["data"]["reference_id"] == event.person);
    assert_eq!(told.count(), 1, "{}", event.name);
}

/// Every item is a record of the person, with every value that was read of it, and was told of once.
async fn recorded(app: &TestApp, event: &Sent, plural: &str, items: &Value) {
    let name = &event.name;
    let found = app.all(&format!("/v1/users/{}/{plural}", event.person)).await;
    let items = items.as_array().unwrap();
    assert!(!items.is_empty() && found.len() == items.len(), "{name}: {} of {} records", found.len(), items.len());
    for item in items {
        let record = found.iter().find(|record| record["key"] == item["key"]);
        let record = record.unwrap_or_else(|| panic!("{name}: no record {}", item["key"]));
        for time in ["start_time", "end_time"] {
            assert_eq!(record[time], item[time], "{name}: {time}");
        }
        let mut compared = 0;
        for (column, value) in item["values"].as_object().unwrap().iter().filter(|(_, value)| !value.is_null()) {
            // The reference is the only value that names the event's own person.
            let wanted = if *value == REFERENCE { &json!(event.person) } else { value };
            let same = match (record[column].as_f64(), wanted.as_f64()) {
                (Some(found), Some(wanted)) => (found - wanted).abs() < 1e-9,
                _ => record[column] == *wanted,
            };
            assert!(same, "{name}: {column} is {}, not {wanted}", record[column]);
            compared += 1;
        }
        assert!(compared > 2, "{name}: {compared} values");
        let told = app.events().await;
        assert_eq!(told.iter().filter(|told| told["data"]["record"] == record["id"]).count(), 1, "{name}");
    }
}

/// A report that failed names no reference: it is kept until somebody says whose it is.
async fn of_nobody_yet(app: &TestApp, event: &Sent) {
    let deliveries = app.all(&format!("/v1/deliveries?type={}", event.name.trim_end_matches(".newer"))).await;
    assert_eq!(deliveries.len(), 1, "{}", event.name);
    assert_eq!(deliveries[0]["rows"], 1, "{}", event.name);
}

/// The ledger has each delivery, none of them set aside or dead, nothing unread and nothing strange.
async fn all_are_processed(app: &TestApp, count: usize) {
    let deliveries = app.all("/v1/deliveries").await;
    assert_eq!(deliveries.len(), count);
    for delivery in &deliveries {
        assert_eq!(delivery["outcome"], "processed", "{delivery}");
        assert!(delivery["unread"].is_null(), "{delivery}");
    }
    assert_eq!(app.all("/v1/dead-letters").await, Vec::<Value>::new());
    assert_eq!(app.get("/v1/drift").await["items"], json!([]));
}
