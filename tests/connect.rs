//! The connect flow: a person walks through the widget, Terra's webhook comes before, after, without, or alone.

use serde_json::{Value, json};
use simulator::{AuthWebhook, Dialect, Settings};

use crate::harness::browser::{self, Page};
use crate::harness::{Engine, Options, TestApp, eventually};

crate::on_every_engine!(
    both_roads_lead_to_one_connection_when_the_webhook_comes_first,
    both_roads_lead_to_one_connection_when_the_redirect_comes_first,
    the_redirect_alone_connects,
    the_webhook_alone_connects,
    the_older_dialect_connects,
    a_forged_redirect_changes_nothing,
    a_person_who_declines_is_history_and_no_connection,
    terras_refusals_become_readable,
);

async fn new_session(app: &TestApp, user: &str) -> Value {
    let (status, session) =
        app.post("/v1/connect-sessions", json!({ "user": user, "success_url": "https://app.example/back?tab=devices", "failure_url": "https://app.example/failed" })).await;
    assert_eq!(status, 201, "{session}");
    session
}

/// Walks the widget to its end, with consent.
async fn walk(app: &TestApp, session: &Value) -> Page {
    let pick = browser::open(&app.http, session["url"].as_str().unwrap()).await;
    let consent = browser::submit(&app.http, &pick).await;
    browser::submit(&app.http, &consent).await
}

fn query(page: &Page, name: &str) -> Option<String> {
    page.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// One connection, one `connected` event, one set of fetch jobs, and the activities appear.
async fn check_connected(app: &TestApp, user: &str, session: &Value) {
    let path = format!("/v1/connect-sessions/{}", session["id"].as_str().unwrap());
    eventually("the session is connected", || async { app.get(&path).await["status"] == "connected" }).await;
    eventually("activities arrive", || async { !app.all(&format!("/v1/users/{user}/activities")).await.is_empty() })
        .await;
    app.quiet().await;
    let connections = app.all(&format!("/v1/users/{user}/connections")).await;
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert_eq!(connections[0]["status"], "active");
    let session = app.get(&path).await;
    assert_eq!(session["connection"], connections[0]["id"]);
    assert_eq!(session["terra_user_id"], connections[0]["terra_user_id"]);
    let events = app.events().await;
    let connected = events.iter().filter(|event| event["type"] == "landfall.connection.connected.v1").count();
    assert_eq!(connected, 1, "connected events");
    let mut jobs: Vec<String> = app
        .all("/v1/fetches")
        .await
        .iter()
        .map(|job| format!("{} {} {}", job["type"], job["start"], job["end"]))
        .collect();
    jobs.sort();
    let before = jobs.len();
    jobs.dedup();
    assert_eq!(jobs.len(), before, "one job per kind and window");
    assert!(jobs.len() >= 4, "{jobs:?}");
}

async fn connect_with(engine: Engine, auth_webhook: AuthWebhook) {
    let app =
        TestApp::start_with(engine, Options::default().simulator(Settings { auth_webhook, ..Settings::default() }))
            .await;
    let session = new_session(&app, "ann").await;
    let page = walk(&app, &session).await;
    if auth_webhook != AuthWebhook::Only {
        assert_eq!(page.url.host_str(), Some(browser::APP_HOST));
        assert_eq!(query(&page, "tab").as_deref(), Some("devices"), "the app's own query is kept");
        assert_eq!(query(&page, "status").as_deref(), Some("connected"));
        assert_eq!(query(&page, "session").as_deref(), session["id"].as_str());
        assert_eq!(query(&page, "reference_id").as_deref(), Some("ann"));
        assert!(query(&page, "user_id").is_some());
    }
    check_connected(&app, "ann", &session).await;
    app.end().await;
}

async fn both_roads_lead_to_one_connection_when_the_webhook_comes_first(engine: Engine) {
    connect_with(engine, AuthWebhook::Before).await;
}

async fn both_roads_lead_to_one_connection_when_the_redirect_comes_first(engine: Engine) {
    connect_with(engine, AuthWebhook::After).await;
}

async fn the_redirect_alone_connects(engine: Engine) {
    connect_with(engine, AuthWebhook::Never).await;
}

async fn the_webhook_alone_connects(engine: Engine) {
    connect_with(engine, AuthWebhook::Only).await;
}

async fn the_older_dialect_connects(engine: Engine) {
    let older = Settings { dialect: Dialect::Older, ..Settings::default() };
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_WIDGET", "legacy").simulator(older)).await;
    let session = new_session(&app, "ann").await;
    walk(&app, &session).await;
    check_connected(&app, "ann", &session).await;
    app.end().await;
}

async fn a_forged_redirect_changes_nothing(engine: Engine) {
    // No webhook: what happens, happens through the redirect.
    let app = TestApp::start_with(
        engine,
        Options::default().simulator(Settings { auth_webhook: AuthWebhook::Never, ..Settings::default() }),
    )
    .await;
    let forged = app
        .http
        .get(format!("http://{}/connect/{}/success?user_id=somebody&reference_id=ann", app.public, "0".repeat(64)))
        .send()
        .await
        .unwrap();
    assert_eq!(forged.status().as_u16(), 400);
    assert!(!forged.text().await.unwrap().contains("somebody"), "nothing of the request is shown");

    // The real one, then again with another user: it repeats itself and changes nothing.
    let session = new_session(&app, "ann").await;
    let pick = browser::open(&app.http, session["url"].as_str().unwrap()).await;
    let consent = browser::submit(&app.http, &pick).await;
    let (back, arrived) = browser::submit_and_note(&app.http, &consent, "/connect/").await;
    check_connected(&app, "ann", &session).await;
    let requests = app.terra_requests().await;
    assert!(requests.iter().any(|request| request["path"].as_str().unwrap().ends_with("/userInfo")), "Terra was asked");
    let mut replay = back;
    replay.set_query(Some("user_id=somebody-else&reference_id=ann"));
    let replayed = app.http.get(replay).send().await.unwrap();
    assert_eq!(
        replayed.headers()["location"].to_str().unwrap(),
        arrived.url.as_str(),
        "a used state repeats its redirect"
    );
    assert_eq!(app.all("/v1/connections").await.len(), 1);
    app.end().await;
}

async fn a_person_who_declines_is_history_and_no_connection(engine: Engine) {
    for dialect in [Dialect::Newer, Dialect::Older] {
        let app =
            TestApp::start_with(engine, Options::default().simulator(Settings { dialect, ..Settings::default() }))
                .await;
        let session = new_session(&app, "ann").await;
        let pick = browser::open(&app.http, session["url"].as_str().unwrap()).await;
        let mut consent = browser::submit(&app.http, &pick).await;
        // The second button is the refusal: leave the first one out.
        let first = consent.text.find("<button").unwrap();
        let end = consent.text[first..].find("</button>").unwrap() + first;
        consent.text.replace_range(first..end + "</button>".len(), "");
        let page = browser::submit(&app.http, &consent).await;
        assert_eq!(query(&page, "status").as_deref(), Some("failed"), "{}", page.url);
        assert!(page.url.path().starts_with("/failed"));
        eventually("the failed attempt is in the history", || async {
            app.all("/v1/auth-events").await.iter().any(|event| event["succeeded"] == json!(false))
        })
        .await;
        app.quiet().await;
        assert!(app.all("/v1/connections").await.is_empty());
        assert!(app.events().await.iter().any(|event| event["type"] == "landfall.auth.failed.v1"));
        assert_eq!(
            app.get(&format!("/v1/connect-sessions/{}", session["id"].as_str().unwrap())).await["status"],
            "failed"
        );
        app.end().await;
    }
}

async fn terras_refusals_become_readable(engine: Engine) {
    let app = TestApp::start(engine).await;
    let faults: [(Value, &str); 3] = [
        (json!({ "path": "/api/widget/session", "status": 410 }), "LANDFALL_WIDGET"),
        (json!({ "path": "/api/widget/session", "status": 401 }), "API key"),
        (json!({ "path": "/api/widget/session", "status": 500, "html": true }), "source"),
    ];
    for (fault, hint) in faults {
        app.terra_control("faults", fault).await;
        let (status, problem) =
            app.post("/v1/connect-sessions", json!({ "user": "ann", "success_url": "https://app.example/" })).await;
        assert!(status >= 500, "{status}");
        assert!(problem["code"].is_string(), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(hint), "{problem}");
    }
    let (status, token) = app.post("/v1/mobile-tokens", json!({})).await;
    assert!((200..300).contains(&status), "{token}");
    assert!(token["token"].is_string() && token["expires_in"].is_number());
    app.end().await;
}
