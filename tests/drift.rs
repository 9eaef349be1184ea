//! What Terra's schema does not have: counted per kind and provider, without a value, and no reason to fail.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, TestApp, eventually, now, terra_says};

crate::on_every_engine!(what_nobody_has_documented_is_counted_and_kept);

/// Must be seen nowhere but in the document.
const CANARY: &str = "canary-value-918273";

fn user(id: &str, provider: &str) -> Value {
    let mut user = terra_says::user(id, Some(id));
    user["provider"] = json!(provider);
    user
}

fn drifted(user: Value, run: &str) -> Value {
    let mut event = terra_says::activity(user, run, 1_000.0);
    event["data"][0]["metadata"]["weather"] = json!({ "sky": CANARY });
    event["data"][0]["distance_data"]["summary"]["steps"] = json!([CANARY]);
    event
}

async fn sightings(app: &TestApp, filter: &str) -> Vec<Value> {
    app.get(&format!("/v1/drift{filter}")).await["items"].as_array().unwrap().clone()
}

fn one<'a>(sightings: &'a [Value], kind: &str, provider: &str, path: &str) -> &'a Value {
    let fits = |row: &&Value| row["kind"] == kind && row["provider"] == provider && row["path"] == path;
    let found: Vec<&Value> = sightings.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{kind} {provider} `{path}`: {sightings:?}");
    found[0]
}

fn at(row: &Value, name: &str) -> Timestamp {
    row[name].as_str().unwrap().parse().unwrap()
}

async fn what_nobody_has_documented_is_counted_and_kept(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (ann, bob) = (user("ann", "GARMIN"), user("bob", "OURA"));
    let before = now();
    let moon = json!({ "type": "moon_phase", "user": ann.clone(), "phase": CANARY });
    for body in [drifted(ann.clone(), "run-1"), drifted(ann.clone(), "run-2"), drifted(bob, "run-3"), moon] {
        assert_eq!(app.send(&body, &[]).await, 200);
    }
    app.quiet().await;
    eventually("all is written down", || async {
        let seen = sightings(&app, "").await;
        let count = |row: &Value| row["seen"].as_u64().unwrap();
        seen.iter().map(count).sum::<u64>() >= 7
    })
    .await;
    let after = now();

    let all = sightings(&app, "").await;
    let weather = one(&all, "activity", "GARMIN", "metadata.weather");
    assert_eq!((&weather["found"], &weather["seen"]), (&json!("object"), &json!(2)), "a new field");
    let shape = one(&all, "activity", "GARMIN", "distance_data.summary.steps");
    assert_eq!((&shape["found"], &shape["seen"]), (&json!("array"), &json!(2)), "a known field of another shape");
    assert_eq!(one(&all, "activity", "OURA", "metadata.weather")["seen"], 1, "each provider for itself");
    let kind = one(&all, "moon_phase", "GARMIN", "");
    assert_eq!((&kind["found"], &kind["seen"]), (&json!("event"), &json!(1)), "a new kind");
    for row in &all {
        let (first, last) = (at(row, "first_seen"), at(row, "last_seen"));
        assert!(before <= first && first <= last && last <= after, "{row}");
    }
    assert!(at(weather, "first_seen") < at(weather, "last_seen"), "{weather}");
    let of_oura = sightings(&app, "?provider=oura&kind=activity").await;
    assert!(!of_oura.is_empty() && of_oura.iter().all(|row| row["provider"] == "OURA"), "{of_oura:?}");

    for (user, runs) in [("ann", 2), ("bob", 1)] {
        let activities = app.all(&format!("/v1/users/{user}/activities")).await;
        assert_eq!(activities.len(), runs, "nothing failed");
        assert_eq!(activities[0]["distance_meters"], 1_000.0, "what is known is there");
        assert_eq!(activities[0]["steps"], Value::Null, "what has another shape is not");
    }
    assert!(app.all("/v1/dead-letters").await.is_empty());

    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    let (code, said) = Process::run(&["drift", "--provider", "garmin", "-o", "table"], &settings).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("metadata.weather") && said.contains("moon_phase") && !said.contains("OURA"), "{said}");
    let (_, said) = Process::run(&["drift", "--kind", "sleep", "-o", "table"], &settings).await;
    assert!(said.contains("nothing that Terra's schema does not have"), "{said}");

    let metrics = app.http.get(app.api("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("landfall_drift_total"), "{metrics}");
    for text in [Value::from(all).to_string(), metrics, app.logs()] {
        assert!(!text.contains(CANARY) && !text.contains("918273"), "a value was printed: {text}");
    }
    app.end().await;
}
