//! Opening a widget session: the newer endpoint, and the legacy one that is going away.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::lock::lock;
use crate::refusal::{HTML_ERROR, Refusal};
use crate::rest::credentials::{Caller, Shown, shown};
use crate::session::{LIFETIME_SECONDS, Session};
use crate::world::World;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WidgetRequest {
    pub(crate) providers: Option<String>,
    pub(crate) reference_id: Option<String>,
    pub(crate) auth_success_redirect_url: Option<String>,
    pub(crate) auth_failure_redirect_url: Option<String>,
}

pub(crate) async fn newer(request: HttpRequest, world: web::Data<World>, body: Bytes) -> Result<HttpResponse, Refusal> {
    match shown(&request) {
        Shown::Right => {}
        Shown::Wrong => {
            let refusal = Refusal::of(&request, StatusCode::FORBIDDEN, "invalid credentials");
            return Err(refusal.of_widget());
        }
        Shown::Missing => {
            let detail = "dev-id or x-api-key headers are missing";
            return Err(Refusal::of(&request, StatusCode::UNAUTHORIZED, detail).of_widget());
        }
    }
    let wanted = parse(&request, &body).map_err(Refusal::of_widget)?;
    Ok(open(&world, wanted, StatusCode::CREATED))
}

pub(crate) async fn legacy(
    request: HttpRequest,
    _caller: Caller,
    world: web::Data<World>,
    body: Bytes,
) -> Result<HttpResponse, Refusal> {
    if world.dials().legacy_widget_gone {
        let detail = "this endpoint is deprecated, use POST /api/widget/session";
        return Err(Refusal::of(&request, StatusCode::GONE, detail));
    }
    let wanted = parse(&request, &body)?;
    Ok(open(&world, wanted, StatusCode::OK))
}

/// A body that is not announced as JSON is not read, and the app wonders where its redirect went:
/// that is how Terra behaves.
pub(crate) fn parse(request: &HttpRequest, body: &[u8]) -> Result<WidgetRequest, Refusal> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !content_type.starts_with("application/json") || body.is_empty() {
        return Ok(WidgetRequest::default());
    }
    let refuse = |detail: &str| Refusal::of(request, StatusCode::BAD_REQUEST, detail);
    let wanted: WidgetRequest =
        serde_json::from_slice(body).map_err(|error| refuse(&format!("invalid body: {error}")))?;
    for url in [&wanted.auth_success_redirect_url, &wanted.auth_failure_redirect_url] {
        if url.as_deref().is_some_and(|url| url::Url::parse(url).is_err()) {
            return Err(refuse("a redirect URL is not an absolute URL"));
        }
    }
    Ok(wanted)
}

fn open(world: &World, wanted: WidgetRequest, status: StatusCode) -> HttpResponse {
    let enabled = world.dials().providers;
    if enabled.is_empty() {
        return HttpResponse::InternalServerError().content_type("text/html; charset=utf-8").body(HTML_ERROR);
    }
    // What the app asks for goes before what is enabled.
    let asked = wanted.providers.as_deref().map(comma_list).filter(|list| !list.is_empty());
    let session = session(world, &wanted, asked.unwrap_or(enabled), None);
    let answer = json!({
        "session_id": session.id,
        "url": format!("{}/widget/session/{}", world.public_url, session.id),
        "status": "success",
        "expires_in": LIFETIME_SECONDS,
    });
    lock(&world.sessions).add(session);
    HttpResponse::build(status).json(answer)
}

pub(crate) fn session(
    world: &World,
    wanted: &WidgetRequest,
    providers: Vec<String>,
    user_id: Option<String>,
) -> Session {
    Session {
        id: world.new_id().to_string(),
        reference_id: wanted.reference_id.clone(),
        providers,
        success_url: wanted.auth_success_redirect_url.clone(),
        failure_url: wanted.auth_failure_redirect_url.clone(),
        user_id,
        expires_at_unix_seconds: world.clock.unix_seconds() + LIFETIME_SECONDS,
    }
}

fn comma_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_uppercase).collect()
}
