//! Asking Terra for history: once per kind and window, at the installation's pace, with a reaction to every refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{API_KEY, DEV_ID, Engine, Options, TestApp, eventually, now_seconds, terra_says, within};

crate::on_every_engine!(
    a_connect_before_our_eyes_asks_once_for_each_kind_and_window,
    a_connect_of_long_ago_and_data_ask_for_nothing,
    no_days_of_history_ask_for_nothing,
    inline_answers_need_no_webhooks,
    every_refusal_has_its_own_reaction,
    a_used_up_allowance_lets_the_other_jobs_of_a_user_rest,
    refused_credentials_pause_the_environment,
    the_rate_bounds_the_installation,
    the_daily_maximum_bounds_the_installation,
    a_revoked_connection_is_not_asked_for,
    a_wish_for_days_that_wait_already_names_what_asks_for_them,
    all_chunks_of_a_large_request_land,
    a_job_survives_a_crash_in_the_middle_of_its_request,
);

/// The simulator makes up months of samples for each backfill, on a machine that runs other tests too.
const ANSWERED: Duration = Duration::from_secs(90);

const KINDS: [&str; 7] = ["activity", "athlete", "body", "daily", "menstruation", "nutrition", "sleep"];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Somebody connects at Terra, now; the webhook says so.
async fn connect(app: &TestApp, user: &str) -> String {
    let answer = app.terra_control("users", json!({ "reference_id": user, "provider": "GARMIN" })).await;
    text(&answer["user"]["user_id"]).to_owned()
}

/// The requests for data that Terra got.
async fn data_requests(app: &TestApp) -> Vec<Value> {
    let requests = app.terra_requests().await;
    requests.into_iter().filter(|request| KINDS.contains(&kind_of(request))).collect()
}

fn kind_of(request: &Value) -> &str {
    text(&request["path"]).rsplit('/').next().unwrap_or_default()
}

fn parameters(request: &Value) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text(&request["query"]).as_bytes()).into_owned().collect()
}

async fn jobs(app: &TestApp) -> Vec<Value> {
    app.all("/v1/fetches").await
}

async fn in_state(app: &TestApp, states: &[&str]) -> usize {
    jobs(app).await.iter().filter(|job| states.contains(&text(&job["state"]))).count()
}

async fn known(app: &TestApp, user: &str) {
    let path = format!("/v1/users/{user}/connections");
    eventually("the connection is known", || async { !app.all(&path).await.is_empty() }).await;
}

/// Every job has got its answer.
async fn all_answered(app: &TestApp) {
    within(ANSWERED, "every job is answered", || async {
        let jobs = jobs(app).await;
        !jobs.is_empty() && jobs.iter().all(|job| job["state"] != "queued")
    })
    .await;
}

/// Something holds and goes on to hold: looked at again and again for a while.
async fn stays<F: Future<Output = bool>>(what: &str, time: Duration, mut check: impl FnMut() -> F) {
    let started = Instant::now();
    while started.elapsed() < time {
        assert!(check().await, "no longer: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn fault(app: &TestApp, kind: &str, mut fault: Value) {
    fault["path"] = json!(format!("/{kind}"));
    app.terra_control("faults", fault).await;
}

fn seconds_ahead(job: &Value) -> i64 {
    text(&job["run_at"]).parse::<jiff::Timestamp>().unwrap().as_second() - now_seconds()
}

async fn a_connect_before_our_eyes_asks_once_for_each_kind_and_window(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "60")).await;
    let terra_user_id = connect(&app, "ann").await;
    all_answered(&app).await;
    app.quiet().await;
    let jobs = jobs(&app).await;
    let mut windows: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for job in &jobs {
        let day = |name: &str| text(&job[name]).parse::<jiff::civil::Date>().unwrap();
        windows.entry(text(&job["type"])).or_default().push(i64::from((day("end") - day("start")).get_days()));
    }
    assert!(windows.len() >= 5, "{windows:?}");
    for (kind, mut days) in windows {
        days.sort_unstable();
        // Cut at the ends of months: how many there are depends on today.
        assert!(days.iter().all(|days| (1..=28).contains(days)), "{kind}: {days:?}");
        if kind == "athlete" {
            assert_eq!(days.len(), 1);
        } else {
            assert_eq!(days.iter().sum::<i64>(), 60, "{kind}: {days:?}");
        }
    }
    let requests = data_requests(&app).await;
    assert_eq!(requests.len(), jobs.len(), "one request per job");
    let mut asked = BTreeSet::new();
    for request in &requests {
        let parameters = parameters(request);
        assert_eq!((&*parameters["user_id"], &*parameters["to_webhook"]), (&*terra_user_id, "true"));
        let window = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        asked.insert((kind_of(request).to_owned(), window("start_date"), window("end_date")));
    }
    assert_eq!(asked.len(), jobs.len(), "each for another kind or window");
    for job in jobs.iter().filter(|job| job["type"] != "athlete") {
        let wanted = (text(&job["type"]).to_owned(), text(&job["start"]).to_owned(), text(&job["end"]).to_owned());
        assert!(asked.contains(&wanted), "{wanted:?}");
    }
    eventually("the history arrives", || async {
        app.quiet().await;
        !app.all("/v1/users/ann/activities").await.is_empty() && app.all("/v1/users/ann/dailies").await.len() >= 59
    })
    .await;
    let origins: BTreeSet<String> = app
        .events()
        .await
        .iter()
        .filter(|event| event["data"]["record"].is_string())
        .map(|event| text(&event["data"]["origin"]).to_owned())
        .collect();
    assert_eq!(origins, BTreeSet::from(["backfill".to_owned()]));
    app.end().await;
}

async fn a_connect_of_long_ago_and_data_ask_for_nothing(engine: Engine) {
    let app = TestApp::start(engine).await;
    let long_ago = json!({ "reference_id": "ann", "created_at": "2024-01-15T09:30:00Z" });
    app.terra_control("users", long_ago).await;
    app.terra_control("events", json!({ "type": "activity", "reference_id": "bob" })).await;
    known(&app, "ann").await;
    known(&app, "bob").await;
    app.quiet().await;
    assert!(jobs(&app).await.is_empty());
    assert!(data_requests(&app).await.is_empty());
    app.end().await;
}

async fn no_days_of_history_ask_for_nothing(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    connect(&app, "ann").await;
    known(&app, "ann").await;
    app.quiet().await;
    assert!(jobs(&app).await.is_empty());
    assert!(data_requests(&app).await.is_empty());
    app.end().await;
}

async fn inline_answers_need_no_webhooks(engine: Engine) {
    let options = Options::default().set("LANDFALL_FETCH_MODE", "inline").set("LANDFALL_BACKFILL_DAYS", "30");
    let app = TestApp::start_with(engine, options).await;
    connect(&app, "ann").await;
    all_answered(&app).await;
    app.quiet().await;
    assert_eq!(in_state(&app, &["done", "nothing"]).await, jobs(&app).await.len());
    assert!(!app.all("/v1/users/ann/activities").await.is_empty());
    assert!(app.all("/v1/users/ann/dailies").await.len() >= 29);
    for request in data_requests(&app).await {
        assert_eq!(parameters(&request)["to_webhook"], "false");
    }
    let sent = app.http.get(format!("{}/_simulator/deliveries", app.terra.base_url())).send().await.unwrap();
    let sent: Value = sent.json().await.unwrap();
    assert_eq!(sent["items"].as_array().unwrap().len(), 1, "the auth and no data: {sent}");
    app.end().await;
}

async fn every_refusal_has_its_own_reaction(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "7")).await;
    let wait = 3;
    let faults = [
        ("activity", json!({ "status": 403 })),
        ("sleep", json!({ "status": 404 })),
        ("daily", json!({ "status": 410 })),
        ("body", json!({ "status": 424 })),
        ("menstruation", json!({ "status": 500, "html": true })),
        ("nutrition", json!({ "status": 429, "retry_after": wait })),
    ];
    for (kind, one) in faults {
        fault(&app, kind, one).await;
    }
    // A provider with every kind.
    app.terra_control("users", json!({ "reference_id": "ann", "provider": "GOOGLE" })).await;
    all_answered(&app).await;
    let jobs = jobs(&app).await;
    let job = |kind: &str| jobs.iter().find(|job| job["type"] == kind).unwrap_or_else(|| panic!("no job for {kind}"));
    for (kind, status, reason) in
        [("activity", 403, "not_enabled"), ("sleep", 404, "user_unknown_to_terra"), ("daily", 410, "endpoint_gone")]
    {
        let job = job(kind);
        assert_eq!((text(&job["state"]), text(&job["reason"]), &job["status"]), ("failed", reason, &json!(status)));
    }
    for (kind, attempts) in [("body", 1), ("menstruation", 1), ("nutrition", 0)] {
        let job = job(kind);
        assert_eq!((text(&job["state"]), &job["attempts"]), ("requested", &json!(attempts)), "{kind}: {job}");
    }
    let requests = data_requests(&app).await;
    let at = |kind: &str| -> Vec<i64> {
        requests.iter().filter(|one| kind_of(one) == kind).map(|one| one["at_ms"].as_i64().unwrap()).collect()
    };
    for kind in ["activity", "sleep", "daily"] {
        assert_eq!(at(kind).len(), 1, "{kind} is not asked again");
    }
    for (kind, at_least) in [("body", 8_000), ("menstruation", 8_000), ("nutrition", wait * 1_000)] {
        let at = at(kind);
        assert_eq!(at.len(), 2, "{kind}");
        // The first answer was written a moment before it was logged as decided upon.
        assert!(at[1] - at[0] >= at_least - 100, "{kind}: asked again after {} ms", at[1] - at[0]);
    }
    app.end().await;
}

async fn a_used_up_allowance_lets_the_other_jobs_of_a_user_rest(engine: Engine) {
    let app = TestApp::start_with(
        engine,
        Options::default().set("LANDFALL_BACKFILL_DAYS", "60").set("LANDFALL_FETCH_RATE", "5"),
    )
    .await;
    let used_up = json!({
        "status": 200,
        "body": { "status": "success", "type": "activity", "reference": "reference-1" },
        "headers": { "X-Terra-RateLimit-Remaining": "0", "X-Terra-RateLimit-Reset-After": "600" },
    });
    for kind in KINDS {
        fault(&app, kind, used_up.clone()).await;
    }
    let ann = connect(&app, "ann").await;
    let path = format!("/v1/fetches?terra_user_id={ann}");
    eventually("the rest of her jobs is put off", || async {
        let jobs = app.all(&path).await;
        let queued: Vec<&Value> = jobs.iter().filter(|job| job["state"] == "queued").collect();
        !queued.is_empty() && queued.len() < jobs.len() && queued.iter().all(|job| seconds_ahead(job) > 500)
    })
    .await;
    app.http.delete(format!("{}/_simulator/faults", app.terra.base_url())).send().await.unwrap();
    // Somebody else has an allowance of their own.
    let bob = connect(&app, "bob").await;
    let path = format!("/v1/fetches?terra_user_id={bob}");
    within(ANSWERED, "bob's jobs run", || async {
        let jobs = app.all(&path).await;
        !jobs.is_empty() && jobs.iter().all(|job| job["state"] == "requested")
    })
    .await;
    let of_ann = data_requests(&app).await.iter().filter(|request| parameters(request)["user_id"] == ann).count();
    assert!((1..=32).contains(&of_ann), "{of_ann}: those already under way, and hers still rest");
    let jobs = app.all(&format!("/v1/fetches?terra_user_id={ann}")).await;
    let rest: Vec<&Value> = jobs.iter().filter(|job| job["state"] == "queued").collect();
    assert_eq!(rest.len(), jobs.len() - of_ann);
    assert!(rest.iter().all(|job| seconds_ahead(job) > 500));
    app.end().await;
}

async fn refused_credentials_pause_the_environment(engine: Engine) {
    let app = TestApp::start_with(
        engine,
        Options::default().set("LANDFALL_BACKFILL_DAYS", "60").set("LANDFALL_FETCH_RATE", "5"),
    )
    .await;
    for kind in KINDS {
        fault(&app, kind, json!({ "status": 401, "times": 1_000 })).await;
    }
    connect(&app, "ann").await;
    eventually("every job waits", || async {
        let jobs = jobs(&app).await;
        !jobs.is_empty() && jobs.iter().all(|job| job["state"] == "queued" && seconds_ahead(job) > 200)
    })
    .await;
    let jobs = jobs(&app).await;
    assert!(jobs.iter().all(|job| job["attempts"] == 0), "no try is used up");
    assert!(jobs.iter().any(|job| job["reason"] == "credentials_refused" && job["status"] == 401));
    let asked = data_requests(&app).await.len();
    assert!(asked < jobs.len(), "{asked} of {} were asked although the first was refused", jobs.len());
    let errors: Vec<Value> = app
        .logs()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["level"] == "ERROR" && text(&line["message"]).contains("credentials"))
        .collect();
    assert!(!errors.is_empty(), "an operator is told");
    assert!(!app.logs().contains(API_KEY), "and not what the key is");
    app.end().await;
}

async fn the_rate_bounds_the_installation(engine: Engine) {
    let options = Options::default().set("LANDFALL_BACKFILL_DAYS", "60").set("LANDFALL_FETCH_RATE", "3");
    let app = TestApp::start_with(engine, options).await;
    connect(&app, "ann").await;
    all_answered(&app).await;
    let mut at: Vec<i64> = data_requests(&app).await.iter().map(|one| one["at_ms"].as_i64().unwrap()).collect();
    at.sort_unstable();
    assert!(at.len() >= 15, "{}", at.len());
    // Three at once, and three more each second. A request may be on its way for a while, hence one second of grace.
    let seconds = (at[at.len() - 1] - at[0]) / 1_000;
    assert!(at.len() as i64 <= 3 + 3 * (seconds + 2), "{} requests in {seconds} s", at.len());
    assert!(seconds >= 2, "{} requests in {seconds} s", at.len());
    app.end().await;
}

async fn the_daily_maximum_bounds_the_installation(engine: Engine) {
    let options = Options::default().set("LANDFALL_BACKFILL_DAYS", "28").set("LANDFALL_FETCH_DAILY_MAX", "3");
    let app = TestApp::start_with(engine, options).await;
    connect(&app, "ann").await;
    eventually("three are asked", || async { in_state(&app, &["requested"]).await == 3 }).await;
    stays("three requests and no more", Duration::from_secs(2), || async { data_requests(&app).await.len() == 3 })
        .await;
    let jobs = jobs(&app).await;
    assert_eq!(jobs.iter().filter(|job| job["state"] == "queued").count(), jobs.len() - 3, "the others wait");
    app.end().await;
}

async fn a_revoked_connection_is_not_asked_for(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "28")).await;
    for kind in KINDS {
        fault(&app, kind, json!({ "status": 429, "retry_after": 6, "times": 1_000 })).await;
    }
    let ann = connect(&app, "ann").await;
    eventually("the provider's limit was told, and every job waits", || async {
        let jobs = jobs(&app).await;
        jobs.iter().any(|job| job["reason"] == "provider_rate_limited") && jobs.iter().all(|job| seconds_ahead(job) > 0)
    })
    .await;
    let asked = data_requests(&app).await.len();
    app.terra_control(&format!("users/{ann}/access_revoked"), json!({})).await;
    eventually("revoked", || async { app.all("/v1/users/ann/connections").await[0]["status"] == "revoked" }).await;
    all_answered(&app).await;
    let jobs = jobs(&app).await;
    assert!(jobs.iter().all(|job| job["state"] == "failed" && job["reason"] == "revoked"), "{jobs:?}");
    assert_eq!(data_requests(&app).await.len(), asked, "not asked again");
    let (status, problem) = app.post("/v1/users/ann/fetches", json!({ "from": "2026-01-01" })).await;
    assert_eq!((status, text(&problem["code"])), (409, "no_connection"));
    app.end().await;
}

async fn all_chunks_of_a_large_request_land(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    let ann = connect(&app, "ann").await;
    known(&app, "ann").await;
    let today = jiff::Timestamp::from_second(now_seconds()).unwrap().to_zoned(jiff::tz::TimeZone::UTC).date();
    let start = (today - jiff::Span::new().days(90)).to_string();
    let ask = |to_webhook: &'static str| {
        let query = [
            ("user_id", ann.as_str()),
            ("start_date", &start),
            ("end_date", &today.to_string()),
            ("to_webhook", to_webhook),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = app.http.get(format!("{}/daily", app.terra.api_url())).query(&query);
        let request = request.header("dev-id", DEV_ID).header("x-api-key", API_KEY);
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let expected = ask("false").await["data"].as_array().unwrap().len();
    assert!(expected >= 89);
    let reference = text(&ask("true").await["reference"]).to_owned();
    eventually("all of it lands", || async { app.all("/v1/users/ann/dailies").await.len() == expected }).await;
    app.quiet().await;
    let deliveries = app.all("/v1/deliveries").await;
    let chunks: Vec<&Value> = deliveries
        .iter()
        .filter(|delivery| delivery["reference"] == *reference && delivery["type"] == "daily")
        .collect();
    assert!(chunks.len() >= 9, "{} chunks", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk["outcome"] == "processed"));
    app.end().await;
}

async fn a_job_survives_a_crash_in_the_middle_of_its_request(engine: Engine) {
    let options = Options::default().set("LANDFALL_BACKFILL_DAYS", "7").set("LANDFALL_FETCH_MODE", "inline");
    let mut app = TestApp::start_with(engine, options).await;
    fault(&app, "activity", json!({ "delay_ms": 20_000 })).await;
    fault(&app, "sleep", json!({ "delay_ms": 20_000 })).await;
    connect(&app, "ann").await;
    eventually("two requests are under way", || async {
        let faults = app.http.get(format!("{}/_simulator/faults", app.terra.base_url())).send().await.unwrap();
        faults.json::<Value>().await.unwrap()["items"] == json!([])
    })
    .await;
    app.processes[0].kill();
    app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    app.internal = app.processes[0].internal;
    let before = jobs(&app).await;
    assert!(before.iter().any(|job| job["type"] == "activity" && job["state"] == "queued"), "{before:?}");
    // Whoever leased the jobs might still be at it: they are free again after two minutes.
    within(Duration::from_secs(180), "every job is answered", || async {
        jobs(&app).await.iter().all(|job| job["state"] != "queued")
    })
    .await;
    app.quiet().await;
    let after = jobs(&app).await;
    assert!(after.iter().all(|job| ["done", "nothing"].contains(&text(&job["state"]))), "{after:?}");
    let dailies = app.all("/v1/users/ann/dailies").await;
    assert!(dailies.len() >= 6, "{}", dailies.len());
    let told: Vec<String> = app
        .events()
        .await
        .iter()
        .filter(|event| event["type"] == "landfall.sleep.upserted.v1")
        .map(|event| text(&event["data"]["record"]).to_owned())
        .collect();
    assert!(!told.is_empty());
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "each record once");
    app.end().await;
}

/// Asked for by the API: cut into windows as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requested_fetch_is_cut_into_windows() {
    let app = TestApp::start_with(Engine::Embedded, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    app.terra_control("users", json!({ "reference_id": "ann", "user_id": "terra-ann" })).await;
    known(&app, "ann").await;
    assert_eq!(app.send(&terra_says::activity(terra_says::user("terra-bob", Some("bob")), "s", 1.0), &[]).await, 200);
    let (status, answer) = app
        .post("/v1/users/ann/fetches", json!({ "types": ["daily"], "from": "2026-01-01", "to": "2026-03-02" }))
        .await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["items"].as_array().unwrap().len(), 4, "two of January, February, and a day of March");
    all_answered(&app).await;
    assert_eq!(data_requests(&app).await.len(), 4);
    let (status, _) = app.post("/v1/users/nobody/fetches", json!({ "from": "2026-01-01" })).await;
    assert_eq!(status, 409);
    app.end().await;
}

/// Days that wait already are asked for once, and the answer says by which requests.
async fn a_wish_for_days_that_wait_already_names_what_asks_for_them(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    app.terra_control("users", json!({ "reference_id": "ann", "user_id": "terra-ann" })).await;
    known(&app, "ann").await;
    fault(&app, "daily", json!({ "status": 429, "retry_after": 600, "times": 1_000 })).await;
    let ids = |answer: &Value| -> BTreeSet<String> {
        answer["items"].as_array().unwrap().iter().map(|item| text(&item["id"]).to_owned()).collect()
    };
    let mut named = Vec::new();
    for (from, to) in [("2026-01-01", "2026-01-08"), ("2026-01-02", "2026-01-05"), ("2026-01-05", "2026-01-15")] {
        let (status, answer) =
            app.post("/v1/users/ann/fetches", json!({ "types": ["daily"], "from": from, "to": to })).await;
        assert_eq!(status, 202, "{answer}");
        assert!(!ids(&answer).is_empty(), "{from} to {to}: {answer}");
        named.push(ids(&answer));
        // What waits for its turn, and not what is asked at this moment, can be leant on alone.
        eventually("every job rests", || async { jobs(&app).await.iter().all(|job| seconds_ahead(job) > 0) }).await;
    }
    assert_eq!(named[1], named[0], "the same days again");
    let there: BTreeSet<String> = jobs(&app).await.iter().map(|job| text(&job["id"]).to_owned()).collect();
    let unknown: Vec<_> = named.iter().flatten().filter(|id| !there.contains(*id)).collect();
    assert!(unknown.is_empty(), "{unknown:?} of {named:?} are not there");
    app.end().await;
}
