//! `POST /webhooks/terra`: genuine? then durable, then 200.
//!
//! *Authentic means durable*: once the signature is good the only answers are 200 and 503. Content is no reason to
//! refuse, because Terra retries every refusal and finally disables the destination.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use adapters::payloads::Hint;
use adapters::queue::{Job, PublishError};
use domain::delivery::{Admission, Delivery, Receipt};
use domain::id::{DeliveryId, Environment};
use domain::quarantine::Refused;
use fail::fail_point;
use jiff::Timestamp;
use metrics::counter;
use serde_json::json;
use terra::event::{self, Kind};
use terra::headers::{self, DeliveryHeaders};
use terra::signature::{self, Age, SignatureError, SignatureHeader};
use tokio::time::Instant;
use tracing::{debug, warn};
use uuid::Uuid;

use super::App;
use super::body::{self, BodyError, Budget};
use crate::config::{StalePolicy, TerraEnvironment};
use crate::quarantine::{Quarantine, Turned};
use crate::telemetry::{self, DoorMetrics};

/// A stale delivery older than this is kept but not processed by itself.
const LATE_MAX: Duration = Duration::from_secs(48 * 3_600);
const RETRY_AFTER_SECONDS: &str = "5";

/// Why requests are refused; closed set for `landfall_webhooks_refused_total{reason}`.
pub(crate) const REASONS: [&str; 13] = [
    "no_secret",
    "encoded",
    SignatureError::Missing.reason(),
    SignatureError::Conflicting.reason(),
    SignatureError::Malformed.reason(),
    SignatureError::Mismatch.reason(),
    "stale",
    "future",
    "too_large",
    "too_slow",
    "busy",
    "broken",
    "not_durable",
];

/// What the door needs besides the ports.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) budget: Budget,
    pub(crate) metrics: DoorMetrics,
    /// Where requests go whose signature fails.
    pub(crate) quarantine: Quarantine,
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
    answer(
        &request,
        payload,
        &app,
        &door,
        Address { named: None, environments: app.config.environments.iter().collect() },
    )
    .await
}

async fn receive_one(
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<App>,
    door: web::Data<Door>,
    name: web::Path<String>,
) -> HttpResponse {
    match app.config.environments.iter().find(|environment| environment.name.as_str() == name.as_str()) {
        Some(environment) => {
            let address = Address { named: Some(&environment.name), environments: vec![environment] };
            answer(&request, payload, &app, &door, address).await
        }
        None => HttpResponse::NotFound().json(json!({ "error": "no such environment" })),
    }
}

/// What the path of a request says.
struct Address<'a> {
    /// The environment it names; the address of all names none.
    named: Option<&'a Environment>,
    /// Whose secrets may fit.
    environments: Vec<&'a TerraEnvironment>,
}

impl Address<'_> {
    /// The environment whose secrets alone may fit.
    fn only(&self) -> Option<&Environment> {
        match self.environments[..] {
            [only] => Some(&only.name),
            _ => None,
        }
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

impl Refusal {
    /// What makes it one for the quarantine.
    fn of_signature(&self) -> Option<Refused> {
        match self {
            Refusal::Signature(error) => Some(Refused::Signature(*error)),
            Refusal::Stale => Some(Refused::Stale),
            Refusal::Future => Some(Refused::Future),
            Refusal::NoSecret | Refusal::Encoded | Refusal::Body(_) | Refusal::NotDurable(_) => None,
        }
    }
}

async fn answer(
    request: &HttpRequest,
    mut payload: web::Payload,
    app: &App,
    door: &Door,
    address: Address<'_>,
) -> HttpResponse {
    let started = Instant::now();
    let (kind, outcome) = receive(request, &mut payload, app, door, &address).await;
    let (seen, response) = match outcome {
        Ok(id) => (telemetry::Door::Accepted, HttpResponse::Ok().json(json!({ "status": "accepted", "delivery": id }))),
        Err(refusal) => {
            let (seen, response) = refuse(&refusal);
            (seen, body::close_unread(response, payload))
        }
    };
    door.metrics.count(kind, seen, started.elapsed());
    response
}

async fn receive(
    request: &HttpRequest,
    payload: &mut web::Payload,
    app: &App,
    door: &Door,
    address: &Address<'_>,
) -> (Kind, Result<DeliveryId, Refusal>) {
    let headers = request.headers();
    let length =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<usize>().ok());
    let (mut header, mut body) = (None, None);
    let outcome = async {
        let header = &*header.insert(check_before_body(headers, &address.environments)?);
        let read = body::read(payload, length, app.config.max_body, &door.budget).await.map_err(Refusal::Body)?;
        let body = &*body.insert(read);
        let environment = verify(header, &body.bytes, &address.environments)?;
        fail_point!("after_hmac", |_| std::process::abort());
        let now = app.ports.clock.now();
        door.quarantine.passed(environment, now);
        let admission = admit(header, app, now)?;
        let headers = headers::read(|name| headers.get(name).map(|value| value.as_bytes()));
        let opened = Opened { header, headers, environment, body: &body.bytes };
        Ok::<_, Refusal>((describe(opened, admission, now), body.bytes.clone()))
    };
    match outcome.await {
        Err(refusal) => {
            if let Some(refused) = refusal.of_signature() {
                door.quarantine.take(Turned {
                    at: app.ports.clock.now(),
                    address: address.named.cloned(),
                    whose: address.only().cloned(),
                    refused,
                    header,
                    headers: headers::read(|name| headers.get(name).map(|value| value.as_bytes())),
                    size_bytes: body.as_ref().map(|body| body.bytes.len()).or(length).map(|bytes| bytes as u64),
                    body: body.map(|body| body.bytes),
                });
            }
            (Kind::Other, Err(refusal))
        }
        // The body's share of the budget is given back when it is durable.
        Ok((delivery, bytes)) => (delivery.kind(), make_durable(app, door, delivery, bytes).await),
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
            late(app.config.stale_policy, by).ok_or(Refusal::Stale)
        }
    }
}

/// What the policy makes of a genuine delivery that is too old by so much; `None`: it is refused.
pub(crate) fn late(policy: StalePolicy, by: Duration) -> Option<Admission> {
    match policy {
        StalePolicy::Reject => None,
        StalePolicy::Quarantine => Some(Admission::Quarantined),
        StalePolicy::AcceptIfNew if by > LATE_MAX => Some(Admission::Quarantined),
        StalePolicy::AcceptIfNew => Some(Admission::Late),
    }
}

/// A genuine request, before it has a name.
pub(crate) struct Opened<'a> {
    pub(crate) header: &'a SignatureHeader,
    pub(crate) headers: DeliveryHeaders,
    pub(crate) environment: &'a Environment,
    pub(crate) body: &'a Bytes,
}

pub(crate) fn describe(opened: Opened<'_>, admission: Admission, now: Timestamp) -> Delivery {
    let Opened { header, headers, environment, body } = opened;
    let receipt = Receipt {
        id: DeliveryId(Uuid::now_v7()),
        environment: environment.clone(),
        received_at: now,
        t_seconds: header.t_seconds(),
        headers,
        body_digest: signature::body_digest(body),
        signed_digest: signature::signed_digest(header, body),
        size_bytes: body.len() as u64,
        admission,
    };
    Delivery::new(receipt, event::peek(body))
}

/// Hands the bytes to the queue. Its own tasks do the publishing: a client that resets cancels this future, and must
/// not cancel a publish half-way.
async fn make_durable(app: &App, door: &Door, delivery: Delivery, body: Bytes) -> Result<DeliveryId, Refusal> {
    let id = delivery.id;
    // Before a large body is kept: Terra sends it again and again while the broker is away.
    app.ports.queue.is_open().map_err(Refusal::NotDurable)?;
    let sealed = app.ports.payloads.seal(body, Hint::of(&delivery)).await.map_err(|error| {
        warn!(delivery.id = %id, error = %error, "could not keep a large payload");
        Refusal::NotDurable(PublishError::Disk)
    })?;
    let (kind, environment, received_at) = (delivery.kind(), delivery.environment.clone(), delivery.received_at);
    if let Err(error) = app.ports.queue.publish(Job { delivery, body: sealed.clone() }).await {
        if error.is_certain() {
            app.ports.payloads.let_go(&sealed).await;
        }
        return Err(Refusal::NotDurable(error));
    }
    fail_point!("after_confirm_before_200", |_| std::process::abort());
    door.metrics.accepted(&environment, received_at);
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
