//! Connections: listed, shown, decided about, and ended.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::store::view::ConnectionView;
use adapters::store::{ConnectionFilter, Decided, Found};
use domain::id::ConnectionId;
use domain::identity::{AliasStatus, Status};
use serde::Deserialize;
use serde_json::json;
use tracing::info;

use super::{given, listed, moved, one_of, page, private, user_of};
use crate::http::App;
use crate::http::auth::{Actor, Authorized, OpsWrite, Records};
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    status: Option<String>,
    provider: Option<String>,
    terra_user_id: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assignment {
    user: String,
}

pub(super) async fn list(
    _: Authorized<Records>,
    app: web::Data<App>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let filter = filter.into_inner();
    let page = page(filter.after.clone(), filter.limit.clone())?;
    let listing = app.ports.store.connections(&filter.checked()?, &page).await?;
    Ok(listed(&listing))
}

pub(super) async fn of_user(
    _: Authorized<Records>,
    app: web::Data<App>,
    user: web::Path<String>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let filter = filter.into_inner();
    let page = page(filter.after.clone(), filter.limit.clone())?;
    let filter = ConnectionFilter { user: Some(user_of(&user)?), ..filter.checked()? };
    let listing = app.ports.store.connections(&filter, &page).await?;
    Ok(listed(&listing))
}

impl Filter {
    fn checked(self) -> Result<ConnectionFilter, Problem> {
        Ok(ConnectionFilter {
            user: None,
            status: one_of("status", self.status, Status::parse, &Status::ALL.map(Status::label))?,
            provider: given(self.provider).map(|code| code.to_uppercase()),
            terra_user_id: given(self.terra_user_id),
        })
    }
}

pub(super) async fn show(
    _: Authorized<Records>,
    app: web::Data<App>,
    id: web::Path<ConnectionId>,
) -> Result<HttpResponse, Problem> {
    match find(&app, *id).await? {
        Place::Here(connection) => Ok(private(StatusCode::OK, &connection)),
        Place::Moved(to) => Ok(moved(format!("/v1/connections/{to}"))),
    }
}

/// A person decides whose connection this is.
pub(super) async fn assign(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    id: web::Path<ConnectionId>,
    wanted: web::Json<Assignment>,
) -> Result<HttpResponse, Problem> {
    let user = user_of(&wanted.user)?;
    if let Place::Moved(to) = find(&app, *id).await? {
        return Ok(moved(format!("/v1/connections/{to}/user")));
    }
    let decided = app.ports.store.assign(*id, &user, &caller.actor.0, app.ports.clock.now()).await?;
    after_decision(&app, *id, decided, &caller.actor, "assigned").await
}

/// A person decides that this was never one connection.
pub(super) async fn split(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    id: web::Path<ConnectionId>,
) -> Result<HttpResponse, Problem> {
    if let Place::Moved(to) = find(&app, *id).await? {
        return Ok(moved(format!("/v1/connections/{to}/split")));
    }
    let decided = app.ports.store.split(*id, &caller.actor.0, app.ports.clock.now()).await?;
    after_decision(&app, *id, decided, &caller.actor, "split").await
}

async fn after_decision(
    app: &App,
    id: ConnectionId,
    decided: Decided,
    actor: &Actor,
    what: &str,
) -> Result<HttpResponse, Problem> {
    let connection = match decided {
        Decided::Done { connection } => connection,
        Decided::UnknownConnection => return Err(unknown(id)),
        Decided::Indivisible => {
            return Err(Problem::conflict(
                "indivisible",
                format!("connection {id} has one Terra user: there is nothing to split"),
            ));
        }
    };
    info!(connection.id = %id, actor = %actor.0, "{what} connection {id}");
    // Events that waited for this decision may go out now.
    app.ports.events_waiting.notify_one();
    match find(app, connection).await? {
        Place::Here(connection) => Ok(private(StatusCode::OK, &connection)),
        Place::Moved(to) => Ok(moved(format!("/v1/connections/{to}"))),
    }
}

/// Asks Terra to end every alias that is open. Terra's own `deauth` then closes the connection here: until it came,
/// nothing is known to have ended.
pub(super) async fn disconnect(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    id: web::Path<ConnectionId>,
) -> Result<HttpResponse, Problem> {
    let connection = match find(&app, *id).await? {
        Place::Here(connection) => connection,
        Place::Moved(to) => return Ok(moved(format!("/v1/connections/{to}"))),
    };
    let open: Vec<&str> = open_aliases(&connection);
    let client = app.ports.terra.get(&connection.environment).ok_or_else(|| {
        let detail = format!("Landfall has no credentials for Terra's environment {}", connection.environment);
        Problem::unavailable("terra_not_configured", detail)
    })?;
    for terra_user_id in &open {
        client.deauthenticate(terra_user_id).await?;
    }
    info!(connection.id = %id, actor = %caller.actor.0, aliases = open.len(), "asked Terra to end connection {id}");
    Ok(private(StatusCode::ACCEPTED, &json!({ "id": connection.id, "deauthenticated": open })))
}

fn open_aliases(connection: &ConnectionView) -> Vec<&str> {
    let open = connection.aliases.iter().filter(|alias| alias.status != AliasStatus::Revoked.label());
    open.map(|alias| alias.terra_user_id.as_str()).collect()
}

enum Place {
    Here(Box<ConnectionView>),
    Moved(ConnectionId),
}

async fn find(app: &App, id: ConnectionId) -> Result<Place, Problem> {
    match app.ports.store.connection(id).await? {
        Found::Here(connection) => Ok(Place::Here(connection)),
        Found::Moved { to } => Ok(Place::Moved(to)),
        Found::Unknown => Err(unknown(id)),
    }
}

fn unknown(id: ConnectionId) -> Problem {
    Problem::not_found("unknown_connection", format!("there is no connection {id}"))
}
