//! The public catalogue of providers.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use crate::catalog::{SDK_PROVIDERS, codes, detail};
use crate::world::World;

pub(crate) async fn list() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "providers": codes(),
        "sdk_providers": SDK_PROVIDERS,
        "status": "success",
    }))
}

/// Without a `dev-id` nobody knows what is enabled, and every provider is said to be.
pub(crate) async fn detailed(
    request: HttpRequest,
    world: web::Data<World>,
    query: web::Query<HashMap<String, String>>,
) -> HttpResponse {
    let known = request.headers().get("dev-id").is_some_and(|id| id == world.dev_id.as_str());
    let enabled = world.dials().providers;
    let mut listed: Vec<&str> = codes();
    let unlisted = enabled.iter().map(String::as_str).filter(|code| !codes().contains(code));
    listed.extend(unlisted);
    if query.get("sdk").is_some_and(|sdk| sdk == "true") {
        listed.extend(SDK_PROVIDERS);
    }
    let is_enabled = |code: &str| !known || enabled.iter().any(|enabled| enabled == code);
    let providers: Vec<Value> = listed.into_iter().map(|code| detail(code, is_enabled(code))).collect();
    HttpResponse::Ok().json(json!({ "status": "success", "providers": providers }))
}
