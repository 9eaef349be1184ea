//! What came in: deliveries with their outcomes, and the history of connects and disconnects.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpResponse, web};
use adapters::store::{Audit, AuthEventFilter, DeliveryFilter, LedgerOutcome, Page, Span};
use domain::id::{DeliveryId, Environment};
use domain::replay::{ReplayId, Selection};
use domain::settle::class::Class;
use serde::Deserialize;
use serde_json::json;

use super::{given, listed, moment, one_of, page, private, user_of};
use crate::http::App;
use crate::http::auth::{Authorized, Ops, OpsWrite};
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
    class: Option<String>,
    fingerprint: Option<String>,
    /// The last replay that worked it again.
    replay: Option<ReplayId>,
    /// Received at or after, and before: a time, or a date for its first moment.
    from: Option<String>,
    to: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

impl Filter {
    pub(super) fn of_dead_letters(self) -> Result<Filter, Problem> {
        if self.outcome.is_some() {
            return Err(Problem::bad_parameter("outcome: dead letters have only one"));
        }
        Ok(Filter { outcome: Some(LedgerOutcome::Dead.label().into()), ..self })
    }

    pub(super) async fn listing(self, app: &App) -> Result<HttpResponse, Problem> {
        let page = page(self.after, self.limit)?;
        let filter = DeliveryFilter {
            outcome: one_of(
                "outcome",
                self.outcome,
                LedgerOutcome::parse,
                &LedgerOutcome::ALL.map(LedgerOutcome::label),
            )?,
            type_name: given(self.type_name),
            terra_user_id: given(self.terra_user_id),
            trace_id: given(self.trace_id),
            environment: given(self.environment).map(Environment::new),
            class: one_of("class", self.class, Class::parse, &Class::LABELS)?,
            fingerprint: given(self.fingerprint),
            replay: self.replay,
            span: Span { from: moment("from", self.from)?, to: moment("to", self.to)? },
        };
        Ok(listed(&app.ports.store.deliveries(&filter, &page).await?))
    }

    /// The same as a choice; which replay worked it last is none.
    pub(super) fn selection(self) -> Result<(Selection, Page), Problem> {
        if self.replay.is_some() {
            return Err(Problem::bad_parameter("replay: groups are not told apart by it"));
        }
        let selection = Selection {
            outcome: given(self.outcome),
            type_name: given(self.type_name),
            terra_user_id: given(self.terra_user_id),
            trace_id: given(self.trace_id),
            environment: given(self.environment),
            class: one_of("class", self.class, Class::parse, &Class::LABELS)?,
            fingerprint: given(self.fingerprint),
            from: moment("from", self.from)?,
            to: moment("to", self.to)?,
            ..Selection::default()
        };
        Ok((selection, page(self.after, self.limit)?))
    }
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
    filter.into_inner().listing(&app).await
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

/// The bytes as Terra sent them: health data, so whoever looks is remembered before they see it.
pub(super) async fn payload(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    id: web::Path<DeliveryId>,
) -> Result<HttpResponse, Problem> {
    let unknown = || Problem::not_found("unknown_delivery", format!("there is no delivery {id}"));
    let body = app.ports.store.delivery_body(*id).await?.ok_or_else(unknown)?;
    let bytes = app.ports.payloads.unseal(&body).await?;
    let audit = Audit {
        actor: caller.actor.0,
        action: "delivery.payload",
        subject: id.to_string(),
        detail: json!({ "bytes": bytes.len() }),
    };
    app.ports.store.audit(&audit, app.ports.clock.now()).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_DISPOSITION, "attachment"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("application/octet-stream")
        .body(bytes))
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
