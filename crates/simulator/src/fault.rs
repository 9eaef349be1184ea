//! Faults on order: the next calls of a path answer something else, or late.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::lock::lock;
use crate::refusal::{HTML_ERROR, Refusal};
use crate::request_log::is_control;
use crate::world::World;

/// A call waits no longer than this for a fault's delay.
const DELAY_MAX: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// The beginning of the path, with or without the base: `/activity` fits `/api/v2/activity`.
    pub(crate) path: String,
    /// Under which `GET /_simulator/faults` counts the calls that it spoilt.
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) method: Option<String>,
    /// Only calls about this user.
    #[serde(default)]
    pub(crate) user_id: Option<String>,
    /// How many calls it spoils.
    #[serde(default = "once")]
    pub(crate) times: u32,
    /// Without a status the call is only delayed, then answered as usual.
    #[serde(default)]
    pub(crate) status: Option<u16>,
    #[serde(default)]
    pub(crate) detail: Option<String>,
    /// The value of `Retry-After`.
    #[serde(default)]
    pub(crate) retry_after: Option<u64>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) delay_ms: u64,
    /// Answers a web page instead of JSON, as gateways do.
    #[serde(default)]
    pub(crate) html: bool,
    /// Answers exactly this instead of Terra's error body.
    #[serde(default)]
    pub(crate) body: Option<serde_json::Value>,
}

fn once() -> u32 {
    1
}

impl Fault {
    fn fits(&self, method: &str, path: &str, query: &str) -> bool {
        let method_fits = self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
        let user_fits = self.user_id.as_deref().is_none_or(|wanted| user_of(query).as_deref() == Some(wanted));
        method_fits && user_fits && (path.starts_with(&self.path) || below_base(path).starts_with(&self.path))
    }

    fn answer(&self, world: &World, path: &str, status: u16) -> HttpResponse {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = if let Some(body) = &self.body {
            HttpResponse::build(status).json(body)
        } else if self.html {
            HttpResponse::build(status).content_type("text/html; charset=utf-8").body(HTML_ERROR)
        } else {
            let detail = self.detail.as_deref().unwrap_or("simulated fault");
            Refusal::new(world.dialect(), status, path, detail).response()
        };
        let retry_after = self.retry_after.map(|seconds| ("Retry-After".to_owned(), seconds.to_string()));
        for (name, value) in self.headers.clone().into_iter().chain(retry_after) {
            let name = actix_web::http::header::HeaderName::try_from(name.as_str());
            let value = actix_web::http::header::HeaderValue::try_from(value.as_str());
            // A header that cannot be sent is left out: it was meant to annoy the client, not us.
            if let (Ok(name), Ok(value)) = (name, value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// The path as Terra's documentation writes it, without the base of either platform.
pub(crate) fn below_base(path: &str) -> &str {
    path.strip_prefix("/api/v2").or_else(|| path.strip_prefix("/v2")).unwrap_or(path)
}

/// The user that a query names.
pub(crate) fn user_of(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "user_id").map(|(_, value)| value.into_owned())
}

pub(crate) async fn inject<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let world = request.app_data::<web::Data<World>>().cloned();
    let fault = world.as_deref().and_then(|world| take(world, &request));
    if let (Some(fault), Some(world)) = (fault, world) {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms).min(DELAY_MAX)).await;
        if let Some(status) = fault.status {
            let response = fault.answer(&world, request.path(), status);
            return Ok(request.into_response(response).map_into_right_body());
        }
    }
    Ok(next.call(request).await?.map_into_left_body())
}

fn take(world: &World, request: &ServiceRequest) -> Option<Fault> {
    if is_control(request.path()) {
        return None;
    }
    let mut faults = lock(&world.faults);
    let place = faults
        .iter()
        .position(|fault| fault.fits(request.method().as_str(), request.path(), request.query_string()))?;
    let fault = faults[place].clone();
    faults[place].times = faults[place].times.saturating_sub(1);
    faults.retain(|fault| fault.times > 0);
    if let Some(name) = &fault.name {
        *lock(&world.acted).entry(name.clone()).or_default() += 1;
    }
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fault: &str, method: &str, path: &str, expected: bool) {
        let fault: Fault = serde_json::from_str(fault).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        assert_eq!(fault.fits(method, path, query), expected);
    }

    #[test]
    fn a_fault_fits_by_path_with_or_without_the_base() {
        check(r#"{"path": "/activity"}"#, "GET", "/api/v2/activity", true);
        check(r#"{"path": "/activity"}"#, "GET", "/v2/activity", true);
        check(r#"{"path": "/v2/activity"}"#, "GET", "/api/v2/activity", false);
        check(r#"{"path": "/activity", "method": "post"}"#, "GET", "/v2/activity", false);
        check(r#"{"path": "/", "user_id": "u 1"}"#, "GET", "/v2/activity?a=b&user_id=u%201", true);
        check(r#"{"path": "/", "user_id": "u 1"}"#, "GET", "/v2/activity", false);
        check(r#"{"path": "/api/widget"}"#, "POST", "/api/widget/session", true);
    }
}
