//! How many days were asked for, user by user.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::lock::lock;
use crate::world::World;

/// `days_asked_max` counts what was refused too, `days_granted_max` does not: both are the most
/// that fell into any one window. `answered_429` counts every reason, faults and outages included.
pub(crate) async fn show(world: web::Data<World>) -> HttpResponse {
    let budget = world.dials().budget;
    let mut items: Vec<Value> = lock(&world.spent)
        .iter()
        .map(|(user_id, spent)| {
            json!({
                "user_id": user_id,
                "requests": spent.requests,
                "days_asked_max": spent.days_asked_max(),
                "days_granted_max": spent.days_granted_max(),
                "answered_429": spent.too_many,
            })
        })
        .collect();
    items.sort_by(|one, other| one["user_id"].as_str().cmp(&other["user_id"].as_str()));
    HttpResponse::Ok().json(json!({
        "window_seconds": budget.window_ms as f64 / 1_000.0,
        "days_max": budget.days_per_window,
        "items": items,
    }))
}

/// What was spent is forgotten too, so that everybody has the whole budget again.
pub(crate) async fn forget(world: web::Data<World>) -> HttpResponse {
    lock(&world.spent).clear();
    HttpResponse::NoContent().finish()
}
