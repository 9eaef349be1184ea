//! Webhooks on the wire: headers, retries, and what is taken for an answer.

use std::time::Duration;

use serde_json::json;
use simulator::{Ordering, RetrySchedule, SendOptions, Settings, TraceId};

use crate::stage::Stage;

fn impatient() -> Settings {
    let retry = RetrySchedule { factor: 2_000.0, ..RetrySchedule::default() };
    Settings { retry, ..Settings::default() }
}

#[tokio::test]
async fn a_delivery_carries_terras_headers() {
    let stage = Stage::set().await;
    let sent = stage.simulator.send(json!({ "type": "x" }), SendOptions::default()).await.unwrap();
    assert_eq!((sent.status, sent.body.as_str()), (200, "noted"));
    let delivery = &stage.receiver.wait_for(1).await[0];
    let signature = delivery.expected_signature(&stage.settings.signing_secret);
    assert_eq!(delivery.header("x-terra-signature"), Some(signature.as_str()));
    assert_eq!(delivery.header("terra-signature"), Some(signature.as_str()));
    assert_eq!(delivery.header("content-type"), Some("application/json"));
    assert_eq!(delivery.header("x-terra-trace-id"), sent.trace_id.as_deref());
    assert_eq!(delivery.header("terra-reference"), None);
    let order: i64 = delivery.header("x-terra-ordering-timestamp").unwrap().parse().unwrap();
    assert!(order / 1_000 - sent.t <= 1);
}

#[tokio::test]
async fn a_delivery_can_be_made_wrong() {
    let stage = Stage::set().await;
    let options = SendOptions {
        t: Some(5),
        bad_signature: true,
        trace_id: TraceId::None,
        ordering: Ordering::None,
        ..SendOptions::default()
    };
    stage.simulator.send(json!({ "type": "x" }), options).await.unwrap();
    let delivery = &stage.receiver.wait_for(1).await[0];
    let right = delivery.expected_signature(&stage.settings.signing_secret);
    let given = delivery.header("x-terra-signature").unwrap();
    assert!(given.starts_with("t=5,v1="));
    assert_ne!(given, right);
    assert_eq!(delivery.header("x-terra-trace-id"), None);
    assert_eq!(delivery.header("x-terra-ordering-timestamp"), None);
}

#[tokio::test]
async fn the_older_platform_has_two_headers_of_its_own() {
    let stage = Stage::set().await;
    stage.control("/settings", json!({ "older_headers": true })).await;
    stage.control("/events", json!({ "type": "daily", "reference": "r-1" })).await;
    let delivery = stage.receiver.wait_for(1).await.remove(0);
    assert!(delivery.header("terra-signature").unwrap().starts_with("t="));
    assert_eq!(delivery.header("terra-reference"), Some("r-1"));
    assert!(delivery.headers.iter().all(|(name, _)| !name.starts_with("x-terra")));
}

#[tokio::test]
async fn whatever_is_not_2xx_is_tried_again_under_the_same_ids() {
    let stage = Stage::set_with(impatient()).await;
    stage.receiver.answer_next(&[500, 303, 401]);
    stage.control("/events", json!({ "type": "daily", "retry": true })).await;
    let tries = stage.receiver.wait_for(4).await;
    for header in ["x-terra-trace-id", "x-terra-ordering-timestamp"] {
        assert!(tries.iter().all(|one| one.header(header) == tries[0].header(header)));
    }
    assert!(tries.iter().all(|one| one.body == tries[0].body));
    let log = stage.quiet().await;
    let statuses: Vec<_> = log["items"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [500, 303, 401, 200]);
    assert_eq!(log["pending"], 0);
}

#[tokio::test]
async fn a_delivery_is_given_up_at_the_end_of_the_schedule() {
    let retry = RetrySchedule { retries_max: 2, factor: 10_000.0, ..RetrySchedule::default() };
    let stage = Stage::set_with(Settings { retry, ..Settings::default() }).await;
    stage.receiver.answer_next(&[500; 10]);
    stage.control("/events", json!({ "type": "daily", "retry": true })).await;
    stage.quiet().await;
    assert_eq!(stage.receiver.received().len(), 3);
}

#[tokio::test]
async fn events_can_be_sent_twice() {
    let stage = Stage::set_with(Settings { copies: 2, ..Settings::default() }).await;
    stage.control("/users", json!({ "reference_id": "person-1" })).await;
    let received = stage.receiver.wait_for(2).await;
    assert_eq!(received[0].body, received[1].body);
    let trace_id = received[0].header("x-terra-trace-id");
    assert_eq!(trace_id, received[1].header("x-terra-trace-id"));
}

#[tokio::test]
async fn connected_users_get_new_data_by_themselves_if_asked_for() {
    let settings = Settings { live_every: Some(Duration::from_millis(200)), ..Settings::default() };
    let stage = Stage::set_with(settings).await;
    let user_id = stage.user("person-1").await;
    let event = stage.receiver.first().await.json();
    assert_eq!(event["user"]["user_id"], user_id.as_str());
}

#[tokio::test]
async fn stopping_ends_deliveries_that_wait() {
    let stage = Stage::set().await;
    stage.receiver.answer_next(&[500]);
    stage.control("/events", json!({ "type": "daily", "retry": true })).await;
    stage.receiver.wait_for(1).await;
    // The first retry is due in half a minute.
    tokio::time::timeout(Duration::from_secs(5), stage.simulator.stop()).await.unwrap();
}

#[tokio::test]
async fn two_runs_with_one_seed_send_the_same() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let stage = Stage::set().await;
        let user_id = stage.user("person-1").await;
        let path = format!("/sleep?user_id={user_id}&start_date=2026-05-01&end_date=2026-05-05");
        stage.get_json(&path).await;
        let delivery = stage.receiver.wait_for(1).await.remove(0);
        let trace_id = delivery.header("x-terra-trace-id").unwrap().to_owned();
        runs.push((user_id, trace_id, delivery.json()["data"].clone()));
    }
    assert_eq!(runs[0], runs[1]);
}
