//! Who is connected.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use crate::lock::lock;
use crate::refusal::Refusal;
use crate::rest::credentials::Caller;
use crate::settings::Dialect;
use crate::user::User;
use crate::world::World;

const PER_PAGE: usize = 500;

pub(crate) async fn user_info(
    request: HttpRequest,
    _caller: Caller,
    world: web::Data<World>,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, Refusal> {
    if let Some(user_id) = query.get("user_id") {
        let user = world.user(user_id);
        let user = user.ok_or_else(|| Refusal::of(&request, StatusCode::NOT_FOUND, "user not found"))?;
        return Ok(HttpResponse::Ok().json(single(world.dialect(), &user)));
    }
    if let Some(reference_id) = query.get("reference_id") {
        let users: Vec<Value> = lock(&world.users).of_reference(reference_id).into_iter().map(User::to_json).collect();
        return Ok(HttpResponse::Ok().json(match world.dialect() {
            Dialect::Newer => json!(users),
            Dialect::Older => json!({ "users": users }),
        }));
    }
    let detail = "user_id or reference_id is missing";
    Err(Refusal::of(&request, StatusCode::BAD_REQUEST, detail))
}

fn single(dialect: Dialect, user: &User) -> Value {
    let mut shown = user.to_json();
    match dialect {
        Dialect::Newer => {
            shown["last_polled_at"] = json!(user.last_webhook_update);
            shown["most_recent_data_at"] = json!(user.last_webhook_update);
        }
        Dialect::Older => {}
    }
    json!({ "user": shown, "status": "success", "is_authenticated": user.active })
}

pub(crate) async fn bulk_user_info(
    _caller: Caller,
    world: web::Data<World>,
    ids: web::Json<Vec<String>>,
) -> HttpResponse {
    let users = lock(&world.users);
    let known: Vec<Value> = ids.iter().filter_map(|id| users.find(id)).map(User::to_json).collect();
    HttpResponse::Ok().json(known)
}

/// All users at once, or, when a page is named, one page of them. Pages count from zero.
pub(crate) async fn subscriptions(
    request: HttpRequest,
    _caller: Caller,
    world: web::Data<World>,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, Refusal> {
    let users: Vec<Value> = lock(&world.users).all().map(User::to_json).collect();
    let Some(page) = number(&request, &query, "page")? else {
        return Ok(HttpResponse::Ok().json(json!({ "users": users })));
    };
    let per_page = number(&request, &query, "per_page")?.unwrap_or(PER_PAGE).max(1);
    let max_page = users.len().div_ceil(per_page).saturating_sub(1);
    let results: Vec<&Value> = users.iter().skip(page.saturating_mul(per_page)).take(per_page).collect();
    Ok(HttpResponse::Ok().json(json!({
        "data": {
            "next": (page < max_page).then_some(page + 1),
            "max_page": max_page,
            "results": results,
        },
    })))
}

fn number(request: &HttpRequest, query: &HashMap<String, String>, name: &str) -> Result<Option<usize>, Refusal> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let refuse = |_| Refusal::of(request, StatusCode::BAD_REQUEST, &format!("invalid {name}"));
    text.parse().map(Some).map_err(refuse)
}
