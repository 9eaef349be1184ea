//! `POST /webhooks/terra`: genuine? then durable, then 200.
//!
//! *Authentic means durable*: once the signature is good the only answers are 200 and 503. Content is no reason to
//! refuse, because Terra retries every refusal and finally disables the destination.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use adapters::payloads::Hint;
use adapters::queue::{Job, PublishError};
use domain::delivery::{Admission, Delivery, Receipt};
use domain::id::{DeliveryId, Environment};
use fail::fail_point;
use jiff::Timestamp;
use metrics::{counter, gauge};
use serde_json::json;
use terra::event::{self, Kind};
use terra::headers;
use terra::signature::{self, Age, SignatureError, SignatureHeader};
use tokio::time::Instant;
use tracing::{debug, warn};
use uuid::Uuid;

use super::App;
use super::body::{self, Body, BodyError, Budget};
use crate::config::{StalePolicy, TerraEnvironment};
use crate::telemetry::{self, DoorMetrics};

/// A stale delivery older than this is kept but not processed by itself.
const LATE_MAX: Duration = Duration::from_secs(48 * 3_600);
const RETRY_AFTER_SECONDS: &str = "5";

/// What the door needs besides the ports.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) budget: Budget,
    pub(crate) metrics: DoorMetrics,
}

pub(crate) fn routes(config: &mut web::ServiceConfig, further_paths: &[String]) {
    for path in ["/webhooks/terra"].into_iter().chain(further_paths.iter().map(String::as_str)) {
        config.route(path, web::post().to(receive_any));
    }
    config.route("/webhooks/terra/{environment}", web::post().to(receive_one));
}

async fn receive_any(
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<App>,
    door: web::Data<Door>,
) -> HttpResponse {
    answer(&request, payload, &app, &door, app.config.environments.iter().collect()).await
}

async fn receive_one(
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<App>,
    door: web::Data<Door>,
    name: web::Path<String>,
) -> HttpResponse {
    match app.config.environments.iter().find(|environment| environment.name.as_str() == name.as_str()) {
        Some(environment) => answer(&request, payload, &app, &door, vec![environment]).await,
        None => HttpResponse::NotFound().json(json!({ "error": "no such environment" })),
    }
}

/// Why a request is not accepted.
enum Refusal {
    NoSecret,
    Encoded,
    Signature(SignatureError),
    Stale,
    Future,
    Body(BodyError),
    NotDurable(PublishError),
}

async fn answer(
    request: &HttpRequest,
    payload: web::Payload,
    app: &App,
    door: &Door,
    environments: Vec<&TerraEnvironment>,
) -> HttpResponse {
    let started = Instant::now();
    let (kind, outcome) = receive(request, payload, app, door, &environments).await;
    let (seen, response) = match outcome {
        Ok(id) => (telemetry::Door::Accepted, HttpResponse::Ok().json(json!({ "status": "accepted", "delivery": id }))),
        Err(refusal) => refuse(&refusal),
    };
    door.metrics.count(kind, seen, started.elapsed());
    response
}

async fn receive(
    request: &HttpRequest,
    payload: web::Payload,
    app: &App,
    door: &Door,
    environments: &[&TerraEnvironment],
) -> (Kind, Result<DeliveryId, Refusal>) {
    let outcome = async {
        let header = check_before_body(request.headers(), environments)?;
        let length = request
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        let body = body::read(payload, length, app.config.max_body, &door.budget).await.map_err(Refusal::Body)?;
        let environment = verify(&header, &body.bytes, environments)?;
        fail_point!("after_hmac", |_| std::process::abort());
        let now = app.ports.clock.now();
        let admission = admit(&header, app, now)?;
        Ok((describe(request.headers(), &header, environment, admission, &body, now), body))
    };
    match outcome.await {
        Err(refusal) => (Kind::Other, Err(refusal)),
        Ok((delivery, body)) => (delivery.kind(), make_durable(app, delivery, body).await),
    }
}

/// What can be refused without reading a body.
fn check_before_body(headers: &HeaderMap, environments: &[&TerraEnvironment]) -> Result<SignatureHeader, Refusal> {
    // Never a 401 for our own mistake: Terra would give up on us.
    if environments.iter().all(|environment| environment.secrets.is_empty()) {
        return Err(Refusal::NoSecret);
    }
    // A decoded body is not the body that was signed.
    if headers.get_all(CONTENT_ENCODING).any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::Encoded);
    }
    let values = [headers::SIGNATURE, headers::SIGNATURE_OLD]
        .into_iter()
        .flat_map(|name| headers.get_all(name))
        .map(|value| value.as_bytes());
    signature::from_headers(values).map_err(Refusal::Signature)
}

/// The environment one of whose secrets fits.
fn verify<'a>(
    header: &SignatureHeader,
    body: &[u8],
    environments: &[&'a TerraEnvironment],
) -> Result<&'a Environment, Refusal> {
    let mut matched = None;
    for environment in environments {
        let verdict = signature::verify(header, body, &environment.secrets);
        if matched.is_none() && verdict.is_ok() {
            matched = Some(&environment.name);
        }
    }
    matched.ok_or(Refusal::Signature(SignatureError::Mismatch))
}

fn admit(header: &SignatureHeader, app: &App, now: Timestamp) -> Result<Admission, Refusal> {
    match signature::age(header.t_seconds(), now.as_millisecond(), app.config.signature_tolerance) {
        Age::Fresh => Ok(Admission::Fresh),
        Age::Future => Err(Refusal::Future),
        Age::Stale { by } => {
            counter!(telemetry::LATE).increment(1);
            match app.config.stale_policy {
                StalePolicy::Reject => Err(Refusal::Stale),
                StalePolicy::Quarantine => Ok(Admission::Quarantined),
                StalePolicy::AcceptIfNew if by > LATE_MAX => Ok(Admission::Quarantined),
                StalePolicy::AcceptIfNew => Ok(Admission::Late),
            }
        }
    }
}

fn describe(
    headers: &HeaderMap,
    header: &SignatureHeader,
    environment: &Environment,
    admission: Admission,
    body: &Body,
    now: Timestamp,
) -> Delivery {
    let id = DeliveryId(Uuid::now_v7());
    let receipt = Receipt {
        id,
        environment: environment.clone(),
        received_at: now,
        t_seconds: header.t_seconds(),
        headers: headers::read(|name| headers.get(name).map(|value| value.as_bytes())),
        body_digest: signature::body_digest(&body.bytes),
        signed_digest: signature::signed_digest(header, &body.bytes),
        size_bytes: body.bytes.len() as u64,
        admission,
    };
    Delivery::new(receipt, event::peek(&body.bytes))
}

/// Hands the bytes to the queue. Its own tasks do the publishing: a client that resets cancels this future, and must
/// not cancel a publish half-way.
async fn make_durable(app: &App, delivery: Delivery, body: Body) -> Result<DeliveryId, Refusal> {
    let id = delivery.id;
    let sealed = app.ports.payloads.seal(body.bytes.clone(), Hint::of(&delivery)).await.map_err(|error| {
        warn!(delivery.id = %id, error = %error, "could not keep a large payload");
        Refusal::NotDurable(PublishError::Disk)
    })?;
    let (kind, received_at) = (delivery.kind(), delivery.received_at);
    app.ports.queue.publish(Job { delivery, body: sealed }).await.map_err(Refusal::NotDurable)?;
    fail_point!("after_confirm_before_200", |_| std::process::abort());
    gauge!(telemetry::LAST_ACCEPTED).set(received_at.as_second() as f64);
    debug!(delivery.id = %id, delivery.kind = kind.label(), "accepted delivery {id}");
    Ok(id)
}

/// The answer to a refusal, counted by its reason. A 401 has a constant body.
fn refuse(refusal: &Refusal) -> (telemetry::Door, HttpResponse) {
    let (status, reason, text) = match refusal {
        Refusal::NoSecret => (StatusCode::SERVICE_UNAVAILABLE, "no_secret", "not configured"),
        Refusal::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoded", "Content-Encoding must be identity"),
        Refusal::Signature(error) => (StatusCode::UNAUTHORIZED, error.reason(), "unauthorized"),
        Refusal::Stale => (StatusCode::UNAUTHORIZED, "stale", "unauthorized"),
        Refusal::Future => (StatusCode::UNAUTHORIZED, "future", "unauthorized"),
        Refusal::Body(BodyError::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "body too large"),
        Refusal::Body(BodyError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, "too_slow", "body too slow"),
        Refusal::Body(BodyError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy", "busy"),
        Refusal::Body(BodyError::Broken) => (StatusCode::BAD_REQUEST, "broken", "body broke off"),
        Refusal::NotDurable(error) => {
            counter!(telemetry::PUBLISH_FAILURES, "reason" => error.reason()).increment(1);
            (StatusCode::SERVICE_UNAVAILABLE, "not_durable", "not stored, send again")
        }
    };
    counter!(telemetry::WEBHOOKS_REFUSED, "reason" => reason).increment(1);
    let mut response = HttpResponse::build(status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.insert_header(("Retry-After", RETRY_AFTER_SECONDS));
        return (telemetry::Door::Unavailable, response.json(json!({ "error": text })));
    }
    if matches!(refusal, Refusal::Body(_)) {
        response.force_close();
    }
    (telemetry::Door::Refused, response.json(json!({ "error": text })))
}
