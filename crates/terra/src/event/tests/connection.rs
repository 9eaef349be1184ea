//! Events that change who is connected.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names the one variant that it expects")]

use super::*;

#[test]
fn a_success_takes_the_reference_id_from_wherever_it_stands() {
    for (body, expected) in [
        (r#"{"type":"auth","status":"success","user":NEWER_USER,"widget_session_id":"w","flow_id":"f"}"#, newer()),
        (
            r#"{"type":"auth","status":"success","user":NEWER_USER,"reference_id":"other","widget_session_id":"w"}"#,
            newer(),
        ),
        (
            r#"{"type":"auth","status":"success","user":OLDER_USER,"reference_id":"r-2","widget_session_id":"w","version":"2022-03-16"}"#,
            older(Some("r-2")),
        ),
        (r#"{"type":"auth","user":OLDER_USER,"reference_id":null,"widget_session_id":"w"}"#, older(None)),
        (r#"{"type":"auth","status":null,"user":OLDER_USER,"reference_id":"","widget_session_id":"w"}"#, older(None)),
    ] {
        match event(body) {
            Event::AuthSucceeded { user, widget_session_id } => {
                assert_eq!((user, widget_session_id.as_deref()), (expected, Some("w")), "{body}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_failed_attempt_of_either_dialect_is_no_connection() {
    let older = r#"{"type":"auth","user":{"user_id":"u-1","provider":"GARMIN"},"status":"error","message":"m","reason":"access_denied","reference_id":"r-1","widget_session_id":"w"}"#;
    let newer =
        r#"{"type":"auth_cancelled","status":"error","flow_id":"f","reason":"access_denied","reference_id":"r-1"}"#;
    for (body, expected_user, expected_widget) in [(older, Some("u-1"), Some("w")), (newer, None, None)] {
        match event(body) {
            Event::AuthFailed { user_id, provider, reference_id, reason, widget_session_id } => {
                assert_eq!(user_id.as_deref(), expected_user);
                assert_eq!(provider.as_deref(), expected_user.map(|_| "GARMIN"));
                assert_eq!(reference_id.as_deref(), Some("r-1"));
                assert_eq!(reason.as_deref(), Some("access_denied"));
                assert_eq!(widget_session_id.as_deref(), expected_widget);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(event(r#"{"type":"auth","status":"pending","user":NEWER_USER}"#), Event::AuthFailed { .. }));
    assert!(matches!(event(r#"{"type":"auth_cancelled"}"#), Event::AuthFailed { user_id: None, .. }));
}

#[test]
fn a_reauth_may_lack_the_old_user_but_not_the_new() {
    for (body, expected_old) in [
        (
            r#"{"type":"user_reauth","status":"warning","old_user":OLDER_USER,"new_user":NEWER_USER,"version":"2022-03-16"}"#,
            Some(older(None)),
        ),
        (r#"{"type":"user_reauth","status":"warning","old_user":null,"new_user":NEWER_USER}"#, None),
        (r#"{"type":"user_reauth","old_user":{},"new_user":NEWER_USER}"#, None),
        (r#"{"type":"user_reauth","user":NEWER_USER}"#, None),
    ] {
        match event(body) {
            Event::UserReauth { old, new } => {
                assert_eq!((old, new), (expected_old, newer()), "{body}")
            }
            other => panic!("{other:?}"),
        }
    }
    let kind = Kind::UserReauth;
    check_unreadable(br#"{"type":"user_reauth","old_user":{"user_id":"a"}}"#, Unreadable::MissingUser { kind });
}

#[test]
fn events_that_end_or_disturb_a_connection_name_its_user() {
    for (name, status) in [("deauth", "success"), ("access_revoked", "warning"), ("connection_error", "warning")] {
        for (user, expected) in [("OLDER_USER", older(None)), ("NEWER_USER", newer())] {
            let body = format!(r#"{{"type":"{name}","status":"{status}","user":{user},"message":"m"}}"#);
            let user = match event(&body) {
                Event::Deauth { user } if name == "deauth" => user,
                Event::AccessRevoked { user } if name == "access_revoked" => user,
                Event::ConnectionError { user } if name == "connection_error" => user,
                other => panic!("{other:?}"),
            };
            assert_eq!(user, expected);
        }
    }
}

#[test]
fn a_permission_change_tells_scopes_in_each_form() {
    for (added, removed) in [(r#""b, a""#, r#""""#), (r#"["a","b"]"#, "[]"), (r#""a,b,""#, "null")] {
        let body = format!(
            r#"{{"type":"permission_change","status":"warning","user":NEWER_USER,"scopes_added":{added},"scopes_removed":{removed}}}"#
        );
        match event(&body) {
            Event::PermissionChange { user, added, removed } => {
                assert_eq!(user, newer());
                assert_eq!(added, ["a", "b"]);
                assert!(removed.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_lifecycle_event_without_user_is_unreadable() {
    for name in ["auth", "user_reauth", "deauth", "access_revoked", "connection_error", "permission_change"] {
        let kind = Kind::parse(name);
        for user in
            ["", r#","user":null"#, r#","user":{}"#, r#","user":{"user_id":""}"#, r#","user":{"user_id":"a\u0000b"}"#]
        {
            check_unreadable(format!(r#"{{"type":"{name}"{user}}}"#).as_bytes(), Unreadable::MissingUser { kind });
        }
        let body = format!(r#"{{"type":"{name}","user":"u-1"}}"#);
        check_unreadable(body.as_bytes(), Unreadable::WrongShape { kind });
    }
}
