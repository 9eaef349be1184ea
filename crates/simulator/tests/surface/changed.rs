//! Later deliveries of the same records: deleted, without their scores, doubled, out of order.

use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test]
async fn a_record_can_come_again_as_deleted_or_without_its_scores() {
    let stage = Stage::set().await;
    stage.user("person-1").await;
    stage.control("/events", json!({ "type": "activity" })).await;
    stage.control("/events", json!({ "type": "activity", "nulled_scores": true })).await;
    stage.control("/events", json!({ "type": "activity", "upload_type": 4 })).await;
    let events: Vec<Value> = stage.receiver.wait_for(3).await.iter().map(|one| one.json()["data"][0].clone()).collect();
    let ids: Vec<&Value> = events.iter().map(|record| &record["metadata"]["summary_id"]).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let scores = |record: &Value| record["data_enrichment"].as_object().unwrap().values().cloned().collect::<Vec<_>>();
    assert!(scores(&events[0]).iter().all(|score| !score.is_null()));
    assert!(scores(&events[1]).iter().all(Value::is_null));
    assert_eq!((&events[1]["metadata"], &events[2]["metadata"]["upload_type"]), (&events[0]["metadata"], &json!(4)));
}

#[tokio::test]
async fn deliveries_can_be_doubled_and_reordered() {
    let stage = Stage::set().await;
    stage.user("person-1").await;
    let order = json!({ "type": "daily", "count": 6, "times": 2, "shuffle": true, "trace_id": "t" });
    stage.control("/events", order).await;
    let received = stage.receiver.wait_for(12).await;
    let orders: Vec<i64> =
        received.iter().map(|one| one.header("x-terra-ordering-timestamp").unwrap().parse().unwrap()).collect();
    assert!(!orders.is_sorted(), "{orders:?}");
    let mut distinct = orders.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 6);
}
