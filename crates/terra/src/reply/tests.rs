//! Answers of both platforms.

use proptest::prelude::*;

use super::*;
use crate::event::User;

fn user(user_id: &str) -> User {
    User {
        user_id: user_id.into(),
        provider: Some("OURA".into()),
        reference_id: Some("r-1".into()),
        scopes: None,
        active: Some(true),
        created_at: None,
        last_webhook_update: None,
    }
}

fn user_json(user_id: &str) -> String {
    format!(r#"{{"user_id":"{user_id}","provider":"OURA","reference_id":"r-1","active":true}}"#)
}

#[track_caller]
fn check(body: &str, expected: &DataReply) {
    assert_eq!(&data_reply(body.as_bytes()), expected, "{body}");
}

fn accepted(reference: Option<&str>, trace_id: Option<&str>) -> DataReply {
    DataReply::Accepted { reference: reference.map(str::to_owned), trace_id: trace_id.map(str::to_owned) }
}

#[test]
fn an_acknowledgement_of_either_platform_is_accepted() {
    check(
        r#"{"status":"success","type":"activity","reference":"a","trace_id":"b","user":{}}"#,
        &accepted(Some("a"), Some("b")),
    );
    check(r#"{"reference":"a","message":"Data will be sent","type":"webhook","user":{}}"#, &accepted(Some("a"), None));
    check(r#"{"type":"large_request_processing","reference":"a"}"#, &accepted(Some("a"), None));
    check(r#"{"status":"success","type":"sleep","user":{}}"#, &accepted(None, None));
    check(r#"{"status":"success","type":"sleep","reference":"a","data":null}"#, &accepted(Some("a"), None));
}

#[test]
fn data_in_the_answer_is_inline_unless_there_is_none() {
    check(r#"{"type":"daily","data":[{}],"user":{}}"#, &DataReply::Inline);
    check(r#"{"type":"daily","data":{},"user":{}}"#, &DataReply::Inline);
    check(r#"{"type":"athlete","athlete":{"age":28},"user":{}}"#, &DataReply::Inline);
    check(r#"{"type":"daily","data":[],"user":{}}"#, &DataReply::NoData);
    check(r#"{"status":"error","message":"m","type":"no_data","user":{}}"#, &DataReply::NoData);
}

#[test]
fn answers_of_200_that_mean_wait_are_told_apart() {
    check(
        r#"{"type":"processing","retry_after_seconds":30,"message":"m"}"#,
        &DataReply::Processing { retry_after_seconds: Some(30) },
    );
    check(
        r#"{"type":"processing","retry_after_seconds":"soon"}"#,
        &DataReply::Processing { retry_after_seconds: None },
    );
    check(r#"{"type":"rate_limit","message":"m","user":{}}"#, &DataReply::ProviderRateLimited);
}

#[test]
fn what_cannot_be_understood_is_unreadable() {
    for body in
        ["", "null", "[]", "{}", "<html>", r#"{"type":"daily","data":"x"}"#, r#"{"status":"error","type":"daily"}"#]
    {
        check(body, &DataReply::Unreadable);
    }
    assert_eq!(data_reply(b"\xff"), DataReply::Unreadable);
}

#[test]
fn a_widget_session_needs_its_link() {
    let session =
        widget_session(br#"{"session_id":"s","url":"https://widget.example/s","status":"success","expires_in":900}"#);
    let expected =
        WidgetSession { session_id: "s".into(), url: "https://widget.example/s".into(), expires_in_seconds: 900 };
    assert_eq!(session, Some(expected.clone()));
    assert_eq!(widget_session(br#"{"session_id":"s","url":"https://widget.example/s"}"#), Some(expected));
    for body in
        ["", "{}", r#"{"session_id":"s"}"#, r#"{"session_id":"s","url":""}"#, r#"{"session_id":"s","url":"a\nb"}"#]
    {
        assert_eq!(widget_session(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn user_info_says_whether_the_connection_still_works() {
    let info = |rest: &str| user_info(format!(r#"{{"user":{}{rest},"status":"success"}}"#, user_json("u")).as_bytes());
    assert_eq!(info(r#","is_authenticated":false"#), Some(UserInfo { user: user("u"), is_authenticated: false }));
    assert_eq!(info(""), Some(UserInfo { user: user("u"), is_authenticated: true }));
    assert_eq!(user_info(br#"{"status":"error"}"#), None);
}

#[test]
fn users_of_a_reference_come_in_three_shapes() {
    let (a, b) = (user_json("a"), user_json("b"));
    let both = Some(vec![user("a"), user("b")]);
    assert_eq!(users_by_reference(format!("[{a},{b}]").as_bytes()), both);
    assert_eq!(users_by_reference(format!(r#" {{"users":[{a},{{}},null,{b}],"status":"success"}}"#).as_bytes()), both);
    assert_eq!(users_by_reference(format!(r#"{{"user":{a}}}"#).as_bytes()), Some(vec![user("a")]));
    assert_eq!(users_by_reference(b"[]"), Some(vec![]));
    for body in ["", "{}", "7", r#"{"users":7}"#] {
        assert_eq!(users_by_reference(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn a_token_is_read_and_does_not_print() {
    let token = auth_token(br#"{"status":"success","token":"hush","expires_in":60}"#).unwrap();
    assert_eq!((token.token.as_str(), token.expires_in_seconds), ("hush", 60));
    assert!(!format!("{token:?}").contains("hush"));
    assert_eq!(auth_token(br#"{"token":"hush"}"#).map(|token| token.expires_in_seconds), Some(180));
    assert_eq!(auth_token(b"{}"), None);
}

#[test]
fn integrations_list_the_kinds_they_support() {
    let body = br#"{"status":"success","providers":[
        {"provider":"OURA","name":"Oura","enabled":true,"types":{"sleep":true,"activity":true,"nutrition":false,"tea":true}},
        {"provider":"BARE"}, {"name":"no code"}, null]}"#;
    let oura = Integration {
        provider: "OURA".into(),
        name: "Oura".into(),
        enabled: true,
        types: vec![DataKind::Activity, DataKind::Sleep],
    };
    let bare = Integration { provider: "BARE".into(), name: "BARE".into(), enabled: false, types: vec![] };
    assert_eq!(integrations_detailed(body), Some(vec![oura, bare]));
    assert_eq!(integrations_detailed(b"{}"), None);
}

#[test]
fn depth_costs_no_stack() {
    let body = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(users_by_reference(body.as_bytes()), Some(vec![]));
    check(&format!(r#"{{"type":"daily","data":{body}}}"#), &DataReply::Inline);
    assert_eq!(error_reply(format!(r#"{{"detail":{body}}}"#).as_bytes(), None), ErrorReply::default());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(body: Vec<u8>) {
        data_reply(&body);
        error_reply(&body, None);
        widget_session(&body);
        user_info(&body);
        users_by_reference(&body);
        auth_token(&body);
        integrations_detailed(&body);
    }
}

#[test]
fn a_page_of_subscriptions_comes_in_two_shapes() {
    let users = format!("[{},{}]", user_json("u-1"), user_json("u-2"));
    let page = subscriptions(format!(r#"{{"users":{users}}}"#).as_bytes()).unwrap();
    assert_eq!((page.users, page.next, page.max_page), (vec![user("u-1"), user("u-2")], None, None));
    let body = format!(r#"{{"data":{{"next":1,"max_page":3,"results":{users}}}}}"#);
    let page = subscriptions(body.as_bytes()).unwrap();
    assert_eq!((page.users.len(), page.next, page.max_page), (2, Some(1), Some(3)));
    let page = subscriptions(br#"{"data":{"next":null,"max_page":0,"results":[]}}"#).unwrap();
    assert_eq!((page.users.len(), page.next, page.max_page), (0, None, Some(0)));
    for strange in ["[]", "{}", r#"{"users":7}"#, r#"{"data":{}}"#, r#"{"data":[]}"#, "<html>"] {
        assert_eq!(subscriptions(strange.as_bytes()), None, "{strange}");
    }
}

#[test]
fn destinations_are_read_however_their_list_is_called() {
    let rows = r#"[{"type":"webhook","url":"https://a/b","active":false},{"type":"s3"},7]"#;
    let webhook = Destination { kind: Some("webhook".into()), url: Some("https://a/b".into()), active: false };
    let bucket = Destination { kind: Some("s3".into()), url: None, active: true };
    for body in [rows.to_owned(), format!(r#"{{"data":{rows}}}"#), format!(r#"{{"destinations":{rows}}}"#)] {
        let read = destinations(body.as_bytes()).unwrap();
        assert_eq!(read[..2], [webhook.clone(), bucket.clone()]);
        assert_eq!(read.iter().map(Destination::is_webhook).collect::<Vec<_>>(), [true, false, true]);
    }
    assert_eq!(destinations(b"{}"), None);
    assert_eq!(destinations(b"nonsense"), None);
}
