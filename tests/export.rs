//! What a person has a right to see: everything, whole, in a file, and nothing of anybody else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, browser, eventually, terra_says};

crate::on_every_engine!(an_export_has_everything_of_one_person, an_export_is_for_those_who_may_and_never_half,);

const KINDS: [&str; 11] = [
    "activities",
    "sleeps",
    "dailies",
    "bodies",
    "nutritions",
    "menstruations",
    "hormones",
    "observations",
    "athletes",
    "planned-workouts",
    "lab-reports",
];

async fn export(app: &TestApp, user: &str, to: &std::path::Path) -> (i32, String) {
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    Process::run(&["export", user, "--to", to.to_str().unwrap()], &settings).await
}

/// Through Terra's page, with a history that comes as webhooks.
async fn walk(app: &TestApp, user: &str) {
    let wanted = json!({ "user": user, "success_url": "https://app.example/back" });
    let (status, session) = app.post("/v1/connect-sessions", wanted).await;
    assert_eq!(status, 201, "{session}");
    let pick = browser::open(&app.http, session["url"].as_str().unwrap()).await;
    let consent = browser::submit(&app.http, &pick).await;
    browser::submit_and_note(&app.http, &consent, "/connect/").await;
    let path = format!("/v1/connect-sessions/{}", session["id"].as_str().unwrap());
    eventually("connected", || async { app.get(&path).await["status"] == "connected" }).await;
}

async fn an_export_has_everything_of_one_person(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_PAYLOADS_INLINE_MAX", "2048")).await;
    walk(&app, "ann").await;
    eventually("ann's history has come", || async {
        let backfills = app.all("/v1/backfills?user=ann").await;
        !backfills.is_empty() && backfills.iter().all(|one| one["state"] == "complete")
    })
    .await;
    let alias = app.all("/v1/users/ann/connections").await.remove(0)["terra_user_id"].as_str().unwrap().to_owned();
    let fixture = terra_says::activity(terra_says::user(&alias, Some("ann")), "fixture-run", 1234.5);
    assert_eq!(app.send(&fixture, &[]).await, 200);
    app.send(&terra_says::activity(terra_says::user("terra-bob", Some("bob")), "bobs-run", 1.0), &[]).await;
    app.quiet().await;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ann.ndjson");
    let (code, said) = export(&app, "ann", &file).await;
    assert_eq!(code, 0, "{said}");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["part"], &lines[0]["user"]), (&json!("export"), &json!("ann")));
    assert_eq!(lines.last().unwrap()["part"], "end");
    let of = |part: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["part"] == part).map(|line| &line["value"]).collect()
    };
    let ids = |values: &[Value]| values.iter().map(|value| value["id"].to_string()).collect::<BTreeSet<_>>();
    let exported = |part: &str| of(part).into_iter().map(|value| value["id"].to_string()).collect::<BTreeSet<_>>();

    let mut records = BTreeSet::new();
    for kind in KINDS {
        records.extend(ids(&app.all(&format!("/v1/users/ann/{kind}")).await));
    }
    assert!(records.len() > 50, "{}", records.len());
    assert_eq!(exported("record"), records);
    // That of an athlete, which comes if it was asked for before Terra's list of providers was known, has no metadata.
    let without = of("record").into_iter().find(|record| !record["document"].is_object());
    assert!(without.is_none(), "{without:?}");
    let run = of("record").into_iter().find(|record| record["key"] == "fixture-run").unwrap();
    assert_eq!(run["document"], fixture["data"][0], "as Terra sent it");
    assert_eq!(exported("connection"), ids(&app.all("/v1/users/ann/connections").await));
    assert_eq!(exported("auth_event"), ids(&app.all("/v1/auth-events?user=ann").await));
    assert_eq!(exported("delivery"), ids(&app.all(&format!("/v1/deliveries?terra_user_id={alias}")).await));
    assert_eq!(exported("fetch"), ids(&app.all("/v1/fetches?user=ann").await));
    assert_eq!(exported("backfill"), ids(&app.all("/v1/backfills?user=ann").await));
    let events: Vec<Value> = app.events().await.into_iter().filter(|event| event["subject"] == "ann").collect();
    assert_eq!(exported("event"), ids(&events));
    let sessions = of("connect_session");
    assert_eq!((sessions.len(), &sessions[0]["status"]), (1, &json!("connected")));
    for part in ["record", "connection", "auth_event", "delivery", "fetch", "backfill", "event"] {
        assert_eq!(lines.last().unwrap()["lines"][part], of(part).len(), "{part}");
        assert!(!of(part).is_empty(), "nothing of {part}");
    }
    assert!(!text.contains("bob"), "somebody else's");

    let (code, said) = export(&app, "ann", &file).await;
    assert_eq!(code, 1, "a file that is there stays: {said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    app.end().await;
}

async fn an_export_is_for_those_who_may_and_never_half(engine: Engine) {
    let tokens = "reader:records+ops+events:a-reader-token-001,privacy:privacy:a-privacy-token-01";
    let options = Options::default().set("LANDFALL_API_TOKENS", tokens).set("LANDFALL_PAYLOADS_INLINE_MAX", "64");
    let app = TestApp::start_with(engine, options).await;
    app.send(&terra_says::auth(terra_says::user("terra-ann", Some("ann"))), &[]).await;
    app.send(&terra_says::activity(terra_says::user("terra-ann", Some("ann")), "run", 5.0), &[]).await;
    let ask = async |token: &str| {
        let answer = app.http.get(app.api("/v1/users/ann/export")).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await)
    };
    assert_eq!(ask("a-reader-token-001").await.0, 403);
    eventually("it is all there", || async {
        ask("a-privacy-token-01").await.1.is_ok_and(|text| text.contains("\"record\""))
    })
    .await;
    // A document that is lost ends the export: it would not be whole.
    let payloads = std::path::Path::new(&app.settings["LANDFALL_DATA_DIR"]).join("payloads");
    std::fs::remove_dir_all(&payloads).unwrap();
    let (_, text) = ask("a-privacy-token-01").await;
    assert!(text.is_err() || !text.unwrap().contains("\"end\""), "cut, and it shows");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ann.ndjson");
    let (code, _) = export(&app, "ann", &file).await;
    assert!(code != 0 && !file.exists(), "no half export is left");
    app.end().await;
}
