//! Who may call `/v1`: tokens with scopes, or anybody on a loopback listener where none are set.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, ResponseError, web};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::App;
use super::problem::Problem;
use crate::config::{ApiToken, Scope};

/// Who calls: the token's name, for what is kept of decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor(pub(crate) String);

#[derive(Debug, Clone)]
struct Caller {
    actor: Actor,
    scopes: Vec<Scope>,
}

/// A caller with the scope that the handler needs: taken as its first argument, so that nothing of a request is read
/// for somebody who may not make it.
pub(crate) struct Authorized<N> {
    pub(crate) actor: Actor,
    scope: PhantomData<N>,
}

pub(crate) trait Needs {
    const SCOPE: Scope;
}

pub(crate) enum Connect {}
pub(crate) enum Records {}
pub(crate) enum Events {}
pub(crate) enum Ops {}
pub(crate) enum OpsWrite {}
pub(crate) enum Privacy {}

impl Needs for Connect {
    const SCOPE: Scope = Scope::Connect;
}
impl Needs for Records {
    const SCOPE: Scope = Scope::Records;
}
impl Needs for Events {
    const SCOPE: Scope = Scope::Events;
}
impl Needs for Ops {
    const SCOPE: Scope = Scope::Ops;
}
impl Needs for OpsWrite {
    const SCOPE: Scope = Scope::OpsWrite;
}

impl Needs for Privacy {
    const SCOPE: Scope = Scope::Privacy;
}

impl<N: Needs> FromRequest for Authorized<N> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned();
        ready(match caller {
            Some(caller) if may(&caller.scopes, N::SCOPE) => Ok(Authorized { actor: caller.actor, scope: PhantomData }),
            Some(caller) => {
                let detail = format!("the token `{}` lacks the scope {}", caller.actor.0, N::SCOPE.label());
                Err(Problem::forbidden("missing_scope", detail))
            }
            None => Err(Problem::unauthorized("send Authorization: Bearer <token>")),
        })
    }
}

fn may(scopes: &[Scope], needed: Scope) -> bool {
    scopes.contains(&needed) || scopes.contains(&Scope::Admin)
}

/// Middleware of `/v1`: finds out who calls before anything else is looked at, unknown routes included.
pub(crate) async fn authenticate<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let tokens = request.app_data::<web::Data<App>>().map(|app| app.config.clone());
    let caller = match &tokens {
        Some(config) => identify(&config.api_tokens, request.method(), request.headers()),
        None => Err(Problem::unauthorized("no settings to check a token against")),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.call(request).await.map(ServiceResponse::map_into_left_body)
        }
        Err(problem) => {
            let answer = problem.error_response().map_into_right_body();
            Ok(request.into_response(answer))
        }
    }
}

fn identify(tokens: &[ApiToken], method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
    if tokens.is_empty() {
        return from_this_machine(method, headers);
    }
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let presented =
        header.and_then(bearer).ok_or_else(|| Problem::unauthorized("send Authorization: Bearer <token>"))?;
    let presented = Sha256::digest(presented.as_bytes());
    // Every token is compared, and digests are of one length: the time taken tells nothing of any of them.
    let mut found = None;
    for token in tokens {
        if bool::from(presented.ct_eq(&Sha256::digest(token.token.expose_secret().as_bytes()))) {
            found = Some(token);
        }
    }
    match found {
        Some(token) => Ok(Caller { actor: Actor(token.name.clone()), scopes: token.scopes.clone() }),
        None => Err(Problem::unauthorized("the token is not one of LANDFALL_API_TOKENS")),
    }
}

/// Without tokens the listener is on the loopback and its users are admin. A page of some other site in a browser on
/// this machine is not one of them, though it reaches the same address: it cannot read our answers, and may not change
/// anything either.
fn from_this_machine(method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    match site {
        Some(b"cross-site" | b"same-site") if !method.is_safe() => Err(Problem::forbidden(
            "cross_site",
            "a page of another site may not change anything; set LANDFALL_API_TOKENS and send a token",
        )),
        Some(_) | None => Ok(Caller { actor: Actor("local".into()), scopes: vec![Scope::Admin] }),
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn tokens() -> Vec<ApiToken> {
        let token = |name: &str, scopes: &[Scope], token: &str| ApiToken {
            name: name.into(),
            scopes: scopes.to_vec(),
            token: token.into(),
        };
        vec![
            token("app", &[Scope::Connect, Scope::Records], "an-app-token-0001"),
            token("ops", &[Scope::Admin], "an-ops-token-0001"),
        ]
    }

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        headers
    }

    #[track_caller]
    fn check(authorization: &'static str, expected: Result<&str, u16>) {
        let found = identify(&tokens(), &Method::GET, &headers("authorization", authorization));
        let found = found.map(|caller| caller.actor.0).map_err(|problem| problem.status.as_u16());
        assert_eq!(found, expected.map(str::to_owned), "{authorization}");
    }

    #[test]
    fn a_token_says_who_calls() {
        check("Bearer an-app-token-0001", Ok("app"));
        check("bearer an-ops-token-0001", Ok("ops"));
        check("Bearer an-app-token-000", Err(401));
        check("Bearer ", Err(401));
        check("Basic an-app-token-0001", Err(401));
        check("an-app-token-0001", Err(401));
    }

    #[test]
    fn without_tokens_anybody_on_this_machine_is_admin_whatever_they_send() {
        let caller = identify(&[], &Method::DELETE, &headers("authorization", "Bearer whatever")).unwrap();
        assert!(may(&caller.scopes, Scope::OpsWrite));
        assert!(identify(&[], &Method::POST, &headers("sec-fetch-site", "same-origin")).is_ok());
    }

    #[test]
    fn without_tokens_a_page_of_another_site_changes_nothing() {
        for site in ["cross-site", "same-site"] {
            let refused = identify(&[], &Method::POST, &headers("sec-fetch-site", site)).unwrap_err();
            assert_eq!(refused.code, "cross_site");
            assert!(identify(&[], &Method::GET, &headers("sec-fetch-site", site)).is_ok());
        }
    }

    #[test]
    fn admin_may_everything_and_others_what_they_were_given() {
        assert!(may(&[Scope::Admin], Scope::Privacy));
        assert!(may(&[Scope::Records], Scope::Records));
        assert!(!may(&[Scope::Ops], Scope::OpsWrite));
    }
}
