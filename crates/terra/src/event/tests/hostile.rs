//! Bodies that are no event, or try to be too much of one.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_not_json_says_so() {
    for body in [
        &b""[..],
        b" ",
        b"{'bar':'baz'}",
        br#"{"type":"auth""#,
        br#"{"type":"auth"}}"#,
        br#"{"type":"auth"} {"type":"auth"}"#,
        b"{\"type\":\"auth\",}",
        b"\xef\xbb\xbf{\"type\":\"healthcheck\"}",
        b"{\"type\":\"healthcheck\"}\0",
        b"{\"type\":\"health\0check\"}",
        b"{\"type\":\"healthcheck\",\"x\":\"\xff\"}",
        b"\xff\xfe{\0}\0",
        b"NaN",
        br#"{"type":"healthcheck","x":NaN}"#,
    ] {
        check_unreadable(body, Unreadable::NotJson);
    }
}

#[test]
fn json_that_is_no_event_says_so() {
    for body in ["null", "7", r#""auth""#, "[]", r#"[{"type":"auth"}]"#] {
        check_unreadable(body.as_bytes(), Unreadable::NotAnObject);
    }
    for body in
        ["{}", r#"{"type":null}"#, r#"{"type":7}"#, r#"{"type":""}"#, r#"{"type":"\u0000"}"#, r#"{"Type":"auth"}"#]
    {
        check_unreadable(body.as_bytes(), Unreadable::NoType);
    }
}

#[test]
fn of_equal_keys_the_last_counts_for_a_glance_and_for_decoding() {
    let body = br#"{"type":"sleep","type":"deauth","user":{"user_id":"a"},"user":{"user_id":"b","user_id":"c"}}"#;
    let glance = peek(body);
    assert_eq!((glance.kind.as_deref(), glance.user_id.as_deref()), (Some("deauth"), Some("c")));
    assert!(matches!(decode(body), Ok(Event::Deauth { user }) if user.user_id == "c"));
}

#[test]
fn a_body_of_any_depth_is_answered_quickly_and_without_stack() {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let started = clock();
    for body in [
        format!("{open}{close}"),
        open.clone(),
        r#"{"a":"#.repeat(100_000),
        format!(r#"{{"type":"activity","user":{{"user_id":"u"}},"data":{open}{close}}}"#),
        format!(r#"{{"type":{open}{close}}}"#),
        format!(r#"{{"type":"deauth","user":{open}{close}}}"#),
    ] {
        check_unreadable(body.as_bytes(), Unreadable::TooDeep);
        peek(body.as_bytes());
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_is_decoded_is_shallow_enough_for_any_parser() {
    let nested = |depth: usize| format!(r#"{{"type":"activity","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    check_unreadable(nested(DEPTH_MAX).as_bytes(), Unreadable::TooDeep);
    match decode(nested(DEPTH_MAX - 1).as_bytes()) {
        Ok(Event::Data { items, .. }) => {
            assert!(serde_json::from_str::<serde_json::Value>(items[0]).is_ok());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_million_keys_and_a_long_string_are_just_skipped() {
    let keys: String = (0..1_000_000).map(|n| format!(r#""k{n}":{n},"#)).collect();
    assert!(matches!(event(&format!(r#"{{{keys}"type":"healthcheck"}}"#)), Event::Informational { .. }));
    let body = format!(r#"{{"type":"{}","user":OLDER_USER}}"#, "x".repeat(20_000_000));
    assert!(matches!(event(&body), Event::Unknown { name, .. } if name.len() == 256));
}

#[test]
fn neither_errors_nor_debug_tell_a_value_of_the_payload() {
    for body in [r#"{"type":"deauth","user":"hush"}"#, r#"{"type":"sleep","data":"hush"}"#, r#"{"hush":1}"#, "hush"] {
        let unreadable = decode_text(body).unwrap_err();
        assert!(!format!("{unreadable} {unreadable:?} {}", unreadable.reason()).contains("hush"));
    }
    for body in [
        r#"{"type":"hush","user":{"user_id":"hush"}}"#,
        r#"{"type":"sleep","data":["hush"],"user":{"user_id":"hush"}}"#,
    ] {
        assert!(!format!("{:?}", event(body)).contains("hush"));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may measure how long it takes")]
fn clock() -> Instant {
    Instant::now()
}

/// Text that looks like JSON more often than random bytes do.
fn jsonish() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just(r#""type":"#),
        Just(r#""auth""#),
        Just(r#""sleep""#),
        Just(r#""user":"#),
        Just(r#""user_id":"#),
        Just(r#""data":"#),
        Just(r#""scopes":"#),
        Just(r#""u""#),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just("null"),
        Just("1e999"),
        Just(r#""\ud800""#),
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_survived(body: Vec<u8>) {
        assert!(decode(&body).is_err());
    }

    #[test]
    fn any_near_json_is_survived(body in jsonish()) {
        if decode(body.as_bytes()).is_ok() {
            prop_assert!(peek(body.as_bytes()).kind.is_some());
        }
    }

    #[test]
    fn any_user_is_survived(user in "\\PC{0,40}", quoted: String) {
        for user in [user, serde_json::to_string(&quoted).unwrap()] {
            decode_text(&format!(r#"{{"type":"deauth","user":{{"user_id":{user},"scopes":{user},"created_at":{user},"active":{user}}}}}"#)).ok();
        }
    }
}
