//! Terra's own history of deliveries, and sending one of them again.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};
use simulator::{RetrySchedule, Settings};

use crate::stage::Stage;

const TOKEN: &str = "terra_at_simulated";

fn events_url(stage: &Stage) -> String {
    format!("{}/environments/{}/events", stage.simulator.admin_url(), stage.settings.dev_id)
}

async fn admin(stage: &Stage, path_and_query: &str) -> Response {
    let url = format!("{}{path_and_query}", events_url(stage));
    stage.client.get(url).bearer_auth(TOKEN).send().await.unwrap()
}

async fn listed(stage: &Stage, query: &str) -> Value {
    let answer = admin(stage, query).await;
    assert_eq!(answer.status(), 200, "{query}");
    answer.json().await.unwrap()
}

/// Waits until a list has so many rows: a row is written when the answer is back, which is a moment
/// after the destination got the delivery.
async fn with_rows(stage: &Stage, query: &str, count: usize) -> Value {
    let enough = async {
        loop {
            let page = listed(stage, query).await;
            if page["data"].as_array().unwrap().len() >= count {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let page = tokio::time::timeout(Duration::from_secs(10), enough).await.unwrap();
    assert_eq!(page["data"].as_array().unwrap().len(), count);
    page
}

fn types(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|row| row["data_type"].as_str().unwrap()).collect()
}

async fn resend(stage: &Stage, row: &Value) -> u16 {
    let body = json!({ "event_id": row["event_id"], "event_type": row["data_type"], "user_id": row["user_id"] });
    let url = format!("{}/resend", events_url(stage));
    stage.client.post(url).bearer_auth(TOKEN).json(&body).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn the_event_log_wants_a_token_and_knows_one_environment() {
    let stage = Stage::set().await;
    assert_eq!(stage.client.get(events_url(&stage)).send().await.unwrap().status(), 401);
    let wrong = stage.client.get(events_url(&stage)).bearer_auth("terra_at_other").send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert_eq!(wrong.json::<Value>().await.unwrap()["code"], "unauthorized");
    let elsewhere = format!("{}/environments/other/events", stage.simulator.admin_url());
    let unknown = stage.client.get(elsewhere).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(unknown.json::<Value>().await.unwrap()["code"], "dev_id_not_found");
    stage.control("/settings", json!({ "admin_token": "terra_at_new" })).await;
    assert_eq!(admin(&stage, "").await.status(), 401);
}

#[tokio::test]
async fn every_attempt_is_a_row_and_failed_ones_can_be_listed() {
    let retry = RetrySchedule { retries_max: 1, factor: 10_000.0, ..RetrySchedule::default() };
    let stage = Stage::set_with(Settings { retry, ..Settings::default() }).await;
    let user_id = stage.user("person-1").await;
    stage.receiver.answer_next(&[500, 401, 200]);
    stage.control("/events", json!({ "type": "sleep", "retry": true })).await;
    stage.receiver.wait_for(2).await;
    with_rows(&stage, "", 2).await;
    stage.control("/events", json!({ "type": "daily" })).await;
    stage.simulator.set_webhook_url(Some("http://127.0.0.1:9/nobody".to_owned()));
    let url = format!("{}/_simulator/events", stage.simulator.base_url());
    stage.client.post(url).json(&json!({ "type": "auth" })).send().await.unwrap();

    assert_eq!(types(&listed(&stage, "").await), ["auth", "daily", "sleep", "sleep"]);
    let failed = listed(&stage, "?outcome=failed").await;
    assert_eq!(types(&failed), ["auth", "sleep", "sleep"]);
    let statuses: Vec<&Value> = failed["data"].as_array().unwrap().iter().map(|row| &row["http_status"]).collect();
    assert_eq!(statuses, [&Value::Null, &json!(401), &json!(500)]);
    let row = &failed["data"][1];
    assert_eq!((&row["user_id"], &row["provider"]), (&json!(user_id), &json!("GARMIN")));
    assert!(row["sent_at"].as_str().unwrap().starts_with("2026-06-01T12:"));
    assert_eq!(row["bytes"], stage.receiver.received()[0].body.len());

    assert_eq!(types(&listed(&stage, "?data_type=daily&data_type=auth").await), ["auth", "daily"]);
    assert_eq!(types(&listed(&stage, "?user_id=nobody").await), Vec::<&str>::new());
    assert_eq!(types(&listed(&stage, "?until=2026-06-01T11:00:00Z").await), Vec::<&str>::new());
    assert_eq!(listed(&stage, "?since=2026-06-01T12:00:00%2B00:00").await["data"].as_array().unwrap().len(), 4);
    assert_eq!(admin(&stage, "?outcome=lost").await.status(), 400);
    let stats = listed(&stage, "/stats").await;
    assert_eq!((&stats["total"], &stats["delivered"], &stats["failed"]), (&json!(4), &json!(1), &json!(3)));
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let stage = Stage::set().await;
    stage.control("/events", json!({ "type": "daily", "count": 5 })).await;
    let first = listed(&stage, "?limit=3").await;
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (3, &json!(true)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = listed(&stage, &format!("?limit=3&cursor={cursor}")).await;
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (2, &json!(false)));
    assert_eq!(rest["next_cursor"], Value::Null);
    stage.control_delete("/event_log").await;
    assert_eq!(listed(&stage, "").await["data"], json!([]));
}

#[tokio::test]
async fn a_failed_event_can_be_read_and_sent_again() {
    let stage = Stage::set().await;
    stage.user("person-1").await;
    stage.receiver.answer_next(&[503]);
    stage.control("/events", json!({ "type": "sleep", "reference": "r-1" })).await;
    let lost = stage.receiver.wait_for(1).await.remove(0);
    let row = listed(&stage, "?outcome=failed").await["data"][0].clone();
    assert_eq!(row["event_id"].as_str(), lost.header("x-terra-trace-id"));
    let id = row["event_id"].as_str().unwrap();
    assert_eq!(admin(&stage, &format!("/{id}/payload")).await.bytes().await.unwrap(), lost.body);
    assert_eq!(resend(&stage, &row).await, 202);
    let again = stage.receiver.wait_for(2).await.remove(1);
    assert_eq!(again.body, lost.body);
    for header in ["x-terra-trace-id", "x-terra-ordering-timestamp", "terra-reference"] {
        assert_eq!(again.header(header), lost.header(header), "{header}");
    }
    with_rows(&stage, &format!("?event_id={id}"), 2).await;
    let retrieved: Value = admin(&stage, &format!("/{id}")).await.json().await.unwrap();
    assert_eq!(retrieved["http_status"], 200);
    let wrong = json!({ "event_id": row["event_id"], "data_type": "daily", "user_id": row["user_id"] });
    assert_eq!(resend(&stage, &wrong).await, 404);
    assert_eq!(admin(&stage, "/unknown").await.status(), 404);
}

#[tokio::test]
async fn a_resend_may_arrive_twice_under_another_trace_id() {
    let stage = Stage::set().await;
    stage.user("person-1").await;
    let settings = json!({ "resend_copies": 2, "resend_keeps_trace_id": false, "event_ids_are_trace_ids": false });
    stage.control("/settings", settings).await;
    stage.control("/events", json!({ "type": "sleep" })).await;
    let row = listed(&stage, "").await["data"][0].clone();
    assert_eq!(resend(&stage, &row).await, 202);
    let received = stage.receiver.wait_for(3).await;
    let trace_ids: Vec<_> = received.iter().map(|one| one.header("x-terra-trace-id").unwrap()).collect();
    assert_ne!(row["event_id"], trace_ids[0]);
    assert_ne!(trace_ids[0], trace_ids[1]);
    assert_eq!(trace_ids[1], trace_ids[2]);
    with_rows(&stage, &format!("?event_id={}", row["event_id"].as_str().unwrap()), 3).await;
}
