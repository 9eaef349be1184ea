//! What payloads held that Terra's schema does not have.

use actix_web::{HttpResponse, web};
use adapters::store::{DriftFilter, Listing};
use serde::Deserialize;

use super::listed;
use crate::http::App;
use crate::http::auth::{Authorized, Ops};
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    kind: Option<String>,
    provider: Option<String>,
}

pub(super) async fn list(
    _: Authorized<Ops>,
    app: web::Data<App>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let Filter { kind, provider } = filter.into_inner();
    let provider = provider.map(|provider| provider.to_uppercase());
    let items = app.ports.store.drift(&DriftFilter { kind, provider }).await?;
    Ok(listed(&Listing { items, next: None }))
}
