//! Connecting without the widget, disconnecting, and tokens for phones.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::event::deauth;
use crate::lock::lock;
use crate::refusal::Refusal;
use crate::rest::credentials::Caller;
use crate::rest::widget_session::{parse, session};
use crate::world::World;

const AUTH_TOKEN_LIFETIME_SECONDS: u32 = 180;

/// Promises a user id before anybody has logged in.
pub(crate) async fn authenticate_user(
    request: HttpRequest,
    _caller: Caller,
    world: web::Data<World>,
    query: web::Query<HashMap<String, String>>,
    body: Bytes,
) -> Result<HttpResponse, Refusal> {
    let Some(resource) = query.get("resource").filter(|resource| !resource.is_empty()) else {
        return Err(Refusal::of(&request, StatusCode::BAD_REQUEST, "resource is missing"));
    };
    let wanted = parse(&request, &body)?;
    let user_id = world.new_id().to_string();
    let session = session(&world, &wanted, vec![resource.to_uppercase()], Some(user_id.clone()));
    let auth_url = format!("{}/widget/session/{}", world.public_url, session.id);
    lock(&world.sessions).add(session);
    Ok(HttpResponse::Ok().json(json!({ "status": "success", "user_id": user_id, "auth_url": auth_url })))
}

/// Erases the user. Asking twice is answered with 404, as for anybody unknown.
pub(crate) async fn deauthenticate_user(
    request: HttpRequest,
    _caller: Caller,
    world: web::Data<World>,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, Refusal> {
    let Some(user_id) = query.get("user_id") else {
        return Err(Refusal::of(&request, StatusCode::BAD_REQUEST, "user_id is missing"));
    };
    let removed = lock(&world.users).remove(user_id);
    let Some(user) = removed else {
        return Err(Refusal::of(&request, StatusCode::NOT_FOUND, "user not found"));
    };
    // Nobody waits for the webhook: the answer to this call comes first.
    drop(world.announce(&[deauth(&user)], Duration::ZERO));
    Ok(HttpResponse::Ok().json(json!({ "status": "success" })))
}

pub(crate) async fn generate_auth_token(_caller: Caller, world: web::Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "status": "success",
        "token": format!("{}{}", world.new_id().simple(), world.new_id().simple()),
        "expires_in": AUTH_TOKEN_LIFETIME_SECONDS,
    }))
}
