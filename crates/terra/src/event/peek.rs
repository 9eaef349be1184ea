//! A glance at a body: just enough to route it, whatever the bytes.

use crate::{json, text};

use super::user;

/// What a glance tells. The strings are stripped of control characters and cut to 256 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peek {
    /// `type`, as Terra spells it.
    pub kind: Option<String>,
    /// Of `user`, else of `new_user` (re-authentication), else at top level (storage events out of a queue).
    pub user_id: Option<String>,
    /// Lab reports carry one.
    pub event_id: Option<String>,
}

/// Looks into `body` without building anything. A body that is not one JSON object gives nothing.
pub fn peek(body: &[u8]) -> Peek {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let Some([kind, user, new_user, user_id, event_id]) =
        json::members(text, ["type", "user", "new_user", "user_id", "event_id"])
    else {
        return Peek::default();
    };
    let [nested_user_id] = json::section(user.or(new_user), ["user_id"]);
    Peek { kind: user::label(kind), user_id: loose_id(nested_user_id.or(user_id)), event_id: loose_id(event_id) }
}

/// Unlike the ids of a decoded event these may be altered: nothing is attributed by a glance.
fn loose_id(raw: Option<&serde_json::value::RawValue>) -> Option<String> {
    user::label(raw).or_else(|| user::identifier(raw)).and_then(|id| text::displayable(&id, text::CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(body: &[u8], kind: Option<&str>, user_id: Option<&str>, event_id: Option<&str>) {
        let expected = Peek {
            kind: kind.map(str::to_owned),
            user_id: user_id.map(str::to_owned),
            event_id: event_id.map(str::to_owned),
        };
        assert_eq!(peek(body), expected);
    }

    #[test]
    fn kind_and_ids_are_found_wherever_they_stand() {
        check(br#"{"data":[{"user_id":"no"}],"user":{"user_id":"u"},"type":"daily"}"#, Some("daily"), Some("u"), None);
        check(
            br#"{"type":"user_reauth","old_user":{"user_id":"a"},"new_user":{"user_id":"b"}}"#,
            Some("user_reauth"),
            Some("b"),
            None,
        );
        check(br#"{"type":"s3_payload","user_id":"q"}"#, Some("s3_payload"), Some("q"), None);
        check(br#"{"type":"lab_report.failed","event_id":"evt_1"}"#, Some("lab_report.failed"), None, Some("evt_1"));
        check(br#"{"type":7,"user":[],"event_id":12}"#, None, None, Some("12"));
    }

    #[test]
    fn what_is_not_an_object_gives_nothing() {
        for body in [
            &b""[..],
            b"null",
            b"[]",
            b"{'bar':'baz'}",
            br#"{"type":"auth""#,
            b"\xef\xbb\xbf{}",
            b"{\"type\":\"\xff\"}",
        ] {
            check(body, None, None, None);
        }
    }

    #[test]
    fn strings_are_stripped_and_cut() {
        let body = format!(r#"{{"type":"a\u001b[31m\r\n{}"}}"#, "x".repeat(300));
        let kind = peek(body.as_bytes()).kind.unwrap();
        assert_eq!(kind.chars().count(), 256);
        assert!(kind.starts_with("a[31mx"));
    }

    #[test]
    fn depth_costs_no_stack() {
        let body = format!(r#"{{"data":{}{},"type":"sleep"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        check(body.as_bytes(), Some("sleep"), None, None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body: Vec<u8>) {
            peek(&body);
        }
    }
}
