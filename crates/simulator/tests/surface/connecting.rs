//! A person connects, cancels, and connects again.

use reqwest::Response;
use serde_json::{Value, json};
use simulator::{AuthWebhook, Dialect, Settings};

use crate::stage::Stage;

const SUCCESS: &str = "https://app.example/connect/state-1/success";
const FAILURE: &str = "https://app.example/connect/state-1/failure?kept=1";

async fn open(stage: &Stage, providers: &str) -> String {
    let body = json!({
        "providers": providers,
        "reference_id": "person-1",
        "auth_success_redirect_url": SUCCESS,
        "auth_failure_redirect_url": FAILURE,
    });
    let request = stage.client.post(stage.simulator.widget_url()).json(&body);
    let answer = stage.with_credentials(request).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["expires_in"], 900);
    answer["url"].as_str().unwrap().to_owned()
}

/// Presses a button of the only form of a page, as somebody without JavaScript does.
async fn press(stage: &Stage, html: &str, button: usize) -> Response {
    assert_eq!(html.matches("<form").count(), 1, "{html}");
    assert!(!html.contains("<script"), "{html}");
    let form = &html[html.find("<form").unwrap()..html.find("</form>").unwrap()];
    let action = after(form, "action=\"").unwrap();
    let mut fields: Vec<(String, String)> = Vec::new();
    let named = |tag: &str| {
        let name = after(tag, "name=\"").unwrap();
        (name.to_owned(), after(tag, "value=\"").unwrap().to_owned())
    };
    fields.extend(form.split("<input").skip(1).map(named));
    fields.extend(form.split("<button").skip(1).nth(button).map(named));
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let url = format!("{}{action}", stage.simulator.base_url());
    let request = stage.client.post(url).body(query);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.send().await.unwrap()
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let rest = &text[text.find(mark)? + mark.len()..];
    rest.split('"').next()
}

/// Walks both pages and answers where the browser is sent.
async fn walk(stage: &Stage, providers: &str, decision: usize) -> Response {
    let url = open(stage, providers).await;
    let page = stage.client.get(url).send().await.unwrap().text().await.unwrap();
    let page = press(stage, &page, 0).await.text().await.unwrap();
    press(stage, &page, decision).await
}

fn location(answer: &Response) -> String {
    assert_eq!(answer.status(), 303);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn allowing_connects_announces_and_redirects() {
    let stage = Stage::set().await;
    let answer = walk(&stage, "GARMIN,FITBIT", 0).await;
    // The webhook came first, as set: nothing is waited for here.
    let event = stage.receiver.received()[0].json();
    let user_id = event["user"]["user_id"].as_str().unwrap();
    let expected = format!("{SUCCESS}?user_id={user_id}&reference_id=person-1&resource=GARMIN");
    assert_eq!(location(&answer), expected);
    assert_eq!(event["type"], "auth");
    assert_eq!(event["status"], "success");
    assert_eq!(event["user"]["reference_id"], "person-1");
    assert_eq!(event["user"]["active"], true);
    assert!(event["user"]["created_at"].as_str().unwrap().starts_with("2026-06-01T12:"));
    assert!(event.get("reference_id").is_none());
    let info = stage.get_json(&format!("/userInfo?user_id={user_id}")).await;
    assert_eq!(info["is_authenticated"], true);
    assert_eq!(info["user"]["provider"], "GARMIN");
}

#[tokio::test]
async fn the_older_dialect_repeats_the_reference_at_the_top() {
    let settings = Settings { dialect: Dialect::Older, ..Settings::default() };
    let stage = Stage::set_with(settings).await;
    walk(&stage, "GARMIN", 0).await;
    let event = stage.receiver.received()[0].json();
    assert_eq!(event["reference_id"], "person-1");
    assert_eq!(event["version"], "2022-03-16");
}

#[tokio::test]
async fn denying_connects_nobody() {
    let stage = Stage::set().await;
    let answer = walk(&stage, "OURA", 1).await;
    let location = location(&answer);
    assert!(location.starts_with(&format!("{FAILURE}&user_id=")), "{location}");
    assert!(location.ends_with("&resource=OURA&reason=access_denied"), "{location}");
    let event = stage.receiver.received()[0].json();
    assert_eq!(event["type"], "auth_cancelled");
    assert_eq!(event["reason"], "access_denied");
    assert!(event.get("user").is_none());
    assert_eq!(stage.get_json("/userInfo?reference_id=person-1").await, json!([]));
}

#[tokio::test]
async fn denying_in_the_older_dialect_names_a_deleted_user() {
    let settings = Settings { dialect: Dialect::Older, ..Settings::default() };
    let stage = Stage::set_with(settings).await;
    walk(&stage, "OURA", 1).await;
    let event = stage.receiver.received()[0].json();
    assert_eq!((&event["type"], &event["status"]), (&json!("auth"), &json!("error")));
    let user_id = event["user"]["user_id"].as_str().unwrap();
    assert_eq!(stage.get(&format!("/userInfo?user_id={user_id}")).await.status(), 404);
}

#[tokio::test]
async fn connecting_again_replaces_the_earlier_user() {
    let stage = Stage::set().await;
    walk(&stage, "GARMIN", 0).await;
    walk(&stage, "GARMIN", 0).await;
    let types = stage.receiver.wait_for_types(4).await;
    assert_eq!(types, ["auth", "user_reauth", "auth", "deauth"]);
    let events: Vec<Value> = stage.receiver.received().iter().map(|one| one.json()).collect();
    let (old, reauth) = (&events[0]["user"]["user_id"], &events[1]);
    assert_eq!(&reauth["old_user"]["user_id"], old);
    assert_eq!(reauth["new_user"]["user_id"], events[2]["user"]["user_id"]);
    assert_eq!(&events[3]["user"]["user_id"], old);
    let users = stage.get_json("/userInfo?reference_id=person-1").await;
    assert_eq!(users.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_webhook_may_come_late_or_never_and_the_redirect_may_be_missing() {
    let stage = Stage::set().await;
    stage.control("/settings", json!({ "auth_webhook": "never" })).await;
    assert_eq!(walk(&stage, "GARMIN", 0).await.status(), 303);
    stage.control("/settings", json!({ "auth_webhook": "only" })).await;
    assert_eq!(walk(&stage, "FITBIT", 0).await.status(), 200);
    assert_eq!(stage.receiver.wait_for_types(1).await, ["auth"]);
    let late = json!({ "auth_webhook": "after", "after_redirect_ms": 60_000 });
    stage.control("/settings", late).await;
    assert_eq!(walk(&stage, "OURA", 0).await.status(), 303);
    assert_eq!(stage.receiver.received().len(), 1);
}

#[tokio::test]
async fn the_legacy_endpoint_opens_sessions_until_it_is_gone() {
    let settings = Settings { auth_webhook: AuthWebhook::Never, ..Settings::default() };
    let stage = Stage::set_with(settings).await;
    let url = format!("{}/auth/generateWidgetSession", stage.simulator.legacy_url());
    let ask = || stage.with_credentials(stage.client.post(&url)).json(&json!({})).send();
    let answer = ask().await.unwrap();
    assert_eq!(answer.status(), 200);
    stage.control("/settings", json!({ "legacy_widget_gone": true })).await;
    assert_eq!(ask().await.unwrap().status(), 410);
    let gone = json!({ "providers": [], "legacy_widget_gone": false });
    stage.control("/settings", gone).await;
    let answer = ask().await.unwrap();
    assert_eq!(answer.status(), 500);
    assert!(answer.text().await.unwrap().contains("<html"));
}

#[tokio::test]
async fn the_widget_endpoint_tells_missing_from_wrong_credentials() {
    let stage = Stage::set().await;
    let url = stage.simulator.widget_url();
    let answer = stage.client.post(&url).json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let wrong = stage.client.post(&url).header("dev-id", "x").header("x-api-key", "y");
    let answer = wrong.json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "error");
    let bad = json!({ "auth_success_redirect_url": "no url" });
    let request = stage.with_credentials(stage.client.post(&url));
    assert_eq!(request.json(&bad).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_user_id_can_be_promised_before_the_login() {
    let stage = Stage::set().await;
    let url = format!("{}/auth/authenticateUser?resource=FITBIT", stage.simulator.api_url());
    let body = json!({ "reference_id": "person-2", "auth_success_redirect_url": "app://done" });
    let request = stage.with_credentials(stage.client.post(url)).json(&body);
    let promised: Value = request.send().await.unwrap().json().await.unwrap();
    let page = stage.client.get(promised["auth_url"].as_str().unwrap()).send().await.unwrap();
    let answer = press(&stage, &page.text().await.unwrap(), 0).await;
    let user_id = promised["user_id"].as_str().unwrap();
    assert!(location(&answer).starts_with(&format!("app://done?user_id={user_id}&")));
}
