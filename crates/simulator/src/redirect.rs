//! How the widget sends a browser back to the app.

/// Appends parameters to a URL that the app chose. Its path, its own query and its fragment stay as
/// they were written: apps keep one-time state in any of them. Custom schemes are allowed.
pub(crate) fn join(url: &str, parameters: &[(&str, &str)]) -> String {
    let (address, fragment) = match url.split_once('#') {
        Some((address, fragment)) => (address, Some(fragment)),
        None => (url, None),
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    let mut joined = address.to_owned();
    if !address.ends_with(['?', '&']) {
        joined.push(if address.contains('?') { '&' } else { '?' });
    }
    joined.push_str(&query.finish());
    if let Some(fragment) = fragment {
        joined.push('#');
        joined.push_str(fragment);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        assert_eq!(join(url, &[("user_id", "u 1"), ("resource", "GARMIN")]), expected);
    }

    #[test]
    fn parameters_follow_a_question_mark_or_an_ampersand() {
        check("https://a.example/x/y", "https://a.example/x/y?user_id=u+1&resource=GARMIN");
        check("https://a.example/x?k=1", "https://a.example/x?k=1&user_id=u+1&resource=GARMIN");
        check("https://a.example/x?", "https://a.example/x?user_id=u+1&resource=GARMIN");
        check("https://a.example/x?k=1&", "https://a.example/x?k=1&user_id=u+1&resource=GARMIN");
    }

    #[test]
    fn a_fragment_stays_last() {
        check("https://a.example/#/done", "https://a.example/?user_id=u+1&resource=GARMIN#/done");
    }

    #[test]
    fn custom_schemes_work() {
        check("myapp://linked", "myapp://linked?user_id=u+1&resource=GARMIN");
    }
}
