//! Terra's own list of users: what it tells that no webhook did, and what it must never do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, now_seconds, terra_says};

crate::on_every_engine!(
    a_missed_auth_is_found_on_every_page,
    who_is_gone_at_terra_is_revoked_and_says_why,
    a_list_that_is_not_whole_revokes_nobody,
    many_gone_at_once_are_refused,
    what_terra_sent_and_we_lack_is_fetched,
    one_person_is_looked_up_by_reference_in_either_shape,
    the_schedule_asks_by_itself,
);

const HOUR_MS: i64 = 3_600_000;

fn rfc3339(ms_ago: i64) -> String {
    let at = now_seconds() * 1_000 - ms_ago;
    jiff::Timestamp::from_millisecond(at).unwrap().to_string()
}

/// A user whom Terra knows and of whom it tells nobody.
async fn unannounced(app: &TestApp, id: &str, reference: &str) {
    let body =
        json!({ "user_id": id, "reference_id": reference, "announce": false, "created_at": rfc3339(2 * HOUR_MS) });
    app.terra_control("users", body).await;
}

/// Delivers what Terra made this long ago.
async fn deliver(app: &TestApp, body: &Value, ms_ago: i64) {
    let at = now_seconds() * 1_000 - ms_ago;
    assert_eq!(app.send(body, &[("x-terra-ordering-timestamp", &at.to_string())]).await, 200);
}

async fn ghost(app: &TestApp, name: &str) {
    let user = || terra_says::user(&format!("terra-{name}"), Some(name));
    deliver(app, &terra_says::auth(user()), 2 * HOUR_MS).await;
    deliver(app, &terra_says::activity(user(), &format!("run-{name}"), 1.0), HOUR_MS).await;
}

/// Runs a reconcile to its end.
async fn reconcile(app: &TestApp, wanted: Value) -> Value {
    app.quiet().await;
    let (status, run) = app.post("/v1/reconciles", wanted).await;
    assert_eq!((status, &run["state"]), (202, &json!("queued")), "{run}");
    let path = format!("/v1/reconciles/{}", run["id"].as_str().unwrap());
    eventually("the reconcile is over", || async { !app.get(&path).await["finished_at"].is_null() }).await;
    app.quiet().await;
    app.get(&path).await
}

async fn status_of(app: &TestApp, user: &str) -> Value {
    let connections = app.all(&format!("/v1/users/{user}/connections")).await;
    connections.first().map_or(Value::Null, |connection| connection["status"].clone())
}

async fn told(app: &TestApp, kind: &str) -> Vec<Value> {
    let kind = format!("landfall.{kind}.v1");
    app.events().await.into_iter().filter(|event| event["type"] == kind.as_str()).collect()
}

async fn a_missed_auth_is_found_on_every_page(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    for number in 0..507 {
        unannounced(&app, &format!("terra-{number}"), &format!("person-{number}")).await;
    }
    let run = reconcile(&app, json!({ "dry_run": true })).await;
    assert_eq!((&run["state"], &run["counts"]["new"]), (&json!("done"), &json!(507)), "{run}");
    assert_eq!(status_of(&app, "person-506").await, Value::Null, "a dry run changes nothing");
    let run = reconcile(&app, json!({})).await;
    assert_eq!((&run["counts"]["seen"], &run["counts"]["new"]), (&json!(507), &json!(507)), "{run}");
    assert_eq!(status_of(&app, "person-0").await, "active");
    assert_eq!(status_of(&app, "person-506").await, "active");
    let connected = told(&app, "connection.connected").await;
    assert_eq!(connected.len(), 507);
    assert!(connected.iter().all(|event| event["data"]["origin"] == "reconcile"));
    let pages = app
        .terra_requests()
        .await
        .iter()
        .filter(|one| one["path"].as_str().unwrap().ends_with("/subscriptions"))
        .count();
    assert_eq!(pages, 4, "two pages, twice");
    let again = reconcile(&app, json!({})).await;
    assert_eq!((&again["counts"]["new"], &again["counts"]["changed"]), (&json!(0), &json!(0)), "{again}");
    // The webhook that was late after all says nothing new.
    deliver(&app, &terra_says::auth(terra_says::user("terra-0", Some("person-0"))), HOUR_MS).await;
    app.quiet().await;
    assert_eq!(told(&app, "connection.connected").await.len(), 507);
    app.end().await;
}

async fn who_is_gone_at_terra_is_revoked_and_says_why(engine: Engine) {
    let app = TestApp::start(engine).await;
    unannounced(&app, "terra-ann", "ann").await;
    ghost(&app, "ann").await;
    ghost(&app, "bob").await;
    let look = reconcile(&app, json!({ "dry_run": true })).await;
    assert_eq!((&look["counts"]["revoked"], status_of(&app, "bob").await), (&json!(1), json!("active")), "{look}");
    let run = reconcile(&app, json!({})).await;
    assert_eq!((&run["state"], &run["counts"]["revoked"]), (&json!("done"), &json!(1)), "{run}");
    assert_eq!((status_of(&app, "ann").await, status_of(&app, "bob").await), (json!("active"), json!("revoked")));
    let revoked = told(&app, "connection.revoked").await;
    assert_eq!(revoked.len(), 1);
    assert_eq!((&revoked[0]["subject"], &revoked[0]["data"]["origin"]), (&json!("bob"), &json!("reconcile")));
    let history = app.all("/v1/auth-events?type=reconcile&terra_user_id=terra-bob").await;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0]["detail"]["found"], "gone");
    // The deauth that was late says nothing new; a connect that is newer does.
    deliver(&app, &terra_says::deauth(terra_says::user("terra-bob", Some("bob"))), 30 * 60_000).await;
    app.quiet().await;
    assert_eq!(told(&app, "connection.revoked").await.len(), 1);
    deliver(&app, &terra_says::auth(terra_says::user("terra-bob", Some("bob"))), 0).await;
    eventually("bob is back", || async { status_of(&app, "bob").await == "active" }).await;
    app.end().await;
}

async fn a_list_that_is_not_whole_revokes_nobody(engine: Engine) {
    let app = TestApp::start(engine).await;
    ghost(&app, "bob").await;
    let pages = |data: Value| json!({ "path": "/subscriptions", "status": 200, "body": data });
    let broken = [
        json!({ "path": "/subscriptions", "status": 403 }),
        json!({ "path": "/subscriptions", "status": 200, "html": true }),
        pages(json!({ "data": { "next": 7, "max_page": null, "results": [] } })),
        pages(json!({ "message": "try later" })),
    ];
    for fault in broken {
        app.terra_control("faults", fault.clone()).await;
        let run = reconcile(&app, json!({})).await;
        assert_eq!(run["state"], "failed", "{fault}: {run}");
        assert!(run["text"].as_str().unwrap().contains("nobody was revoked"), "{run}");
        assert_eq!(status_of(&app, "bob").await, "active", "{fault}");
    }
    // A page moved while it was read: Terra knows the user when asked.
    unannounced(&app, "terra-bob", "bob").await;
    app.terra_control("faults", pages(json!({ "data": { "next": null, "max_page": 0, "results": [] } }))).await;
    let run = reconcile(&app, json!({})).await;
    assert_eq!((&run["state"], &run["counts"]["unconfirmed"]), (&json!("done"), &json!(1)), "{run}");
    assert_eq!(status_of(&app, "bob").await, "active");
    app.end().await;
}

async fn many_gone_at_once_are_refused(engine: Engine) {
    let app = TestApp::start(engine).await;
    for name in ["ann", "bob", "eve", "ida", "max"] {
        ghost(&app, name).await;
    }
    unannounced(&app, "terra-new", "new").await;
    let run = reconcile(&app, json!({})).await;
    assert_eq!((&run["state"], &run["counts"]["revoked"]), (&json!("refused"), &json!(0)), "{run}");
    assert_eq!(
        run["reason"],
        "5 of 5 connections of the environment `default` are not on Terra's list, more than 20 %"
    );
    assert_eq!(status_of(&app, "ann").await, "active");
    assert_eq!(status_of(&app, "new").await, "active", "all else is done");
    assert!((app.metric("landfall_reconcile_refused").await - 1.0).abs() < 0.1);
    assert!(app.get("/v1/stats").await["reconcile"]["text"].as_str().unwrap().starts_with("nobody was revoked"));
    let (code, said) = command(&app, &["reconcile", "--yes"]).await;
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("5 of 6 connections"), "{said}");
    app.end().await;
}

async fn command(app: &TestApp, arguments: &[&str]) -> (i32, String) {
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    Process::run(arguments, &settings).await
}

async fn what_terra_sent_and_we_lack_is_fetched(engine: Engine) {
    let app = TestApp::start(engine).await;
    unannounced(&app, "terra-ann", "ann").await;
    let ann = || terra_says::user("terra-ann", Some("ann"));
    deliver(&app, &terra_says::auth(ann()), 100 * HOUR_MS).await;
    deliver(&app, &terra_says::activity(ann(), "run", 1.0), 90 * HOUR_MS).await;
    let mut listed = ann();
    listed["last_webhook_update"] = json!(rfc3339(20 * HOUR_MS));
    let list = json!({ "path": "/subscriptions", "status": 200, "times": 2, "body": { "users": [listed] } });
    app.terra_control("faults", list).await;
    let run = reconcile(&app, json!({})).await;
    assert_eq!(run["counts"]["gaps"], 1, "{run}");
    let jobs = run["counts"]["jobs"].as_u64().unwrap();
    assert!(jobs >= 5, "{run}");
    let fetches = app.all("/v1/fetches?user=ann").await;
    assert_eq!(fetches.len() as u64, jobs);
    eventually("Terra is asked", || async {
        let asked = app.terra_requests().await;
        asked.iter().any(|one| one["path"].as_str().unwrap().ends_with("/sleep"))
    })
    .await;
    let again = reconcile(&app, json!({})).await;
    assert_eq!(again["state"], "done", "{again}");
    assert_eq!(app.all("/v1/fetches?user=ann").await.len() as u64, jobs, "the same gap is asked for once");
    app.end().await;
}

async fn one_person_is_looked_up_by_reference_in_either_shape(engine: Engine) {
    let app = TestApp::start(engine).await;
    for (dialect, name) in [("newer", "ann"), ("older", "bob")] {
        app.terra_control("settings", json!({ "dialect": dialect })).await;
        unannounced(&app, &format!("terra-{name}"), name).await;
        unannounced(&app, &format!("terra-{name}-2"), &format!("not-{name}")).await;
        let (code, said) = command(&app, &["reconcile", "--reference", name, "-o", "json"]).await;
        assert_eq!(code, 0, "{said}");
        let run: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&run["counts"]["seen"], &run["counts"]["new"]), (&json!(1), &json!(1)), "{dialect}: {run}");
        assert_eq!(status_of(&app, name).await, "active", "{dialect}");
        assert_eq!(status_of(&app, &format!("not-{name}")).await, Value::Null, "{dialect}");
    }
    ghost(&app, "eve").await;
    app.quiet().await;
    let (code, said) = command(&app, &["reconcile", "--reference", "eve"]).await;
    assert_eq!(code, 7, "revoking needs a yes: {said}");
    let (code, said) = command(&app, &["reconcile", "--reference", "eve", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(status_of(&app, "eve").await, "revoked");
    let lists = app.terra_requests().await;
    assert!(
        lists.iter().all(|one| !one["path"].as_str().unwrap().ends_with("/subscriptions")),
        "nobody else is listed"
    );
    for (path, status, code) in [
        ("/v1/reconciles/0197a5c2-0000-7000-8000-000000000000", 404, "unknown_reconcile"),
        ("/v1/reconciles?after=x", 400, "bad_cursor"),
    ] {
        let answer = app.http.get(app.api(path)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code, "{path}");
    }
    assert!(app.all("/v1/reconciles").await.len() >= 6);
    let (status, problem) = app.post("/v1/reconciles", json!({ "environment": "nowhere" })).await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_body")));
    app.end().await;
}

async fn the_schedule_asks_by_itself(engine: Engine) {
    let options = Options::default().set("LANDFALL_RECONCILE_EVERY", "1s");
    let app = TestApp::start_with(engine, options).await;
    unannounced(&app, "terra-ann", "ann").await;
    eventually("ann is connected", || async { status_of(&app, "ann").await == "active" }).await;
    let runs = app.all("/v1/reconciles").await;
    assert!(runs.iter().all(|run| run["scheduled"] == true), "{runs:?}");
    app.end().await;
}
