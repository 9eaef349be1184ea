//! The account at Terra: credentials that are accepted, and a destination that still is.

use terra::reply::Destination;

use super::{Area, Finding};
use crate::id::Environment;

fn good(check: &'static str, text: impl Into<String>) -> Finding {
    Finding::good(Area::Terra, check, text)
}

fn bad(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding::bad(Area::Terra, check, text, fix)
}

/// `tried` is what Terra said to a request with them; `None`: none are set.
pub fn credentials(environment: &Environment, tried: Option<Result<(), String>>) -> Finding {
    const CHECK: &str = "credentials";
    match tried {
        None => {
            let text =
                format!("environment {environment} has no API key: nobody can connect and no history is fetched");
            Finding::warning(Area::Terra, CHECK, text, "set LANDFALL_TERRA_DEV_ID and LANDFALL_TERRA_API_KEY")
        }
        Some(Ok(())) => good(CHECK, format!("environment {environment}: Terra accepts dev id and API key")),
        Some(Err(why)) => {
            let text = format!("environment {environment}: a request to Terra failed: {why}");
            bad(CHECK, text, "compare dev id and API key with Terra's dashboard, and see that Terra can be reached")
        }
    }
}

pub fn no_token(environment: &Environment) -> Finding {
    let text = format!("environment {environment}: whether its destination is active, only the Admin API tells");
    Finding::not_checked(Area::Terra, "destination", text, "set LANDFALL_TERRA_ADMIN_TOKEN")
}

pub fn not_told(environment: &Environment, why: &str) -> Finding {
    let text = format!("environment {environment}: the Admin API did not tell its destinations: {why}");
    Finding::not_checked(Area::Terra, "destination", text, "look into Terra's dashboard")
}

/// `public_url` is how Terra reaches us, as far as it was said.
pub fn destination(environment: &Environment, destinations: &[Destination], public_url: Option<&str>) -> Finding {
    const CHECK: &str = "destination";
    let webhooks: Vec<&Destination> = destinations.iter().filter(|destination| destination.is_webhook()).collect();
    let is_ours = |destination: &&&Destination| match (public_url, &destination.url) {
        (Some(ours), Some(url)) => host(ours).is_some() && host(ours) == host(url),
        (None, _) => true,
        (Some(_), None) => false,
    };
    let ours: Vec<&&Destination> = webhooks.iter().filter(is_ours).collect();
    if webhooks.is_empty() {
        let text = format!("environment {environment} has no webhook destination at Terra: nothing will come");
        return bad(CHECK, text, "add one in Terra's dashboard, with our address");
    }
    if ours.is_empty() {
        let text = format!("environment {environment}: none of its webhook destinations leads to LANDFALL_PUBLIC_URL");
        return Finding::warning(
            Area::Terra,
            CHECK,
            text,
            "compare LANDFALL_PUBLIC_URL with the destination in Terra's dashboard",
        );
    }
    if ours.iter().any(|destination| destination.active) {
        return good(CHECK, format!("environment {environment}: its webhook destination is active"));
    }
    let text = format!("environment {environment}: Terra has disabled its webhook destination");
    bad(
        CHECK,
        text,
        "repair the cause (landfall quarantine list), activate it in Terra's dashboard, then `landfall recover`",
    )
}

/// Scheme and path may differ, as behind a proxy.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[track_caller]
    fn check(destinations: &[(&str, bool)], public_url: Option<&str>, expected: State) {
        let destinations: Vec<Destination> = destinations
            .iter()
            .map(|(url, active)| Destination {
                kind: Some("webhook".into()),
                url: Some((*url).into()),
                active: *active,
            })
            .collect();
        let finding = destination(&Environment::new("default"), &destinations, public_url);
        assert_eq!(finding.state, expected, "{}", finding.text);
    }

    #[test]
    fn a_destination_that_terra_disabled_fails() {
        let ours = Some("https://hooks.example.com");
        let url = "https://hooks.example.com/webhooks/terra";
        check(&[(url, true)], ours, State::Good);
        check(&[(url, false)], ours, State::Bad);
        check(&[(url, false), ("https://elsewhere.example.com/", true)], ours, State::Bad);
        check(&[("https://elsewhere.example.com/", true)], ours, State::Warning);
        check(&[("https://elsewhere.example.com/", true)], None, State::Good);
        check(&[], ours, State::Bad);
        assert_eq!(no_token(&Environment::new("default")).state, State::NotChecked);
        assert_eq!(not_told(&Environment::new("default"), "404").state, State::NotChecked);
    }

    #[test]
    fn credentials_that_terra_refuses_fail() {
        let state = |tried| credentials(&Environment::new("default"), tried).state;
        assert_eq!(state(Some(Ok(()))), State::Good);
        assert_eq!(state(Some(Err("refused".into()))), State::Bad);
        assert_eq!(state(None), State::Warning);
    }
}
