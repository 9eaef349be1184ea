//! Reading data: inline, as one webhook, and as a large request.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test]
async fn inline_data_is_within_its_window_and_repeats_itself() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    let path = format!("/activity?user_id={user_id}&start_date=2026-05-01&end_date=2026-05-29&to_webhook=false");
    let answer = stage.get_json(&path).await;
    let data = answer["data"].as_array().unwrap();
    assert!(data.len() > 3, "{} activities", data.len());
    for activity in data {
        let day = &activity["metadata"]["start_time"].as_str().unwrap()[..10];
        assert!(("2026-05-01".."2026-05-29").contains(&day), "{day}");
    }
    assert_eq!(answer["user"]["user_id"], user_id.as_str());
    assert_eq!(stage.get_json(&path).await, answer);
    let sampled = stage.get_json(&format!("{path}&with_samples=true")).await;
    let series = &sampled["data"][0]["heart_rate_data"]["detailed"]["hr_samples"];
    assert!(series.as_array().unwrap().len() > 100);
}

#[tokio::test]
async fn every_kind_is_served_on_both_bases() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    for kind in ["activity", "body", "daily", "sleep", "nutrition", "menstruation", "athlete"] {
        let query = format!("{kind}?user_id={user_id}&start_date=2026-05-01&to_webhook=false");
        for base in [stage.simulator.api_url(), stage.simulator.legacy_url()] {
            let request = stage.with_credentials(stage.client.get(format!("{base}/{query}")));
            let answer: Value = request.send().await.unwrap().json().await.unwrap();
            assert_eq!(answer["type"], kind, "{base}");
        }
    }
    assert_eq!(stage.get("/horoscope?user_id=x").await.status(), 404);
}

#[tokio::test]
async fn by_default_data_goes_to_the_webhook_under_the_reference_of_the_answer() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    let path = format!("/daily?user_id={user_id}&start_date=2026-05-20&end_date=2026-05-23");
    let answer = stage.get(&path).await;
    assert_eq!(answer.headers()["x-terra-ratelimit-remaining"], "5997");
    let header = answer.headers()["terra-reference"].to_str().unwrap().to_owned();
    let ack: Value = answer.json().await.unwrap();
    assert_eq!(ack["reference"], header.as_str());
    assert_eq!(ack["trace_id"], header.as_str());
    let delivery = &stage.receiver.wait_for(1).await[0];
    assert_eq!(delivery.header("terra-reference"), Some(header.as_str()));
    assert_eq!(delivery.header("x-terra-trace-id"), Some(header.as_str()));
    assert_eq!(delivery.json()["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_large_request_comes_in_chunks_that_share_a_reference() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    let path = format!("/daily?user_id={user_id}&start_date=2026-04-01&end_date=2026-05-06");
    let ack = stage.get_json(&path).await;
    let reference = ack["reference"].as_str().unwrap();
    assert!(ack["message"].is_string());
    let received = stage.receiver.wait_for(6).await;
    let types: Vec<Value> = received.iter().map(|one| one.json()["type"].clone()).collect();
    let expected = ["large_request_processing", "large_request_sending", "daily", "daily", "daily", "daily"];
    assert_eq!(types, expected);
    assert!(received.iter().all(|one| one.header("terra-reference") == Some(reference)));
    assert_eq!(received[1].json()["expected_payloads"], 4);
    let chunks: Vec<(String, usize)> = received[2..]
        .iter()
        .map(|one| {
            let trace_id = one.header("x-terra-trace-id").unwrap().to_owned();
            (trace_id, one.json()["data"].as_array().unwrap().len())
        })
        .collect();
    let expected: Vec<(String, usize)> = [10, 10, 10, 5]
        .iter()
        .enumerate()
        .map(|(place, count)| (format!("{reference}:chunk:{}", place + 1), *count))
        .collect();
    assert_eq!(chunks, expected);
    let trace_ids: BTreeSet<_> = received.iter().map(|one| one.header("x-terra-trace-id").unwrap()).collect();
    assert_eq!(trace_ids.len(), 6);
}

#[tokio::test]
async fn what_cannot_be_served_is_refused() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    let check = async |query: &str, expected: u16| {
        assert_eq!(stage.get(&format!("/activity?{query}")).await.status(), expected, "{query}");
    };
    check("start_date=2026-05-01", 400).await;
    check(&format!("user_id={user_id}"), 400).await;
    check(&format!("user_id={user_id}&start_date=yesterday"), 400).await;
    check("user_id=nobody&start_date=2026-05-01", 404).await;
    stage.simulator.set_webhook_url(None);
    check(&format!("user_id={user_id}&start_date=2026-05-01"), 400).await;
    check(&format!("user_id={user_id}&start_date=2026-05-01&to_webhook=false"), 200).await;
}

#[tokio::test]
async fn days_are_limited_by_request_and_by_hour() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    let ask = async |start: &str| {
        let end = "end_date=2026-05-01&to_webhook=false";
        stage.get(&format!("/body?user_id={user_id}&start_date={start}&{end}")).await
    };
    let wide = ask("2021-01-01").await;
    assert_eq!(wide.status(), 429);
    assert_eq!(wide.headers()["x-terra-ratelimit-rule"], "r1");
    for _ in 0..3 {
        assert_eq!(ask("2021-05-05").await.status(), 200);
    }
    let exhausted = ask("2021-05-05").await;
    assert_eq!(exhausted.status(), 429);
    assert_eq!(exhausted.headers()["x-terra-ratelimit-rule"], "r2");
    let wait: u32 = exhausted.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&wait), "{wait}");
}

#[tokio::test]
async fn nothing_to_tell_looks_different_on_the_older_platform() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    // Garmin has no nutrition.
    let path = format!("/nutrition?user_id={user_id}&start_date=2026-05-01&to_webhook=false");
    assert_eq!(stage.get_json(&path).await["data"], json!([]));
    stage.control("/settings", json!({ "dialect": "older" })).await;
    assert_eq!(stage.get_json(&path).await["type"], "no_data");
}
