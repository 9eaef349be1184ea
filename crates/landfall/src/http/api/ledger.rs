//! What came in: deliveries with their outcomes, and the history of connects and disconnects.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::store::{AuthEventFilter, DeliveryFilter, LedgerOutcome};
use domain::id::{DeliveryId, Environment};
use serde::Deserialize;

use super::{given, listed, one_of, page, private, user_of};
use crate::http::App;
use crate::http::auth::{Authorized, Ops};
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    outcome: Option<String>,
    #[serde(rename = "type")]
    type_name: Option<String>,
    terra_user_id: Option<String>,
    trace_id: Option<String>,
    environment: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthFilter {
    user: Option<String>,
    terra_user_id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

pub(super) async fn deliveries(
    _: Authorized<Ops>,
    app: web::Data<App>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    list(&app, filter.into_inner()).await
}

/// Deliveries that nobody will try again by itself.
pub(super) async fn dead_letters(
    _: Authorized<Ops>,
    app: web::Data<App>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    if filter.outcome.is_some() {
        return Err(Problem::bad_parameter("outcome: dead letters have only one"));
    }
    list(&app, Filter { outcome: Some(LedgerOutcome::Dead.label().into()), ..filter.into_inner() }).await
}

async fn list(app: &App, filter: Filter) -> Result<HttpResponse, Problem> {
    let page = page(filter.after, filter.limit)?;
    let filter = DeliveryFilter {
        outcome: one_of(
            "outcome",
            filter.outcome,
            LedgerOutcome::parse,
            &LedgerOutcome::ALL.map(LedgerOutcome::label),
        )?,
        type_name: given(filter.type_name),
        terra_user_id: given(filter.terra_user_id),
        trace_id: given(filter.trace_id),
        environment: given(filter.environment).map(Environment::new),
        ..DeliveryFilter::default()
    };
    Ok(listed(&app.ports.store.deliveries(&filter, &page).await?))
}

pub(super) async fn delivery(
    _: Authorized<Ops>,
    app: web::Data<App>,
    id: web::Path<DeliveryId>,
) -> Result<HttpResponse, Problem> {
    match app.ports.store.delivery(*id).await? {
        Some(delivery) => Ok(private(StatusCode::OK, &delivery)),
        None => Err(Problem::not_found("unknown_delivery", format!("there is no delivery {id}"))),
    }
}

pub(super) async fn auth_events(
    _: Authorized<Ops>,
    app: web::Data<App>,
    filter: web::Query<AuthFilter>,
) -> Result<HttpResponse, Problem> {
    let filter = filter.into_inner();
    let page = page(filter.after, filter.limit)?;
    let filter = AuthEventFilter {
        user: given(filter.user).map(|user| user_of(&user)).transpose()?,
        terra_user_id: given(filter.terra_user_id),
        kind: given(filter.kind),
    };
    Ok(listed(&app.ports.store.auth_events(&filter, &page).await?))
}
