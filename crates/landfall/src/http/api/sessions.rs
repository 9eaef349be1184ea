//! Connect sessions and phone tokens: what an app asks for before a person can connect.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::store::{ConnectionFilter, Page};
use adapters::terra_client::{TerraClient, TerraError, WidgetMode};
use domain::id::{ConnectionId, Environment, ReferenceId, SessionId};
use domain::session::{ConnectSession, SessionState};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use terra::reply::WidgetSession;
use tracing::info;
use uuid::Uuid;

use super::{given, private, user_of};
use crate::connect::{self, OPENING_MAX, RETURN_GRACE, State, Wishes};
use crate::http::App;
use crate::http::auth::{Authorized, Connect};
use crate::http::problem::Problem;

/// Terra's pages live for minutes; an answer that says a year is a mistake.
const PAGE_SECONDS_MAX: u64 = 24 * 3_600;

/// A page of connections to look through for the session's; a Terra user id is in one per environment.
const SAME_ID_MAX: u32 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    user: String,
    reference_id: Option<String>,
    #[serde(default)]
    providers: Vec<String>,
    language: Option<String>,
    success_url: String,
    failure_url: Option<String>,
    environment: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedToken {
    environment: Option<String>,
}

/// The row comes first: a webhook may tell of the connect before this answer is out.
pub(super) async fn create(
    _: Authorized<Connect>,
    app: web::Data<App>,
    wanted: web::Json<Wanted>,
) -> Result<HttpResponse, Problem> {
    let wanted = wanted.into_inner();
    let (environment, client) = client_of(&app, given(wanted.environment.clone()))?;
    let wishes = Wishes::check(&wanted.providers, wanted.language.clone()).map_err(Problem::bad_body)?;
    let state = State::new(random_bits()?);
    let now = app.ports.clock.now();
    let session = session_of(&wanted, environment, &state, now)?;
    app.ports.store.create_session(&session).await?;

    let request = connect::widget_request(&session, &state, &app.public_url, wishes);
    let mode = if app.config.legacy_widget { WidgetMode::Legacy } else { WidgetMode::Session };
    match client.widget_session(mode, &request).await {
        Ok(page) => opened(&app, &session, &page).await,
        Err(error) => refused(&app, session.id, error).await,
    }
}

fn session_of(
    wanted: &Wanted,
    environment: Environment,
    state: &State,
    now: Timestamp,
) -> Result<ConnectSession, Problem> {
    let reference = given(wanted.reference_id.clone()).unwrap_or_else(|| wanted.user.clone());
    let reference = connect::check_label("reference_id", &reference).map_err(Problem::bad_body)?;
    let failure_url =
        given(wanted.failure_url.clone()).map(|url| connect::check_app_url("failure_url", &url)).transpose();
    Ok(ConnectSession {
        id: SessionId(Uuid::now_v7()),
        environment,
        user: user_of(&wanted.user)?,
        reference: ReferenceId::new(reference),
        state_digest: state.digest(),
        widget_session_id: None,
        widget_url: None,
        success_url: connect::check_app_url("success_url", &wanted.success_url).map_err(Problem::bad_body)?,
        failure_url: failure_url.map_err(Problem::bad_body)?,
        created_at: now,
        expires_at: later(now, OPENING_MAX),
        state: SessionState::Pending,
        terra_user_id: None,
        provider: None,
        reason: None,
        returned_at: None,
    })
}

async fn opened(app: &App, session: &ConnectSession, page: &WidgetSession) -> Result<HttpResponse, Problem> {
    let life = SignedDuration::from_secs(page.expires_in_seconds.min(PAGE_SECONDS_MAX).cast_signed());
    let expires_at = later(app.ports.clock.now(), life);
    app.ports
        .store
        .session_opened(session.id, Some(&page.session_id), &page.url, later(expires_at, RETURN_GRACE))
        .await?;
    info!(session.id = %session.id, environment = %session.environment, "opened connect session {}", session.id);
    let answer =
        json!({ "id": session.id, "url": page.url, "expires_at": expires_at, "reference_id": session.reference });
    Ok(private(StatusCode::CREATED, &answer))
}

async fn refused(app: &App, id: SessionId, error: TerraError) -> Result<HttpResponse, Problem> {
    let problem = Problem::from(error);
    // Where the store is away too the session expires by itself; what Terra said is the better answer.
    app.ports.store.session_failed(id, problem.code).await.ok();
    Err(problem)
}

pub(super) async fn show(
    _: Authorized<Connect>,
    app: web::Data<App>,
    id: web::Path<SessionId>,
) -> Result<HttpResponse, Problem> {
    let session = app.ports.store.session(*id).await?;
    let session =
        session.ok_or_else(|| Problem::not_found("unknown_session", format!("there is no connect session {id}")))?;
    let status = session.state_at(app.ports.clock.now());
    let connection = match &session.terra_user_id {
        Some(terra_user_id) => connection_of(&app, &session.environment, terra_user_id).await?,
        None => None,
    };
    let answer = json!({
        "id": session.id,
        "user": session.user,
        "reference_id": session.reference,
        "environment": session.environment,
        "status": status,
        "terra_user_id": session.terra_user_id,
        "connection": connection,
        "provider": session.provider,
        "reason": session.reason,
    });
    Ok(private(StatusCode::OK, &answer))
}

async fn connection_of(
    app: &App,
    environment: &Environment,
    terra_user_id: &str,
) -> Result<Option<ConnectionId>, Problem> {
    let filter = ConnectionFilter { terra_user_id: Some(terra_user_id.to_owned()), ..ConnectionFilter::default() };
    let found = app.ports.store.connections(&filter, &Page { after: None, limit: SAME_ID_MAX }).await?;
    Ok(found
        .items
        .into_iter()
        .find(|connection| connection.environment == *environment)
        .map(|connection| connection.id))
}

/// The body may be left out.
pub(super) async fn mobile_token(
    _: Authorized<Connect>,
    app: web::Data<App>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let wanted: WantedToken = match body.trim_ascii() {
        b"" => WantedToken::default(),
        json => serde_json::from_slice(json).map_err(|error| Problem::bad_body(error.to_string()))?,
    };
    let (_, client) = client_of(&app, given(wanted.environment))?;
    let token = client.auth_token().await?;
    Ok(private(StatusCode::OK, &json!({ "token": token.token, "expires_in": token.expires_in_seconds })))
}

/// The environment that was named; else `default`, else the only one there is.
fn client_of(app: &App, named: Option<String>) -> Result<(Environment, &TerraClient), Problem> {
    let clients = &app.ports.terra;
    if clients.is_empty() {
        let detail = "Landfall has no credentials for Terra: set LANDFALL_TERRA_DEV_ID and LANDFALL_TERRA_API_KEY";
        return Err(Problem::unavailable("terra_not_configured", detail));
    }
    let wanted = Environment::new(named.as_deref().unwrap_or("default"));
    let found = clients.get_key_value(&wanted);
    let only = clients.first_key_value().filter(|_| named.is_none() && clients.len() == 1);
    let (environment, client) = found.or(only).ok_or_else(|| {
        let names: Vec<&str> = clients.keys().map(Environment::as_str).collect();
        Problem::bad_body(format!("environment: one of {}", names.join(", ")))
    })?;
    Ok((environment.clone(), client))
}

fn random_bits() -> Result<[u8; 32], Problem> {
    let mut bits = [0; 32];
    match getrandom::fill(&mut bits) {
        Ok(()) => Ok(bits),
        Err(_) => Err(Problem::unavailable("no_randomness", "the operating system gives no random bits")),
    }
}

/// In whole milliseconds, as it is stored.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    let later = at.checked_add(by).unwrap_or(Timestamp::MAX);
    Timestamp::from_millisecond(later.as_millisecond()).unwrap_or(later)
}
