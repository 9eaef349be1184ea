//! After an outage: what was missed is counted, sent again, asked for, and the end is a sentence.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, now_seconds};

crate::on_every_engine!(
    what_terra_could_not_deliver_is_sent_again,
    what_cannot_be_sent_again_is_asked_for_or_named,
    without_terras_log_every_connection_is_asked,
    a_recovery_is_counted_first_and_asked_about,
    another_process_goes_on_where_one_stopped,
);

const TOKEN: &str = "terra_at_simulated";
const USER: &str = "terra-ann";

fn with_log() -> Options {
    Options::default()
        .set("LANDFALL_TERRA_ADMIN_TOKEN", TOKEN)
        .set("LANDFALL_RECOVER_RATE", "100")
        .set("LANDFALL_BACKFILL_DAYS", "0")
}

async fn connect(app: &TestApp) {
    app.terra_control("users", json!({ "user_id": USER, "reference_id": "ann" })).await;
    eventually("ann is connected", || async { app.all("/v1/users/ann/connections").await.len() == 1 }).await;
    app.quiet().await;
}

/// Terra makes events while nobody answers.
async fn outage(app: &TestApp, events: &[(&str, u32)]) {
    app.terra.set_webhook_url(Some("http://127.0.0.1:9/nobody".into()));
    let mut expected = 0;
    for (kind, count) in events {
        let url = format!("{}/_simulator/events", app.terra.base_url());
        for _ in 0..*count {
            // It answers 502: nobody took it.
            app.http.post(&url).json(&json!({ "type": kind, "user_id": USER })).send().await.unwrap();
        }
        expected += *count as usize;
    }
    eventually("Terra has given up", || async { failed(app).await.len() == expected }).await;
    app.terra.set_webhook_url(Some(app.webhook_url()));
}

/// What Terra's log says it could not deliver.
async fn failed(app: &TestApp) -> Vec<Value> {
    let url =
        format!("{}/environments/{}/events?outcome=failed&limit=500", app.terra.admin_url(), crate::harness::DEV_ID);
    let answer = app.http.get(url).bearer_auth(TOKEN).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["data"].as_array().unwrap().clone()
}

fn span() -> (String, String) {
    let at = |seconds: i64| jiff::Timestamp::from_second(now_seconds() + seconds).unwrap().to_string();
    (at(-3_600), at(5))
}

async fn recover(app: &TestApp, more: &[&str]) -> (i32, String) {
    let (from, to) = span();
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    let arguments = [&["recover", "--from", &from, "--to", &to], more].concat();
    Process::run(&arguments, &settings).await
}

async fn data_requests(app: &TestApp) -> usize {
    let is_data = |one: &Value| {
        let path = one["path"].as_str().unwrap();
        ["/sleep", "/daily", "/activity", "/body", "/nutrition"].iter().any(|kind| path.ends_with(kind))
    };
    app.terra_requests().await.iter().filter(|one| is_data(one)).count()
}

async fn what_terra_could_not_deliver_is_sent_again(engine: Engine) {
    let app = TestApp::start_with(engine, with_log()).await;
    connect(&app).await;
    outage(&app, &[("sleep", 2), ("daily", 1), ("permission_change", 1)]).await;
    let before = app.all("/v1/users/ann/sleeps").await.len();
    let (code, said) = recover(&app, &["--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("We received nothing from"), "{said}");
    assert!(said.contains("Terra's log has 4 events that it could not deliver"), "{said}");
    assert!(said.contains("Complete: 4 of 4 events that Terra could not deliver have arrived"), "{said}");
    app.quiet().await;
    assert!(app.all("/v1/users/ann/sleeps").await.len() > before);
    let recovery = app.all("/v1/recoveries").await.remove(0);
    assert_eq!((&recovery["state"], &recovery["progress"]["resent"]), (&json!("complete"), &json!(4)), "{recovery}");
    assert_eq!((&recovery["progress"]["cost_events"], data_requests(&app).await), (&json!(4), 0), "{recovery}");
    // A second one finds nothing to do: Terra's log still has the failures, but they have arrived.
    let (code, said) = recover(&app, &["--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Complete: 0 of 0 events"), "{said}");
    app.end().await;
}

async fn what_cannot_be_sent_again_is_asked_for_or_named(engine: Engine) {
    let app = TestApp::start_with(engine, with_log()).await;
    connect(&app).await;
    outage(&app, &[("sleep", 1), ("hormone", 1)]).await;
    let path = format!("/api/v3/admin/environments/{}/events/resend", crate::harness::DEV_ID);
    app.terra_control("faults", json!({ "path": path, "status": 404, "times": 2 })).await;
    let (code, said) = recover(&app, &["--yes"]).await;
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("Incomplete: still missing are events that nothing brings back (1 hormone)"), "{said}");
    let recovery = app.all("/v1/recoveries").await.remove(0);
    assert_eq!(
        (&recovery["progress"]["lost"], &recovery["progress"]["requests"]),
        (&json!(2), &json!(1)),
        "{recovery}"
    );
    assert_eq!(data_requests(&app).await, 1, "the sleep of the days around it");
    let (code, said) = recover(&app, &["--yes", "--types", "sleep", "-o", "json"]).await;
    assert_eq!(code, 0, "what was not asked for is not missed: {said}");
    app.end().await;
}

async fn without_terras_log_every_connection_is_asked(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    connect(&app).await;
    let (code, said) = recover(&app, &["--yes", "--types", "sleep,daily,hormone"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("LANDFALL_TERRA_ADMIN_TOKEN is not set"), "{said}");
    assert!(said.contains("1 connections are asked for their data"), "{said}");
    assert_eq!(data_requests(&app).await, 2, "sleep and daily; hormone has no history at Terra");
    let fetches = app.all("/v1/fetches?user=ann").await;
    assert_eq!(fetches.len(), 2, "{fetches:?}");
    app.end().await;
}

async fn a_recovery_is_counted_first_and_asked_about(engine: Engine) {
    let app = TestApp::start_with(engine, with_log()).await;
    connect(&app).await;
    outage(&app, &[("sleep", 3)]).await;
    let (code, said) = recover(&app, &["--dry-run", "-o", "json"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("and at least 3 events on Terra's bill"), "{said}");
    let (code, said) = recover(&app, &[]).await;
    assert_eq!(code, 7, "nobody is there to ask: {said}");
    assert_eq!(failed(&app).await.len(), 3, "nothing was sent again");
    assert!(app.all("/v1/recoveries").await.iter().all(|one| one["state"] == "previewed"));
    for (body, code) in [
        (json!({ "from": "2026-03-02", "to": "2026-03-01" }), "bad_body"),
        (json!({ "from": "yesterday", "to": "2026-03-01" }), "bad_body"),
        (json!({ "from": "2026-03-01", "to": "2026-03-02", "types": ["dreams"] }), "bad_body"),
        (json!({ "from": "2026-03-01" }), "bad_body"),
    ] {
        let (status, problem) = app.post("/v1/recoveries", body.clone()).await;
        assert_eq!((status, &problem["code"]), (400, &json!(code)), "{body}");
    }
    let unknown = app.http.get(app.api("/v1/recoveries/0197a5c2-0000-7000-8000-000000000000")).send().await.unwrap();
    assert_eq!(unknown.status().as_u16(), 404);
    app.terra_control("settings", json!({ "admin_token": "terra_at_new" })).await;
    let (code, said) = recover(&app, &["--dry-run"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("LANDFALL_TERRA_ADMIN_TOKEN") && !said.contains(TOKEN), "{said}");
    app.end().await;
}

async fn another_process_goes_on_where_one_stopped(engine: Engine) {
    if engine != Engine::Embedded {
        return;
    }
    let mut app = TestApp::start_with(engine, with_log().set("LANDFALL_RECOVER_RATE", "2")).await;
    connect(&app).await;
    outage(&app, &[("sleep", 6)]).await;
    let (from, to) = span();
    let (status, recovery) = app.post("/v1/recoveries", json!({ "from": from, "to": to })).await;
    assert_eq!(status, 202, "{recovery}");
    let path = format!("/v1/recoveries/{}", recovery["id"].as_str().unwrap());
    eventually("it has begun to send again", || async { app.get(&path).await["state"] == "resending" }).await;
    app.end_process().await;
    app.start_again().await;
    app.terra.set_webhook_url(Some(app.webhook_url()));
    eventually("it is over", || async { !app.get(&path).await["finished_at"].is_null() }).await;
    let recovery = app.get(&path).await;
    assert_eq!((&recovery["state"], &recovery["progress"]["arrived"]), (&json!("complete"), &json!(6)), "{recovery}");
    app.end().await;
}
