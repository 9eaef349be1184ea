//! Which calls came in, so that a test can count them.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use serde::Serialize;

use crate::fault::user_of;
use crate::lock::lock;
use crate::world::World;

/// Calls of the simulator's own control routes are not Terra traffic and not logged; downloads of
/// payloads are, though the simulator keeps them below the same path.
pub(crate) fn is_control(path: &str) -> bool {
    path.starts_with("/_simulator") && !path.starts_with("/_simulator/payloads/")
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct RequestEntry {
    pub(crate) at_ms: i64,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) status: u16,
}

pub(crate) async fn watch<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let world = request.app_data::<web::Data<World>>().cloned();
    let mut entry = RequestEntry {
        at_ms: 0,
        method: request.method().to_string(),
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        status: 0,
    };
    let response = next.call(request).await?;
    if let Some(world) = world.filter(|_| !is_control(&entry.path)) {
        entry.at_ms = world.clock.unix_ms();
        entry.status = response.status().as_u16();
        if entry.status == 429
            && let Some(user_id) = user_of(&entry.query)
        {
            lock(&world.spent).entry(user_id).or_default().too_many += 1;
        }
        lock(&world.requests).push(entry);
    }
    Ok(response)
}
