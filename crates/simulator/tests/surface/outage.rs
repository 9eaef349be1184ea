//! A provider that is down while Terra is well.

use serde_json::{Value, json};

use crate::stage::Stage;

const DAYS: &str = "start_date=2026-05-01&end_date=2026-05-04";

#[tokio::test]
async fn a_provider_that_is_down_fails_its_own_users_alone() {
    let stage = Stage::set().await;
    let garmin = stage.user("person-1").await;
    let created = stage.control("/users", json!({ "provider": "OURA", "announce": false })).await;
    let oura = created["user"]["user_id"].as_str().unwrap().to_owned();
    stage.control("/outages", json!({ "provider": "OURA", "message": "Oura is down" })).await;
    let down = stage.get(&format!("/sleep?user_id={oura}&{DAYS}&to_webhook=false")).await;
    assert_eq!(down.status(), 424);
    assert_eq!(down.json::<Value>().await.unwrap()["detail"], "Oura is down");
    let well = stage.get(&format!("/sleep?user_id={garmin}&{DAYS}&to_webhook=false")).await;
    assert_eq!(well.status(), 200);
    stage.control_delete("/outages").await;
    assert_eq!(stage.get(&format!("/sleep?user_id={oura}&{DAYS}&to_webhook=false")).await.status(), 200);
}

#[tokio::test]
async fn a_providers_limit_names_no_rule_of_terras() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    let outage =
        json!({ "provider": "GARMIN", "answer": "too_many", "retry_after": 9, "message": "Garmin: slow down" });
    stage.control("/outages", outage).await;
    let refused = stage.get(&format!("/daily?user_id={user_id}&{DAYS}")).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"9".parse().unwrap()));
    assert!(refused.headers().keys().all(|name| !name.as_str().starts_with("x-terra-ratelimit")));
    assert_eq!(refused.json::<Value>().await.unwrap()["detail"], "Garmin: slow down");
    assert_eq!(stage.control_get("/budget").await["items"][0]["answered_429"], 1);
}

#[tokio::test]
async fn a_request_that_may_be_retried_is_kept_until_the_provider_is_well() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    stage.control("/outages", json!({ "provider": "GARMIN", "answer": "too_many" })).await;
    let ack = stage.get_json(&format!("/daily?user_id={user_id}&{DAYS}&retry_if_rate_limited=true")).await;
    // Inline data cannot be kept for later.
    let inline = format!("/daily?user_id={user_id}&{DAYS}&retry_if_rate_limited=true&to_webhook=false");
    assert_eq!(stage.get(&inline).await.status(), 429);
    assert!(stage.receiver.received().is_empty());
    stage.control_delete("/outages").await;
    let delivery = stage.receiver.first().await;
    assert_eq!(delivery.json()["type"], "daily");
    assert_eq!(delivery.header("terra-reference"), ack["reference"].as_str());
}

#[tokio::test]
async fn the_older_platform_announces_its_retry_by_a_webhook() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    stage.control("/settings", json!({ "dialect": "older" })).await;
    stage.control("/outages", json!({ "provider": "GARMIN", "answer": "rate_limit", "seconds": 0.3 })).await;
    let told = stage.get_json(&format!("/daily?user_id={user_id}&{DAYS}")).await;
    assert_eq!((&told["type"], &told["status"]), (&json!("rate_limit"), &json!("error")));
    let ack = stage.get_json(&format!("/daily?user_id={user_id}&{DAYS}&retry_if_rate_limited=true")).await;
    assert_eq!(ack["type"], "webhook");
    assert_eq!(stage.receiver.wait_for_types(2).await, ["rate_limit_hit", "daily"]);
    let announced = stage.receiver.received()[0].json();
    assert_eq!((&announced["start_date"], &announced["end_date"]), (&json!("2026-05-01"), &json!("2026-05-04")));
    assert!(announced["retrying_at"].as_str().unwrap().starts_with("2026-06-01T12:"));
}

#[tokio::test]
async fn a_gateway_may_break_with_a_web_page() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    stage.control("/faults", json!({ "path": "/daily", "status": 500, "html": true })).await;
    let broken = stage.get(&format!("/daily?user_id={user_id}&{DAYS}")).await;
    assert_eq!(broken.status(), 500);
    assert!(broken.text().await.unwrap().starts_with("<!doctype html>"));
}
