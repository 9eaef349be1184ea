//! The states and redirects of connect sessions.

use domain::id::{Environment, ReferenceId, SessionId, UserId};
use jiff::Timestamp;
use terra::event::User;
use uuid::Uuid;

use super::*;

fn session() -> ConnectSession {
    ConnectSession {
        id: SessionId(Uuid::nil()),
        environment: Environment::new("default"),
        user: UserId::new("anna"),
        reference: ReferenceId::new("anna"),
        state_digest: [0; 32],
        widget_session_id: None,
        widget_url: None,
        success_url: "https://app.example/done".into(),
        failure_url: None,
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::UNIX_EPOCH,
        state: SessionState::Pending,
        terra_user_id: None,
        provider: None,
        reason: None,
        returned_at: None,
    }
}

#[track_caller]
fn joined(base: &str, expected: &str) {
    assert_eq!(join(base, &[("session", "s 1".into()), ("status", "pending".into())]), expected);
}

#[test]
fn an_app_url_keeps_its_own_query_and_fragment() {
    joined("https://app.example/done", "https://app.example/done?session=s+1&status=pending");
    joined("https://app.example/done?tab=2", "https://app.example/done?tab=2&session=s+1&status=pending");
    joined("https://app.example/?a=%20b#end", "https://app.example/?a=%20b&session=s+1&status=pending#end");
}

#[test]
fn custom_schemes_are_joined_too() {
    joined("myapp://linked", "myapp://linked?session=s+1&status=pending");
    joined("com.example.app:linked?x=1", "com.example.app:linked?x=1&session=s+1&status=pending");
}

#[test]
fn an_app_url_is_absolute_and_runs_nothing() {
    for good in ["https://app.example/x", "http://localhost:3000", "myapp://linked", "com.example.app:/done"] {
        assert!(check_app_url("success_url", good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "/done",
        "app.example/done",
        "javascript:alert(1)",
        "java\nscript:alert(1)",
        "DATA:text/html,x",
        "https://",
        &"https://a/".repeat(300),
    ] {
        assert!(check_app_url("success_url", bad).is_err(), "{bad}");
    }
}

#[test]
fn a_state_survives_its_way_through_the_url() {
    let state = State::new([0xab; 32]);
    let url = state.redirect_url("https://hooks.example", End::Success);
    let segment =
        url.strip_prefix("https://hooks.example/connect/").and_then(|rest| rest.strip_suffix("/success")).unwrap();
    assert_eq!(State::parse(segment).unwrap().digest(), state.digest());
    assert!(!url.contains(&hex::encode(state.digest())));
}

#[test]
fn a_segment_that_is_no_state_is_refused() {
    for segment in ["", "zz", &"a".repeat(63), &"a".repeat(65), &"g".repeat(64)] {
        assert!(State::parse(segment).is_none(), "{segment}");
    }
}

#[track_caller]
fn claims(query: &str, user_id: Option<&str>, reason: Option<&str>) {
    assert_eq!(
        Claims::parse(query),
        Claims { user_id: user_id.map(str::to_owned), reason: reason.map(str::to_owned) },
        "{query}"
    );
}

#[test]
fn a_query_is_read_however_it_was_joined() {
    claims("user_id=u1&resource=GARMIN", Some("u1"), None);
    claims("app=1?user_id=u1&reference_id=r", Some("u1"), None);
    claims("?user_id=u%201", Some("u 1"), None);
    claims("user_id=&user_id=u2", Some("u2"), None);
    claims("user_id=a%00b", None, None);
    claims("", None, None);
}

#[test]
fn a_reason_is_short_and_plain() {
    claims("reason=access_denied", None, Some("access_denied"));
    claims("error=%3Cscript%3Ealert(1)%3C/script%3E", None, Some("scriptalert1script"));
    claims("reason=%3C%3E&error=denied", None, Some("denied"));
    claims("message=anything", None, None);
    assert_eq!(Claims::parse(&format!("reason={}", "x".repeat(5_000))).reason.unwrap().len(), REASON_CHARS_MAX);
}

#[test]
fn providers_are_codes_each_once() {
    let wishes = Wishes::check(&["garmin".into(), " FITBIT ".into(), "GARMIN".into()], Some("de-AT".into())).unwrap();
    assert_eq!(wishes, Wishes { providers: vec!["GARMIN".into(), "FITBIT".into()], language: Some("de-AT".into()) });
    assert!(Wishes::check(&["GARMIN,FITBIT".into()], None).is_err());
    assert!(Wishes::check(&[], Some("<en>".into())).is_err());
}

#[track_caller]
fn confirmed(is_authenticated: bool, user_id: &str, reference: Option<&str>, expected: bool) {
    let user = User {
        user_id: user_id.into(),
        provider: None,
        reference_id: reference.map(str::to_owned),
        scopes: None,
        active: None,
        created_at: None,
        last_webhook_update: None,
    };
    assert_eq!(confirms(&session(), "u1", &UserInfo { user, is_authenticated }), expected);
}

#[test]
fn only_an_authenticated_user_of_the_same_reference_is_confirmed() {
    confirmed(true, "u1", Some("anna"), true);
    confirmed(false, "u1", Some("anna"), false);
    confirmed(true, "u2", Some("anna"), false);
    confirmed(true, "u1", Some("ben"), false);
    confirmed(true, "u1", None, false);
}

#[test]
fn the_user_id_is_told_only_once_it_is_confirmed() {
    let claimed = ConnectSession { terra_user_id: Some("u1".into()), ..session() };
    assert!(!app_url(&claimed, SessionState::Pending).contains("u1"));
    assert!(app_url(&claimed, SessionState::Connected).ends_with("&status=connected&user_id=u1&reference_id=anna"));
}

#[test]
fn a_failure_goes_to_its_own_url_if_there_is_one() {
    let with = ConnectSession { failure_url: Some("https://app.example/sorry".into()), ..session() };
    assert!(app_url(&with, SessionState::Failed).starts_with("https://app.example/sorry?session="));
    assert!(app_url(&session(), SessionState::Failed).starts_with("https://app.example/done?session="));
}
