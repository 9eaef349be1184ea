//! Ping mode: the webhook names a URL, and the data waits there for a while.

use reqwest::Response;
use serde_json::{Value, json};

use crate::stage::Stage;

/// Sends one event in a mode and answers the event that came instead.
async fn pinged(stage: &Stage, ping: Value) -> Value {
    stage.control("/events", json!({ "type": "sleep", "reference_id": "person-1", "ping": ping })).await;
    stage.receiver.received().last().unwrap().json()
}

async fn fetch(stage: &Stage, event: &Value) -> Response {
    stage.client.get(event["url"].as_str().unwrap()).send().await.unwrap()
}

#[tokio::test]
async fn a_destination_in_ping_mode_gets_urls_instead_of_data() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    stage.control("/settings", json!({ "ping": { "expires_in": 600 } })).await;
    stage.get_json(&format!("/daily?user_id={user_id}&start_date=2026-04-01&end_date=2026-05-06")).await;
    let types = stage.receiver.wait_for_types(6).await;
    assert_eq!(types[..3], ["large_request_processing", "large_request_sending", "s3_payload"]);
    let received = stage.receiver.received();
    let event = received[2].json();
    assert_eq!((&event["status"], &event["expires_in"]), (&json!("success"), &json!(600)));
    assert!(event.get("user").is_none() && event.get("data").is_none());
    assert!(received[2].header("x-terra-trace-id").unwrap().ends_with(":chunk:1"));
    assert_eq!(received[2].header("terra-reference"), received[0].header("terra-reference"));
    let data: Value = fetch(&stage, &event).await.json().await.unwrap();
    assert_eq!((&data["type"], &data["user"]["user_id"]), (&json!("daily"), &json!(user_id)));
    stage.control(&format!("/users/{user_id}/connection_error"), json!({})).await;
    assert_eq!(stage.receiver.wait_for_types(7).await[6], "connection_error");
    stage.control("/settings", json!({ "ping": null })).await;
    stage.control("/events", json!({ "type": "daily" })).await;
    assert_eq!(stage.receiver.wait_for_types(8).await[7], "daily");
}

#[tokio::test]
async fn both_spellings_and_the_form_of_queues_can_be_had() {
    let stage = Stage::set().await;
    let event = pinged(&stage, json!({ "spelling": "s3_upload", "names_user": true })).await;
    assert_eq!((&event["type"], &event["reference_id"]), (&json!("s3_upload"), &json!("person-1")));
    let data: Value = fetch(&stage, &event).await.json().await.unwrap();
    assert_eq!(data["user"]["user_id"], event["user_id"]);
}

#[tokio::test]
async fn an_expired_url_is_refused_as_an_object_store_refuses() {
    let stage = Stage::set().await;
    let event = pinged(&stage, json!({ "expires_in": 300, "expires_after_ms": 0 })).await;
    let refused = fetch(&stage, &event).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["content-type"]),
        (403, &"application/xml".parse().unwrap())
    );
    let xml = refused.text().await.unwrap();
    assert!(xml.contains("<Code>AccessDenied</Code><Message>Request has expired</Message>"), "{xml}");
}

#[tokio::test]
async fn a_payload_can_vanish_and_a_signature_must_fit() {
    let stage = Stage::set().await;
    let event = pinged(&stage, json!({ "vanish": true })).await;
    let gone = fetch(&stage, &event).await;
    assert_eq!(gone.status(), 404);
    assert!(gone.text().await.unwrap().contains("NoSuchKey"));
    let event = pinged(&stage, json!({})).await;
    let mut url = event["url"].as_str().unwrap().to_owned();
    url.push('0');
    assert_eq!(stage.client.get(url).send().await.unwrap().status(), 403);
    assert_eq!(fetch(&stage, &event).await.status(), 200);
}

#[tokio::test]
async fn a_payload_can_redirect_to_itself_or_anywhere() {
    let stage = Stage::set().await;
    let event = pinged(&stage, json!({ "redirect": "self" })).await;
    let found = fetch(&stage, &event).await;
    assert_eq!(found.status(), 302);
    let target = found.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(stage.client.get(target).send().await.unwrap().status(), 200);
    let event = pinged(&stage, json!({ "redirect": "http://169.254.169.254/latest" })).await;
    assert_eq!(fetch(&stage, &event).await.headers()["location"], "http://169.254.169.254/latest");
}

#[tokio::test]
async fn a_payload_can_be_larger_than_it_was_announced() {
    let stage = Stage::set().await;
    let event = pinged(&stage, json!({ "extra_bytes": 200_000, "delay_ms": 5 })).await;
    let head = stage.client.head(event["url"].as_str().unwrap()).send().await.unwrap();
    let announced: usize = head.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let whole = fetch(&stage, &event).await;
    assert!(whole.headers().get("content-length").is_none());
    let body = whole.bytes().await.unwrap();
    assert_eq!(body.len(), announced + 200_000);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["type"], "sleep");
}

#[tokio::test]
async fn downloads_are_logged_and_may_fail_on_order() {
    let stage = Stage::set().await;
    let event = pinged(&stage, json!({})).await;
    stage.control("/faults", json!({ "path": "/_simulator/payloads", "status": 503 })).await;
    assert_eq!(fetch(&stage, &event).await.status(), 503);
    assert_eq!(fetch(&stage, &event).await.status(), 200);
    let log = stage.control_get("/requests").await;
    let statuses: Vec<_> = log["items"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [503, 200]);
}
