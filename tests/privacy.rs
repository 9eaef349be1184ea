//! Whatever is sent, and however much is logged: nothing of a payload, no reference, no secret in logs, metrics, answers.

use serde_json::{Value, json};

use crate::harness::{API_KEY, Engine, Options, SECRET, TestApp, browser, eventually, terra_says};

crate::on_every_engine!(nothing_private_is_printed_in_json, nothing_private_is_printed_in_text);

/// Part of every text that must not be seen again.
const CANARY: &str = "canary";
/// The beginning of every number that must not be seen again.
const NUMBER: &str = "918273";
const TOKEN: &str = "canary-token-0123456789";

async fn nothing_private_is_printed_in_json(engine: Engine) {
    check(engine, "json", "trace").await;
}

async fn nothing_private_is_printed_in_text(engine: Engine) {
    check(
        engine,
        "text",
        "trace,lapin=trace,lapin::returned_messages=trace,tokio_postgres=trace,hyper=trace,actix_http=trace",
    )
    .await;
}

async fn check(engine: Engine, format: &str, level: &str) {
    let options = Options::default()
        .set("LANDFALL_LOG", level)
        .set("LANDFALL_LOG_FORMAT", format)
        .set("LANDFALL_API_TOKENS", format!("app:admin:{TOKEN}"))
        .set("LANDFALL_PUBLIC_ADDR", "127.0.0.1:0");
    let mut app = TestApp::start_with(engine, options).await;
    let token = reqwest::header::HeaderMap::from_iter([(
        reqwest::header::AUTHORIZATION,
        format!("Bearer {TOKEN}").parse().unwrap(),
    )]);
    let plain = app.http.clone();
    app.http =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).default_headers(token).build().unwrap();

    let mut answers = deliveries(&app).await;
    let (state, said) = connecting(&app).await;
    answers.extend(said);
    answers.extend(refusals(&app, &plain).await);
    answers.extend(erasing(&app).await);
    #[cfg(feature = "services")]
    if app.engine == Engine::Cluster {
        unroutable(&app).await;
    }
    app.quiet().await;
    answers.push(plain.get(app.api("/metrics")).send().await.unwrap().text().await.unwrap());
    app.end_process().await;

    let log = app.logs();
    assert!(
        log.contains("accepted delivery") && log.contains("kept a delivery without effects"),
        "nothing is logged: this test sees nothing"
    );
    let mut found = Vec::new();
    let private = [CANARY, NUMBER, SECRET, API_KEY, &state];
    for (place, text) in std::iter::once(("log", &log)).chain(answers.iter().map(|answer| ("answer", answer))) {
        for line in text.lines() {
            let lower = line.to_ascii_lowercase();
            let seen = private.iter().filter(|private| lower.contains(&private.to_ascii_lowercase()));
            found.extend(seen.map(|private| format!("{private} in the {place}: {line:.500}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    app.end().await;
}

fn canary(what: &str) -> Value {
    json!(format!("{CANARY}-{what}"))
}

fn user(id: &str) -> Value {
    let mut user = terra_says::user(&format!("{CANARY}-terra-{id}"), Some(&format!("{CANARY}-ref-{id}")));
    user["scopes"] = canary("scope");
    user["granted_scopes"] = canary("scope");
    user["provider"] = canary("PROVIDER");
    user["email"] = canary("email@app.example");
    user
}

/// An activity in which everything is private, of one user.
fn activity(id: &str, summary_id: &str) -> Value {
    let mut body = terra_says::activity(user(id), &format!("{CANARY}-{summary_id}"), 918_273.5);
    let item = &mut body["data"][0];
    item["metadata"]["name"] = canary("name");
    item["metadata"]["city"] = canary("city");
    item["distance_data"]["summary"]["steps"] = json!(918_273);
    item["heart_rate_data"]["summary"]["avg_hr_bpm"] = json!(91_827_364);
    item["calories_data"] = json!({ "total_burned_calories": 918_273.25 });
    item["device_data"] = json!({ "name": canary("device"), "serial_number": canary("serial") });
    item[canary("field").as_str().unwrap()] = json!([canary("value"), { "x": canary("value") }]);
    body
}

/// Every event of Terra's in both dialects, with every field that it may have, and nothing in it that is not private.
fn every_field() -> Vec<Value> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../simulator/tests/golden");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let events: Vec<Value> = files
        .map(|file| {
            let mut event: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
            blacken(&mut event, "");
            event
        })
        .collect();
    assert!(events.len() > 40, "{} events", events.len());
    events
}

/// What says of which sort an event is stays, and times, without which most could not be read.
fn blacken(value: &mut Value, name: &str) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| blacken(value, name)),
        Value::Array(items) => items.iter_mut().for_each(|item| blacken(item, name)),
        Value::String(_) if matches!(name, "type" | "status" | "start_time" | "end_time" | "timestamp") => {}
        Value::String(_) => *value = canary(name),
        Value::Number(number) if number.is_f64() => *value = json!(918_273.5),
        Value::Number(_) => *value = json!(918_273),
        Value::Null | Value::Bool(_) => {}
    }
}

/// People are erased whom Terra refuses to forget at first.
async fn erasing(app: &TestApp) -> Vec<String> {
    let fault =
        json!({ "path": "/auth/deauthenticateUser", "status": 500, "body": { "message": canary("from Terra") } });
    app.terra_control("faults", fault).await;
    let mut answers = Vec::new();
    for person in ["canary-ref-a", "canary-ref-nobody", "canary-reference_id"] {
        let (status, preview) = app.post("/v1/erasures", json!({ "user": person, "dry_run": true })).await;
        assert_eq!(status, 200, "{preview}");
        let (status, begun) = app.post("/v1/erasures", json!({ "user": person })).await;
        assert_eq!(status, 202, "{begun}");
        answers.extend([preview.to_string(), begun.to_string()]);
    }
    eventually("all are done", || async {
        app.all("/v1/erasures").await.iter().all(|erasure| erasure["state"] == "done")
    })
    .await;
    assert_eq!(app.send(&activity("a", "late"), &[]).await, 200);
    app.quiet().await;
    answers.push(json!(app.all("/v1/erasures").await).to_string());
    answers.push(json!(app.all("/v1/deliveries?outcome=erased").await).to_string());
    answers
}

/// Good and bad deliveries; what was answered.
async fn deliveries(app: &TestApp) -> Vec<String> {
    let long: String =
        (0..1_500).map(|number: u32| format!("{CANARY}{:x}", number.wrapping_mul(2_654_435_761))).collect();
    let mut with_nul = activity("nul", "nul");
    with_nul["user"]["user_id"] = json!("canary\u{0}nul");
    with_nul["user"]["reference_id"] = json!("canary\u{0}nul");
    with_nul["data"][0]["metadata"]["summary_id"] = json!("canary\u{0}nul");
    let mut strange_values = activity("a", "strange");
    strange_values["data"][0]["metadata"]["start_time"] = canary("time");
    strange_values["data"][0]["distance_data"] = canary("no object");
    strange_values["data"][0]["heart_rate_data"]["summary"]["avg_hr_bpm"] = canary("bpm");
    let mut no_items = activity("a", "none");
    no_items["data"] = json!([canary("no object"), 918_273, null]);
    let mut unknown = activity("a", "unknown");
    unknown["type"] = canary("type");
    let bodies = [
        terra_says::auth(user("a")),
        activity("a", "run"),
        activity("a", "run"),
        with_nul,
        activity(&long, "long"),
        strange_values,
        no_items,
        unknown,
        json!({ "type": "activity", "data": [{ "x": canary("no user") }] }),
        json!({ "type": "auth", "status": "error", "message": canary("message"), "reason": canary("reason"), "reference_id": canary("ref"), "user": user("refused") }),
        json!({ "type": "connection_error", "status": "warning", "message": canary("message"), "user": user("a") }),
        terra_says::reauth(user("a"), user("b")),
        terra_says::deauth(user("b")),
    ];
    let mut sent: Vec<Vec<u8>> =
        bodies.iter().chain(&every_field()).map(|body| body.to_string().into_bytes()).collect();
    for text in [
        "canary is no JSON",
        "[\"canary\"]",
        "\"canary\"",
        "{\"type\":\"activity\",\"user\":{\"user_id\":\"canary",
        "{\"canary\":918273}",
    ] {
        sent.push(text.into());
    }
    let mut answers = Vec::new();
    for body in sent {
        assert_eq!(app.send_bytes(body.clone(), &[("terra-reference", "canary-ref")]).await, 200);
        for signature in [
            "canary".to_owned(),
            format!("t={},v1=canary", crate::harness::now_seconds()),
            simulator::sign("canary-another-secret", crate::harness::now_seconds(), &body),
        ] {
            let answer = app
                .http
                .post(app.webhook_url())
                .header("x-terra-signature", signature)
                .body(body.clone())
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status().as_u16(), 401);
            answers.push(answer.text().await.unwrap());
        }
    }
    app.quiet().await;
    answers
}

/// Through the widget, with a history of which Terra refuses a part; the state of the redirect and what was answered.
async fn connecting(app: &TestApp) -> (String, Vec<String>) {
    for path in ["/activity", "/sleep", "/daily", "/body"] {
        for status in [400, 500] {
            app.terra_control("faults", json!({ "path": path, "status": status, "body": { "message": canary("from Terra"), "status": canary("from Terra") } })).await;
        }
    }
    let wanted = json!({ "user": canary("user"), "reference_id": canary("ref-of-session"), "success_url": "https://app.example/back?canary=canary", "failure_url": "https://app.example/canary" });
    let (status, session) = app.post("/v1/connect-sessions", wanted).await;
    assert_eq!(status, 201, "{session}");
    let pick = browser::open(&app.http, session["url"].as_str().unwrap()).await;
    let consent = browser::submit(&app.http, &pick).await;
    let (back, _) = browser::submit_and_note(&app.http, &consent, "/connect/").await;
    let state = back.path_segments().unwrap().nth(1).unwrap().to_owned();
    assert!(state.len() >= 32, "{state}");
    let path = format!("/v1/connect-sessions/{}", session["id"].as_str().unwrap());
    eventually("the session is connected", || async { app.get(&path).await["status"] == "connected" }).await;
    eventually("Terra was asked for history", || async { !app.all("/v1/fetches").await.is_empty() }).await;
    let mut answers = Vec::new();
    for forged in [
        format!("/connect/{}/success?user_id=canary&reference_id=canary", "0".repeat(64)),
        "/connect/canary/failure?reason=canary".into(),
    ] {
        let answer = app.http.get(format!("http://{}{forged}", app.public)).send().await.unwrap();
        answers.push(answer.text().await.unwrap());
    }
    (state, answers)
}

/// What the API answers when Terra refuses, or a caller has no right.
async fn refusals(app: &TestApp, plain: &reqwest::Client) -> Vec<String> {
    let mut answers = Vec::new();
    for status in [400, 401, 403, 404, 410, 422, 429, 500, 503] {
        app.terra_control("faults", json!({ "path": "/api/widget/session", "status": status, "body": { "detail": canary("from Terra"), "message": canary("from Terra"), "status": "error" } })).await;
        let (answered, problem) = app
            .post("/v1/connect-sessions", json!({ "user": "somebody", "success_url": "https://app.example/" }))
            .await;
        assert!(answered >= 400, "{answered}");
        answers.push(problem.to_string());
    }
    for authorization in ["Bearer canary-wrong-token", "Basic canary", "canary"] {
        let answer = plain.get(app.api("/v1/connections")).header("authorization", authorization).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401);
        answers.push(answer.text().await.unwrap());
    }
    answers
}

/// The broker returns the whole message; a client library may print it.
#[cfg(feature = "services")]
async fn unroutable(app: &TestApp) {
    let database = app.database.as_ref().unwrap();
    let broker = lapin::Connection::connect(&database.amqp_url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = broker.create_channel().await.unwrap();
    let name = |suffix: &str| format!("{}.{suffix}", database.prefix).into();
    channel
        .queue_unbind(name("deliveries.live"), name("deliveries"), "live".into(), lapin::types::FieldTable::default())
        .await
        .unwrap();
    for number in 0..5 {
        assert_eq!(app.send(&activity("a", &format!("returned-{number}")), &[]).await, 503);
    }
    let (code, said) = crate::harness::process::Process::run(&["topology", "apply"], &app.settings).await;
    assert_eq!(code, 0, "{said}");
}
