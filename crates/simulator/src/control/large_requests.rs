//! What goes wrong with the next large requests.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::disturbance::Disturbance;
use crate::lock::lock;
use crate::world::World;

pub(crate) async fn order(world: web::Data<World>, wanted: web::Json<Disturbance>) -> HttpResponse {
    lock(&world.disturbances).push(wanted.into_inner());
    list(world).await
}

pub(crate) async fn list(world: web::Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "items": *lock(&world.disturbances) }))
}

pub(crate) async fn clear(world: web::Data<World>) -> HttpResponse {
    lock(&world.disturbances).clear();
    HttpResponse::NoContent().finish()
}
