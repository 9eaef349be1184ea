//! How wishes for data are getting on: what was asked, what came, what is missing.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::store::BackfillFilter;
use domain::backfill::BackfillState;
use serde::Deserialize;

use super::{given, listed, one_of, page, private, user_of};
use crate::http::App;
use crate::http::auth::{Authorized, Ops};
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    user: Option<String>,
    state: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

pub(super) async fn list(
    _: Authorized<Ops>,
    app: web::Data<App>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let filter = filter.into_inner();
    let page = page(filter.after, filter.limit)?;
    let states = BackfillState::ALL.map(BackfillState::label);
    let filter = BackfillFilter {
        user: given(filter.user).map(|user| user_of(&user)).transpose()?,
        state: one_of("state", filter.state, BackfillState::parse, &states)?,
    };
    Ok(listed(&app.ports.store.backfills(&filter, &page, app.ports.clock.now()).await?))
}

pub(super) async fn show(
    _: Authorized<Ops>,
    app: web::Data<App>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let unknown = || Problem::not_found("unknown_backfill", format!("there is no backfill {id}"));
    let id = id.parse().map_err(|_| unknown())?;
    let found = app.ports.store.backfill(id, app.ports.clock.now(), app.config.backfill_stall).await?;
    Ok(private(StatusCode::OK, &found.ok_or_else(unknown)?))
}
