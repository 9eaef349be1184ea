//! Deliveries that nobody will try again by itself: listed, grouped by cause, replayed, discarded.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::store::{Audit, LedgerOutcome, Page};
use domain::replay::Selection;
use serde_json::json;
use tracing::info;

use super::ledger::Filter;
use super::selection::Asked;
use super::{listed, private, replays};
use crate::http::App;
use crate::http::auth::{Authorized, Ops, OpsWrite};
use crate::http::problem::Problem;

/// Discarded in one transaction.
const DISCARD_AT_ONCE: u32 = 1_000;
const GROUPS_AT_ONCE: u32 = 1_000;

pub(super) async fn list(
    _: Authorized<Ops>,
    app: web::Data<App>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    filter.into_inner().of_dead_letters()?.listing(&app).await
}

pub(super) async fn groups(
    _: Authorized<Ops>,
    app: web::Data<App>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let (selection, page) = filter.into_inner().of_dead_letters()?.selection()?;
    Ok(listed(&app.ports.store.dead_groups(&selection, &page).await?))
}

/// Of dead letters, all is a choice too: whoever has mended the cause means them all.
pub(super) async fn replay(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    asked: web::Json<Asked>,
) -> Result<HttpResponse, Problem> {
    let selection = dead(asked.selection()?)?;
    replays::begin(&caller, &app, &asked, selection).await
}

pub(super) async fn discard(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    asked: web::Json<Asked>,
) -> Result<HttpResponse, Problem> {
    let selection = dead(asked.something()?)?;
    let reason = asked.reason()?;
    let store = &app.ports.store;
    let page = Page { after: None, limit: GROUPS_AT_ONCE };
    let groups = store.dead_groups(&selection, &page).await?.items;
    let matching: u64 = groups.iter().map(|group| group.deliveries).sum();
    let mut discarded = 0;
    if !asked.dry_run {
        let audit = Audit {
            actor: caller.actor.0.clone(),
            action: "dead.discard",
            subject: "dead_letters".into(),
            detail: json!({ "selection": selection, "reason": reason }),
        };
        loop {
            let now = app.ports.clock.now();
            let some = store.discard(&selection, &reason, &audit, DISCARD_AT_ONCE, now).await?;
            discarded += some;
            if some < u64::from(DISCARD_AT_ONCE) {
                break;
            }
        }
        info!(actor = %caller.actor.0, discarded, "discarded dead letters");
    }
    let text = if asked.dry_run {
        format!("{matching} dead letters with {} causes match. Nothing was done.", groups.len())
    } else {
        format!("{discarded} dead letters were discarded.")
    };
    let answer = json!({ "matching": matching, "groups": groups, "discarded": discarded, "dry_run": asked.dry_run, "text": text });
    Ok(private(StatusCode::OK, &answer))
}

fn dead(selection: Selection) -> Result<Selection, Problem> {
    let label = LedgerOutcome::Dead.label();
    match selection.outcome.as_deref() {
        None => Ok(Selection { outcome: Some(label.into()), ..selection }),
        Some(outcome) if outcome == label => Ok(selection),
        Some(_) => Err(Problem::bad_body("outcome: dead letters have only one")),
    }
}
