//! Documents read again: whatever is asked, those who read see what they saw.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, terra_says};

crate::on_every_engine!(what_is_read_again_is_what_it_was, a_lost_document_is_named_and_the_rest_goes_on);

fn ann() -> Value {
    terra_says::user("terra-ann", Some("ann"))
}

fn daily(day: u32, steps: u32, scores: Value) -> Value {
    json!({
        "type": "daily", "user": ann(), "version": "2022-03-16",
        "data": [{
            "metadata": { "start_time": format!("2026-03-{day:02}T00:00:00.000000+01:00"), "end_time": format!("2026-03-{day:02}T23:59:59.000000+01:00"), "upload_type": 1 },
            "distance_data": { "steps": steps },
            "data_enrichment": scores,
        }]
    })
}

async fn deliver(app: &TestApp, body: &Value) {
    assert_eq!(app.send(body, &[]).await, 200);
}

/// Runs `landfall reproject` against the app; exit code and output.
async fn reproject(app: &TestApp, arguments: &[&str]) -> (Option<i32>, String) {
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    let arguments: Vec<&str> = ["reproject"].into_iter().chain(arguments.iter().copied()).collect();
    let mut process = Process::spawn(&arguments, &settings);
    (process.wait().await, process.log())
}

async fn what_is_read_again_is_what_it_was(engine: Engine) {
    let app = TestApp::start(engine).await;
    deliver(&app, &terra_says::auth(ann())).await;
    for (day, steps) in [(1, 100), (2, 200), (3, 300)] {
        deliver(&app, &daily(day, steps, json!({ "strain_index": 1.5 }))).await;
    }
    app.quiet().await;
    deliver(&app, &daily(3, 333, json!({ "strain_index": null }))).await;
    deliver(&app, &terra_says::activity(ann(), "run", 1_000.0)).await;
    app.quiet().await;
    let before = (app.all("/v1/users/ann/dailies").await, app.all("/v1/users/ann/activities").await);
    let told = app.events().await.len();
    assert_eq!(before.0.len(), 3);

    let (status, first) = app.post("/v1/reprojections", json!({ "kind": "daily", "limit": 2 })).await;
    assert_eq!((status, &first["read"], &first["refilled"]), (200, &json!(2), &json!(2)), "{first}");
    let (_, rest) = app.post("/v1/reprojections", json!({ "kind": "daily", "limit": 2, "after": first["next"] })).await;
    assert_eq!((&rest["read"], &rest["next"]), (&json!(1), &Value::Null), "{rest}");

    let (code, said) = reproject(&app, &["--dry-run", "-o", "table"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("read 4 documents: 4 would be refilled, 0 replaced"), "{said}");
    let (code, said) = reproject(&app, &["-o", "ndjson"]).await;
    assert_eq!(code, Some(0), "{said}");
    let totals: Value = said.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    assert_eq!((&totals["read"], &totals["refilled"], &totals["unreadable"]), (&json!(4), &json!(4), &json!(0)));
    let (code, said) = reproject(&app, &["--kind", "activity", "-o", "table"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("read 1 documents: 1 refilled"), "{said}");
    let place = format!("daily:{}", first["next"].as_str().unwrap());
    let (_, said) = reproject(&app, &["--after", &place, "-o", "table"]).await;
    assert!(said.contains("read 1 documents"), "{said}");

    let after = (app.all("/v1/users/ann/dailies").await, app.all("/v1/users/ann/activities").await);
    assert_eq!(before, after, "readers see what they saw");
    assert_eq!(app.events().await.len(), told, "nothing is told");

    let (status, problem) = app.post("/v1/reprojections", json!({ "kind": "dailies" })).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("bad_body")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("daily"), "{problem}");
    let (code, said) = reproject(&app, &["--kind", "dailies"]).await;
    assert_eq!(code, Some(2), "{said}");
    app.end().await;
}

async fn a_lost_document_is_named_and_the_rest_goes_on(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_PAYLOADS_INLINE_MAX", "1KiB")).await;
    deliver(&app, &terra_says::auth(ann())).await;
    deliver(&app, &daily(1, 100, json!({}))).await;
    let mut large = daily(2, 200, json!({}));
    // Packing must not make it small enough for its row.
    let noise: Vec<u64> = (0..4_000_u64).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    large["data"][0]["noise"] = json!(noise);
    deliver(&app, &large).await;
    app.quiet().await;
    let payloads = Path::new(&app.settings["LANDFALL_DATA_DIR"]).join("payloads");
    std::fs::remove_dir_all(&payloads).unwrap();
    let (code, said) = reproject(&app, &["--kind", "daily", "-o", "table"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("read 2 documents: 1 refilled, 0 replaced by newer ones meanwhile, 1 unreadable"), "{said}");
    let days = app.all("/v1/users/ann/dailies").await;
    let lost = days.iter().find(|day| day["key"] == "2026-03-02").unwrap();
    assert!(said.contains(&format!("daily {}: payload_lost", lost["id"].as_str().unwrap())), "{said}");
    assert_eq!(lost["steps"], 200, "what was kept of it stays");
    app.end().await;
}
