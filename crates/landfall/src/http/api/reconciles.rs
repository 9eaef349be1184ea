//! Comparing with Terra's own list of users, asked for by hand, and what came of it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::store::StoreError;
use domain::id::{Environment, ReferenceId};
use domain::reconcile::ReconcileId;
use domain::reconcile::run::Reconcile;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::{Paged, items, private};
use crate::connect::check_label;
use crate::http::App;
use crate::http::auth::{Authorized, Ops, OpsWrite};
use crate::http::problem::Problem;
use crate::reconcile::wanted;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// Only users that carry this reference.
    reference: Option<String>,
    /// Only this environment; left out: all that have credentials.
    environment: Option<String>,
    dry_run: bool,
}

pub(super) async fn create(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    asked: web::Json<Wanted>,
) -> Result<HttpResponse, Problem> {
    let asked = asked.into_inner();
    let reference =
        asked.reference.as_deref().map(|text| check_label("reference", text).map_err(Problem::bad_body)).transpose()?;
    let environment = environment_of(&app, asked.environment)?;
    let run = Reconcile {
        environment,
        reference: reference.map(ReferenceId::new),
        dry_run: asked.dry_run,
        ..wanted(app.ports.clock.now())
    };
    app.ports.store.write_reconcile(&run).await?;
    info!(actor = %caller.actor.0, reconcile.id = %run.id, dry_run = run.dry_run, "queued a reconcile");
    Ok(private(StatusCode::ACCEPTED, &shown(&run)))
}

/// An environment that Terra can be asked about.
pub(super) fn environment_of(app: &App, name: Option<String>) -> Result<Option<Environment>, Problem> {
    if app.ports.terra.is_empty() {
        return Err(Problem::conflict(
            "no_credentials",
            "no environment has a dev id and an API key to ask Terra with",
        ));
    }
    let Some(name) = name else { return Ok(None) };
    let environment = Environment::new(name);
    if app.ports.terra.contains_key(&environment) {
        Ok(Some(environment))
    } else {
        let known: Vec<&str> = app.ports.terra.keys().map(Environment::as_str).collect();
        Err(Problem::bad_body(format!("environment: one of {}", known.join(", "))))
    }
}

pub(super) async fn show(
    _: Authorized<Ops>,
    app: web::Data<App>,
    id: web::Path<uuid::Uuid>,
) -> Result<HttpResponse, Problem> {
    let id = ReconcileId(id.into_inner());
    match app.ports.store.reconcile(id).await? {
        Some(run) => Ok(private(StatusCode::OK, &shown(&run))),
        None => Err(Problem::not_found("unknown_reconcile", format!("there is no reconcile {id}"))),
    }
}

pub(super) async fn list(
    _: Authorized<Ops>,
    app: web::Data<App>,
    asked: web::Query<Paged>,
) -> Result<HttpResponse, Problem> {
    let listing = app.ports.store.reconciles(&asked.into_inner().page()?).await?;
    Ok(items(listing.items.iter().map(shown).collect(), listing.next))
}

fn shown(run: &Reconcile) -> Value {
    json!({
        "id": run.id,
        "state": run.state,
        "environment": run.environment,
        "reference": run.reference,
        "dry_run": run.dry_run,
        "scheduled": run.scheduled,
        "requested_at": run.requested_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "counts": run.counts,
        "reason": run.reason,
        "text": run.text(),
    })
}

/// The part of `/v1/stats`: how the last one that is over went.
pub(super) async fn overview(app: &App) -> Result<Value, StoreError> {
    let page = adapters::store::Page { after: None, limit: 10 };
    let runs = app.ports.store.reconciles(&page).await?.items;
    let last = runs.iter().find(|run| run.state.is_over() && run.reference.is_none());
    Ok(last.map_or(Value::Null, shown))
}
