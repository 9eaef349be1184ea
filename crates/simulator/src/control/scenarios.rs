//! Scenarios by name.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::control::{bad_request, unknown};
use crate::scenario::{RunError, RunOptions, run, scenarios};
use crate::world::World;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wanted {
    seed: Option<u64>,
    /// The app's ids of the people, in their order.
    reference_ids: Vec<String>,
}

pub(crate) async fn list() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "items": scenarios() }))
}

/// Answers when every delivery was tried once.
pub(crate) async fn play(world: web::Data<World>, name: web::Path<String>, body: web::Bytes) -> HttpResponse {
    let wanted: Wanted = if body.is_empty() {
        Wanted::default()
    } else {
        match serde_json::from_slice(&body) {
            Ok(wanted) => wanted,
            Err(error) => return bad_request(&error.to_string()),
        }
    };
    let options = RunOptions { seed: wanted.seed, references: wanted.reference_ids };
    match run(&world, &name, options).await {
        Ok(end) => HttpResponse::Ok().json(end),
        Err(RunError::Unknown { .. }) => unknown("scenario"),
        Err(error @ RunError::NoDestination) => bad_request(&error.to_string()),
    }
}
