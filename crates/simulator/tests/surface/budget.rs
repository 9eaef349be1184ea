//! Day budgets: an hour that can be short, its counters, and many users with years of history.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn an_hour_can_be_made_short_and_is_counted_user_by_user() {
    let stage = Stage::set().await;
    let settings = json!({ "budget_window_seconds": 600, "budget_days": 40, "budget_request_days": 30 });
    let shown = stage.control("/settings", settings).await;
    assert_eq!((&shown["budget_window_seconds"], &shown["budget_days"]), (&json!(600.0), &json!(40)));
    let user_id = stage.user("person-1").await;
    let ask = async |end: &str| {
        stage.get(&format!("/body?user_id={user_id}&start_date=2026-05-01&end_date={end}&to_webhook=false")).await
    };
    assert_eq!(ask("2026-05-29").await.status(), 200);
    let exhausted = ask("2026-05-29").await;
    assert_eq!(exhausted.status(), 429);
    for (name, value) in [("rule", "r2"), ("limit", "40"), ("remaining", "0")] {
        assert_eq!(exhausted.headers()[format!("x-terra-ratelimit-{name}").as_str()], value);
    }
    let wait: u32 = exhausted.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((590..=600).contains(&wait), "{wait}");
    let wide = ask("2026-06-01").await;
    assert_eq!((wide.status().as_u16(), &wide.headers()["x-terra-ratelimit-rule"]), (429, &"r1".parse().unwrap()));
    let budget = stage.control_get("/budget").await;
    let expected = json!([{
        "user_id": user_id, "requests": 3, "days_asked_max": 28 + 28 + 31, "days_granted_max": 28, "answered_429": 2,
    }]);
    assert_eq!((&budget["items"], &budget["days_max"]), (&expected, &json!(40)));
    stage.control_delete("/budget").await;
    assert_eq!(ask("2026-05-29").await.status(), 200);
}

#[tokio::test]
async fn a_fault_that_says_429_is_counted_too_and_may_concern_one_user() {
    let stage = Stage::set().await;
    let (one, other) = (stage.user("person-1").await, stage.user("person-2").await);
    stage.control("/faults", json!({ "path": "/daily", "user_id": one, "status": 429, "retry_after": 5 })).await;
    let ask = async |user: &str| {
        let path = format!("/daily?user_id={user}&start_date=2026-05-01&end_date=2026-05-02&to_webhook=false");
        stage.get(&path).await.status().as_u16()
    };
    assert_eq!((ask(&other).await, ask(&one).await, ask(&one).await), (200, 429, 200));
    let budget = stage.control_get("/budget").await;
    let refused: u64 =
        budget["items"].as_array().unwrap().iter().map(|one| one["answered_429"].as_u64().unwrap()).sum();
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn little_data_is_quickly_answered_for_years() {
    let stage = Stage::set().await;
    stage.control("/settings", json!({ "data": "sparse", "history_days": 1_900 })).await;
    let user_id = stage.user("person-1").await;
    let ask = async |kind: &str, start: &str, end: &str| {
        let path = format!("/{kind}?user_id={user_id}&start_date={start}&end_date={end}&to_webhook=false");
        stage.get_json(&path).await["data"].as_array().unwrap().len()
    };
    for kind in ["activity", "daily", "sleep"] {
        assert_eq!(ask(kind, "2021-06-01", "2026-05-31").await, 60, "{kind}");
    }
    stage.control("/settings", json!({ "data": "empty" })).await;
    assert_eq!(ask("daily", "2026-01-01", "2026-05-31").await, 0);
    for person in 0..200 {
        stage.user(&format!("many-{person}")).await;
    }
    let users = stage.control_get("/users").await;
    for user in users["items"].as_array().unwrap().iter().skip(1) {
        let user_id = user["user_id"].as_str().unwrap();
        for start in ["2021-06-01", "2022-06-01", "2023-06-01"] {
            let path = format!("/daily?user_id={user_id}&start_date={start}&end_date=2023-06-29&to_webhook=false");
            assert_eq!(stage.get(&path).await.status(), 200);
        }
    }
    let budget = stage.control_get("/budget").await;
    assert!(budget["items"].as_array().unwrap().iter().all(|one| one["answered_429"] == 0));
}
