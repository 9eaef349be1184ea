//! Backfills end to end: what is lost is found missing and asked for again; a thousand histories stay within Terra's
//! budget and hold up nobody who waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, within};

crate::on_every_engine!(
    a_lost_chunk_is_asked_for_again_alone,
    announcements_after_their_chunks_and_duplicates_count_once,
    a_provider_that_is_down_rests_and_others_go_on,
    thousands_of_histories_stay_within_the_budget_and_starve_nobody,
);

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn day(days_ago: i64) -> String {
    let today = jiff::Timestamp::from_second(crate::harness::now_seconds()).unwrap();
    let today = today.to_zoned(jiff::tz::TimeZone::UTC).date();
    today.checked_sub(jiff::Span::new().days(days_ago)).unwrap().to_string()
}

/// One large request where it is possible, and no history on connect.
fn large() -> Options {
    Options::default()
        .set("LANDFALL_BACKFILL_DAYS", "0")
        .set("LANDFALL_FETCH_WINDOW_DAYS", "1825")
        .set("LANDFALL_BACKFILL_STALL", "10s")
}

async fn connect(app: &TestApp, user: &str, provider: &str) -> String {
    let answer = app.terra_control("users", json!({ "reference_id": user, "provider": provider })).await;
    let path = format!("/v1/users/{user}/connections");
    eventually("the connection is known", || async { !app.all(&path).await.is_empty() }).await;
    text(&answer["user"]["user_id"]).to_owned()
}

/// Asks for ninety days of dailies; answers the id of the backfill.
async fn ask(app: &TestApp, user: &str) -> String {
    let wanted = json!({ "types": ["daily"], "from": day(100), "to": day(10) });
    let (status, answer) = app.post(&format!("/v1/users/{user}/fetches"), wanted).await;
    assert_eq!(status, 202, "{answer}");
    text(&answer["backfills"][0]).to_owned()
}

async fn settled(app: &TestApp, id: &str) -> Value {
    let path = format!("/v1/backfills/{id}");
    within(Duration::from_secs(60), "the backfill is settled", || async { app.get(&path).await["state"] != "open" })
        .await;
    app.get(&path).await
}

async fn events_of_backfills(app: &TestApp) -> Vec<(String, Value)> {
    let is_one = |event: &Value| text(&event["type"]).starts_with("landfall.backfill.");
    let events = app.events().await.into_iter().filter(is_one);
    events.map(|event| (text(&event["type"]).to_owned(), event)).collect()
}

fn parameters(request: &Value) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text(&request["query"]).as_bytes()).into_owned().collect()
}

async fn daily_requests(app: &TestApp) -> Vec<BTreeMap<String, String>> {
    let requests = app.terra_requests().await;
    requests.iter().filter(|request| text(&request["path"]).ends_with("/daily")).map(parameters).collect()
}

async fn a_lost_chunk_is_asked_for_again_alone(engine: Engine) {
    let app = TestApp::start_with(engine, large()).await;
    connect(&app, "ann", "GARMIN").await;
    app.terra_control("large_requests", json!({ "type": "daily", "lose": [5] })).await;
    let id = ask(&app, "ann").await;
    let path = format!("/v1/backfills/{id}");
    within(Duration::from_secs(60), "all but one chunk is there", || async {
        let backfill = app.get(&path).await;
        backfill["missing"] == json!(1) && backfill["received"].as_u64() > Some(5)
    })
    .await;
    let requested = daily_requests(&app).await;
    let whole = settled(&app, &id).await;
    assert_eq!((text(&whole["state"]), &whole["missing"], &whole["progress"]), ("complete", &json!(0), &json!(1.0)));
    let again: Vec<_> = daily_requests(&app).await.into_iter().skip(requested.len()).collect();
    let days = |one: &BTreeMap<String, String>| -> i64 {
        let date = |name: &str| one[name].parse::<jiff::civil::Date>().unwrap();
        i64::from((date("end_date") - date("start_date")).get_days())
    };
    let asked: i64 = again.iter().map(days).sum();
    assert!((10..=14).contains(&asked), "the ten days of a chunk and its borders: {again:?}");
    eventually("every day is there", || async { app.all("/v1/users/ann/dailies").await.len() >= 90 }).await;
    app.quiet().await;
    let events = events_of_backfills(&app).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].0, "landfall.backfill.completed.v1");
    assert_eq!((&events[0].1["subject"], &events[0].1["data"]["backfill"]), (&json!("ann"), &json!(id)));
    assert_eq!(app.all("/v1/backfills?user=ann&state=complete").await.len(), 1);
    assert_eq!(app.all("/v1/backfills?state=open").await.len(), 0);
    assert!(app.metric("landfall_backfill_requests_again_total").await >= 1.0);
    app.end().await;
}

async fn announcements_after_their_chunks_and_duplicates_count_once(engine: Engine) {
    let app = TestApp::start_with(engine, large().set("LANDFALL_BACKFILL_STALL", "1h")).await;
    connect(&app, "ann", "GARMIN").await;
    let order = json!({ "type": "daily", "announce": "last", "reverse": true, "duplicate": [1, 4], "duplicate_after_ms": 1_500 });
    app.terra_control("large_requests", order).await;
    let id = ask(&app, "ann").await;
    let whole = settled(&app, &id).await;
    assert_eq!(text(&whole["state"]), "complete");
    eventually("the duplicates came", || async {
        let deliveries = app.all("/v1/deliveries?outcome=duplicate").await;
        deliveries.len() == 2
    })
    .await;
    app.quiet().await;
    let after = app.get(&format!("/v1/backfills/{id}")).await;
    for field in ["expected", "received", "bytes", "settled_at", "progressed_at"] {
        assert_eq!(whole[field], after[field], "{field}");
    }
    assert_eq!(events_of_backfills(&app).await.len(), 1);
    app.end().await;
}

async fn a_provider_that_is_down_rests_and_others_go_on(engine: Engine) {
    let app = TestApp::start_with(engine, large().set("LANDFALL_FETCH_MODE", "inline")).await;
    for user in ["ann", "bob", "cid"] {
        connect(&app, user, "FITBIT").await;
    }
    connect(&app, "dee", "GARMIN").await;
    app.terra_control("outages", json!({ "provider": "FITBIT" })).await;
    for user in ["ann", "bob"] {
        ask(&app, user).await;
        let path = format!("/v1/fetches?user={user}");
        eventually("it was asked and failed", || async { app.all(&path).await[0]["reason"] == "provider_failed" })
            .await;
    }
    let asked = daily_requests(&app).await.len();
    ask(&app, "cid").await;
    let whole = settled(&app, &ask(&app, "dee").await).await;
    assert_eq!(text(&whole["state"]), "complete", "another provider");
    assert!(daily_requests(&app).await.len() <= asked + 2, "cid was not asked for: FITBIT rests");
    app.end().await;
}

async fn thousands_of_histories_stay_within_the_budget_and_starve_nobody(engine: Engine) {
    // An hour that lasts six seconds: five years of six kinds take three of them.
    let (users, processes): (usize, &[&str]) = match engine {
        Engine::Embedded => (1_000, &["receive,work,api"]),
        Engine::Cluster => (100, &["receive,work,api", "work"]),
    };
    let budget = simulator::Budget { window_ms: 6_000, ..simulator::Budget::default() };
    let simulator = simulator::Settings { data: simulator::Amount::Empty, budget, ..simulator::Settings::default() };
    let options = Options::default()
        .set("LANDFALL_BACKFILL_DAYS", "1825")
        .set("LANDFALL_FETCH_WINDOW_DAYS", "1825")
        .set("LANDFALL_FETCH_BUDGET", "6000/6s")
        .set("LANDFALL_FETCH_MODE", "inline")
        .set("LANDFALL_FETCH_RATE", "5000")
        .set("LANDFALL_FETCH_DAILY_MAX", "1000000")
        .simulator(simulator)
        .processes(processes);
    let app = TestApp::start_with(engine, options).await;
    let live = json!({ "reference_id": "live", "created_at": "2024-01-15T09:30:00Z" });
    let live = text(&app.terra_control("users", live).await["user"]["user_id"]).to_owned();
    let connects = (0..users).map(|number| {
        let app = &app;
        async move { app.terra_control("users", json!({ "reference_id": format!("u{number}") })).await }
    });
    let connects = futures_util::stream::iter(connects);
    let _: Vec<Value> = futures_util::StreamExt::collect(futures_util::StreamExt::buffer_unordered(connects, 16)).await;
    let budget = || async { budget_of_terra(&app).await };
    let made = |budget: &Value| -> u64 {
        budget["items"].as_array().unwrap().iter().map(|item| item["requests"].as_u64().unwrap()).sum()
    };
    let per_user = 6 * 2;
    within(Duration::from_secs(120), "a third is asked", || async {
        made(&budget().await) > (users * per_user / 3) as u64
    })
    .await;
    // Somebody waits.
    let before = made(&budget().await);
    assert!(app.get("/v1/stats").await["fetch_open"].as_u64() > Some(100), "histories are waiting");
    let started = Instant::now();
    let wanted = json!({ "types": ["sleep"], "from": day(3) });
    let (status, answer) = app.post("/v1/users/live/fetches", wanted).await;
    assert_eq!(status, 202, "{answer}");
    eventually("it is asked", || async {
        let budget = budget().await;
        budget["items"].as_array().unwrap().iter().any(|item| item["user_id"] == json!(live))
    })
    .await;
    let meanwhile = made(&budget().await) - before;
    assert!(meanwhile < 600, "{meanwhile} other requests went before, in {:?}", started.elapsed());
    within(Duration::from_secs(180), "everything is asked", || async {
        app.get("/v1/stats").await["fetch_open"] == json!(0)
    })
    .await;
    let budget = budget().await;
    let items = budget["items"].as_array().unwrap();
    assert_eq!(items.len(), users + 1);
    for item in items {
        assert!(item["days_asked_max"].as_i64() <= Some(6_000), "{item}");
        assert_eq!(item["answered_429"], json!(0), "{item}");
    }
    let jobs = app.all("/v1/fetches").await;
    assert_eq!(made(&budget), jobs.len() as u64, "each once");
    let days: i64 = jobs
        .iter()
        .filter(|job| job["type"] != "athlete" && job["terra_user_id"] != json!(live))
        .map(|job| {
            let date = |name: &str| text(&job[name]).parse::<jiff::civil::Date>().unwrap();
            i64::from((date("end") - date("start")).get_days())
        })
        .sum();
    assert!(days >= 1_825 * 4 * users as i64, "{days} days: more than one budget each");
    eventually("every account is closed", || async { app.get("/v1/stats").await["backfills_open"] == json!(0) }).await;
    app.end().await;
}

async fn budget_of_terra(app: &TestApp) -> Value {
    let answer = app.http.get(format!("{}/_simulator/budget", app.terra.base_url())).send().await.unwrap();
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_shows_progress_and_its_dry_run_asks_for_nothing() {
    let app = TestApp::start_with(Engine::Embedded, large()).await;
    connect(&app, "ann", "GARMIN").await;
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), app.api(""))]);
    let from = day(60);
    let arguments = ["backfill", "ann", "--types", "daily", "--from", &from, "-o", "json"];
    let (code, printed) = Process::run(&[&arguments[..], &["--dry-run"]].concat(), &settings).await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("\"start\"") && app.all("/v1/fetches").await.is_empty(), "{printed}");
    let (code, printed) = Process::run(&arguments, &settings).await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("\"state\": \"complete\""), "{printed}");
    let fetches = app.all("/v1/fetches").await;
    let shown = app.get(&format!("/v1/fetches/{}", text(&fetches[0]["id"]))).await;
    assert_eq!((&shown["origin"], &shown["state"]), (&json!("request"), &json!("requested")));
    let (code, printed) = Process::run(&["backfill", "nobody"], &settings).await;
    assert_eq!(code, 1, "{printed}");
    app.end().await;
}
