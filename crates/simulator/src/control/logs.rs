//! What was sent, what was asked, and what shall go wrong next.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::fault::Fault;
use crate::lock::lock;
use crate::world::World;

/// `pending` counts webhooks that are neither accepted nor given up: zero means quiet.
pub(crate) async fn deliveries(world: web::Data<World>) -> HttpResponse {
    let items = world.courier.log();
    HttpResponse::Ok().json(json!({ "items": items, "pending": world.courier.pending() }))
}

pub(crate) async fn forget_deliveries(world: web::Data<World>) -> HttpResponse {
    world.courier.forget_log();
    HttpResponse::NoContent().finish()
}

/// Forgets Terra's own history, which the Admin API shows.
pub(crate) async fn forget_events(world: web::Data<World>) -> HttpResponse {
    lock(world.courier.events()).clear();
    HttpResponse::NoContent().finish()
}

pub(crate) async fn requests(world: web::Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "items": lock(&world.requests).list() }))
}

pub(crate) async fn forget_requests(world: web::Data<World>) -> HttpResponse {
    lock(&world.requests).clear();
    HttpResponse::NoContent().finish()
}

pub(crate) async fn add_fault(world: web::Data<World>, fault: web::Json<Fault>) -> HttpResponse {
    lock(&world.faults).push(fault.into_inner());
    faults(world).await
}

pub(crate) async fn faults(world: web::Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "items": *lock(&world.faults), "acted": *lock(&world.acted) }))
}

pub(crate) async fn clear_faults(world: web::Data<World>) -> HttpResponse {
    lock(&world.faults).clear();
    HttpResponse::NoContent().finish()
}
