//! Replays: chosen, counted, run, cancelled, looked at.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use domain::replay::{ItemState, Order, ReplayId, Selection};
use serde::Deserialize;
use tracing::info;

use super::selection::Asked;
use super::{Paged, items, listed, one_of, page, private};
use crate::http::App;
use crate::http::auth::{Authorized, Ops, OpsWrite};
use crate::http::problem::Problem;
use crate::replay::{self, Wanted, document, entry, shown};

pub(super) async fn create(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    asked: web::Json<Asked>,
) -> Result<HttpResponse, Problem> {
    let selection = asked.something()?;
    begin(&caller, &app, &asked, selection).await
}

pub(super) async fn begin(
    caller: &Authorized<OpsWrite>,
    app: &App,
    asked: &Asked,
    selection: Selection,
) -> Result<HttpResponse, Problem> {
    let rate = asked.rate(app.config.replay_rate)?;
    let wanted = Wanted { selection, actor: caller.actor.0.clone(), rate, dry_run: asked.dry_run };
    let run = replay::begin(&app.ports, wanted).await?;
    Ok(private(StatusCode::ACCEPTED, &document(&run)))
}

pub(super) async fn start(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    id: web::Path<uuid::Uuid>,
) -> Result<HttpResponse, Problem> {
    order(&caller, &app, ReplayId(id.into_inner()), Order::Start).await
}

pub(super) async fn cancel(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    id: web::Path<uuid::Uuid>,
) -> Result<HttpResponse, Problem> {
    order(&caller, &app, ReplayId(id.into_inner()), Order::Cancel).await
}

async fn order(caller: &Authorized<OpsWrite>, app: &App, id: ReplayId, order: Order) -> Result<HttpResponse, Problem> {
    let store = &app.ports.store;
    let now = app.ports.clock.now();
    let run = store.replay(id).await?.ok_or_else(|| unknown(id))?;
    let state = run.state.label();
    let (action, refusal) = match order {
        Order::Start => ("replay.start", format!("a replay that is {state} cannot be started")),
        Order::Cancel => ("replay.cancel", format!("a replay that is {state} cannot be cancelled")),
    };
    let ordered = run.ordered(order, now).ok_or_else(|| Problem::conflict("replay_state", refusal))?;
    if order == Order::Start {
        // Nothing works on it yet: what failed gets its turn again.
        store.retry_failed_items(id).await?;
    }
    let audit = entry(&ordered, &caller.actor.0, action);
    if !store.write_replay(&ordered, Some(run.state), Some(&audit), now).await? {
        return Err(Problem::conflict("replay_state", "the replay went on meanwhile; look at it again"));
    }
    info!(actor = %caller.actor.0, replay.id = %id, "{action}");
    Ok(private(StatusCode::OK, &shown(&app.ports, ordered).await?))
}

pub(super) async fn show(
    _: Authorized<Ops>,
    app: web::Data<App>,
    id: web::Path<uuid::Uuid>,
) -> Result<HttpResponse, Problem> {
    let id = ReplayId(id.into_inner());
    let run = app.ports.store.replay(id).await?.ok_or_else(|| unknown(id))?;
    Ok(private(StatusCode::OK, &shown(&app.ports, run).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfRun {
    state: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

/// What became of each delivery of a run.
pub(super) async fn deliveries(
    _: Authorized<Ops>,
    app: web::Data<App>,
    id: web::Path<uuid::Uuid>,
    asked: web::Query<OfRun>,
) -> Result<HttpResponse, Problem> {
    let (id, asked) = (ReplayId(id.into_inner()), asked.into_inner());
    let state = one_of("state", asked.state, ItemState::parse, &ItemState::ALL.map(ItemState::label))?;
    let page = page(asked.after, asked.limit)?;
    app.ports.store.replay(id).await?.ok_or_else(|| unknown(id))?;
    Ok(listed(&app.ports.store.replayed(id, state, &page).await?))
}

fn unknown(id: ReplayId) -> Problem {
    Problem::not_found("unknown_replay", format!("there is no replay {id}"))
}

pub(super) async fn list(
    _: Authorized<Ops>,
    app: web::Data<App>,
    asked: web::Query<Paged>,
) -> Result<HttpResponse, Problem> {
    let listing = app.ports.store.replays(&asked.into_inner().page()?).await?;
    Ok(items(listing.items.iter().map(document).collect(), listing.next))
}
