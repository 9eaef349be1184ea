//! Requests whose signature fails: kept with the reason, told apart from an attack, let in when they pass.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, Options, SECRET, TestApp, eventually, now_seconds, terra_says};

crate::on_every_engine!(
    a_failed_signature_is_kept_with_the_part_that_is_wrong,
    retries_of_the_same_bytes_are_one_row_with_a_count,
    what_passes_with_the_secret_of_today_is_let_in_once,
    a_genuine_request_from_the_future_is_let_in_when_its_time_has_come,
    a_wrong_secret_is_told_from_an_attack,
    a_failure_is_counted_for_the_environment_whose_it_is,
    a_flood_is_answered_at_once_and_bounded,
    what_is_too_large_or_too_old_is_not_kept,
);

const OTHER: &str = "secret-of-production-0001";

fn sleep_of(number: usize) -> Value {
    terra_says::activity(terra_says::user("terra-ann", Some("ann")), &format!("run-{number}"), 5_000.0)
}

/// Posts bytes as they are; answers status and body.
async fn post(app: &TestApp, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, String) {
    let mut request = app.http.post(format!("http://{}{path}", app.public));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn post_signed(app: &TestApp, secret: &str, number: usize) -> u16 {
    let body = sleep_of(number).to_string();
    let signature = simulator::sign(secret, now_seconds(), body.as_bytes());
    let trace = format!("trace-{number}");
    let headers = [("x-terra-signature", signature.as_str()), ("x-terra-trace-id", trace.as_str())];
    post(app, "/webhooks/terra", &headers, body).await.0
}

async fn quarantined(app: &TestApp, count: usize) -> Vec<Value> {
    eventually("all are in the quarantine", || async { app.all("/v1/quarantine").await.len() == count }).await;
    let mut items = app.all("/v1/quarantine").await;
    items.reverse();
    items
}

/// Two environments of which each has an address of its own.
async fn with_production(engine: Engine) -> (TestApp, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("landfall.toml");
    std::fs::write(&file, format!("[[environment]]\nname = \"production\"\nsigning_secrets = [\"{OTHER}\"]\n"))
        .unwrap();
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_CONFIG", file.display().to_string())).await;
    (app, dir)
}

async fn a_failed_signature_is_kept_with_the_part_that_is_wrong(engine: Engine) {
    let (app, _dir) = with_production(engine).await;
    let body = |number: usize| sleep_of(number).to_string();
    let sign = |secret: &str, ahead: i64, body: &str| simulator::sign(secret, now_seconds() + ahead, body.as_bytes());
    let pretty = serde_json::to_string_pretty(&sleep_of(6)).unwrap();
    // What is at fault, the signature, the body that comes, and whose secret fits after all.
    let cases: Vec<(&str, Option<String>, String, Value)> = vec![
        ("header_missing", None, body(1), Value::Null),
        ("header_malformed", Some("v1=00".into()), body(2), Value::Null),
        ("time_future", Some(sign(SECRET, 900, &body(3))), body(3), Value::Null),
        ("other_environment", Some(sign(OTHER, 0, &body(4))), body(4), json!("production")),
        ("body_changed", Some(sign(SECRET, 0, &body(5))), format!("{}\n", body(5)), json!("default")),
        ("body_changed", Some(sign(SECRET, 0, &pretty)), body(6), json!("default")),
        ("secret_or_body", Some(sign("secret-of-nobody-here", 0, &body(7))), body(7), Value::Null),
    ];
    let mut answers = Vec::new();
    for (part, signature, body, _) in &cases {
        let mut headers = vec![("x-terra-trace-id", "trace-1")];
        headers.extend(signature.as_ref().map(|signature| ("x-terra-signature", signature.as_str())));
        let (status, answer) = post(&app, "/webhooks/terra/default", &headers, body.clone()).await;
        assert_eq!(status, 401, "{part}");
        answers.push(answer);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "a 401 has a constant body");

    let items = quarantined(&app, cases.len()).await;
    let found: Vec<(&str, &Value)> =
        items.iter().map(|item| (item["why"]["part"].as_str().unwrap(), &item["why"]["environment"])).collect();
    assert_eq!(found, cases.iter().map(|(part, _, _, fits)| (*part, fits)).collect::<Vec<_>>());
    let future = items.iter().find(|item| item["why"]["part"] == "time_future").unwrap();
    assert_eq!(
        (&future["type"], &future["terra_user_id"], &future["trace_id"], &future["has_body"]),
        (&json!("activity"), &json!("terra-ann"), &json!("trace-1"), &json!(true))
    );
    assert!(items.iter().all(|item| item["signature"].is_null()), "signatures are not shown");
    let bare = items.iter().find(|item| item["why"]["part"] == "header_missing").unwrap();
    assert_eq!((&bare["has_body"], &bare["environment"]), (&json!(false), &json!("default")), "not even read");
    app.end().await;
}

async fn retries_of_the_same_bytes_are_one_row_with_a_count(engine: Engine) {
    let app = TestApp::start(engine).await;
    for number in [1, 1, 2, 1] {
        assert_eq!(post_signed(&app, OTHER, number).await, 401);
    }
    eventually("all four are counted", || async {
        let items = app.all("/v1/quarantine").await;
        let mut seen: Vec<u64> = items.iter().map(|item| item["seen"].as_u64().unwrap()).collect();
        seen.sort_unstable();
        seen == [1, 3]
    })
    .await;
    assert_eq!(app.metric("landfall_quarantine_rows").await, 2.0);
    assert!(app.metric("landfall_quarantine_bytes").await > 0.0);
    assert_eq!(app.all("/v1/quarantine?part=secret_or_body").await.len(), 2);
    assert!(app.all("/v1/quarantine?part=time_future").await.is_empty());
    let answer = app.http.get(app.api("/v1/quarantine?part=nothing")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    app.end().await;
}

async fn what_passes_with_the_secret_of_today_is_let_in_once(engine: Engine) {
    let mut app = TestApp::start_with(engine, Options::default().set("LANDFALL_PAYLOADS_INLINE_MAX", "100")).await;
    for number in [1, 2] {
        assert_eq!(post_signed(&app, OTHER, number).await, 401);
    }
    assert_eq!(post_signed(&app, "secret-of-nobody-here", 3).await, 401);
    quarantined(&app, 3).await;
    let reverify = |dry_run: bool| app.post("/v1/quarantine/reverify", json!({ "dry_run": dry_run }));
    let (status, tally) = reverify(false).await;
    assert_eq!((status, &tally["examined"], &tally["passing"]), (200, &json!(3), &json!(0)), "{tally}");

    // The other secret is a second one from now on, as while one is exchanged.
    app.end_process().await;
    app.settings.insert("LANDFALL_TERRA_SIGNING_SECRETS".into(), format!("{SECRET},{OTHER}"));
    app.start_again().await;
    let (status, tally) = app.post("/v1/quarantine/reverify", json!({ "dry_run": true })).await;
    assert_eq!((status, &tally["passing"], &tally["admitted"]), (200, &json!(2), &json!(0)), "{tally}");
    assert_eq!(tally["failing"], json!({ "secret_or_body": 1 }));
    assert_eq!(app.all("/v1/quarantine").await.len(), 3, "a dry run lets nothing in");

    // Terra has sent one of them again meanwhile: it counts once.
    assert_eq!(post_signed(&app, OTHER, 1).await, 200);
    app.quiet().await;
    let url = format!("http://{}", app.internal);
    let (code, said) = Process::run(&["quarantine", "reverify", "--url", &url], &app.settings).await;
    assert_eq!(code, 7, "nobody is there to ask: {said}");
    let (code, said) = Process::run(&["quarantine", "reverify", "--yes", "--url", &url], &app.settings).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 of 3 requests pass now; still failing: 1 secret_or_body"), "{said}");
    assert!(said.contains("\"admitted\": 2"), "{said}");
    app.quiet().await;
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), 2);
    let outcomes: Vec<Value> =
        app.all("/v1/deliveries").await.into_iter().map(|delivery| delivery["outcome"].clone()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "duplicate").count(), 1, "{outcomes:?}");
    assert_eq!(quarantined(&app, 1).await[0]["why"]["part"], "secret_or_body");
    let (code, said) = Process::run(&["quarantine", "list", "-o", "csv", "--url", &url], &app.settings).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("secret_or_body") && said.contains("no secret fits"), "{said}");
    app.end().await;
}

async fn a_genuine_request_from_the_future_is_let_in_when_its_time_has_come(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_SIGNATURE_TOLERANCE", "2s")).await;
    let body = sleep_of(1).to_string();
    let signature = simulator::sign(SECRET, now_seconds() + 5, body.as_bytes());
    assert_eq!(post(&app, "/webhooks/terra", &[("x-terra-signature", &signature)], body).await.0, 401);
    assert_eq!(quarantined(&app, 1).await[0]["why"]["part"], "time_future");
    eventually("its time has come", || async {
        let (_, tally) = app.post("/v1/quarantine/reverify", json!({})).await;
        tally["admitted"] == 1
    })
    .await;
    app.quiet().await;
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), 1);
    assert!(app.all("/v1/quarantine").await.is_empty());
    app.end().await;
}

async fn a_wrong_secret_is_told_from_an_attack(engine: Engine) {
    let app = TestApp::start(engine).await;
    let app_there = &app;
    let burst = |cause: &'static str| async move {
        app_there.metric(&format!("landfall_signature_burst{{cause=\"{cause}\"}}")).await
    };
    for number in 0..12 {
        assert_eq!(post_signed(&app, OTHER, number).await, 401);
    }
    eventually("a wrong secret is suspected", || async { burst("wrong_secret").await == 1.0 }).await;
    assert_eq!(burst("attack").await, 0.0);
    for number in 0..12 {
        let body = format!("probe {number}");
        assert_eq!(post(&app, "/webhooks/terra", &[("x-terra-signature", "t=1,v1=00")], body).await.0, 401);
    }
    eventually("an attack is suspected as well", || async { burst("attack").await == 1.0 }).await;
    assert_eq!((burst("wrong_secret").await, burst("clock").await, burst("proxy").await), (1.0, 0.0, 0.0));
    let of_terra = "landfall_signature_failures_total{part=\"secret_or_body\",shape=\"terra\",environment=\"default\"}";
    assert_eq!(app.metric(of_terra).await, 12.0);
    assert_eq!(app.send(&sleep_of(99), &[]).await, 200);
    eventually("what Terra signs passes, so that its secret is right", || async { burst("wrong_secret").await == 0.0 })
        .await;
    assert_eq!(burst("attack").await, 1.0);
    app.quiet().await;
    app.end().await;
}

/// A destination's streak of failures is its environment's own, so that is what an alarm needs to know.
async fn a_failure_is_counted_for_the_environment_whose_it_is(engine: Engine) {
    let (app, _dir) = with_production(engine).await;
    let nobody = "secret-of-nobody-here";
    let cases = [
        ("/webhooks/terra/production", nobody, "secret_or_body", "production"),
        ("/webhooks/terra/default", nobody, "secret_or_body", "default"),
        // Signed by production, and sent to another's address.
        ("/webhooks/terra/default", OTHER, "other_environment", "production"),
        ("/webhooks/terra", nobody, "secret_or_body", ""),
    ];
    for (number, (path, secret, part, environment)) in cases.into_iter().enumerate() {
        let body = sleep_of(number).to_string();
        let signature = simulator::sign(secret, now_seconds(), body.as_bytes());
        let trace = format!("trace-{number}");
        let headers = [("x-terra-signature", signature.as_str()), ("x-terra-trace-id", trace.as_str())];
        let series = format!(
            "landfall_signature_failures_total{{part=\"{part}\",shape=\"terra\",environment=\"{environment}\"}}"
        );
        assert_eq!(app.metric(&series).await, 0.0, "{series}");
        assert_eq!(post(&app, path, &headers, body).await.0, 401);
        eventually(&series, || async { app.metric(&series).await == 1.0 }).await;
    }
    let accepted_at = |environment: &str| {
        let series = format!("landfall_webhook_last_accepted_timestamp_seconds{{environment=\"{environment}\"}}");
        let app = &app;
        async move { app.metric(&series).await }
    };
    let begun = now_seconds() as f64;
    assert_eq!(app.send(&sleep_of(9), &[]).await, 200);
    assert!(accepted_at("default").await >= begun);
    assert_eq!(accepted_at("production").await, 0.0, "nothing of it was accepted");
    app.quiet().await;
    app.end().await;
}

async fn a_flood_is_answered_at_once_and_bounded(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_QUARANTINE_MAX", "64KiB")).await;
    let signature = simulator::sign(OTHER, now_seconds(), b"");
    let slowest = std::sync::Mutex::new(Duration::ZERO);
    let (flood, slow) = (600_u32, &slowest);
    let one = |number: u32| {
        let (app, signature) = (&app, &signature);
        async move {
            let body = format!("{number}").repeat(2_000);
            let begun = Instant::now();
            assert_eq!(post(app, "/webhooks/terra", &[("x-terra-signature", signature)], body).await.0, 401);
            let mut slow = slow.lock().unwrap();
            *slow = begun.elapsed().max(*slow);
        }
    };
    for numbers in (0..flood).collect::<Vec<_>>().chunks(50) {
        futures_util::future::join_all(numbers.iter().map(|number| one(*number))).await;
    }
    assert!(*slowest.lock().unwrap() < Duration::from_secs(2), "{:?}", slowest.lock().unwrap());
    eventually("every one is examined or counted as dropped", || async {
        app.metric("landfall_signature_failures_total").await == f64::from(flood)
    })
    .await;
    eventually("no more is kept than fits", || async {
        let bytes = app.metric("landfall_quarantine_bytes").await;
        bytes > 0.0 && bytes <= 65_536.0
    })
    .await;
    // What is Terra's drives out what is not.
    assert_eq!(post_signed(&app, OTHER, 1).await, 401);
    eventually("the one of Terra's is kept", || async {
        app.all("/v1/quarantine").await.iter().any(|item| item["looks_like_terra"] == true)
    })
    .await;
    assert_eq!(app.send(&sleep_of(9), &[]).await, 200, "genuine ones pass meanwhile");
    app.quiet().await;
    app.end().await;
}

async fn what_is_too_large_or_too_old_is_not_kept(engine: Engine) {
    // Without a worker nobody does the upkeep, until one is started.
    let mut app = TestApp::start_with(engine, Options::default().processes(&["receive,api"])).await;
    let large = "x".repeat(9 * 1_024 * 1_024);
    let signature = simulator::sign(OTHER, now_seconds(), large.as_bytes());
    assert_eq!(post(&app, "/webhooks/terra", &[("x-terra-signature", &signature)], large).await.0, 401);
    assert_eq!(post_signed(&app, OTHER, 1).await, 401);
    let items = quarantined(&app, 2).await;
    let shown: Vec<(u64, bool)> =
        items.iter().map(|item| (item["size_bytes"].as_u64().unwrap(), item["has_body"] == true)).collect();
    assert!(shown.contains(&(9 * 1_024 * 1_024, false)), "of a large one the facts: {shown:?}");
    assert!(shown.iter().any(|(_, has_body)| *has_body), "{shown:?}");
    app.end_process().await;
    app.settings.insert("LANDFALL_QUARANTINE_KEEP".into(), "1ms".into());
    app.settings.insert("LANDFALL_QUARANTINE_MAX".into(), "0".into());
    app.start_again().await;
    eventually("what is old is forgotten", || async { app.all("/v1/quarantine").await.is_empty() }).await;
    assert_eq!(post_signed(&app, OTHER, 2).await, 401);
    eventually("it is counted", || async { app.metric("landfall_signature_failures_total").await == 1.0 }).await;
    assert!(app.all("/v1/quarantine").await.is_empty(), "and nothing is kept of it");
    app.end().await;
}

#[cfg(feature = "services")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_delays_no_answer_and_what_is_lost_is_counted() {
    let options = Options::default().through_proxies(true, true);
    let mut app = TestApp::start_with(Engine::Cluster, options).await;
    let proxies = app.proxies.take().unwrap();
    proxies.database.close();
    for number in 0..5 {
        let begun = Instant::now();
        assert_eq!(post_signed(&app, OTHER, number).await, 401);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    eventually("all are counted as dropped", || async {
        app.metric("landfall_quarantine_dropped_total{reason=\"store\"}").await == 5.0
    })
    .await;
    proxies.database.open();
    assert_eq!(post_signed(&app, OTHER, 1).await, 401);
    eventually("the next one is kept", || async {
        let Ok(answer) = app.http.get(app.api("/v1/quarantine")).send().await else { return false };
        let page: Value = answer.json().await.unwrap_or_default();
        page["items"].as_array().is_some_and(|items| items.len() == 1)
    })
    .await;
    app.end().await;
}
