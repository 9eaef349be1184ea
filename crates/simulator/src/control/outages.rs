//! Providers that are down.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::lock::lock;
use crate::outage::Outage;
use crate::world::World;

pub(crate) async fn begin(world: web::Data<World>, outage: web::Json<Outage>) -> HttpResponse {
    let now_ms = world.clock.unix_ms();
    lock(&world.outages).begin(outage.into_inner(), now_ms);
    list(world).await
}

pub(crate) async fn list(world: web::Data<World>) -> HttpResponse {
    let now_ms = world.clock.unix_ms();
    HttpResponse::Ok().json(json!({ "items": lock(&world.outages).list(now_ms) }))
}

/// Requests that Terra kept for later are answered now.
pub(crate) async fn end_all(world: web::Data<World>) -> HttpResponse {
    lock(&world.outages).end_all();
    HttpResponse::NoContent().finish()
}
