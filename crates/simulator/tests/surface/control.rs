//! The routes that make the simulator do things.

use serde_json::{Value, json};
use simulator::event::EVENT_TYPES;

use crate::stage::Stage;

#[tokio::test]
async fn every_event_type_can_be_sent_and_changed() {
    let stage = Stage::set().await;
    for kind in EVENT_TYPES {
        let order = json!({ "type": kind, "set": { "added.field": 7 } });
        let answer = stage.control("/events", order).await;
        assert_eq!(answer["status"], 200, "{kind}");
    }
    let received = stage.receiver.wait_for(EVENT_TYPES.len()).await;
    assert!(received.iter().all(|one| one.json()["added"]["field"] == 7));
}

#[tokio::test]
async fn events_come_in_sizes() {
    let stage = Stage::set().await;
    for (size, least, most) in [("1kB", 800, 1_400), ("60kB", 50_000, 75_000), ("5MB", 4_500_000, 6_000_000)] {
        let order = json!({ "type": "activity", "size": size });
        assert_eq!(stage.control("/events", order).await["status"], 200);
        let bytes = stage.receiver.received().last().unwrap().body.len();
        assert!((least..=most).contains(&bytes), "{size}: {bytes} bytes");
    }
}

#[tokio::test]
async fn duplicates_share_a_trace_id_and_different_events_do_not() {
    let stage = Stage::set().await;
    let order = json!({ "type": "daily", "times": 2, "count": 2, "trace_id": "trace-1" });
    let answer = stage.control("/events", order).await;
    assert_eq!(answer["sent"].as_array().unwrap().len(), 4);
    let received = stage.receiver.wait_for(4).await;
    let trace_ids: Vec<_> = received.iter().map(|one| one.header("x-terra-trace-id").unwrap()).collect();
    assert_eq!(trace_ids, ["trace-1", "trace-1", "trace-1-1", "trace-1-1"]);
    assert_eq!(received[0].body, received[1].body);
    assert_ne!(received[1].body, received[2].body);
}

#[tokio::test]
async fn raw_bodies_are_sent_as_they_are() {
    let stage = Stage::set().await;
    stage.control("/events", json!({ "body_text": "no { json" })).await;
    let delivery = &stage.receiver.wait_for(1).await[0];
    assert_eq!(delivery.body, b"no { json");
    let right = delivery.expected_signature(&stage.settings.signing_secret);
    assert_eq!(delivery.header("x-terra-signature"), Some(right.as_str()));
}

#[tokio::test]
async fn a_payload_event_points_to_what_can_be_downloaded() {
    let stage = Stage::set().await;
    stage.control("/events", json!({ "type": "s3_payload" })).await;
    let event = stage.receiver.wait_for(1).await[0].json();
    let payload = stage.client.get(event["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(payload.json::<Value>().await.unwrap()["type"], "activity");
}

#[tokio::test]
async fn faults_spoil_the_next_calls_and_then_are_over() {
    let stage = Stage::set().await;
    let fault = json!({
        "path": "/subscriptions",
        "times": 2,
        "status": 429,
        "retry_after": 7,
        "headers": { "X-Terra-RateLimit-Rule": "r2" },
    });
    stage.control("/faults", fault).await;
    stage.control("/faults", json!({ "path": "/userInfo", "status": 502, "html": true })).await;
    for _ in 0..2 {
        let answer = stage.get("/subscriptions").await;
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()["retry-after"], "7");
        assert_eq!(answer.headers()["x-terra-ratelimit-rule"], "r2");
    }
    assert_eq!(stage.get("/subscriptions").await.status(), 200);
    let page = stage.get("/userInfo?reference_id=x").await;
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let log = stage.control_get("/requests").await;
    let statuses: Vec<_> = log["items"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [429, 429, 200, 502]);
    assert_eq!(log["items"][3]["query"], "reference_id=x");
}

#[tokio::test]
async fn lifecycle_events_can_be_caused() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    for what in ["permission_change", "connection_error", "reauth"] {
        stage.control(&format!("/users/{user_id}/{what}"), json!({})).await;
    }
    let types = stage.receiver.wait_for_types(5).await;
    let mut sorted = types.clone();
    sorted.sort();
    let expected = ["auth", "connection_error", "deauth", "permission_change", "user_reauth"];
    assert_eq!(sorted, expected, "{types:?}");
    let users = stage.control_get("/users").await;
    let user_id = users["items"][0]["user_id"].as_str().unwrap().to_owned();
    stage.control(&format!("/users/{user_id}/access_revoked"), json!({})).await;
    let info = stage.get_json(&format!("/userInfo?user_id={user_id}")).await;
    assert_eq!(info["is_authenticated"], false);
    let path = format!("/activity?user_id={user_id}&start_date=2026-05-01");
    assert_eq!(stage.get(&path).await.status(), 424);
    stage.control(&format!("/users/{user_id}/deauth"), json!({})).await;
    assert_eq!(stage.get(&path).await.status(), 404);
}
