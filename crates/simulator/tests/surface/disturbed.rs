//! Large requests that do not come as announced.

use serde_json::{Value, json};

use crate::receiver::Received;
use crate::stage::Stage;

/// Asks for 35 days of `daily`, which are four chunks, and answers what came in short.
async fn asked_for(stage: &Stage, user_id: &str, count: usize) -> Vec<String> {
    let path = format!("/daily?user_id={user_id}&start_date=2026-04-01&end_date=2026-05-06");
    stage.get_json(&path).await;
    stage.receiver.wait_for(count).await.iter().map(short).collect()
}

fn short(one: &Received) -> String {
    let kind = one.json()["type"].as_str().unwrap().to_owned();
    let trace_id = one.header("x-terra-trace-id").unwrap();
    trace_id.rsplit_once(":chunk:").map_or(kind, |(_, number)| number.to_owned())
}

const PROCESSING: &str = "large_request_processing";
const SENDING: &str = "large_request_sending";

#[tokio::test]
async fn lost_chunks_stay_announced_and_come_with_the_next_request() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    stage.control("/large_requests", json!({ "lose": [2, 4], "type": "daily", "user_id": user_id })).await;
    assert_eq!(asked_for(&stage, &user_id, 4).await, [PROCESSING, SENDING, "1", "3"]);
    assert_eq!(stage.receiver.received()[1].json()["expected_payloads"], 4);
    assert_eq!(stage.control_get("/large_requests").await["items"], json!([]));
    let again = asked_for(&stage, &user_id, 10).await;
    assert_eq!(again[4..], [PROCESSING, SENDING, "1", "2", "3", "4"]);
    let whole: Vec<Value> = stage.receiver.received()[6..].iter().map(|one| one.json()["data"].clone()).collect();
    assert_eq!(stage.receiver.received()[2].json()["data"], whole[0]);
    assert_eq!(whole.iter().map(|data| data.as_array().unwrap().len()).sum::<usize>(), 35);
}

#[tokio::test]
async fn chunks_may_come_before_their_announcement_or_without_one() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    for announce in ["after_first_chunk", "last", "uncounted", "never"] {
        stage.control("/large_requests", json!({ "announce": announce })).await;
    }
    let came = asked_for(&stage, &user_id, 6).await;
    assert_eq!(came, ["1", PROCESSING, SENDING, "2", "3", "4"]);
    assert_eq!(asked_for(&stage, &user_id, 12).await[6..], ["1", "2", "3", "4", PROCESSING, SENDING]);
    assert_eq!(asked_for(&stage, &user_id, 17).await[12..], [PROCESSING, "1", "2", "3", "4"]);
    assert_eq!(asked_for(&stage, &user_id, 21).await[17..], ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_chunk_may_come_again_late_under_its_own_ids() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    stage.control("/large_requests", json!({ "duplicate": [2], "duplicate_after_ms": 50, "reverse": true })).await;
    let came = asked_for(&stage, &user_id, 7).await;
    assert_eq!(came, [PROCESSING, SENDING, "4", "3", "2", "1", "2"]);
    let received = stage.receiver.received();
    let (first, again) = (&received[4], &received[6]);
    assert_eq!(first.body, again.body);
    for header in ["x-terra-trace-id", "x-terra-ordering-timestamp", "terra-reference"] {
        assert_eq!(first.header(header), again.header(header));
    }
}

#[tokio::test]
async fn an_order_that_concerns_others_is_kept() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    stage.control("/large_requests", json!({ "type": "sleep", "lose": [1], "times": 2 })).await;
    assert_eq!(asked_for(&stage, &user_id, 6).await, [PROCESSING, SENDING, "1", "2", "3", "4"]);
    let kept = stage.control_get("/large_requests").await;
    assert_eq!((&kept["items"][0]["times"], &kept["items"][0]["type"]), (&json!(2), &json!("sleep")));
    stage.control_delete("/large_requests").await;
    assert_eq!(stage.control_get("/large_requests").await["items"], json!([]));
}
