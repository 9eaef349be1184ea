//! Why somebody's data of a day is there, or is not: the layer at fault, named in words.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::harness::poison::{POISON, RULE};
use crate::harness::process::Process;
use crate::harness::{Engine, Options, SECRET, TestApp, eventually, now, now_seconds, terra_says};

crate::on_every_engine!(
    what_went_all_the_way_misses_nothing,
    a_stranger_is_said_to_be_one,
    a_revoked_connection_is_named_with_its_day,
    a_provider_that_does_not_serve_the_type_is_named,
    what_never_arrived_is_told_from_what_arrived,
    a_delivery_that_was_kept_without_effects_is_named,
    a_delivery_that_fails_is_named_while_it_is_tried_again_and_when_it_is_dead,
    a_tombstone_is_named,
    an_event_that_is_held_is_named_with_what_to_do,
    terras_answer_to_our_question_is_named,
    terras_own_log_tells_what_nobody_took,
);

/// The day of `terra_says::activity`.
const DAY: &str = "2026-02-03";

/// Metres that must not be seen again.
const CANARY: f64 = 918_273.0;

fn ann() -> Value {
    terra_says::user("terra-ann", Some("ann"))
}

fn today() -> String {
    now().to_zoned(TimeZone::UTC).date().to_string()
}

async fn deliver(app: &TestApp, body: &Value) {
    assert_eq!(app.send(body, &[]).await, 200);
}

async fn why(app: &TestApp, user: &str, kind: &str, date: &str) -> Value {
    let answer = app.get(&format!("/v1/why?user={user}&type={kind}&date={date}")).await;
    assert!(!answer.to_string().contains("918273"), "a value of health data was told: {answer}");
    answer
}

fn state<'a>(answer: &'a Value, layer: &str) -> &'a str {
    let steps = answer["connections"][0]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["layer"] == layer).unwrap();
    step["state"].as_str().unwrap()
}

#[track_caller]
fn check(answer: &Value, layer: Option<&str>, words: &str) {
    assert_eq!(answer["verdict"]["layer"].as_str(), layer, "{answer:#}");
    let said = answer["verdict"]["words"].as_str().unwrap();
    assert!(said.contains(words), "`{said}` has no `{words}`");
}

/// Runs `landfall why`; exit code and output.
async fn command(app: &TestApp, arguments: &[&str]) -> (i32, String) {
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    let arguments: Vec<&str> = ["why"].into_iter().chain(arguments.iter().copied()).collect();
    Process::run(&arguments, &settings).await
}

async fn what_went_all_the_way_misses_nothing(engine: Engine) {
    let app = TestApp::start(engine).await;
    deliver(&app, &terra_says::auth(ann())).await;
    app.quiet().await;
    deliver(&app, &terra_says::activity(ann(), "run", CANARY)).await;
    app.quiet().await;
    let answer = why(&app, "ann", "activity", DAY).await;
    check(&answer, None, "nothing is missing: 1 activity of 2026-02-03; services were told (upserted) at position 2");
    for layer in ["connection", "scopes", "terra", "received", "decision", "record", "event"] {
        assert_eq!(state(&answer, layer), "ok", "{layer}: {answer:#}");
    }
    assert_eq!(why(&app, "terra-ann", "activity", DAY).await["verdict"], answer["verdict"]);

    let (code, said) = command(&app, &["ann", "activity", DAY, "-o", "table"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("  ok record") && said.contains("(GARMIN)"), "{said}");
    assert!(said.trim_end().lines().last().unwrap().starts_with("nothing is missing"), "{said}");
    for bad in [["ann", "activity", "yesterday"], ["ann", "activities", DAY]] {
        let (code, said) = command(&app, &bad).await;
        assert_eq!(code, 2, "{said}");
    }
    for bad in ["type=activities&date=2026-02-03", "type=activity&date=2026-02-30", "type=activity"] {
        let answer = app.http.get(app.api(&format!("/v1/why?user=ann&{bad}"))).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 400, "{bad}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "bad_parameter");
    }
    app.end().await;
}

async fn a_stranger_is_said_to_be_one(engine: Engine) {
    let app = TestApp::start(engine).await;
    let answer = why(&app, "nobody", "sleep", DAY).await;
    check(&answer, Some("connection"), "nobody is connected under `nobody`");
    assert_eq!(answer["connections"], json!([]));
    let (code, said) = command(&app, &["nobody", "sleep", DAY, "-o", "table"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nobody is connected"), "{said}");
    app.end().await;
}

async fn a_revoked_connection_is_named_with_its_day(engine: Engine) {
    let app = TestApp::start(engine).await;
    let start = (now_seconds() - 60) * 1_000;
    for (event, at) in [(terra_says::auth(ann()), start), (terra_says::deauth(ann()), start + 1_000)] {
        assert_eq!(app.send(&event, &[("x-terra-ordering-timestamp", &at.to_string())]).await, 200);
    }
    app.quiet().await;
    let today = today();
    let answer = why(&app, "ann", "activity", &today).await;
    check(&answer, Some("connection"), "the connection was revoked on ");
    check(&answer, Some("connection"), "before that day ended");
    let before = why(&app, "ann", "activity", "2026-01-05").await;
    assert_eq!(state(&before, "connection"), "ok", "it ended after that day: {before:#}");
    app.end().await;
}

async fn a_provider_that_does_not_serve_the_type_is_named(engine: Engine) {
    let app = TestApp::start(engine).await;
    let mut ann = ann();
    ann["provider"] = json!("OURA");
    deliver(&app, &terra_says::auth(ann)).await;
    app.quiet().await;
    eventually("Terra's list of providers is known", || async {
        why(&app, "ann", "nutrition", DAY).await["verdict"]["layer"] == "provider"
    })
    .await;
    let answer = why(&app, "ann", "nutrition", DAY).await;
    check(&answer, Some("provider"), "OURA does not serve nutrition: nothing will ever come");
    let answer = why(&app, "ann", "daily", &today()).await;
    assert_eq!(state(&answer, "provider"), "ok");
    check(&answer, Some("scopes"), "the person did not allow daily: the scopes are activity, sleep");
    app.end().await;
}

async fn what_never_arrived_is_told_from_what_arrived(engine: Engine) {
    let app = TestApp::start(engine).await;
    deliver(&app, &terra_says::auth(ann())).await;
    deliver(&app, &terra_says::activity(ann(), "run", CANARY)).await;
    app.quiet().await;
    let today = today();
    let answer = why(&app, "ann", "sleep", &today).await;
    check(&answer, Some("received"), "no sleep of this person arrived around that day");
    assert_eq!(state(&answer, "terra"), "unknown", "Terra's log was not asked");
    let answer = why(&app, "ann", "activity", &today).await;
    check(&answer, Some("record"), "what arrived around it was about other days");
    let answer = why(&app, "ann", "sleep", "2026-01-05").await;
    check(&answer, Some("record"), "what came then is not known");
    app.end().await;
}

async fn a_delivery_that_was_kept_without_effects_is_named(engine: Engine) {
    let app = TestApp::start(engine).await;
    deliver(&app, &terra_says::auth(ann())).await;
    let body = terra_says::activity(ann(), "run", CANARY).to_string().into_bytes();
    let three_days_ago = now_seconds() - 3 * 86_400;
    let signature = simulator::sign(SECRET, three_days_ago, &body);
    let sent = app.http.post(app.webhook_url()).header("x-terra-signature", signature).body(body).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 200);
    app.quiet().await;
    let ledger = app.all("/v1/deliveries?outcome=quarantined").await;
    let answer = why(&app, "ann", "activity", &today()).await;
    let id = ledger[0]["id"].as_str().unwrap();
    check(&answer, Some("decision"), &format!("quarantined: too_old; `landfall deliveries show {id}`"));
    assert_eq!(state(&answer, "received"), "ok");
    app.end().await;
}

async fn a_delivery_that_fails_is_named_while_it_is_tried_again_and_when_it_is_dead(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_DELIVERY_ATTEMPTS", "3")).await;
    deliver(&app, &terra_says::auth(ann())).await;
    app.quiet().await;
    app.poison().await;
    deliver(&app, &terra_says::activity(ann(), POISON, CANARY)).await;
    // Seconds lie between its tries.
    eventually("it is tried again", || async { !app.all("/v1/deliveries?outcome=retry").await.is_empty() }).await;
    check(
        &why(&app, "ann", "activity", &today()).await,
        Some("decision"),
        "the delivery failed and is tried again at ",
    );
    eventually("it is dead", || async { !app.all("/v1/deliveries?outcome=dead").await.is_empty() }).await;
    let id = app.all("/v1/dead-letters").await[0]["id"].as_str().unwrap().to_owned();
    let words = format!("the delivery is dead: {RULE}; `landfall deliveries show {id}`");
    check(&why(&app, "ann", "activity", &today()).await, Some("decision"), &words);
    app.end().await;
}

async fn a_tombstone_is_named(engine: Engine) {
    let app = TestApp::start(engine).await;
    deliver(&app, &terra_says::auth(ann())).await;
    let start = (now_seconds() - 60) * 1_000;
    let mut event = terra_says::activity(ann(), "run", CANARY);
    assert_eq!(app.send(&event, &[("x-terra-ordering-timestamp", &start.to_string())]).await, 200);
    app.quiet().await;
    event["data"][0]["metadata"]["upload_type"] = json!(4);
    assert_eq!(app.send(&event, &[("x-terra-ordering-timestamp", &(start + 1_000).to_string())]).await, 200);
    app.quiet().await;
    assert!(app.all("/v1/users/ann/activities").await.is_empty());
    let answer = why(&app, "ann", "activity", DAY).await;
    check(&answer, Some("record"), "Terra deleted it: of record ");
    assert_eq!(state(&answer, "event"), "ok", "services were told of it: {answer:#}");
    app.end().await;
}

async fn an_event_that_is_held_is_named_with_what_to_do(engine: Engine) {
    let app = TestApp::start(engine).await;
    let stranger = terra_says::user("terra-stranger", None);
    deliver(&app, &terra_says::auth(stranger.clone())).await;
    deliver(&app, &terra_says::activity(stranger, "run", CANARY)).await;
    app.quiet().await;
    let answer = why(&app, "terra-stranger", "activity", DAY).await;
    let id = answer["connections"][0]["connection"].as_str().unwrap().to_owned();
    check(
        &answer,
        Some("event"),
        &format!("no internal user is known for it: `landfall connections assign {id} USER`"),
    );
    let url = app.api(&format!("/v1/connections/{id}/user"));
    assert!(app.http.put(url).json(&json!({ "user": "ann" })).send().await.unwrap().status().is_success());
    app.quiet().await;
    check(&why(&app, "ann", "activity", DAY).await, None, "nothing is missing");
    app.end().await;
}

async fn terras_answer_to_our_question_is_named(engine: Engine) {
    let app = TestApp::start(engine).await;
    deliver(&app, &terra_says::auth(ann())).await;
    app.quiet().await;
    // The simulator knows nobody by this id, as Terra does after somebody left.
    let wanted = json!({ "types": ["sleep"], "from": "2026-01-05", "to": "2026-01-06" });
    let (status, answer) = app.post("/v1/users/ann/fetches", wanted).await;
    assert!((200..300).contains(&status), "{answer}");
    eventually("Terra has answered", || async {
        let jobs = app.all("/v1/fetches").await;
        !jobs.is_empty() && jobs.iter().all(|job| job["state"] == "failed")
    })
    .await;
    let answer = why(&app, "ann", "sleep", "2026-01-05").await;
    check(&answer, Some("terra"), "Terra was asked for that day, and it failed (user_unknown_to_terra), status 404");
    app.end().await;
}

async fn terras_own_log_tells_what_nobody_took(engine: Engine) {
    let options =
        Options::default().set("LANDFALL_TERRA_ADMIN_TOKEN", "terra_at_simulated").set("LANDFALL_BACKFILL_DAYS", "0");
    let app = TestApp::start_with(engine, options).await;
    app.terra_control("users", json!({ "user_id": "terra-ann", "reference_id": "ann" })).await;
    eventually("ann is connected", || async { app.all("/v1/users/ann/connections").await.len() == 1 }).await;
    app.quiet().await;
    let answer = why(&app, "ann", "sleep", &today()).await;
    check(&answer, Some("terra"), "it sent nothing");

    app.terra.set_webhook_url(Some("http://127.0.0.1:9/nobody".into()));
    let events = format!("{}/_simulator/events", app.terra.base_url());
    // It answers 502: nobody took it.
    app.http.post(events).json(&json!({ "type": "sleep", "user_id": "terra-ann" })).send().await.unwrap();
    app.terra.set_webhook_url(Some(app.webhook_url()));
    let answer = why(&app, "ann", "sleep", &today()).await;
    check(&answer, Some("received"), "nobody answered: `landfall recover` asks for it again");
    assert_eq!(state(&answer, "terra"), "ok");
    app.end().await;
}
