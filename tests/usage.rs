//! The bill: what Terra delivered, in the overview, as pages, as CSV and from a terminal.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, terra_says};

crate::on_every_engine!(what_terra_delivered_is_shown_as_its_bill_counts_it, a_token_without_ops_sees_no_bill);

async fn what_terra_delivered_is_shown_as_its_bill_counts_it(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_USAGE_FREE_MONTHLY", "3")).await;
    let ann = || terra_says::user("terra-ann", Some("=ann"));
    assert_eq!(app.send(&terra_says::auth(ann()), &[]).await, 200);
    for number in 0..4 {
        let run = terra_says::activity(ann(), &format!("run-{number}"), 1.0);
        assert_eq!(app.send(&run, &[("x-terra-trace-id", &format!("trace-{number}"))]).await, 200);
    }
    let run = terra_says::activity(ann(), "run-0", 1.0);
    assert_eq!(app.send(&run, &[("x-terra-trace-id", "trace-0")]).await, 200);
    assert_eq!(app.send(&terra_says::auth(terra_says::user("terra-bob", Some("bob"))), &[]).await, 200);
    eventually("all of it is worked", || async {
        app.get("/v1/stats").await["usage"]["deliveries"] == 6 && app.get("/v1/stats").await["usage"]["duplicates"] == 1
    })
    .await;
    app.quiet().await;
    let usage = app.get("/v1/stats").await["usage"].clone();
    assert_eq!((&usage["connections"], &usage["connections_over_free"]), (&json!(2), &json!(1)));
    assert_eq!((&usage["free_per_connection"], &usage["events_over_free"]), (&json!(3), &json!(2)));
    assert_eq!((&usage["live"], &usage["ours"]), (&json!(6), &json!(0)));
    let activity = usage["by_type"].as_array().unwrap().iter().find(|row| row["type"] == "activity").unwrap();
    assert_eq!((&activity["deliveries"], &activity["unchanged_share"]), (&json!(4), &json!(0.2)));
    assert_eq!(usage["by_provider"][0]["provider"], "GARMIN");
    assert!(usage["text"].as_str().unwrap().contains("1 connections are over their 3 free events"), "{usage}");

    let over = app.all("/v1/stats/usage?by=connection&over=true").await;
    assert_eq!(over.len(), 1);
    assert_eq!(
        (&over[0]["user"], &over[0]["over_free"], &over[0]["deliveries"]),
        (&json!("=ann"), &json!(2), &json!(5))
    );
    assert!(app.all("/v1/stats/usage?month=2020-01").await.is_empty());
    for bad in ["by=user", "month=soon", "over=true", "format=xml", "colour=red", "by=connection&over=perhaps"] {
        let answer = app.http.get(app.api(&format!("/v1/stats/usage?{bad}"))).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 400, "{bad}");
        assert!(answer.json::<Value>().await.unwrap()["code"].is_string(), "{bad}");
    }
    check_csv(&app).await;
    check_terminal(&app).await;
    app.end().await;
}

async fn check_csv(app: &TestApp) {
    let asked = app.http.get(app.api("/v1/stats/usage?by=connection")).header("accept", "text/csv");
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"].to_str().unwrap(), "text/csv; charset=utf-8");
    let text = answer.text().await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "month,connection,user,environment,terra_user_id,provider,over_free,deliveries,unchanged,duplicates,unchanged_share,bytes,live,ours"
    );
    assert_eq!(lines.len(), 3, "{text}");
    assert!(text.contains(",'=ann,default,terra-ann,GARMIN,2,5,0,1,"), "no cell is a formula: {text}");
    let by_format = app.http.get(app.api("/v1/stats/usage?by=kind&format=csv")).send().await.unwrap();
    assert!(by_format.text().await.unwrap().starts_with("month,type,deliveries,"));
}

async fn check_terminal(app: &TestApp) {
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    let (code, csv) = Process::run(&["stats", "-o", "csv"], &settings).await;
    assert_eq!(code, 0, "{csv}");
    assert!(csv.contains("month,type,deliveries") && csv.contains(",activity,4,"), "{csv}");
    let (code, table) = Process::run(&["stats", "-o", "table"], &settings).await;
    assert_eq!(code, 0, "{table}");
    assert!(table.contains("2 connections") && table.contains("Terra delivered 6 events"), "{table}");
    let (code, json) = Process::run(&["stats", "-o", "json"], &settings).await;
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["usage"]["deliveries"], 6);
    let (code, over) = Process::run(&["stats", "--over", "-o", "json"], &settings).await;
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&over).unwrap().as_array().unwrap().len(), 1);
}

async fn a_token_without_ops_sees_no_bill(engine: Engine) {
    let options = Options::default().set("LANDFALL_API_TOKENS", "app:records:records-token-0123456789");
    let app = TestApp::start_with(engine, options).await;
    for path in ["/v1/stats", "/v1/stats/usage"] {
        let answer = app.http.get(app.api(path)).bearer_auth("records-token-0123456789").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 403, "{path}");
    }
    app.end().await;
}
