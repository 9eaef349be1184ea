//! Short strings out of strangers' hands.

/// Characters that a name, an id or a reason may have.
pub(crate) const CHARS_MAX: usize = 256;

/// Makes a string fit for a log line or a page: control characters removed, cut to `chars_max`; `None` if nothing is
/// left.
pub(crate) fn displayable(text: &str, chars_max: usize) -> Option<String> {
    let kept: String = text.chars().filter(|c| !c.is_control()).take(chars_max).collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// Takes an identifier whole or not at all: a shortened or stripped one could be somebody else's.
pub(crate) fn identifier(text: &str) -> Option<String> {
    let fits = !text.trim().is_empty() && text.chars().nth(CHARS_MAX).is_none() && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_display_loses_control_characters_and_its_tail() {
        assert_eq!(displayable(" a\r\n\u{1b}[31mb ", 256).as_deref(), Some("a[31mb"));
        assert_eq!(displayable("äöüß", 2).as_deref(), Some("äö"));
        assert_eq!(displayable(" \0 ", 256), None);
    }

    #[test]
    fn an_identifier_is_never_altered() {
        assert_eq!(identifier(" a b ").as_deref(), Some(" a b "));
        assert_eq!(identifier("a\0"), None);
        assert_eq!(identifier("  "), None);
        assert_eq!(identifier(&"ä".repeat(256)).as_deref(), Some("ä".repeat(256).as_str()));
        assert_eq!(identifier(&"a".repeat(257)), None);
    }
}
