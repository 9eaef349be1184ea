//! A person is forgotten: here, at Terra, in what is still on its way, whatever stops in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::poison::POISON;
use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, now_seconds, terra_says, within};
use crate::stored_payloads::Away;

crate::on_every_engine!(
    a_person_is_forgotten_here_and_at_terra,
    a_terra_that_is_away_holds_up_only_the_end,
    a_process_that_is_killed_goes_on_with_an_erasure,
    documents_of_tries_that_came_to_nothing_go_with_their_person,
    what_waits_in_the_queue_is_dropped_when_it_is_worked,
    a_closed_connection_goes_if_the_settings_say_so,
    after_a_deauth_nothing_is_fetched_and_it_is_told_once,
    only_who_may_erase_can_erase,
);

const ORDERING: &str = "x-terra-ordering-timestamp";
const DEAUTHENTICATE: &str = "/auth/deauthenticateUser";

/// Every payload that is larger than nothing lies in the payload store.
fn stored_payloads() -> Options {
    Options::default().set("LANDFALL_BACKFILL_DAYS", "0").set("LANDFALL_PAYLOADS_INLINE_MAX", "64")
}

async fn connect(app: &TestApp, person: &str) {
    app.terra_control("users", json!({ "user_id": format!("terra-{person}"), "reference_id": person })).await;
    eventually("connected", || async { app.all(&format!("/v1/users/{person}/connections")).await.len() == 1 }).await;
}

fn run_of(person: &str, number: u32) -> Value {
    terra_says::activity(terra_says::user(&format!("terra-{person}"), Some(person)), &format!("{person}-{number}"), 5.0)
}

async fn erase(app: &TestApp, more: &[&str]) -> (i32, String) {
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    Process::run(&[&["erase"], more].concat(), &settings).await
}

async fn deauthenticated(app: &TestApp) -> usize {
    app.terra_requests().await.iter().filter(|one| one["path"].as_str().unwrap().ends_with(DEAUTHENTICATE)).count()
}

/// The lease of a process that was killed has to run out.
async fn after_the_lease<F: Future<Output = bool>>(what: &str, check: impl FnMut() -> F) {
    within(Duration::from_secs(90), what, check).await;
}

/// Sends with a time of Terra's own, so many seconds from now.
async fn send_at(app: &TestApp, body: &Value, seconds: i64) {
    let ordering = ((now_seconds() + seconds) * 1_000).to_string();
    assert_eq!(app.send(body, &[(ORDERING, &ordering)]).await, 200);
}

async fn a_person_is_forgotten_here_and_at_terra(engine: Engine) {
    let app = TestApp::start_with(engine, stored_payloads()).await;
    for person in ["ann", "bob"] {
        connect(&app, person).await;
        for number in 0..3 {
            assert_eq!(app.send(&run_of(person, number), &[]).await, 200);
        }
    }
    app.quiet().await;
    let both = app.objects().len();
    assert!(both >= 12, "a body and a document of each: {both}");

    let (code, said) = erase(&app, &["ann", "--dry-run", "-o", "json"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 connections with 1 Terra users, 3 records, 4 deliveries"), "{said}");
    let (code, said) = erase(&app, &["ann"]).await;
    assert_eq!(code, 7, "nobody is there to ask: {said}");
    assert_eq!((app.all("/v1/users/ann/activities").await.len(), deauthenticated(&app).await), (3, 0));

    let (code, said) = erase(&app, &["ann", "--yes", "-o", "json"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Terra holds nothing any more"), "{said}");
    assert_eq!(deauthenticated(&app).await, 1);
    assert_eq!(app.all("/v1/users/ann/activities").await.len() + app.all("/v1/users/ann/connections").await.len(), 0);
    assert_eq!(app.all("/v1/users/bob/activities").await.len(), 3);
    eventually("ann's payloads are gone, and bob's are not", || async { app.objects().len() == both / 2 }).await;

    // Terra's own deauth comes, and what it had sent before.
    assert_eq!(app.send(&run_of("ann", 9), &[("x-terra-trace-id", "a-trace-of-ann")]).await, 200);
    app.quiet().await;
    assert!(app.metric("landfall_deliveries_processed_total{type=\"activity\",outcome=\"erased\"}").await >= 1.0);
    assert_eq!(app.metric("landfall_erasures_total{cause=\"request\"}").await, 1.0);
    let dropped = app.all("/v1/deliveries?outcome=erased").await;
    assert!(!dropped.is_empty());
    let told = app.events().await.into_iter().find(|event| event["type"] == "landfall.user.erased.v1").unwrap();
    assert_eq!((&told["subject"], &told["data"]["scope"]), (&json!("ann"), &json!("user")));
    let receipt = app.all("/v1/erasures").await.remove(0);
    assert_eq!((&receipt["state"], &receipt["erased"]["records"]), (&json!("done"), &json!(3)), "{receipt}");
    let shown = app.get(&format!("/v1/erasures/{}", receipt["id"].as_str().unwrap())).await;
    assert_eq!(shown, receipt);
    for (what, text) in [("receipt", receipt.to_string()), ("dropped", json!(dropped).to_string()), ("log", app.logs())]
    {
        assert!(!text.contains("terra-ann") && !text.contains("\"ann\""), "{what}: {text}");
    }
    eventually("nothing is left of what came late", || async { app.objects().len() == both / 2 }).await;
    app.end().await;
}

async fn a_terra_that_is_away_holds_up_only_the_end(engine: Engine) {
    let app = TestApp::start_with(engine, stored_payloads()).await;
    connect(&app, "ann").await;
    app.send(&run_of("ann", 1), &[]).await;
    for session in ["a-session", "another"] {
        let report = json!({ "type": "lab_report.completed", "session_id": session, "data": { "note": "ann" } });
        app.send(&report, &[]).await;
    }
    app.quiet().await;
    let report = app.all("/v1/connections?terra_user_id=lab-report:session:a-session").await.remove(0);
    let whose = app.api(&format!("/v1/connections/{}/user", report["id"].as_str().unwrap()));
    let said = app.http.put(whose).json(&json!({ "user": "ann" })).send().await.unwrap();
    assert!(said.status().is_success(), "{}", said.status());
    app.terra_control("faults", json!({ "path": DEAUTHENTICATE, "status": 503, "times": 2 })).await;
    let (status, begun) = app.post("/v1/erasures", json!({ "user": "ann" })).await;
    assert_eq!(status, 202, "{begun}");
    let path = format!("/v1/erasures/{}", begun["id"].as_str().unwrap());
    eventually("everything here is gone", || async { app.get(&path).await["state"] == "telling" }).await;
    assert!(app.all("/v1/users/ann/connections").await.is_empty());
    let left = app.all("/v1/deliveries").await;
    assert_eq!((left.len(), &left[0]["type"]), (1, &json!("lab_report.completed")), "nobody's report: {left:?}");
    eventually("Terra agreed", || async { app.get(&path).await["state"] == "done" }).await;
    assert_eq!(deauthenticated(&app).await, 3);
    let done = app.get(&path).await;
    assert!(done["erased_at"].as_str().unwrap() < done["finished_at"].as_str().unwrap(), "{done}");
    // Somebody of whom nothing is known is erased as well: what is on its way finds a tombstone.
    let (code, said) = erase(&app, &["nobody", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    app.end().await;
}

async fn a_process_that_is_killed_goes_on_with_an_erasure(engine: Engine) {
    let mut app = TestApp::start_with(engine, stored_payloads()).await;
    connect(&app, "ann").await;
    for number in 0..40 {
        app.send(&run_of("ann", number), &[]).await;
    }
    app.quiet().await;
    app.terra_control("faults", json!({ "path": DEAUTHENTICATE, "status": 503, "times": 1 })).await;
    let (_, begun) = app.post("/v1/erasures", json!({ "user": "ann" })).await;
    app.processes[0].kill();
    app.processes[0].wait().await;
    app.start_again().await;
    let path = format!("/v1/erasures/{}", begun["id"].as_str().unwrap());
    after_the_lease("it is done", || async { app.get(&path).await["state"] == "done" }).await;
    eventually("its payloads are gone", || async { app.objects().is_empty() }).await;
    assert!(app.all("/v1/deliveries").await.iter().all(|one| one["terra_user_id"].is_null()));
    app.end().await;
}

async fn documents_of_tries_that_came_to_nothing_go_with_their_person(engine: Engine) {
    let app = TestApp::start_with(engine, stored_payloads()).await;
    for person in ["ann", "bob"] {
        connect(&app, person).await;
    }
    app.quiet().await;
    app.poison().await;
    let before = app.objects().len();
    for person in ["ann", "bob"] {
        let refused = terra_says::user(&format!("terra-{person}"), Some(person));
        assert_eq!(app.send(&terra_says::activity(refused, POISON, 5.0), &[]).await, 200);
    }
    let waiting = || async { app.all("/v1/deliveries?outcome=retry").await };
    eventually("both are refused", || async { waiting().await.len() == 2 }).await;
    assert_eq!(app.objects().len(), before + 4, "a body of each, and a document of which no row knows");

    let away = Away::take(Path::new(&app.settings["LANDFALL_DATA_DIR"]).join("payloads"));
    assert_eq!(app.post("/v1/erasures", json!({ "user": "ann" })).await.0, 202);
    eventually("her row is gone", || async { waiting().await.len() == 1 }).await;
    eventually("her payloads wait", || async { app.metric("landfall_unneeded_payloads").await >= 2.0 }).await;
    away.back();
    let his = &waiting().await[0]["id"];
    eventually("hers are gone", || async { app.metric("landfall_unneeded_payloads").await == 0.0 }).await;
    let left: Vec<String> = app.objects().into_iter().filter(|path| path.contains("/documents/")).collect();
    assert!(left.len() == 1 && left[0].contains(his.as_str().unwrap()), "{left:?}");
    app.mend().await;
    eventually("his comes to its effect", || async { app.all("/v1/users/bob/activities").await.len() == 1 }).await;
    app.end().await;
}

async fn what_waits_in_the_queue_is_dropped_when_it_is_worked(engine: Engine) {
    if engine != Engine::Embedded {
        return;
    }
    // A receiver alone keeps deliveries in the queue; whoever works comes later.
    let mut app = TestApp::start_with(engine, stored_payloads()).await;
    connect(&app, "ann").await;
    app.quiet().await;
    let (_, begun) = app.post("/v1/erasures", json!({ "user": "ann" })).await;
    let copies: Vec<_> = (0..20).map(|number| run_of("ann", number)).collect();
    let sending = copies.iter().map(|body| app.send(body, &[]));
    assert!(futures_util::future::join_all(sending).await.iter().all(|status| *status == 200));
    app.processes[0].kill();
    app.processes[0].wait().await;
    app.start_again().await;
    eventually("each is dropped", || async { app.all("/v1/deliveries?outcome=erased").await.len() >= 20 }).await;
    assert!(app.all("/v1/users/ann/activities").await.is_empty() && app.all("/v1/connections").await.is_empty());
    assert!(begun["id"].is_string());
    after_the_lease("their payloads are gone", || async { app.objects().is_empty() }).await;
    app.end().await;
}

async fn a_closed_connection_goes_if_the_settings_say_so(engine: Engine) {
    let app = TestApp::start_with(engine, stored_payloads().set("LANDFALL_ON_DEAUTH", "erase")).await;
    let of = |id: &str| terra_says::user(id, Some("ann"));
    for id in ["closed", "open"] {
        send_at(&app, &terra_says::auth(of(id)), -20).await;
        send_at(&app, &terra_says::activity(of(id), id, 5.0), -10).await;
    }
    eventually("both are there", || async { app.all("/v1/users/ann/activities").await.len() == 2 }).await;
    send_at(&app, &terra_says::deauth(of("closed")), -5).await;
    eventually("one is left", || async { app.all("/v1/connections").await.len() == 1 }).await;
    eventually("it is done", || async { app.all("/v1/erasures").await.iter().all(|one| one["state"] == "done") }).await;
    let left = app.all("/v1/users/ann/activities").await;
    assert_eq!((left.len(), &left[0]["key"]), (1, &json!("open")), "{left:?}");
    let receipt = app.all("/v1/erasures").await.remove(0);
    assert_eq!((&receipt["scope"], &receipt["cause"]), (&json!("connection"), &json!("deauth")), "{receipt}");
    assert_eq!(deauthenticated(&app).await, 0, "Terra ended it itself");
    let verbs: Vec<Value> = app.events().await.into_iter().map(|event| event["type"].clone()).collect();
    assert!(verbs.contains(&json!("landfall.user.erased.v1")), "{verbs:?}");
    app.end().await;
}

async fn after_a_deauth_nothing_is_fetched_and_it_is_told_once(engine: Engine) {
    let app = TestApp::start(engine).await;
    let of = |id: &str| terra_says::user(id, Some(id));
    let revoked = |id: &str| json!({ "type": "access_revoked", "status": "warning", "user": of(id) });
    // Data and its end in both orders, each end in both words, and each twice.
    for (id, end) in [("first", terra_says::deauth(of("first"))), ("second", revoked("second"))] {
        send_at(&app, &terra_says::auth(of(id)), -20).await;
        app.quiet().await;
        let data = terra_says::activity(of(id), "run", 5.0);
        let (end, data) = ((&end, -5), (&data, -10));
        for (body, seconds) in if id == "first" { [end, end, data] } else { [data, end, end] } {
            send_at(&app, body, seconds).await;
            app.quiet().await;
        }
        assert_eq!(app.all(&format!("/v1/users/{id}/activities")).await.len(), 1, "kept, whatever came first");
        let connection = app.all(&format!("/v1/users/{id}/connections")).await.remove(0);
        assert_eq!(connection["status"], "revoked");
        let events = app.events().await;
        let told = events
            .iter()
            .filter(|event| event["type"] == "landfall.connection.revoked.v1" && event["subject"] == json!(id));
        assert_eq!(told.count(), 1, "{events:?}");
        let (status, problem) = app
            .post(
                &format!("/v1/users/{id}/fetches"),
                json!({ "types": ["sleep"], "from": "2026-01-01", "to": "2026-01-02" }),
            )
            .await;
        assert!(status >= 400 || problem["items"].as_array().is_some_and(Vec::is_empty), "{status} {problem}");
    }
    let asked = app.terra_requests().await;
    assert!(asked.iter().all(|one| !one["path"].as_str().unwrap().ends_with("/sleep")), "{asked:?}");
    app.end().await;
}

async fn only_who_may_erase_can_erase(engine: Engine) {
    if engine != Engine::Embedded {
        return;
    }
    let tokens = "ops:ops+ops-write+records:an-ops-token-000001,privacy:privacy:a-privacy-token-01";
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_API_TOKENS", tokens)).await;
    let ask = async |token: &str, body: Value| {
        let answer = app.http.post(app.api("/v1/erasures")).bearer_auth(token).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap()["code"].clone())
    };
    assert_eq!(ask("an-ops-token-000001", json!({ "user": "ann" })).await, (403, json!("missing_scope")));
    assert_eq!(ask("a-privacy-token-01", json!({ "user": "" })).await.0, 400);
    assert_eq!(ask("a-privacy-token-01", json!({ "user": "ann", "now": true })).await, (400, json!("bad_body")));
    assert_eq!(ask("a-privacy-token-01", json!({ "user": "ann" })).await.0, 202);
    let unknown = app
        .http
        .get(app.api("/v1/erasures/0197a5c2-0000-7000-8000-000000000000"))
        .bearer_auth("a-privacy-token-01")
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status().as_u16(), 404);
    app.end().await;
}
