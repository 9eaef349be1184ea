//! The headers beside the signature. None of them is signed: they may order and correlate, but prove nothing.

use serde::{Deserialize, Serialize};

pub const SIGNATURE: &str = "x-terra-signature";
/// The older name, still sent beside the newer one.
pub const SIGNATURE_OLD: &str = "terra-signature";
/// Names one delivery and stays the same when it is retried; chunks of a large request are `<id>:chunk:<n>`.
pub const TRACE_ID: &str = "x-terra-trace-id";
/// Names the API request that caused a delivery. All chunks of a large request share it: never a key for duplicates.
pub const REFERENCE: &str = "terra-reference";
/// When Terra made the payload, in milliseconds since the Unix epoch; the same on retries.
pub const ORDERING: &str = "x-terra-ordering-timestamp";
/// Names the environment in our own calls.
pub const DEV_ID: &str = "dev-id";
/// The secret in our own calls.
pub const API_KEY: &str = "x-api-key";

/// Bytes of a header value that we keep.
pub const VALUE_BYTES_MAX: usize = 256;

/// What a delivery's headers say, as far as it is usable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryHeaders {
    pub trace_id: Option<String>,
    pub reference: Option<String>,
    /// Milliseconds since the Unix epoch; positive.
    pub ordering_ms: Option<i64>,
}

/// Reads the headers through `get`, which answers a lower-case name with the raw value.
///
/// A value that is empty, too long, not UTF-8 or holds control characters counts as absent, and so does an ordering
/// timestamp that is not a plain positive integer.
pub fn read<'a>(get: impl Fn(&str) -> Option<&'a [u8]>) -> DeliveryHeaders {
    DeliveryHeaders {
        trace_id: get(TRACE_ID).and_then(usable).map(str::to_owned),
        reference: get(REFERENCE).and_then(usable).map(str::to_owned),
        ordering_ms: get(ORDERING).and_then(usable).and_then(positive_integer),
    }
}

pub(crate) fn usable(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let fits = !text.is_empty() && text.len() <= VALUE_BYTES_MAX && !text.chars().any(char::is_control);
    fits.then_some(text)
}

fn positive_integer(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &[u8], expected: &DeliveryHeaders) {
        assert_eq!(&read(|asked| (asked == name).then_some(value)), expected, "{name}: {value:?}");
    }

    #[test]
    fn usable_values_are_trimmed_and_kept() {
        check(
            TRACE_ID,
            b" abc:chunk:3 ",
            &DeliveryHeaders { trace_id: Some("abc:chunk:3".into()), ..Default::default() },
        );
        check(REFERENCE, b"r-1", &DeliveryHeaders { reference: Some("r-1".into()), ..Default::default() });
        check(
            ORDERING,
            b"1723808700123",
            &DeliveryHeaders { ordering_ms: Some(1_723_808_700_123), ..Default::default() },
        );
        check(ORDERING, b"007", &DeliveryHeaders { ordering_ms: Some(7), ..Default::default() });
    }

    #[test]
    fn unusable_values_count_as_absent() {
        let absent = DeliveryHeaders::default();
        let long = [b'a'; VALUE_BYTES_MAX + 1];
        for value in [&b""[..], b"  ", b"a\r\nb", b"\x1b[31m", b"a\0", b"\xff\xfe", &long] {
            check(TRACE_ID, value, &absent);
            check(REFERENCE, value, &absent);
        }
        for value in [&b"0"[..], b"-5", b"+5", b"1.5", b"1e3", b"9223372036854775808", b"soon", b"1 2"] {
            check(ORDERING, value, &absent);
        }
    }

    #[test]
    fn a_value_of_exactly_the_limit_is_kept() {
        let longest = "a".repeat(VALUE_BYTES_MAX);
        check(TRACE_ID, longest.as_bytes(), &DeliveryHeaders { trace_id: Some(longest.clone()), ..Default::default() });
    }
}
