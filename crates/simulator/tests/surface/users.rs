//! Who is connected, and how that ends.

use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test]
async fn errors_speak_both_dialects() {
    let stage = Stage::set().await;
    let answer = stage.get("/userInfo?user_id=nobody").await;
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let expected = json!({
        "type": "about:blank",
        "title": "not found",
        "instance": "/userInfo",
        "detail": "user not found",
    });
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);
    stage.control("/settings", json!({ "dialect": "older" })).await;
    let answer = stage.get("/userInfo?user_id=nobody").await;
    assert_eq!(answer.status(), 404);
    let expected = json!({ "message": "user not found", "status": "error" });
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);
}

#[tokio::test]
async fn credentials_are_checked() {
    let stage = Stage::set().await;
    let url = format!("{}/subscriptions", stage.simulator.api_url());
    assert_eq!(stage.client.get(&url).send().await.unwrap().status(), 401);
    let wrong = || stage.client.get(&url).header("dev-id", "x").header("x-api-key", "y").send();
    assert_eq!(wrong().await.unwrap().status(), 401);
    stage.control("/settings", json!({ "dialect": "older" })).await;
    let answer = wrong().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "message": "unauthorized" }));
}

#[tokio::test]
async fn users_of_a_reference_come_as_an_array_or_in_an_object() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    let newer = stage.get_json("/userInfo?reference_id=person-1").await;
    assert_eq!(newer[0]["user_id"], user_id.as_str());
    stage.control("/settings", json!({ "dialect": "older" })).await;
    let older = stage.get_json("/userInfo?reference_id=person-1").await;
    assert_eq!(older["users"][0]["user_id"], user_id.as_str());
}

#[tokio::test]
async fn subscriptions_come_at_once_or_in_pages() {
    let stage = Stage::set().await;
    for number in 0..5 {
        stage.user(&format!("person-{number}")).await;
    }
    let all = stage.get_json("/subscriptions").await;
    assert_eq!(all["users"].as_array().unwrap().len(), 5);
    let first = stage.get_json("/subscriptions?page=0&per_page=2").await;
    assert_eq!((&first["data"]["next"], &first["data"]["max_page"]), (&json!(1), &json!(2)));
    let last = stage.get_json("/subscriptions?page=2&per_page=2").await;
    assert_eq!(last["data"]["next"], Value::Null);
    assert_eq!(last["data"]["results"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn deauthenticating_erases_announces_and_then_is_unknown() {
    let stage = Stage::set().await;
    let user_id = stage.user("person-1").await;
    let url = format!("{}/auth/deauthenticateUser?user_id={user_id}", stage.simulator.api_url());
    let delete = || stage.with_credentials(stage.client.delete(&url)).send();
    assert_eq!(delete().await.unwrap().status(), 200);
    assert_eq!(delete().await.unwrap().status(), 404);
    let event = stage.receiver.wait_for(1).await[0].json();
    assert_eq!(event["type"], "deauth");
    assert_eq!(event["user"]["user_id"], user_id.as_str());
    assert_eq!(event["user"]["active"], false);
}

#[tokio::test]
async fn integrations_are_enabled_for_who_says_who_he_is() {
    let stage = Stage::set().await;
    let count = |listed: &Value| {
        let providers = listed["providers"].as_array().unwrap();
        providers.iter().filter(|provider| provider["enabled"] == true).count()
    };
    let known = stage.get_json("/integrations/detailed").await;
    assert_eq!(count(&known), stage.settings.providers.len());
    let url = format!("{}/integrations/detailed", stage.simulator.api_url());
    let unknown: Value = stage.client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(count(&unknown), unknown["providers"].as_array().unwrap().len());
}

#[tokio::test]
async fn tokens_for_phones_are_short_lived() {
    let stage = Stage::set().await;
    let url = format!("{}/auth/generateAuthToken", stage.simulator.api_url());
    let request = stage.with_credentials(stage.client.post(url));
    let token: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(token["expires_in"], 180);
    assert!(token["token"].as_str().unwrap().len() > 20);
}
