//! The simulator's own routes, below `/_simulator`. Terra has none of them.

mod budget;
mod events;
mod large_requests;
mod logs;
mod outages;
mod payloads;
mod scenarios;
mod settings;
mod users;

use actix_web::error::JsonPayloadError;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

/// An event of 5 MB given as raw JSON must fit, with room to spare.
const CONTROL_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/_simulator")
            .app_data(
                web::JsonConfig::default()
                    .limit(CONTROL_BODY_BYTES_MAX)
                    .content_type_required(false)
                    .error_handler(unreadable),
            )
            .route("/events", web::post().to(events::send))
            .route("/events/types", web::get().to(events::types))
            .route("/deliveries", web::get().to(logs::deliveries))
            .route("/deliveries", web::delete().to(logs::forget_deliveries))
            .route("/event_log", web::delete().to(logs::forget_events))
            .route("/requests", web::get().to(logs::requests))
            .route("/requests", web::delete().to(logs::forget_requests))
            .route("/faults", web::post().to(logs::add_fault))
            .route("/faults", web::get().to(logs::faults))
            .route("/faults", web::delete().to(logs::clear_faults))
            .route("/budget", web::get().to(budget::show))
            .route("/budget", web::delete().to(budget::forget))
            .route("/large_requests", web::post().to(large_requests::order))
            .route("/large_requests", web::get().to(large_requests::list))
            .route("/large_requests", web::delete().to(large_requests::clear))
            .route("/outages", web::post().to(outages::begin))
            .route("/outages", web::get().to(outages::list))
            .route("/outages", web::delete().to(outages::end_all))
            .route("/payloads/{id}", web::get().to(payloads::download))
            .route("/payloads/{id}", web::head().to(payloads::download))
            .route("/payloads/{id}/moved", web::get().to(payloads::moved))
            .route("/scenarios", web::get().to(scenarios::list))
            .route("/scenarios/{name}/run", web::post().to(scenarios::play))
            .route("/settings", web::get().to(settings::show))
            .route("/settings", web::post().to(settings::change))
            .route("/users", web::get().to(users::list))
            .route("/users", web::post().to(users::create))
            .route("/users/{id}/{what}", web::post().to(users::happen)),
    );
}

fn unreadable(error: JsonPayloadError, _request: &HttpRequest) -> actix_web::Error {
    let answer = bad_request(&error.to_string());
    actix_web::error::InternalError::from_response(error, answer).into()
}

fn bad_request(detail: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({ "error": detail }))
}

fn unknown(what: &str) -> HttpResponse {
    HttpResponse::NotFound().json(json!({ "error": format!("unknown {what}") }))
}
