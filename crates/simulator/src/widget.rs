//! The pages a person sees while connecting. They work without JavaScript and without cookies: what
//! must be remembered travels in the form.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::catalog::{display_name, provider};
use crate::connect::{Attempt, connect, fail};
use crate::lock::lock;
use crate::redirect::join;
use crate::session::Session;
use crate::settings::AuthWebhook;
use crate::user::User;
use crate::world::World;

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(home))
        .route("/widget/session/{id}", web::get().to(choose))
        .route("/widget/session/{id}/consent", web::get().to(ask_by_query))
        .route("/widget/session/{id}/consent", web::post().to(ask))
        .route("/widget/session/{id}/decision", web::post().to(decide));
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    webhook_url: Option<String>,
    users: Vec<User>,
}

#[derive(Template)]
#[template(path = "widget/providers.html")]
struct Providers<'a> {
    session_id: &'a str,
    providers: Vec<Choice<'a>>,
}

struct Choice<'a> {
    code: &'a str,
    name: String,
}

#[derive(Template)]
#[template(path = "widget/consent.html")]
struct Consent<'a> {
    session_id: &'a str,
    provider: &'a str,
    provider_name: String,
    kinds: &'a [&'a str],
}

#[derive(Template)]
#[template(path = "widget/message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
}

#[derive(Deserialize)]
struct Chosen {
    provider: String,
}

#[derive(Deserialize)]
struct Decision {
    provider: String,
    decision: String,
}

async fn home(world: web::Data<World>) -> HttpResponse {
    let users = lock(&world.users).all().cloned().collect();
    page(StatusCode::OK, &Home { webhook_url: world.dials().webhook_url, users })
}

async fn choose(world: web::Data<World>, id: web::Path<String>) -> HttpResponse {
    let Some(session) = session(&world, &id) else { return expired() };
    // An id promised by `authenticateUser` belongs to one provider: there is nothing to choose.
    if let (Some(_), [only]) = (&session.user_id, session.providers.as_slice()) {
        return consent(&session, only);
    }
    let choice = |code| Choice { code, name: display_name(code) };
    let providers = session.providers.iter().map(|code| choice(code.as_str())).collect();
    page(StatusCode::OK, &Providers { session_id: &session.id, providers })
}

async fn ask(world: web::Data<World>, id: web::Path<String>, chosen: web::Form<Chosen>) -> HttpResponse {
    match session(&world, &id) {
        Some(session) => consent(&session, &chosen.provider),
        None => expired(),
    }
}

async fn ask_by_query(world: web::Data<World>, id: web::Path<String>, chosen: web::Query<Chosen>) -> HttpResponse {
    match session(&world, &id) {
        Some(session) => consent(&session, &chosen.provider),
        None => expired(),
    }
}

fn consent(session: &Session, code: &str) -> HttpResponse {
    if !session.providers.iter().any(|offered| offered == code) {
        let text = "This provider is not offered in this session.";
        return message(StatusCode::BAD_REQUEST, "Not available", text);
    }
    let consent = Consent {
        session_id: &session.id,
        provider: code,
        provider_name: display_name(code),
        kinds: provider(code).types,
    };
    page(StatusCode::OK, &consent)
}

async fn decide(world: web::Data<World>, id: web::Path<String>, decision: web::Form<Decision>) -> HttpResponse {
    let Some(session) = session(&world, &id) else { return expired() };
    if !session.providers.contains(&decision.provider) {
        let text = "This provider is not offered in this session.";
        return message(StatusCode::BAD_REQUEST, "Not available", text);
    }
    let attempt = Attempt {
        provider: &decision.provider,
        reference_id: session.reference_id.as_deref(),
        session_id: Some(&session.id),
        user_id: session.user_id.as_deref(),
    };
    if decision.decision == "allow" {
        let (user, events) = connect(&world, &attempt);
        announce(&world, &events).await;
        let url = session.success_url.as_deref();
        return send_on(&world, url, &user, None, "You are connected");
    }
    let (user, event) = fail(&world, &attempt, "access_denied");
    announce(&world, &[event]).await;
    let url = session.failure_url.as_deref();
    send_on(&world, url, &user, Some("access_denied"), "You were not connected")
}

/// Sends the webhooks of a decision before the browser goes on, or after, or never.
async fn announce(world: &World, events: &[serde_json::Value]) {
    let dials = world.dials();
    match dials.auth_webhook {
        AuthWebhook::Never => {}
        AuthWebhook::Before => {
            // Only a simulator that is stopping ends this early; the browser goes on all the same.
            world.announce(events, Duration::ZERO).await.ok();
        }
        AuthWebhook::After | AuthWebhook::Only => {
            drop(world.announce(events, dials.after_redirect));
        }
    }
}

fn send_on(world: &World, url: Option<&str>, user: &User, reason: Option<&str>, title: &str) -> HttpResponse {
    let stay = world.dials().auth_webhook == AuthWebhook::Only;
    let Some(url) = url.filter(|_| !stay) else {
        return message(StatusCode::OK, title, "You can close this page.");
    };
    let mut parameters = vec![("user_id", user.user_id.as_str())];
    parameters.extend(user.reference_id.as_deref().map(|reference| ("reference_id", reference)));
    parameters.push(("resource", &user.provider));
    parameters.extend(reason.map(|reason| ("reason", reason)));
    HttpResponse::SeeOther().insert_header((LOCATION, join(url, &parameters))).finish()
}

fn session(world: &World, id: &str) -> Option<Session> {
    lock(&world.sessions).find(id, world.clock.unix_seconds()).cloned()
}

fn expired() -> HttpResponse {
    let text = "Go back to the app and start again: a link is good for 15 minutes.";
    message(StatusCode::GONE, "This link has expired", text)
}

fn message(status: StatusCode, title: &str, text: &str) -> HttpResponse {
    page(status, &Message { title, text })
}

fn page(status: StatusCode, template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(html) => HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(html),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}
