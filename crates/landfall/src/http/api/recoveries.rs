//! The button after an outage: what was missed, what getting it back costs, and how it is getting on.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain::recover::{Recovery, RecoveryId, sentence};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use terra::event::Kind;
use tracing::info;

use super::reconciles::environment_of;
use super::{Paged, items, moment, private};
use crate::http::App;
use crate::http::auth::{Authorized, Ops, OpsWrite};
use crate::http::problem::Problem;
use crate::recover::wanted;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// A time, or a date for its first moment, as is `to`.
    from: String,
    to: String,
    /// Terra's names of events; empty or left out: all.
    #[serde(default)]
    types: Vec<String>,
    environment: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn create(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    asked: web::Json<Wanted>,
) -> Result<HttpResponse, Problem> {
    let asked = asked.into_inner();
    let now = app.ports.clock.now();
    let (from, to) = span(asked.from, asked.to, now)?;
    let recovery = Recovery {
        environment: environment_of(&app, asked.environment)?,
        kinds: kinds(&asked.types)?,
        dry_run: asked.dry_run,
        ..wanted(from, to, caller.actor.0.clone(), now)
    };
    app.ports.store.write_recovery(&recovery).await?;
    info!(actor = %caller.actor.0, recovery.id = %recovery.id, dry_run = recovery.dry_run, "queued a recovery");
    Ok(private(StatusCode::ACCEPTED, &shown(&recovery)))
}

fn span(from: String, to: String, now: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
    let at = |name: &str, text: String| {
        let found = moment(name, Some(text)).map_err(|problem| Problem::bad_body(problem.detail))?;
        found.ok_or_else(|| Problem::bad_body(format!("{name}: missing")))
    };
    let (from, to) = (at("from", from)?, at("to", to)?.min(now));
    if from < to { Ok((from, to)) } else { Err(Problem::bad_body("from, to: a time that has begun, from before to")) }
}

fn kinds(types: &[String]) -> Result<Vec<String>, Problem> {
    let mut kinds: Vec<String> = Vec::new();
    for name in types {
        if !Kind::ALL.iter().any(|kind| kind.label() == name && *kind != Kind::Other) {
            return Err(Problem::bad_body("types: each is a name of one of Terra's events, such as sleep"));
        }
        if !kinds.contains(name) {
            kinds.push(name.clone());
        }
    }
    Ok(kinds)
}

pub(super) async fn show(
    _: Authorized<Ops>,
    app: web::Data<App>,
    id: web::Path<uuid::Uuid>,
) -> Result<HttpResponse, Problem> {
    let id = RecoveryId(id.into_inner());
    match app.ports.store.recovery(id).await? {
        Some(recovery) => Ok(private(StatusCode::OK, &shown(&recovery))),
        None => Err(Problem::not_found("unknown_recovery", format!("there is no recovery {id}"))),
    }
}

pub(super) async fn list(
    _: Authorized<Ops>,
    app: web::Data<App>,
    asked: web::Query<Paged>,
) -> Result<HttpResponse, Problem> {
    let listing = app.ports.store.recoveries(&asked.into_inner().page()?).await?;
    Ok(items(listing.items.iter().map(shown).collect(), listing.next))
}

fn shown(recovery: &Recovery) -> Value {
    json!({
        "id": recovery.id,
        "state": recovery.step,
        "environment": recovery.environment,
        "from": recovery.from,
        "to": recovery.to,
        "types": recovery.kinds,
        "dry_run": recovery.dry_run,
        "actor": recovery.actor,
        "requested_at": recovery.requested_at,
        "started_at": recovery.started_at,
        "finished_at": recovery.finished_at,
        "progress": recovery.progress,
        "reason": recovery.reason,
        "text": sentence(recovery),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_has_not_begun_cannot_be_recovered() {
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        let span = |from: &str, to: &str| span(from.into(), to.into(), now).ok().map(|(_, to)| to.to_string());
        assert_eq!(span("2026-03-09", "2026-03-10").as_deref(), Some("2026-03-10T00:00:00Z"));
        assert_eq!(span("2026-03-09", "2026-03-12").as_deref(), Some("2026-03-10T12:00:00Z"), "up to now");
        assert_eq!(span("2026-03-10", "2026-03-09"), None);
        assert_eq!(span("2026-03-11", "2026-03-12"), None);
        assert_eq!(span("", "2026-03-12"), None);
        assert!(kinds(&["sleep".into(), "sleep".into()]).is_ok_and(|kinds| kinds == ["sleep"]));
        assert!(kinds(&["other".into()]).is_err() && kinds(&["dreams".into()]).is_err());
    }
}
