//! Numbers and words as they come: an integer as `145.0` or `"145"`, a flag as `"true"`. What cannot be read is `None`.

//!
//! Every function takes the JSON text of one value.

use crate::{json, text};

/// Whole numbers up to this one have a float of their own.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A whole number; fractions are rounded to the nearest.
pub fn integer(raw: &str) -> Option<i64> {
    let spelled = spelled(raw)?;
    if let Ok(integer) = spelled.parse() {
        return Some(integer);
    }
    let rounded = finite(&spelled)?.round();
    (rounded.abs() <= EXACT_MAX).then_some(rounded as i64)
}

/// A finite number; `1e999` is none.
pub fn number(raw: &str) -> Option<f64> {
    finite(&spelled(raw)?)
}

/// A number that counts something: negative ones are none.
pub fn count(raw: &str) -> Option<u64> {
    integer(raw).and_then(|integer| u64::try_from(integer).ok())
}

pub fn boolean(raw: &str) -> Option<bool> {
    let spelled = json::text(raw).unwrap_or(raw.into());
    if spelled.trim().eq_ignore_ascii_case("true") {
        Some(true)
    } else if spelled.trim().eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A short text, stripped of control characters and cut to 256 characters.
pub fn short_text(raw: &str) -> Option<String> {
    text::displayable(&json::text(raw)?, text::CHARS_MAX)
}

/// Like [`short_text`], and also a number or a flag as it is spelled.
pub fn word(raw: &str) -> Option<String> {
    match json::text(raw) {
        Some(text) => text::displayable(&text, text::CHARS_MAX),
        None => (!raw.starts_with(['{', '[', '"'])).then(|| text::displayable(raw, text::CHARS_MAX))?,
    }
}

/// An id, which some of Terra's objects spell as a number: whole or not at all.
pub fn identifier(raw: &str) -> Option<String> {
    match json::text(raw) {
        Some(text) => text::identifier(&text),
        None => raw.bytes().all(|byte| byte.is_ascii_digit()).then(|| text::identifier(raw))?,
    }
}

/// True of the spelling of a number, however large.
pub fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// The digits of a number, without the quotes it may come in.
fn spelled(raw: &str) -> Option<String> {
    let text = json::text(raw).unwrap_or(raw.into());
    let text = text.trim();
    (text.len() <= text::CHARS_MAX).then(|| text.to_owned())
}

fn finite(spelled: &str) -> Option<f64> {
    spelled.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected_integer: Option<i64>, expected_number: Option<f64>) {
        assert_eq!((integer(json), number(json)), (expected_integer, expected_number), "{json}");
    }

    #[test]
    fn numbers_are_read_in_each_spelling() {
        check("145", Some(145), Some(145.0));
        check("145.0", Some(145), Some(145.0));
        check("144.5", Some(145), Some(144.5));
        check("-0.4", Some(0), Some(-0.4));
        check(r#"" 145 ""#, Some(145), Some(145.0));
        check(r#""1.45e2""#, Some(145), Some(145.0));
        check("9223372036854775807", Some(i64::MAX), Some(9_223_372_036_854_775_807.0));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for json in ["null", "true", "[]", "{}", r#""""#, r#""many""#, r#""NaN""#, r#""inf""#, "1e999", "-1e999"] {
            check(json, None, None);
        }
        check("1e300", None, Some(1e300));
    }

    #[test]
    fn a_count_is_never_negative() {
        assert_eq!(count("3"), Some(3));
        assert_eq!(count("-3"), None);
    }
}
