//! The way back from Terra's widget: a browser's word is checked, asked about at Terra, and sent on to the app.
//!
//! The `auth` webhook is the other road to the same end. Either may come first, alone, or twice.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use adapters::payloads::Sealed;
use adapters::store::{Prepared, StoreError};
use askama::Template;
use bytes::Bytes;
use domain::plan;
use domain::session::{ConnectSession, SessionState};
use jiff::Timestamp;
use metrics::counter;
use terra::event::User;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::App;
use crate::connect::{self, Claims, End, State};
use crate::telemetry::{CONNECT_FORGED, CONNECT_RETURNS};

/// A person looks at an empty page meanwhile; after this the webhook will say it.
const CONFIRM_WITHIN: Duration = Duration::from_secs(4);

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/connect/{state}/success", web::get().to(success))
        .route("/connect/{state}/failure", web::get().to(failure));
}

async fn success(app: web::Data<App>, state: web::Path<String>, request: HttpRequest) -> HttpResponse {
    let claims = Claims::parse(request.query_string());
    answer(come_back(&app, &state, End::Success, claims).await)
}

async fn failure(app: web::Data<App>, state: web::Path<String>, request: HttpRequest) -> HttpResponse {
    let claims = Claims::parse(request.query_string());
    answer(come_back(&app, &state, End::Failure, claims).await)
}

/// What a browser that came back is told.
enum Return {
    SentOn {
        session: Box<ConnectSession>,
        state: SessionState,
    },
    /// Not a state of ours, or one past its time.
    Unknown,
    Expired,
    StoreAway,
}

async fn come_back(app: &App, segment: &str, end: End, claims: Claims) -> Return {
    let Some(state) = State::parse(segment) else { return Return::Unknown };
    match take(app, &state, end, claims).await {
        Ok(outcome) => outcome,
        Err(cause) => {
            warn!(%cause, "a browser came back and the store did not answer");
            Return::StoreAway
        }
    }
}

/// The first return decides; every later one is told what was decided.
async fn take(app: &App, state: &State, end: End, claims: Claims) -> Result<Return, StoreError> {
    let store = &app.ports.store;
    let now = app.ports.clock.now();
    let Some(session) = store.session_by_state(&state.digest()).await? else { return Ok(Return::Unknown) };
    match session.state_at(now) {
        SessionState::Expired => return Ok(Return::Expired),
        SessionState::Pending => {}
        decided @ (SessionState::Connected | SessionState::Failed) => {
            store.session_returned(session.id, now).await?;
            return Ok(Return::SentOn { session: Box::new(session), state: decided });
        }
    }
    if store.session_returned(session.id, now).await? {
        match end {
            End::Success => confirm(app, &session, claims.user_id, now).await,
            End::Failure => store.session_failed(session.id, claims.reason.as_deref().unwrap_or("not_given")).await?,
        }
    }
    // Read again: the webhook may have been faster than this browser.
    let session = store.session(session.id).await?.unwrap_or(session);
    let state = session.state_at(now);
    Ok(Return::SentOn { session: Box::new(session), state })
}

/// Asks Terra about the user whom the browser claims. Whatever keeps it from being confirmed, the session stays
/// pending and the webhook decides.
async fn confirm(app: &App, session: &ConnectSession, claimed: Option<String>, now: Timestamp) {
    let Some(claimed) = claimed else { return };
    let Some(user) = ask(app, session, &claimed).await else { return };
    let plan = plan::confirmed(session.id, &session.environment, &user, now, &app.context());
    let prepared = Prepared { plan, body: Sealed(Bytes::new()), documents: Vec::new(), attempt: 1, replay: None };
    match app.ports.store.apply(&[prepared], now).await {
        Ok(_) => {
            info!(session.id = %session.id, "Terra confirmed connect session {}", session.id);
            app.ports.events_waiting.notify_one();
        }
        Err(cause) => {
            error!(session.id = %session.id, %cause, "a confirmed connect could not be stored; the webhook will tell of it again")
        }
    }
}

async fn ask(app: &App, session: &ConnectSession, claimed: &str) -> Option<User> {
    let client = app.ports.terra.get(&session.environment)?;
    // The client has the deadline too; this one also covers connecting.
    match timeout(CONFIRM_WITHIN, client.user_info(claimed, CONFIRM_WITHIN)).await {
        Ok(Ok(Some(info))) if connect::confirms(session, claimed, &info) => Some(info.user),
        Ok(Ok(Some(_) | None)) => {
            counter!(CONNECT_FORGED).increment(1);
            warn!(session.id = %session.id, "a browser claimed a user whom Terra does not confirm for this session");
            None
        }
        Ok(Err(cause)) => {
            warn!(session.id = %session.id, %cause, "Terra could not be asked about a connect; waiting for its webhook");
            None
        }
        Err(_) => {
            warn!(session.id = %session.id, "Terra took too long to confirm a connect; waiting for its webhook");
            None
        }
    }
}

fn answer(outcome: Return) -> HttpResponse {
    counter!(CONNECT_RETURNS, "outcome" => outcome.label()).increment(1);
    match outcome {
        Return::SentOn { session, state } => {
            let url = connect::app_url(&session, state);
            guarded(HttpResponse::SeeOther()).insert_header((LOCATION, url)).finish()
        }
        Return::Unknown => page(
            StatusCode::BAD_REQUEST,
            &Message {
                title: "This link does not work",
                text: "It is not complete, or it was not made by us. Go back to the app and connect again from there.",
            },
        ),
        Return::Expired => page(
            StatusCode::BAD_REQUEST,
            &Message {
                title: "This link has expired",
                text: "Connecting took longer than the link lives. Go back to the app and connect again from there.",
            },
        ),
        Return::StoreAway => page(
            StatusCode::SERVICE_UNAVAILABLE,
            &Message {
                title: "One moment, please",
                text: "We cannot finish this right now. Load this page again in a minute; nothing is lost.",
            },
        ),
    }
}

impl Return {
    /// A closed set, for the metric.
    fn label(&self) -> &'static str {
        match self {
            Return::SentOn { state, .. } => state.label(),
            Return::Unknown => "unknown",
            Return::Expired => "expired",
            Return::StoreAway => "store_away",
        }
    }
}

/// A page that says nothing of who asked or with what.
#[derive(Template)]
#[template(path = "connect/message.html")]
struct Message {
    title: &'static str,
    text: &'static str,
}

fn page(status: StatusCode, message: &Message) -> HttpResponse {
    let mut answer = guarded(HttpResponse::build(status));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.insert_header(("Retry-After", "30"));
    }
    match message.render() {
        Ok(html) => answer.content_type("text/html; charset=utf-8").body(html),
        Err(_) => answer.content_type("text/plain; charset=utf-8").body(message.text),
    }
}

/// The address holds the state: no cache may keep it and no later page may learn it.
fn guarded(mut answer: HttpResponseBuilder) -> HttpResponseBuilder {
    answer
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .insert_header((
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ));
    answer
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;

    use super::*;

    #[track_caller]
    fn check(outcome: Return, status: u16, words: &str) {
        let answer = answer(outcome);
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers().get(CACHE_CONTROL).unwrap(), "no-store");
        assert_eq!(answer.headers().get(REFERRER_POLICY).unwrap(), "no-referrer");
        let html = String::from_utf8(answer.into_body().try_into_bytes().unwrap().to_vec()).unwrap();
        assert!(html.contains(words), "{html}");
    }

    #[test]
    fn a_browser_that_cannot_be_sent_on_gets_a_plain_page() {
        check(Return::Unknown, 400, "This link does not work");
        check(Return::Expired, 400, "This link has expired");
        check(Return::StoreAway, 503, "One moment, please");
    }
}
