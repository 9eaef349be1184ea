//! Terra's `user` object: one person's connection to one provider.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use crate::json;
use crate::record::lenient;
use crate::text;

/// Scopes of one user that we keep; a provider has a dozen or two.
const SCOPES_MAX: usize = 256;

/// One connection as Terra describes it.
///
/// An identifier that is blank, longer than 256 characters or holds control characters counts as absent: shortened, it
/// could be somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Terra's id of this person at this provider; another one after a re-authentication.
    pub user_id: String,
    /// Upper-case code, such as `GARMIN`.
    pub provider: Option<String>,
    /// What the company called this person when connecting.
    pub reference_id: Option<String>,
    /// Sorted, each once. `None` if Terra said nothing, empty if it said there are none.
    pub scopes: Option<Vec<String>>,
    pub active: Option<bool>,
    pub created_at: Option<Timestamp>,
    /// As delivered.
    pub last_webhook_update: Option<String>,
}

impl User {
    /// When Terra last sent something for this user, as far as it says so.
    pub fn last_webhook_at(&self) -> Option<Timestamp> {
        self.last_webhook_update.as_deref().and_then(moment)
    }
}

/// Reads a `user` object; `None` where it has no usable `user_id`.
pub(crate) fn read(raw: &RawValue) -> Option<User> {
    let names = ["user_id", "provider", "reference_id", "scopes", "active", "created_at", "last_webhook_update"];
    let [user_id, provider, reference_id, scopes, active, created_at, last_webhook_update] =
        json::members(raw.get(), names)?;
    Some(User {
        user_id: identifier(user_id)?,
        provider: label(provider),
        reference_id: identifier(reference_id),
        scopes: scopes.and_then(self::scopes),
        active: active.map(RawValue::get).and_then(lenient::boolean),
        created_at: created_at.and_then(timestamp),
        last_webhook_update: label(last_webhook_update),
    })
}

/// An id, which some of Terra's objects spell as a number.
pub(crate) fn identifier(raw: Option<&RawValue>) -> Option<String> {
    lenient::identifier(raw?.get())
}

/// A word for people: cut and stripped rather than refused.
pub(crate) fn label(raw: Option<&RawValue>) -> Option<String> {
    text::displayable(&json::string(raw?)?, text::CHARS_MAX)
}

/// Scopes come as one string with commas or as a list of strings.
pub(crate) fn scopes(raw: &RawValue) -> Option<Vec<String>> {
    let mut scopes = BTreeSet::new();
    if let Some(joined) = json::string(raw) {
        scopes.extend(joined.split(',').filter_map(|scope| text::displayable(scope, text::CHARS_MAX)).take(SCOPES_MAX));
    } else {
        let listed = json::elements(raw, SCOPES_MAX)?;
        scopes.extend(listed.into_iter().filter_map(|scope| label(Some(scope))));
    }
    Some(scopes.into_iter().collect())
}

/// A moment with offset, or without one: then it is UTC.
fn timestamp(raw: &RawValue) -> Option<Timestamp> {
    moment(&json::string(raw)?)
}

fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() > text::CHARS_MAX {
        return None;
    }
    text.parse().ok().or_else(|| {
        let local: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(local).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(json: &str) -> Option<User> {
        read(&RawValue::from_string(json.into()).unwrap())
    }

    #[track_caller]
    fn check_scopes(json: &str, expected: Option<&[&str]>) {
        let user = user(&format!(r#"{{"user_id":"u","scopes":{json}}}"#)).unwrap();
        let expected = expected.map(|scopes| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>());
        assert_eq!(user.scopes, expected);
    }

    #[test]
    fn scopes_are_sorted_and_each_comes_once_whatever_their_form() {
        check_scopes(r#""b:read, a:read,,b:read""#, Some(&["a:read", "b:read"]));
        check_scopes(r#"["b","a"," b ",7,null]"#, Some(&["a", "b"]));
        check_scopes(r#""""#, Some(&[]));
        check_scopes("[]", Some(&[]));
        check_scopes("null", None);
        check_scopes("7", None);
    }

    #[test]
    fn a_moment_may_lack_its_offset() {
        let at = |text: &str| user(&format!(r#"{{"user_id":"u","created_at":"{text}"}}"#)).unwrap().created_at;
        let expected: Timestamp = "2022-12-12T10:00:00Z".parse().unwrap();
        assert_eq!(at("2022-12-12T12:00:00.000000+02:00"), Some(expected));
        assert_eq!(at("2022-12-12T10:00:00Z"), Some(expected));
        assert_eq!(at("2022-12-12T10:00:00.000000"), Some(expected));
        let last = user(r#"{"user_id":"u","last_webhook_update":"2022-12-12T10:00:00.000000"}"#).unwrap();
        assert_eq!(last.last_webhook_at(), Some(expected));
        assert_eq!(at("yesterday"), None);
        assert_eq!(at("9999999-12-12T10:00:00Z"), None);
    }

    #[test]
    fn active_may_be_a_string() {
        let active = |json: &str| user(&format!(r#"{{"user_id":"u","active":{json}}}"#)).unwrap().active;
        assert_eq!(active("true"), Some(true));
        assert_eq!(active(r#""False""#), Some(false));
        assert_eq!(active(r#""maybe""#), None);
    }

    #[test]
    fn a_user_without_a_usable_id_is_none() {
        for json in
            ["{}", r#"{"user_id":null}"#, r#"{"user_id":""}"#, r#"{"user_id":"a\u0000"}"#, r#"{"user_id":{}}"#, "[]"]
        {
            assert_eq!(user(json), None, "{json}");
        }
        assert_eq!(user(r#"{"user_id":42}"#).map(|user| user.user_id).as_deref(), Some("42"));
    }

    #[test]
    fn an_unusable_reference_id_is_absent_rather_than_altered() {
        let reference_id =
            |json: &str| user(&format!(r#"{{"user_id":"u","reference_id":{json}}}"#)).unwrap().reference_id;
        assert_eq!(reference_id(r#""user123@email.com""#).as_deref(), Some("user123@email.com"));
        assert_eq!(reference_id(&format!(r#""{}""#, "x".repeat(300))), None);
        assert_eq!(reference_id(r#""a\nb""#), None);
        assert_eq!(reference_id(r#""\ud800""#), None);
    }
}
