//! Silence: shown in numbers and words, measured, and told.

use serde_json::json;

use crate::harness::{Engine, Options, TestApp, eventually, terra_says};

crate::on_every_engine!(nobody_is_silent_at_first);

async fn nobody_is_silent_at_first(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_SILENCE_EVERY", "100ms")).await;
    let ann = || terra_says::user("terra-ann", Some("ann"));
    assert_eq!(app.send(&terra_says::auth(ann()), &[]).await, 200);
    assert_eq!(app.send(&terra_says::activity(ann(), "run", 1.0), &[]).await, 200);
    app.quiet().await;
    let silence = app.get("/v1/stats").await["silence"].clone();
    let nothing = json!({ "texts": [], "providers": [], "stale": { "connections": 0, "by_provider": [] } });
    assert_eq!(silence, nothing);
    assert!(app.all("/v1/stats/stale").await.is_empty());
    assert!(app.metric("landfall_stale_connections").await.abs() < 0.5);
    app.end().await;
}

/// Rhythms take days to learn: the table is told that they have passed.
#[cfg(feature = "services")]
const DAYS_LATER: &str = "
    UPDATE cadence SET first_at = now() - interval '20 days', last_at = now() - interval '80 hours', deliveries = 20,
                       longest_ms = 86400000, due_at = now() - interval '32 hours'";

#[cfg(feature = "services")]
const LONG_WATCH: &str = "
    INSERT INTO silence_watch (since, checked_at) VALUES (now() - interval '30 days', now())
        ON CONFLICT (only_row) DO UPDATE SET since = excluded.since";

#[cfg(feature = "services")]
const SILENT_CROWD: &str = "
    INSERT INTO cadence (environment, terra_user_id, kind, provider, first_at, last_at, longest_ms, deliveries, due_at)
    SELECT 'default', 'oura-' || number, 'sleep', 'OURA', now() - interval '20 days', now() - interval '370 minutes',
           86400000, 20, now() + interval '40 hours'
      FROM generate_series(1, 412) AS number;
    INSERT INTO provider_silence (environment, provider, kind, watched_since, checked_at, heard_at, longest_ms)
    VALUES ('default', 'OURA', 'sleep', now() - interval '20 days', now(), now() - interval '370 minutes', 3600000)
        ON CONFLICT (environment, provider, kind) DO UPDATE
       SET watched_since = excluded.watched_since, heard_at = excluded.heard_at, longest_ms = excluded.longest_ms";

#[cfg(feature = "services")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_person_and_a_silent_provider_are_told_apart() {
    let options = Options::default().set("LANDFALL_SILENCE_EVERY", "100ms").set("LANDFALL_STORE_SCHEMA", "public");
    let app = TestApp::start_with(Engine::Cluster, options).await;
    let ann = || terra_says::user("terra-ann", Some("ann"));
    assert_eq!(app.send(&terra_says::auth(ann()), &[]).await, 200);
    assert_eq!(app.send(&terra_says::activity(ann(), "run", 1.0), &[]).await, 200);
    app.quiet().await;
    let database = app.database.as_ref().unwrap();
    database.execute(DAYS_LATER).await;
    eventually("ann is stale", || async {
        // Again, because a look that was under way writes what it had read.
        database.execute(LONG_WATCH).await;
        app.get("/v1/stats").await["silence"]["stale"]["connections"] == 1
    })
    .await;
    let stale = app.all("/v1/stats/stale").await;
    assert_eq!((&stale[0]["user"], &stale[0]["text"]), (&json!("ann"), &json!("this user's GARMIN is stale 3 days")));
    eventually("it is measured", || async {
        (app.metric("landfall_stale_connections{provider=\"GARMIN\"}").await - 1.0).abs() < 0.1
    })
    .await;

    database.execute(SILENT_CROWD).await;
    let text = "no sleep from OURA for 6 h, 412 users";
    eventually("OURA is silent", || async {
        app.get("/v1/stats").await["silence"]["texts"].as_array().unwrap().contains(&json!(text))
    })
    .await;
    let gauge = "landfall_silent_providers{provider=\"OURA\",kind=\"sleep\"}";
    eventually("that is measured", || async { (app.metric(gauge).await - 1.0).abs() < 0.1 }).await;

    assert_eq!(app.send(&terra_says::activity(ann(), "run-2", 1.0), &[]).await, 200);
    database.execute("UPDATE cadence SET last_at = now() WHERE provider = 'OURA'").await;
    eventually("all are heard of again", || async { app.get("/v1/stats").await["silence"]["texts"] == json!([]) })
        .await;
    app.quiet().await;
    eventually("and measured so", || async {
        app.metric(gauge).await < 0.5 && app.metric("landfall_stale_connections").await < 0.5
    })
    .await;
    let told: Vec<String> = app
        .events()
        .await
        .iter()
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .filter(|kind| ["stale", "fresh", "silent", "resumed"].iter().any(|verb| kind.contains(verb)))
        .collect();
    assert_eq!(
        told,
        [
            "landfall.connection.stale.v1",
            "landfall.provider.silent.v1",
            "landfall.provider.resumed.v1",
            "landfall.connection.fresh.v1"
        ]
    );
    app.end().await;
}
