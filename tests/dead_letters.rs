//! Dead letters: what fails for good is named by its cause, kept from harming others, replayed once it is mended, or
//! discarded by somebody who says why.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::poison::{POISON, RULE};
use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, terra_says};

crate::on_every_engine!(
    what_fails_for_good_is_listed_by_its_cause_and_replayed_after_the_fix,
    a_person_who_says_why_may_discard_dead_letters,
    who_looks_at_a_payload_is_remembered,
    requests_that_make_no_sense_are_refused,
    documents_of_what_is_dead_leave_the_payload_store_and_come_back_with_a_replay,
);

fn run_of(user: &str, summary_id: &str) -> Value {
    terra_says::activity(terra_says::user(&format!("terra-{user}"), Some(user)), summary_id, 5_000.0)
}

async fn send(app: &TestApp, user: &str, summary_id: &str) {
    assert_eq!(app.send(&run_of(user, summary_id), &[("x-terra-trace-id", summary_id)]).await, 200);
}

async fn start(engine: Engine, attempts: &str) -> TestApp {
    start_with(engine, attempts, Options::default()).await
}

async fn start_with(engine: Engine, attempts: &str, options: Options) -> TestApp {
    let options = options.set("LANDFALL_DELIVERY_ATTEMPTS", attempts).set("LANDFALL_BACKFILL_DAYS", "0");
    let app = TestApp::start_with(engine, options).await;
    assert_eq!(app.send(&terra_says::auth(terra_says::user("terra-ann", Some("ann"))), &[]).await, 200);
    app.quiet().await;
    app.poison().await;
    app
}

async fn landfall(app: &TestApp, arguments: &[&str]) -> (i32, String) {
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    Process::run(arguments, &settings).await
}

async fn dead(app: &TestApp) -> Vec<Value> {
    app.all("/v1/dead-letters").await
}

async fn what_fails_for_good_is_listed_by_its_cause_and_replayed_after_the_fix(engine: Engine) {
    let app = start(engine, "2").await;
    for number in 0..3 {
        send(&app, "ann", &format!("{POISON}-{number}")).await;
        send(&app, "ann", &format!("good-{number}")).await;
    }
    eventually("the first tries have failed", || async { dead(&app).await.len() == 3 }).await;
    eventually("the others are not harmed", || async { app.all("/v1/users/ann/activities").await.len() == 3 }).await;
    app.quiet().await;
    assert_eq!(app.metric("landfall_dead_letters").await, 3.0);
    let rows = dead(&app).await;
    for row in &rows {
        assert_eq!((&row["class"], &row["reason"], &row["attempts"]), (&json!("contract"), &json!(RULE), &json!(2)));
    }
    let fingerprint = rows[0]["fingerprint"].as_str().unwrap().to_owned();
    let told = |events: &[Value], name: &str| events.iter().filter(|event| event["type"] == name).count();
    let events = app.events().await;
    assert_eq!(told(&events, "landfall.delivery.dead.v1"), 3);
    let event = events.iter().find(|event| event["type"] == "landfall.delivery.dead.v1").unwrap();
    assert_eq!((&event["data"]["class"], &event["data"]["fingerprint"]), (&json!("contract"), &json!(fingerprint)));

    let (code, said) = landfall(&app, &["dead", "list", "--by-cause", "-o", "json"]).await;
    assert_eq!(code, 0, "{said}");
    let groups: Vec<Value> = serde_json::from_str(&said).unwrap();
    assert_eq!((groups.len(), &groups[0]["deliveries"], &groups[0]["users"]), (1, &json!(3), &json!(1)), "{said}");
    assert_eq!((&groups[0]["fingerprint"], &groups[0]["class"]), (&json!(fingerprint), &json!("contract")));
    let (code, said) = landfall(&app, &["dead", "show", rows[0]["id"].as_str().unwrap(), "-o", "table"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(RULE) && !said.contains("distance"), "everything but the payload: {said}");

    // The cause is not mended: a few are tried, and then none.
    let replay = ["dead", "replay", "--fingerprint", &fingerprint];
    let (code, said) = landfall(&app, &[&replay[..], &["--yes"]].concat()).await;
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("Stopped: the first 3 failed again (rejected:no_poison); 0 of 3 were not touched"), "{said}");
    assert_eq!(dead(&app).await.iter().filter(|row| row["attempts"] == 3).count(), 3);
    assert_eq!(told(&app.events().await, "landfall.delivery.dead.v1"), 3, "it was dead before");

    app.mend().await;
    let (code, said) = landfall(&app, &[&replay[..], &["--dry-run"]].concat()).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("3 deliveries of 1 Terra user") && said.contains("3 would change something, 0 nothing"),
        "{said}"
    );
    let (code, said) = landfall(&app, &replay).await;
    assert_eq!(code, 7, "nobody is there to ask: {said}");
    assert_eq!(dead(&app).await.len(), 3, "a look changes nothing");
    let (code, said) = landfall(&app, &[&replay[..], &["--yes", "--rate", "50", "-o", "json"]].concat()).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Done: 3 of 3 replayed: 3 changed something, 0 nothing."), "{said}");
    assert!(dead(&app).await.is_empty());
    app.quiet().await;
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), 6);
    eventually("the gauge falls", || async { app.metric("landfall_dead_letters").await == 0.0 }).await;
    let events = app.events().await;
    let replayed: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "landfall.activity.upserted.v1" && event["data"]["origin"] == "replay")
        .collect();
    assert_eq!(replayed.len(), 3, "told once each, as what they are");
    let audited = app.all("/v1/audit").await;
    let actions: Vec<&str> = audited.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert!(actions.starts_with(&["replay.done", "replay.start", "replay.create"]), "{actions:?}");
    assert!(actions.contains(&"replay.failed"), "{actions:?}");
    let last = app.all("/v1/replays").await[0]["id"].as_str().unwrap().to_owned();
    let worked = app.all(&format!("/v1/replays/{last}/deliveries?state=changed")).await;
    assert_eq!((worked.len(), &worked[0]["predicted"]), (3, &json!("change")), "{worked:?}");
    let why = app.get("/v1/why?user=ann&type=activity&date=2026-02-03").await;
    assert_eq!(why["verdict"]["layer"], Value::Null, "nothing is missing any more: {why}");
    let usage = app.get("/v1/stats").await["usage"].clone();
    assert_eq!((&usage["deliveries"], &usage["live"]), (&json!(7), &json!(7)), "each counted once: {usage}");
    app.end().await;
}

async fn a_person_who_says_why_may_discard_dead_letters(engine: Engine) {
    let app = start(engine, "1").await;
    for number in 0..2 {
        send(&app, "ann", &format!("{POISON}-{number}")).await;
    }
    eventually("both are dead", || async { dead(&app).await.len() == 2 }).await;
    let id = dead(&app).await[0]["id"].as_str().unwrap().to_owned();
    let discard = ["dead", "discard", "--class", "contract", "--reason", "made by a test"];
    let (code, said) = landfall(&app, &[&discard[..], &["--dry-run"]].concat()).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 dead letters with 1 causes match"), "{said}");
    let (code, said) = landfall(&app, &discard).await;
    assert_eq!(code, 7, "{said}");
    assert_eq!(dead(&app).await.len(), 2);
    let (code, said) = landfall(&app, &["dead", "discard", &id, "--reason", "made by a test", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(dead(&app).await.len(), 1);
    let (code, said) = landfall(&app, &[&discard[..], &["--yes", "-o", "json"]].concat()).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 dead letters were discarded"), "{said}");
    assert!(dead(&app).await.is_empty());
    eventually("the gauge falls", || async { app.metric("landfall_dead_letters").await == 0.0 }).await;
    let kept = app.get(&format!("/v1/deliveries/{id}")).await;
    assert_eq!((&kept["outcome"], &kept["discarded_by"]), (&json!("discarded"), &json!("local")));
    assert_eq!(kept["discard_reason"], "made by a test");
    assert_eq!(app.all("/v1/deliveries?outcome=discarded").await.len(), 2);
    let audited = app.all("/v1/audit?action=dead.discard").await;
    assert_eq!(audited.len(), 2, "{audited:?}");
    assert_eq!(audited[0]["detail"]["reason"], "made by a test");
    // Nobody replays them by accident, and a person who changes their mind names them.
    app.mend().await;
    let (_, said) = landfall(&app, &["dead", "replay", "--yes"]).await;
    assert!(said.contains("Nothing matches."), "{said}");
    let (code, said) = landfall(&app, &["replay", "--outcome", "discarded", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 changed something"), "{said}");
    app.end().await;
}

async fn who_looks_at_a_payload_is_remembered(engine: Engine) {
    let tokens = "viewer:ops:viewer-token-0123456789,writer:ops-write+ops:writer-token-0123456789";
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_API_TOKENS", tokens)).await;
    let body = run_of("ann", "run").to_string();
    assert_eq!(app.send_bytes(body.clone().into_bytes(), &[]).await, 200);
    let as_ = |path: &str, token: &str| app.http.get(app.api(path)).bearer_auth(format!("{token}-token-0123456789"));
    let list = async |path: &str| {
        let answer: Value = as_(path, "writer").send().await.unwrap().json().await.unwrap();
        answer["items"].as_array().unwrap().clone()
    };
    eventually("it is in the ledger", || async { list("/v1/deliveries").await.len() == 1 }).await;
    let id = list("/v1/deliveries").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/deliveries/{id}/payload");
    assert_eq!(as_(&path, "viewer").send().await.unwrap().status().as_u16(), 403);
    assert!(list("/v1/audit").await.is_empty());
    let answer = as_(&path, "writer").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
    assert_eq!(answer.text().await.unwrap(), body, "the bytes as they came");
    let audited = list("/v1/audit?actor=writer").await;
    assert_eq!((audited.len(), &audited[0]["action"]), (1, &json!("delivery.payload")));
    assert_eq!((&audited[0]["subject"], &audited[0]["detail"]["bytes"]), (&json!(id), &json!(body.len())));
    for (path, body) in [("/v1/replays", json!({ "type": "activity" })), ("/v1/dead-letters/replay", json!({}))] {
        let asked = app.http.post(app.api(path)).bearer_auth("viewer-token-0123456789").json(&body);
        assert_eq!(asked.send().await.unwrap().status().as_u16(), 403, "{path}");
    }
    let nobody = as_("/v1/deliveries/0197a5c2-0000-7000-8000-000000000000/payload", "writer").send().await.unwrap();
    assert_eq!(nobody.status().as_u16(), 404);
    app.end().await;
}

async fn requests_that_make_no_sense_are_refused(engine: Engine) {
    let app = TestApp::start(engine).await;
    for (path, body) in [
        ("/v1/replays", json!({})),
        ("/v1/replays", json!({ "class": "bad" })),
        ("/v1/replays", json!({ "type": "sleep", "rate": 0 })),
        ("/v1/replays", json!({ "type": "sleep", "colour": "red" })),
        ("/v1/replays", json!({ "from": "2026-03-02", "to": "2026-03-01" })),
        ("/v1/dead-letters/replay", json!({ "outcome": "processed" })),
        ("/v1/dead-letters/discard", json!({ "type": "sleep" })),
        ("/v1/dead-letters/discard", json!({ "reason": "all of them" })),
    ] {
        let (status, problem) = app.post(path, body.clone()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_body")), "{path} {body}");
    }
    for bad in ["class=bad", "outcome=dead", "from=soon", "colour=red"] {
        let answer = app.http.get(app.api(&format!("/v1/dead-letters?{bad}"))).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 400, "{bad}");
    }
    let nowhere = "/v1/replays/0197a5c2-0000-7000-8000-000000000000";
    for order in ["", "/start", "/cancel"] {
        let url = app.api(&format!("{nowhere}{order}"));
        let asked = if order.is_empty() { app.http.get(url) } else { app.http.post(url) };
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{order}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unknown_replay");
    }
    let (code, said) = landfall(&app, &["replay"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("name some deliveries"), "{said}");
    assert!(app.all("/v1/replays").await.is_empty() && app.all("/v1/audit").await.is_empty());
    app.end().await;
}

async fn documents_of_what_is_dead_leave_the_payload_store_and_come_back_with_a_replay(engine: Engine) {
    let app = start_with(engine, "2", Options::default().set("LANDFALL_PAYLOADS_INLINE_MAX", "64")).await;
    let before = app.objects().len();
    send(&app, "ann", POISON).await;
    eventually("it is dead", || async {
        let rows = dead(&app).await;
        rows.len() == 1 && rows[0]["outcome"] == "dead"
    })
    .await;
    eventually("its body stays, and no document", || async { app.objects().len() == before + 1 }).await;
    // The cause is not mended: what the replay puts there goes as well.
    let (code, said) = landfall(&app, &["dead", "replay", "--yes"]).await;
    assert_eq!(code, 5, "{said}");
    eventually("no document of the replay either", || async {
        app.metric("landfall_unneeded_payloads").await == 0.0 && app.objects().len() == before + 1
    })
    .await;
    app.mend().await;
    let (code, said) = landfall(&app, &["dead", "replay", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    let kept = app.all("/v1/users/ann/activities?samples=true").await;
    assert_eq!(kept[0]["document"], run_of("ann", POISON)["data"][0]);
    assert_eq!(app.objects().len(), before + 2, "body and document");
    app.end().await;
}
