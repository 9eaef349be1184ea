//! The connect flow as pure functions: the one-time state, the URLs made from it, and what a redirect claims.

use adapters::terra_client::WidgetRequest;
use domain::session::{ConnectSession, SessionState};
use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use terra::reply::UserInfo;
use url::{Url, form_urlencoded};

/// A person who opens Terra's page in its last minute still has a provider's consent page to read: so much longer than
/// the page itself a session stays open.
pub(crate) const RETURN_GRACE: SignedDuration = SignedDuration::from_mins(15);

/// How long a session waits before Terra has said how long its page lives.
pub(crate) const OPENING_MAX: SignedDuration = SignedDuration::from_mins(15);

const URL_BYTES_MAX: usize = 2_048;
const LABEL_CHARS_MAX: usize = 256;
const REASON_CHARS_MAX: usize = 100;
const PROVIDERS_MAX: usize = 200;

/// Schemes that make a browser run or read something instead of leaving for an app.
const SCHEMES_REFUSED: [&str; 7] = ["javascript", "data", "vbscript", "file", "blob", "about", "view-source"];

/// Where providers and Terra have been seen to put a reason. Terra documents none.
const REASON_PARAMETERS: [&str; 3] = ["reason", "error", "error_code"];

/// 256 random bits that tie a browser's return to one session. Only their digest is kept.
pub(crate) struct State([u8; 32]);

impl State {
    pub(crate) fn new(random: [u8; 32]) -> State {
        State(random)
    }

    /// Reads the path segment of a redirect; `None` for anything but 64 hex digits.
    pub(crate) fn parse(segment: &str) -> Option<State> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(segment, &mut bytes).ok()?;
        Some(State(bytes))
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// Where Terra sends the browser. The state is in the path, because Terra appends its own query.
    pub(crate) fn redirect_url(&self, public_url: &str, end: End) -> String {
        let end = match end {
            End::Success => "success",
            End::Failure => "failure",
        };
        format!("{public_url}/connect/{}/{end}", hex::encode(self.0))
    }
}

/// Which of the two redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Success,
    Failure,
}

/// What Terra is asked for.
pub(crate) fn widget_request(
    session: &ConnectSession,
    state: &State,
    public_url: &str,
    wishes: Wishes,
) -> WidgetRequest {
    WidgetRequest {
        reference_id: Some(session.reference.to_string()),
        providers: wishes.providers,
        language: wishes.language,
        success_url: Some(state.redirect_url(public_url, End::Success)),
        failure_url: Some(state.redirect_url(public_url, End::Failure)),
    }
}

/// What the app wishes of Terra's page, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Upper-case codes, each once. Empty: what Terra's dashboard says.
    pub(crate) providers: Vec<String>,
    pub(crate) language: Option<String>,
}

impl Wishes {
    pub(crate) fn check(providers: &[String], language: Option<String>) -> Result<Wishes, String> {
        let is_code = |text: &str| {
            !text.is_empty()
                && text.len() <= 64
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if providers.len() > PROVIDERS_MAX {
            return Err(format!("providers: more than {PROVIDERS_MAX}"));
        }
        let mut codes: Vec<String> = Vec::new();
        for provider in providers {
            let code = provider.trim().to_uppercase();
            if !is_code(&code) {
                return Err("providers: each is a code such as GARMIN".into());
            }
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        let is_language = |text: &String| {
            (2..=16).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        match language.filter(|text| !text.is_empty()) {
            Some(language) if !is_language(&language) => Err("language: a code such as en or de-AT".into()),
            language => Ok(Wishes { providers: codes, language }),
        }
    }
}

/// An identifier as Terra takes it: not blank, no control characters, at most 256 characters.
pub(crate) fn check_label<'a>(name: &str, text: &'a str) -> Result<&'a str, String> {
    let fits =
        !text.trim().is_empty() && text.chars().count() <= LABEL_CHARS_MAX && !text.chars().any(char::is_control);
    if fits {
        Ok(text)
    } else {
        Err(format!("{name}: 1 to {LABEL_CHARS_MAX} characters, not blank, no control characters"))
    }
}

/// An absolute URL to send a browser to. Custom schemes are fine: apps have them.
pub(crate) fn check_app_url(name: &str, text: &str) -> Result<String, String> {
    if text.len() > URL_BYTES_MAX {
        return Err(format!("{name}: longer than {URL_BYTES_MAX} bytes"));
    }
    let url = Url::parse(text).map_err(|_| format!("{name}: not an absolute URL"))?;
    if SCHEMES_REFUSED.contains(&url.scheme()) {
        return Err(format!("{name}: the scheme {} is not allowed", url.scheme()));
    }
    Ok(url.into())
}

/// What came with the browser. All of it is a claim: anybody can write a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) user_id: Option<String>,
    pub(crate) reason: Option<String>,
}

impl Claims {
    /// Reads a query, also one that was joined with `?` twice.
    pub(crate) fn parse(query: &str) -> Claims {
        let joined = query.replace('?', "&");
        let pairs: Vec<(String, String)> = form_urlencoded::parse(joined.as_bytes()).into_owned().collect();
        let find = |wanted: &str| {
            pairs.iter().find(|(name, value)| name == wanted && !value.is_empty()).map(|(_, value)| value.as_str())
        };
        Claims {
            user_id: find("user_id").filter(|id| check_label("user_id", id).is_ok()).map(str::to_owned),
            reason: REASON_PARAMETERS.into_iter().filter_map(find).map(plain).find(|reason| !reason.is_empty()),
        }
    }
}

/// A reason fit for a row and a page: letters, digits and a few marks.
fn plain(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.');
    text.chars().filter(is_plain).take(REASON_CHARS_MAX).collect::<String>().trim().to_owned()
}

/// Whether Terra's answer about the claimed user shows that this session led to it. A user of another reference was
/// connected by somebody else.
pub(crate) fn confirms(session: &ConnectSession, claimed: &str, info: &UserInfo) -> bool {
    info.is_authenticated
        && info.user.user_id == claimed
        && info.user.reference_id.as_deref() == Some(session.reference.as_str())
}

/// Where the browser goes on to. Terra's user id is told only once it is confirmed.
pub(crate) fn app_url(session: &ConnectSession, state: SessionState) -> String {
    let mut parameters = vec![("session", session.id.to_string()), ("status", state.label().to_owned())];
    if let (SessionState::Connected, Some(user_id)) = (state, &session.terra_user_id) {
        parameters.push(("user_id", user_id.clone()));
        parameters.push(("reference_id", session.reference.to_string()));
    }
    let base = match (state, &session.failure_url) {
        (SessionState::Failed, Some(failure_url)) => failure_url,
        (SessionState::Failed, None) | (SessionState::Pending | SessionState::Connected | SessionState::Expired, _) => {
            &session.success_url
        }
    };
    join(base, &parameters)
}

/// Adds parameters to a URL and keeps the query it has.
fn join(base: &str, parameters: &[(&str, String)]) -> String {
    match Url::parse(base) {
        Ok(mut url) => {
            url.query_pairs_mut().extend_pairs(parameters);
            url.into()
        }
        // It was checked when the session was made.
        Err(_) => base.to_owned(),
    }
}

#[cfg(test)]
mod tests;
