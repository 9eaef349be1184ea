//! Finds members of JSON objects and elements of lists without building a tree.
//!
//! A value is handed on as the slice of text that spells it. Values nobody asked for are skipped, and serde_json skips
//! with a loop, so depth costs no stack. Where a key comes twice the last one counts, as it does for PostgreSQL,
//! JavaScript and Python: two readers of one body must not see two different users.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The values of the named members, in the order of `names`; a member that is `null` counts as absent.
///
/// - Errors: `None` where `json` is not exactly one JSON object.
pub(crate) fn members<'a, const N: usize>(json: &'a str, names: [&str; N]) -> Option<[Option<&'a RawValue>; N]> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = deserializer.deserialize_map(Members(&names)).ok()?;
    deserializer.end().ok()?;
    Some(found)
}

/// Like [`members`], of a value that may be absent or no object; then all are absent.
pub(crate) fn section<'a, const N: usize>(raw: Option<&'a RawValue>, names: [&str; N]) -> [Option<&'a RawValue>; N] {
    raw.and_then(|raw| members(raw.get(), names)).unwrap_or([None; N])
}

/// The elements of a list.
///
/// - Errors: `None` where `raw` is not a list, or has more than `elements_max` elements.
pub(crate) fn elements(raw: &RawValue, elements_max: usize) -> Option<Vec<&RawValue>> {
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer.deserialize_seq(Elements { elements_max }).ok()
}

/// The string that `raw` spells, unescaped; `None` where it is not a string.
pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    text(raw.get())
}

/// Like [`string`], of the text of a value.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str::<String>(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

pub(crate) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// True where lists and objects nest deeper than `depth_max`. Looks at brackets outside strings and at nothing else.
pub(crate) fn is_deeper_than(depth_max: usize, text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ => at += 1,
        }
    }
    false
}

/// The place behind the string that begins at `start`, or the end where it is not closed.
pub(crate) fn after_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(place) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += place + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1; // what is escaped
    }
    bytes.len()
}

struct Members<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(position) = map.next_key_seed(Position(self.0))? {
            match position {
                Some(position) => {
                    let value: &'de RawValue = map.next_value()?;
                    found[position] = (value.get() != "null").then_some(value);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Where a key stands in the list of names; keys are compared in place, none is copied.
struct Position<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Position<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Position<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

struct Elements {
    elements_max: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} elements", self.elements_max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element::<&'de RawValue>()? {
            if elements.len() == self.elements_max {
                return Err(serde::de::Error::invalid_length(elements.len() + 1, &self));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<const N: usize>(json: &str, names: [&str; N]) -> Option<[Option<String>; N]> {
        members(json, names).map(|found| found.map(|raw| raw.map(|raw| raw.get().to_owned())))
    }

    #[test]
    fn members_come_in_the_order_of_the_names() {
        let found = texts(r#" {"b": [1, 2], "x": {"a": 0}, "a" : "y" } "#, ["a", "b", "c"]);
        assert_eq!(found, Some([Some(r#""y""#.into()), Some("[1, 2]".into()), None]));
    }

    #[test]
    fn the_last_of_equal_keys_counts_even_if_it_is_null() {
        assert_eq!(texts(r#"{"a":1,"a":2}"#, ["a"]), Some([Some("2".into())]));
        assert_eq!(texts(r#"{"a":1,"a":null}"#, ["a"]), Some([None]));
        assert_eq!(texts(r#"{"a":1,"\u0061":2}"#, ["a"]), Some([Some("2".into())]));
    }

    #[test]
    fn what_is_not_exactly_one_object_has_no_members() {
        for json in ["", "null", "[]", "1", "{", r#"{"a":1}x"#, r#"{"a":1}{}"#, "\u{feff}{}", "{'a':1}"] {
            assert_eq!(texts(json, ["a"]), None, "{json}");
        }
    }

    #[test]
    fn a_list_longer_than_its_limit_is_refused() {
        let raw = RawValue::from_string("[1,2,3]".into()).unwrap();
        assert_eq!(elements(&raw, 3).map(|found| found.len()), Some(3));
        assert!(elements(&raw, 2).is_none());
    }

    #[test]
    fn brackets_inside_strings_are_no_depth() {
        assert!(!is_deeper_than(1, r#"["[[[\"[[[", "\\", "]["]"#));
        assert!(is_deeper_than(1, r#"["\\", []]"#));
        assert!(!is_deeper_than(2, r#"[[],[],{}]"#));
    }
}
