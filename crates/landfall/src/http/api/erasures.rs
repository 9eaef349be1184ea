//! A person's right to be forgotten: begun, shown, listed. An answer names nobody.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain::erasure::{Cause, Erasure, ErasureId, Whom, words};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::{Paged, items, private, user_of};
use crate::erase::{preview, wanted};
use crate::http::App;
use crate::http::auth::{Authorized, Privacy};
use crate::http::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    user: String,
    #[serde(default)]
    dry_run: bool,
}

/// Once this has answered, nothing more of the person is stored; what is there goes step by step.
pub(super) async fn create(
    caller: Authorized<Privacy>,
    app: web::Data<App>,
    asked: web::Json<Wanted>,
) -> Result<HttpResponse, Problem> {
    let user = user_of(&asked.user)?;
    if asked.dry_run {
        return Ok(private(StatusCode::OK, &preview(&app.ports.store.erasure_preview(&user).await?)));
    }
    let environments = app.config.environments.iter().map(|environment| environment.name.clone()).collect();
    let wish = wanted(Whom::User { user, environments }, Cause::Request, caller.actor.0.clone());
    let begun = app.ports.store.begin_erasure(&wish, app.ports.clock.now()).await?;
    let erasure = begun.ok_or_else(|| Problem::not_found("unknown_user", "there is nobody to erase"))?;
    info!(actor = %caller.actor.0, erasure.id = %erasure.id, "began an erasure");
    app.ports.events_waiting.notify_one();
    Ok(private(StatusCode::ACCEPTED, &shown(&erasure)))
}

pub(super) async fn show(
    _: Authorized<Privacy>,
    app: web::Data<App>,
    id: web::Path<uuid::Uuid>,
) -> Result<HttpResponse, Problem> {
    let id = ErasureId(id.into_inner());
    match app.ports.store.erasure(id).await? {
        Some(erasure) => Ok(private(StatusCode::OK, &shown(&erasure))),
        None => Err(Problem::not_found("unknown_erasure", format!("there is no erasure {id}"))),
    }
}

pub(super) async fn list(
    _: Authorized<Privacy>,
    app: web::Data<App>,
    asked: web::Query<Paged>,
) -> Result<HttpResponse, Problem> {
    let listing = app.ports.store.erasures(&asked.into_inner().page()?).await?;
    Ok(items(listing.items.iter().map(shown).collect(), listing.next))
}

fn shown(erasure: &Erasure) -> Value {
    let progress = &erasure.progress;
    json!({
        "id": erasure.id,
        "state": erasure.state,
        "scope": erasure.scope,
        "cause": erasure.cause,
        "actor": erasure.actor,
        "requested_at": erasure.requested_at,
        "erased_at": erasure.erased_at,
        "finished_at": erasure.finished_at,
        "erased": {
            "connections": progress.connections,
            "terra_users": progress.terra_users,
            "records": progress.records,
            "deliveries": progress.deliveries,
            "events": progress.events,
            "other": progress.other,
        },
        "reason": erasure.reason,
        "text": words::sentence(erasure),
    })
}
