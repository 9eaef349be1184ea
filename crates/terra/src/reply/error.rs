//! Answers outside 2xx, and the headers that say when to come back.

use crate::headers::usable;
use crate::{json, text};

const MESSAGE_CHARS_MAX: usize = 200;

/// Bytes of an error body that we look at.
const BODY_BYTES_MAX: usize = 64 * 1_024;

/// What an error body says, fit for a log line or a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorReply {
    /// At most 200 characters, without control characters.
    pub message: Option<String>,
    /// The body is a web page: a gateway answered, or the environment has no source enabled.
    pub html: bool,
}

/// Reads the body of an answer outside 2xx.
///
/// - Shapes: problem+json (newer: `title`, `detail`), `{"message", "status"}` (older), a web page, or anything.
/// - Errors: none. Never panics.
pub fn error_reply(body: &[u8], content_type: Option<&str>) -> ErrorReply {
    let says_html = content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
    if says_html || body.trim_ascii_start().starts_with(b"<") {
        return ErrorReply { message: Some("HTML page".into()), html: true };
    }
    let text = if body.len() <= BODY_BYTES_MAX { std::str::from_utf8(body).unwrap_or_default() } else { "" };
    let found = json::members(text, ["title", "detail", "message", "error", "error message"]).unwrap_or([None; 5]);
    let [title, detail, message, error, error_message] =
        found.map(|raw| text::displayable(&json::string(raw?)?, MESSAGE_CHARS_MAX));
    let message = match (title, detail) {
        (Some(title), Some(detail)) => text::displayable(&format!("{title}: {detail}"), MESSAGE_CHARS_MAX),
        (None, Some(detail)) => Some(detail),
        (title, None) => message.or(error).or(error_message).or(title),
    };
    ErrorReply { message, html: false }
}

/// What an answer's headers say about limits.
///
/// - Shapes: `rule` is `r1` (this one request asks for too many days: repeating is useless) or `r2` (too many days in
///   an hour).
/// - Units: `limit` and `remaining` count days of one user's data. Parts of a second are rounded up. A `Retry-After`
///   with a date counts as absent.
/// - Source: docs.tryterra.co, rate limits of the health and fitness API; read 2026-11-22.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimit {
    pub retry_after_seconds: Option<u64>,
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    pub reset_after_seconds: Option<u64>,
    pub rule: Option<String>,
}

impl RateLimit {
    pub const RETRY_AFTER: &str = "retry-after";
    pub const LIMIT: &str = "x-terra-ratelimit-limit";
    pub const REMAINING: &str = "x-terra-ratelimit-remaining";
    pub const RESET_AFTER: &str = "x-terra-ratelimit-reset-after";
    pub const RULE: &str = "x-terra-ratelimit-rule";

    /// Reads the headers through `get`, which answers a lower-case name with the raw value.
    pub fn read<'a>(get: impl Fn(&str) -> Option<&'a [u8]>) -> RateLimit {
        let number = |name: &str| get(name).and_then(usable).and_then(rounded_up);
        RateLimit {
            retry_after_seconds: number(Self::RETRY_AFTER),
            limit: number(Self::LIMIT),
            remaining: number(Self::REMAINING),
            reset_after_seconds: number(Self::RESET_AFTER),
            rule: get(Self::RULE).and_then(usable).map(str::to_owned),
        }
    }
}

fn rounded_up(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = text.parse().ok().filter(|_| is_plain)?;
    // A wait or a count beyond a billion is no answer of Terra's.
    (number <= 1e9).then(|| number.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, message: Option<&str>) {
        let expected = ErrorReply { message: message.map(str::to_owned), html: false };
        assert_eq!(error_reply(body.as_bytes(), Some("application/json")), expected, "{body}");
    }

    #[test]
    fn both_dialects_of_error_are_read() {
        let problem =
            r#"{"type":"about:blank","title":"unauthorized","instance":"/sleep","detail":"x-api-key is missing"}"#;
        check(problem, Some("unauthorized: x-api-key is missing"));
        check(r#"{"title":"not found","type":"about:blank"}"#, Some("not found"));
        check(r#"{"message":"unauthorized"}"#, Some("unauthorized"));
        check(r#"{"message":"bad\r\nrequest","status":"error"}"#, Some("badrequest"));
        check(r#"{"error message":"window too long"}"#, Some("window too long"));
    }

    #[test]
    fn a_body_without_words_has_no_message() {
        for body in ["", "null", "[]", "oops", r#"{"message":7}"#, r#"{"message":""}"#] {
            check(body, None);
        }
        assert_eq!(error_reply(b"\xff\xfe", None), ErrorReply::default());
    }

    #[test]
    fn a_long_message_is_cut() {
        let body = format!(r#"{{"title":"{0}","detail":"{0}"}}"#, "x".repeat(500));
        assert_eq!(error_reply(body.as_bytes(), None).message.map(|message| message.len()), Some(200));
    }

    #[test]
    fn a_web_page_is_called_one() {
        let page = ErrorReply { message: Some("HTML page".into()), html: true };
        assert_eq!(error_reply(b"\n<!doctype html><h1>500</h1>", None), page);
        assert_eq!(error_reply(b"gateway", Some("Text/HTML; charset=utf-8")), page);
    }

    #[test]
    fn limits_are_read_from_headers() {
        let headers = [
            ("retry-after", "120"),
            ("x-terra-ratelimit-limit", "6000"),
            ("x-terra-ratelimit-remaining", "0"),
            ("x-terra-ratelimit-reset-after", "12.3"),
            ("x-terra-ratelimit-rule", "r2"),
        ];
        let get = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
        let expected = RateLimit {
            retry_after_seconds: Some(120),
            limit: Some(6_000),
            remaining: Some(0),
            reset_after_seconds: Some(13),
            rule: Some("r2".into()),
        };
        assert_eq!(RateLimit::read(get), expected);
    }

    #[test]
    fn a_wait_that_is_no_number_of_seconds_counts_as_absent() {
        for value in ["Sun, 22 Nov 2026 07:28:00 GMT", "-1", "inf", "NaN", "1e3", "", ".", "99999999999999"] {
            let limit = RateLimit::read(|name| (name == RateLimit::RETRY_AFTER).then_some(value.as_bytes()));
            assert_eq!(limit, RateLimit::default(), "{value}");
        }
    }
}
