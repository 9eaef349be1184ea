//! What proxies and frameworks do to a body on its way, undone: the form that the signature fits names what happened.

use serde::{Deserialize, Serialize};

use crate::json;

/// Bodies up to here are also tried as JSON written in other ways; each way is a copy and a hash.
const RESERIALISED_BYTES_MAX: usize = 1_024 * 1_024;

/// A form that is larger is not tried: nesting could make much of little.
const WRITTEN_BYTES_MAX: usize = 4 * RESERIALISED_BYTES_MAX;

/// What was done to a body after it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    BlanksAdded,
    LineBreakLost,
    ByteOrderMarkAdded,
    LineBreaksConverted,
    /// Parsed and written again, with other blanks or other escapes.
    Reserialised,
    /// Decoded with one charset and encoded with another.
    Charset,
}

impl Change {
    pub const ALL: [Change; 6] = [
        Change::BlanksAdded,
        Change::LineBreakLost,
        Change::ByteOrderMarkAdded,
        Change::LineBreaksConverted,
        Change::Reserialised,
        Change::Charset,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Change::BlanksAdded => "blanks_added",
            Change::LineBreakLost => "line_break_lost",
            Change::ByteOrderMarkAdded => "byte_order_mark_added",
            Change::LineBreaksConverted => "line_breaks_converted",
            Change::Reserialised => "reserialised",
            Change::Charset => "charset",
        }
    }

    pub fn parse(label: &str) -> Option<Change> {
        Change::ALL.into_iter().find(|change| change.label() == label)
    }

    /// Goes on after "It fits".
    pub fn words(self) -> &'static str {
        match self {
            Change::BlanksAdded => "without its blanks at the ends",
            Change::LineBreakLost => "with a line break at its end",
            Change::ByteOrderMarkAdded => "without its byte order mark",
            Change::LineBreaksConverted => "with its line breaks as they were",
            Change::Reserialised => "with the blanks and escapes that it had before it was parsed and written again",
            Change::Charset => "with the charset that it had before it was converted",
        }
    }
}

/// The first change that, undone, makes `fits` answer; and what it answered.
///
/// - Never panics. What cannot be undone (sorted keys, rounded numbers, a compression) is not found.
pub fn find_change<T>(body: &[u8], mut fits: impl FnMut(&[u8]) -> Option<T>) -> Option<(Change, T)> {
    let mut try_one = |change, before: &[u8]| {
        if before == body { None } else { fits(before).map(|found| (change, found)) }
    };
    let plain = try_one(Change::BlanksAdded, body.trim_ascii())
        .or_else(|| try_one(Change::LineBreakLost, &[body, b"\n"].concat()))
        .or_else(|| try_one(Change::LineBreakLost, &[body, b"\r\n"].concat()))
        .or_else(|| try_one(Change::ByteOrderMarkAdded, body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)));
    if plain.is_some() {
        return plain;
    }
    let candidates = line_breaks(body)
        .into_iter()
        .map(|before| (Change::LineBreaksConverted, before))
        .chain(charsets(body).into_iter().map(|before| (Change::Charset, before)));
    for (change, before) in candidates {
        if let Some(found) = try_one(change, &before) {
            return Some(found);
        }
    }
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= RESERIALISED_BYTES_MAX)?;
    if !json::is_json(text) {
        return None;
    }
    for layout in Layout::ALL {
        for escapes in Escapes::ALL {
            let before = rewrite(text, layout, escapes);
            if let Some(found) = before.and_then(|before| try_one(Change::Reserialised, before.as_bytes())) {
                return Some(found);
            }
        }
    }
    None
}

fn line_breaks(body: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    let unix = text.replace("\r\n", "\n");
    let windows = unix.replace('\n', "\r\n");
    vec![unix.into_bytes(), windows.into_bytes()]
}

/// UTF-8 taken for Latin-1 and encoded again, UTF-8 turned into Latin-1, and UTF-8 turned into UTF-16.
fn charsets(body: &[u8]) -> Vec<Vec<u8>> {
    let mut before = Vec::new();
    match std::str::from_utf8(body) {
        Ok(text) if !text.is_ascii() => {
            before.extend(text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>());
        }
        Ok(_) => {}
        Err(_) => before.push(body.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes()),
    }
    if let Some((mark, pairs)) = body.split_at_checked(2) {
        let unit: Option<fn([u8; 2]) -> u16> = match mark {
            [0xff, 0xfe] => Some(u16::from_le_bytes),
            [0xfe, 0xff] => Some(u16::from_be_bytes),
            _ => None,
        };
        if let Some(unit) = unit {
            let units: Vec<u16> = pairs.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
            before.push(String::from_utf16_lossy(&units).into_bytes());
        }
    }
    before
}

/// Blanks between the tokens of JSON, as common writers set them.
#[derive(Clone, Copy)]
enum Layout {
    /// JavaScript, Go, Java, Rust.
    Compact,
    /// Python.
    Spaced,
    Indented(usize),
}

impl Layout {
    const ALL: [Layout; 4] = [Layout::Compact, Layout::Spaced, Layout::Indented(2), Layout::Indented(4)];
}

/// How strings spell what is not ASCII.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Kept,
    /// `\u00e4`, as Python does.
    Ascii,
    /// As themselves, where they were escaped.
    Raw,
}

impl Escapes {
    const ALL: [Escapes; 3] = [Escapes::Kept, Escapes::Ascii, Escapes::Raw];
}

/// Writes valid JSON with other blanks and escapes. Order, numbers and everything else stay as they are spelled. `None`
/// where it becomes too large.
fn rewrite(text: &str, layout: Layout, escapes: Escapes) -> Option<String> {
    let mut written = String::with_capacity(text.len() + text.len() / 4);
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if written.len() > WRITTEN_BYTES_MAX {
            return None;
        }
        let mut end = first.len_utf8();
        match first {
            ' ' | '\t' | '\n' | '\r' => {}
            '"' => {
                end = string_end(rest);
                write_string(&rest[..end], escapes, &mut written);
            }
            '{' | '[' => {
                written.push(first);
                let inside = rest[1..].trim_ascii_start();
                if inside.starts_with(['}', ']']) {
                    written.push_str(&inside[..1]);
                    end = rest.len() - inside.len() + 1;
                } else {
                    depth += 1;
                    new_line(layout, depth, &mut written);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(layout, depth, &mut written);
                written.push(first);
            }
            ',' => {
                written.push(',');
                match layout {
                    Layout::Compact => {}
                    Layout::Spaced => written.push(' '),
                    Layout::Indented(_) => new_line(layout, depth, &mut written),
                }
            }
            ':' => written.push_str(if matches!(layout, Layout::Compact) { ":" } else { ": " }),
            other => written.push(other),
        }
        rest = &rest[end..];
    }
    Some(written)
}

fn new_line(layout: Layout, depth: usize, written: &mut String) {
    if let Layout::Indented(width) = layout {
        written.push('\n');
        written.extend(std::iter::repeat_n(' ', width * depth));
    }
}

/// Behind the closing quote of the string that `text` begins with.
fn string_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn write_string(spelled: &str, escapes: Escapes, written: &mut String) {
    match escapes {
        Escapes::Kept => written.push_str(spelled),
        Escapes::Ascii => {
            for c in spelled.chars() {
                if c.is_ascii() {
                    written.push(c);
                } else {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        written.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
        }
        // Only what is beyond ASCII: a control character has to stay escaped, and so have quote and backslash.
        Escapes::Raw => match json::text(spelled) {
            Some(meant) if spelled.contains("\\u") => {
                let spelled_again = serde_json::to_string(&meant).unwrap_or_else(|_| spelled.to_owned());
                written.push_str(&spelled_again);
            }
            _ => written.push_str(spelled),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(before: &[u8], after: &[u8], expected: Option<Change>) {
        let found = find_change(after, |body| (body == before).then_some(())).map(|(change, ())| change);
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_done_on_the_way_is_recognised() {
        check(b"{}", b"{}\n", Some(Change::BlanksAdded));
        check(b"{}\n", b"{}", Some(Change::LineBreakLost));
        check(b"{}", b"\xef\xbb\xbf{}", Some(Change::ByteOrderMarkAdded));
        check(b"{\n\"a\":\n1}", b"{\r\n\"a\":\r\n1}", Some(Change::LineBreaksConverted));
        let python = br#"{"a": [1.0, 2], "b": {}, "name": "J\u00fcrgen", "x": "a, b: {c}"}"#;
        let compact = br#"{"a":[1.0,2],"b":{},"name":"J\u00fcrgen","x":"a, b: {c}"}"#;
        let raw = "{\"a\":[1.0,2],\"b\":{},\"name\":\"Jürgen\",\"x\":\"a, b: {c}\"}";
        let pretty =
            "{\n  \"a\": [\n    1.0,\n    2\n  ],\n  \"b\": {},\n  \"name\": \"Jürgen\",\n  \"x\": \"a, b: {c}\"\n}";
        for (before, after) in [
            (&python[..], &compact[..]),
            (compact, python),
            (python, raw.as_bytes()),
            (raw.as_bytes(), python),
            (raw.as_bytes(), pretty.as_bytes()),
            (pretty.as_bytes(), raw.as_bytes()),
        ] {
            check(before, after, Some(Change::Reserialised));
        }
        let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(raw.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let latin1: Vec<u8> = raw.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let twice: String = raw.bytes().map(char::from).collect();
        for after in [utf16, latin1, twice.into_bytes()] {
            check(raw.as_bytes(), &after, Some(Change::Charset));
        }
    }

    #[test]
    fn another_body_is_not_explained_away() {
        check(br#"{"a":1}"#, br#"{"a":2}"#, None);
        check(br#"{"a":1,"b":2}"#, br#"{"b":2,"a":1}"#, None);
        check(br#"{"a":1}"#, b"", None);
        check(br#"{"a":1}"#, b"\x1f\x8b\x08", None);
    }

    #[test]
    fn labels_are_read_back() {
        for change in Change::ALL {
            assert_eq!(Change::parse(change.label()), Some(change));
        }
        assert_eq!(Change::parse(""), None);
    }

    #[test]
    fn nesting_makes_no_large_body_of_a_small_one() {
        let body = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let mut largest = 0;
        let mut tried = 0;
        find_change(body.as_bytes(), |before| {
            largest = largest.max(before.len());
            tried += 1;
            None::<()>
        });
        assert!(largest < 2 * body.len(), "{largest}");
        assert!(tried >= 2, "{tried}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body: Vec<u8>) {
            find_change(&body, |_| None::<()>);
        }
    }
}
