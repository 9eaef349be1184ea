//! The demo app of `landfall dev`: what a company's own app does to connect a person and show their activities.
//!
//! It knows Landfall only through its public API, so that it can be read as an example. Three calls are all there is:
//! a connect session before the browser leaves, its state when the browser is back, and the activities of a user.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

mod landfall;
mod view;

use landfall::{Landfall, LandfallError, Session};
use view::{ActivityRow, ConnectionRow};

/// Where the API is, and where this app is.
pub(crate) struct Demo {
    pub(crate) api_url: String,
    pub(crate) api_token: Option<String>,
    pub(crate) own_url: String,
}

/// People to try things out with. A real app takes the user from its own login, never from a query.
const USERS: [(&str, &str); 3] = [("demo-alex", "Alex"), ("demo-sam", "Sam"), ("demo-kim", "Kim")];

/// How many of the newest activities are shown.
const ACTIVITIES: u32 = 12;

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(home))
        .route("/connect", web::post().to(connect))
        .route("/connected", web::get().to(connected));
}

#[derive(Deserialize)]
struct Chosen {
    user: Option<String>,
}

#[derive(Deserialize)]
struct CameBack {
    session: Option<String>,
}

#[derive(Template)]
#[template(path = "demo/home.html")]
struct Home<'a> {
    users: &'a [(&'a str, &'a str)],
    user: &'a str,
    name: &'a str,
    connections: Vec<ConnectionRow>,
    activities: Vec<ActivityRow>,
}

#[derive(Template)]
#[template(path = "demo/connected.html")]
struct Connected<'a> {
    name: &'a str,
    session: &'a Session,
    activities: Vec<ActivityRow>,
    /// True while there is more to come: the page then loads itself again.
    waiting: bool,
}

#[derive(Template)]
#[template(path = "demo/problem.html")]
struct Trouble<'a> {
    text: &'a str,
    detail: &'a str,
}

async fn home(demo: web::Data<Demo>, chosen: web::Query<Chosen>) -> HttpResponse {
    let (user, name) = one_of_ours(chosen.user.as_deref());
    let api = Landfall::new(&demo);
    match (api.connections(user).await, api.activities(user, ACTIVITIES).await) {
        (Ok(connections), Ok(activities)) => {
            page(StatusCode::OK, &Home { users: &USERS, user, name, connections, activities })
        }
        (Err(error), _) | (_, Err(error)) => trouble(&error),
    }
}

/// The button: asks for a session and sends the browser to Terra's page.
async fn connect(demo: web::Data<Demo>, chosen: web::Form<Chosen>) -> HttpResponse {
    let (user, _) = one_of_ours(chosen.user.as_deref());
    let back = format!("{}/connected", demo.own_url);
    match Landfall::new(&demo).create_session(user, &back).await {
        Ok(url) => HttpResponse::SeeOther().insert_header((LOCATION, url)).finish(),
        Err(error) => trouble(&error),
    }
}

/// The browser is back. What its query says is not trusted: the session is asked for its state.
async fn connected(demo: web::Data<Demo>, back: web::Query<CameBack>) -> HttpResponse {
    let api = Landfall::new(&demo);
    let session = match api.session(back.session.as_deref().unwrap_or_default()).await {
        Ok(session) => session,
        Err(error) => return trouble(&error),
    };
    let activities = match api.activities(&session.user, ACTIVITIES).await {
        Ok(activities) => activities,
        Err(error) => return trouble(&error),
    };
    let (_, name) = one_of_ours(Some(&session.user));
    let waiting = session.is_open() && (!session.is_connected() || activities.is_empty());
    page(StatusCode::OK, &Connected { name, session: &session, activities, waiting })
}

fn one_of_ours(user: Option<&str>) -> (&'static str, &'static str) {
    USERS.into_iter().find(|(id, _)| Some(*id) == user).unwrap_or(USERS[0])
}

fn trouble(error: &LandfallError) -> HttpResponse {
    page(StatusCode::BAD_GATEWAY, &Trouble { text: error.advice(), detail: &error.to_string() })
}

fn page(status: StatusCode, template: &impl Template) -> HttpResponse {
    let html = template.render();
    let status = if html.is_ok() { status } else { StatusCode::INTERNAL_SERVER_ERROR };
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        // Without `form-action`: the form's answer leads on to Terra's page.
        .insert_header((
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ))
        .content_type("text/html; charset=utf-8")
        .body(html.unwrap_or_else(|_| "the page could not be made".into()))
}

#[cfg(test)]
mod tests;
