//! Every string and whole number of a body, whether it can be decoded or not.

use std::borrow::Cow;

use crate::json::{self, after_string};

/// Shows every string and every whole number that is a value, unescaped, with the name of the member that it belongs to:
/// of an element of a list there is none.
///
/// - Shapes: any bytes. What is no JSON is read for as long as it looks like some; a string with an escape that is none
///   is shown as it stands. Depth costs no stack.
pub fn words(body: &[u8], mut show: impl FnMut(Option<&str>, &str)) {
    let mut member: Option<Cow<'_, str>> = None;
    let mut at = 0;
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => {
                let end = after_string(body, at);
                let string = unescaped(&body[at..end]);
                at = end;
                if let Some(after) = after_colon(body, end) {
                    (member, at) = (Some(string), after);
                } else {
                    show(member.take().as_deref(), &string);
                }
            }
            b'{' | b'[' | b',' => {
                member = None;
                at += 1;
            }
            first if is_of_number(first) => {
                let length = body[at..].iter().take_while(|byte| is_of_number(byte)).count();
                let spelled = &body[at..at + length];
                if let Ok(number) = std::str::from_utf8(spelled)
                    && number.bytes().all(|byte| byte.is_ascii_digit())
                {
                    show(member.as_deref(), number);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
}

/// Words such as `true` are taken whole too: no digits are found within them.
fn is_of_number(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

fn after_colon(body: &[u8], end: usize) -> Option<usize> {
    let blanks = body.get(end..)?.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    (body.get(end + blanks) == Some(&b':')).then_some(end + blanks + 1)
}

fn unescaped(quoted: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(quoted) {
        Cow::Borrowed(text) => json::text(text).unwrap_or(Cow::Borrowed(text.trim_matches('"'))),
        Cow::Owned(text) => match json::text(&text) {
            Some(inside) => Cow::Owned(inside.into_owned()),
            None => Cow::Owned(text.trim_matches('"').to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(body: &[u8], expected: &[(Option<&str>, &str)]) {
        let mut found = Vec::new();
        words(body, |member, word| found.push((member.map(str::to_owned), word.to_owned())));
        let expected = expected.iter().map(|(member, word)| (member.map(str::to_owned), (*word).to_owned()));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    #[test]
    fn values_are_unescaped_and_known_by_their_member() {
        check(
            br#"{"user": {"user_id" : "j\u00f6rg"}, "url":"a\/b"}"#,
            &[(Some("user_id"), "jörg"), (Some("url"), "a/b")],
        );
        check(
            br#"{"reference\u005fid": 42, "x": [1, "2"]}"#,
            &[(Some("reference_id"), "42"), (None, "1"), (None, "2")],
        );
        check(br#"{"a":true,"b":null,"c":-5,"d":1.5,"e":1e9,"f":""}"#, &[(Some("f"), "")]);
        check(br#"["say \"a\":", "b"]"#, &[(None, "say \"a\":"), (None, "b")]);
    }

    #[test]
    fn what_is_no_json_is_read_as_far_as_it_looks_like_some() {
        check(br#"reference_id="ann"&{"user_id":"u""#, &[(None, "ann"), (Some("user_id"), "u")]);
        check(b"{\"name\":\"\xff\",\"user_id\":\"u\"}", &[(Some("name"), "\u{fffd}"), (Some("user_id"), "u")]);
        check(br#"{"user_id":"a\qb","x":"open"#, &[(Some("user_id"), r"a\qb"), (Some("x"), "open")]);
        check(b"", &[]);
    }

    #[test]
    fn depth_costs_no_stack() {
        let body = format!(r#"{}{{"user_id":"u"}}"#, "[".repeat(100_000));
        check(body.as_bytes(), &[(Some("user_id"), "u")]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body: Vec<u8>) {
            words(&body, |_, _| {});
        }

        #[test]
        fn any_name_is_found_however_it_is_escaped(name: String, escaped: bool) {
            let spelled: String = name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let value = if escaped { format!("\"{spelled}\"") } else { serde_json::Value::from(name.as_str()).to_string() };
            let body = format!(r#"{{"a":[1,{{"reference_id":{value}}}]}}"#);
            let mut found = false;
            words(body.as_bytes(), |member, word| found |= member == Some("reference_id") && word == name);
            prop_assert!(found);
        }
    }
}
