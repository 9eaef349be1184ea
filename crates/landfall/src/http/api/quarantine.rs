//! Requests whose signature failed: why, and letting in those that pass with the secrets of today.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::payloads::{Hint, PayloadError};
use adapters::queue::Job;
use adapters::store::{Held, LetIn, QuarantineFilter};
use domain::delivery::Delivery;
use domain::id::Environment;
use domain::quarantine::{self, Part, QuarantineId};
use serde::Deserialize;
use serde_json::{Value, json};
use terra::signature::{self, SignatureHeader};
use tracing::{info, warn};

use super::{given, items, one_of, page, private};
use crate::http::App;
use crate::http::auth::{Authorized, Ops, OpsWrite};
use crate::http::problem::Problem;
use crate::http::webhook::{self, Opened};

/// Requests of one page; each is unsealed, checked and published within its time.
const REQUESTS_MAX: u32 = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    part: Option<String>,
    environment: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

pub(super) async fn list(
    _: Authorized<Ops>,
    app: web::Data<App>,
    asked: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let asked = asked.into_inner();
    let filter = filter(asked.part, asked.environment)?;
    let listing = app.ports.store.quarantined(&filter, &page(asked.after, asked.limit)?).await?;
    Ok(items(listing.items.iter().map(shown).collect(), listing.next))
}

fn filter(part: Option<String>, environment: Option<String>) -> Result<QuarantineFilter, Problem> {
    let part = one_of("part", part, Part::parse, &Part::ALL.map(Part::label))?;
    Ok(QuarantineFilter { part, environment: given(environment).map(Environment::new) })
}

/// Without the signature: with the body it would be a delivery ready to be sent.
fn shown(held: &Held) -> Value {
    let request = &held.request;
    json!({
        "id": request.id,
        "first_seen": request.first_seen,
        "last_seen": request.last_seen,
        "seen": request.seen,
        "environment": request.address,
        "why": {
            "part": request.why.part,
            "environment": request.why.environment,
            "change": request.why.change,
            "text": request.why.text(),
        },
        "looks_like_terra": request.looks_like_terra,
        "type": request.type_name,
        "terra_user_id": request.terra_user_id,
        "trace_id": request.headers.trace_id,
        "t_seconds": request.t_seconds,
        "size_bytes": request.size_bytes,
        "has_body": held.body.is_some(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    part: Option<String>,
    environment: Option<String>,
    after: Option<QuarantineId>,
    limit: Option<u32>,
    /// Check and count, and let nothing in.
    #[serde(default)]
    dry_run: bool,
}

/// One page of requests, oldest first, checked again. What passes is published like a new delivery, and then leaves the
/// quarantine: if that fails, it is let in once more later, and known by its trace id or its signed bytes.
pub(super) async fn reverify(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    wanted: web::Json<Wanted>,
) -> Result<HttpResponse, Problem> {
    let wanted = wanted.into_inner();
    let filter = filter(wanted.part, wanted.environment)?;
    let limit = limit_of(wanted.limit)?;
    if app.config.environments.iter().all(|environment| environment.secrets.is_empty()) {
        return Err(Problem::conflict(
            "no_secret",
            "this process has no signing secret (LANDFALL_TERRA_SIGNING_SECRETS)",
        ));
    }
    let requests = app.ports.store.verifiable(&filter, wanted.after, limit).await?;
    let next = if requests.len() == limit as usize { requests.last().map(|held| held.request.id) } else { None };
    let mut tally = Tally { examined: requests.len() as u64, ..Tally::default() };
    let mut let_in = Vec::new();
    for held in requests {
        match again(&app, &held).await? {
            Again::Fails => *tally.failing.entry(held.request.why.part.label()).or_default() += 1,
            Again::Lost => tally.lost += 1,
            Again::Passes(job) => {
                tally.passing += 1;
                if !wanted.dry_run {
                    let_in.push(LetIn { id: held.request.id, delivery: publish(&app, *job).await? });
                }
            }
        }
    }
    if !let_in.is_empty() {
        let now = app.ports.clock.now();
        app.ports.store.let_in(&let_in, &caller.actor.0, now).await?;
        info!(actor = %caller.actor.0, deliveries = let_in.len(), "let in requests whose signature had failed");
    }
    Ok(private(
        StatusCode::OK,
        &json!({
            "examined": tally.examined,
            "passing": tally.passing,
            "admitted": let_in.len(),
            "failing": tally.failing,
            "lost": tally.lost,
            "next": next,
            "dry_run": wanted.dry_run,
        }),
    ))
}

fn limit_of(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(REQUESTS_MAX) {
        limit @ 1..=REQUESTS_MAX => Ok(limit),
        _ => Err(Problem::bad_body(format!("limit: a whole number from 1 to {REQUESTS_MAX}"))),
    }
}

#[derive(Default)]
struct Tally {
    examined: u64,
    passing: u64,
    /// By the part that was at fault when they came.
    failing: BTreeMap<&'static str, u64>,
    /// The payload store has lost their bodies.
    lost: u64,
}

enum Again {
    Passes(Box<(Delivery, bytes::Bytes)>),
    Fails,
    Lost,
}

/// The rules of the door, but for the time: that counts at which the request came.
async fn again(app: &App, held: &Held) -> Result<Again, Problem> {
    let request = &held.request;
    let header = request.signature.as_deref().and_then(|text| SignatureHeader::parse(text.as_bytes()).ok());
    let (Some(header), Some(sealed)) = (header, &held.body) else { return Ok(Again::Fails) };
    let body = match app.ports.payloads.unseal(sealed).await {
        Ok(body) => body,
        Err(error @ PayloadError::Unavailable { .. }) => return Err(error.into()),
        Err(error @ (PayloadError::Lost(_) | PayloadError::TooLarge { .. } | PayloadError::Setting { .. })) => {
            warn!(quarantine.id = %request.id, cause = %error, "cannot read a request of the quarantine");
            return Ok(Again::Lost);
        }
    };
    let expected = app
        .config
        .environments
        .iter()
        .filter(|environment| request.address.as_ref().is_none_or(|address| *address == environment.name))
        .find(|environment| signature::verify(&header, &body, &environment.secrets).is_ok());
    let now = app.ports.clock.now();
    let late = |by| webhook::late(app.config.stale_policy, by);
    let admission =
        quarantine::readmit(header.t_seconds(), request.last_seen, now, app.config.signature_tolerance, late);
    let (Some(environment), Some(admission)) = (expected, admission) else { return Ok(Again::Fails) };
    let opened =
        Opened { header: &header, headers: request.headers.clone(), environment: &environment.name, body: &body };
    let delivery = webhook::describe(opened, admission, now);
    Ok(Again::Passes(Box::new((delivery, body))))
}

async fn publish(app: &App, (delivery, body): (Delivery, bytes::Bytes)) -> Result<domain::id::DeliveryId, Problem> {
    let id = delivery.id;
    let body = app.ports.payloads.seal(body, Hint::of(&delivery)).await?;
    app.ports.queue.publish(Job { delivery, body }).await.map_err(|error| {
        warn!(delivery.id = %id, cause = %error, "could not let a request in");
        Problem::unavailable(
            "queue_unavailable",
            "the queue did not take a delivery; those before it are let in, send the request again",
        )
    })?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_the_parts_there_are() {
        assert!(
            filter(Some("body_changed".into()), Some(String::new())).is_ok_and(|filter| filter.environment.is_none())
        );
        let problem = filter(Some("body".into()), None).unwrap_err();
        assert!(problem.detail.contains("other_environment"), "{}", problem.detail);
        assert!(limit_of(Some(0)).is_err() && limit_of(Some(201)).is_err() && limit_of(None).is_ok());
    }
}
