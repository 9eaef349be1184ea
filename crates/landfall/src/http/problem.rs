//! The one mapping from errors to answers of `/v1`: problem documents (RFC 9457) with a stable `code`.

use std::fmt;

use actix_web::error::{InternalError, JsonPayloadError, PathError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use adapters::payloads::PayloadError;
use adapters::queue::QueueError;
use adapters::store::StoreError;
use adapters::terra_client::TerraError;
use serde_json::json;
use tracing::{error, warn};

/// Bodies of requests to the API are small: ids, names and URLs.
const BODY_BYTES_MAX: usize = 64 * 1_024;

/// What a caller is told to wait where nobody knows better.
const RETRY_AFTER_SECONDS: u64 = 2;

/// An answer outside 2xx. Its text is for the caller: never a cause, an address or a secret of ours.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// For programs; never changes its meaning.
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    pub(crate) detail: String,
    retry_after_seconds: Option<u64>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem { status, code, title, detail: detail.into(), retry_after_seconds: None }
    }

    fn retry(self, seconds: u64) -> Problem {
        Problem { retry_after_seconds: Some(seconds), ..self }
    }

    pub(crate) fn bad_parameter(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", "A parameter does not fit", detail)
    }

    pub(crate) fn bad_body(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_body", "The body does not fit", detail)
    }

    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, code, "Not found", detail)
    }

    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, code, "Not possible in this state", detail)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed", detail)
    }

    pub(crate) fn forbidden(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, code, "Not allowed", detail)
    }

    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, "Not available right now", detail)
            .retry(RETRY_AFTER_SECONDS)
    }

    fn internal() -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Landfall failed", "the cause is in Landfall's log")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        answer.insert_header((CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            answer.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"landfall\""));
        }
        let document = json!({ "type": "about:blank", "title": self.title, "status": self.status.as_u16(), "code": self.code, "detail": self.detail });
        answer.content_type("application/problem+json").body(document.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::Unavailable(cause) | StoreError::Damaged(cause) => {
                warn!(cause, "the store did not answer a request of the API");
                Problem::unavailable(
                    "store_unavailable",
                    "the store is not reachable; the same request may succeed soon",
                )
            }
            StoreError::Contention => {
                Problem::unavailable("store_busy", "others changed the same rows; send the request again")
            }
            StoreError::TooSlow => {
                warn!("the store gave up a request of the API that took too long");
                Problem::unavailable("store_unavailable", "the store took too long; ask for less at once")
            }
            StoreError::BadCursor => Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_cursor",
                "The cursor does not fit",
                "after: not a cursor of this listing; take `next` of the page before",
            ),
            StoreError::Incompatible(cause) => {
                error!(cause, "the schema does not fit");
                Problem::unavailable(
                    "schema_unfit",
                    "the schema of the store does not fit this version: `landfall migrate status` says more",
                )
            }
            StoreError::Rejected { constraint } => {
                error!(constraint, "the store refused a row of the API");
                Problem::internal()
            }
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Problem {
        match error {
            QueueError::Unavailable(cause) => {
                warn!(cause, "the queue did not answer a request of the API");
                Problem::unavailable(
                    "queue_unavailable",
                    "the queue is not reachable; the same request may succeed soon",
                )
            }
            QueueError::Topology(cause) => {
                error!(cause, "the queue's topology does not fit");
                Problem::unavailable(
                    "topology_unfit",
                    "the queue's topology does not fit: `landfall topology diff` says more",
                )
            }
        }
    }
}

impl From<PayloadError> for Problem {
    fn from(error: PayloadError) -> Problem {
        match error {
            PayloadError::Unavailable { attempted, source } => {
                warn!(cause = %source, "the payload store did not {attempted}");
                Problem::unavailable(
                    "payloads_unavailable",
                    "the payload store is not reachable; the same request may succeed soon",
                )
            }
            error @ PayloadError::Lost(_) => {
                error!(cause = %error, "a payload is lost");
                Problem::new(
                    StatusCode::GONE,
                    "payload_lost",
                    "The payload is lost",
                    "its bytes are no longer in the payload store",
                )
            }
            error @ (PayloadError::TooLarge { .. } | PayloadError::Setting { .. }) => {
                error!(cause = %error, "a payload could not be read");
                Problem::internal()
            }
        }
    }
}

/// Terra's refusals say what to do: most of them are a wrong setting at Terra or here.
impl From<TerraError> for Problem {
    fn from(error: TerraError) -> Problem {
        warn!(cause = %error, "Terra did not do what was asked");
        let detail = error.to_string();
        let refused = |code| Problem::new(StatusCode::BAD_GATEWAY, code, "Terra refused", detail.clone());
        match error {
            TerraError::Unreachable(_) => {
                Problem::unavailable("terra_unreachable", "Terra is not reachable; the same request may succeed soon")
            }
            TerraError::Limited { retry_after } => {
                let seconds = retry_after.map_or(RETRY_AFTER_SECONDS, |wait| wait.as_secs());
                Problem::unavailable("terra_limited", detail).retry(seconds)
            }
            TerraError::Credentials => refused("terra_credentials"),
            TerraError::Gone => refused("terra_gone"),
            TerraError::NoSource => refused("terra_no_source"),
            TerraError::Refused { .. } => refused("terra_refused"),
            TerraError::Unreadable => refused("terra_unreadable"),
            TerraError::Client(_) => Problem::internal(),
        }
    }
}

/// Makes actix's own refusals of a body, a path or a query problems too.
pub(crate) fn extractors(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
        .app_data(web::JsonConfig::default().limit(BODY_BYTES_MAX).error_handler(|error, _| answer(bad_json(&error))))
        .app_data(
            web::PathConfig::default()
                .error_handler(|error: PathError, _| answer(Problem::bad_parameter(format!("path: {error}")))),
        )
        .app_data(
            web::QueryConfig::default()
                .error_handler(|error: QueryPayloadError, _| answer(Problem::bad_parameter(format!("query: {error}")))),
        );
}

pub(crate) async fn unknown_route(request: HttpRequest) -> Problem {
    Problem::not_found("unknown_route", format!("there is no route {} {}", request.method(), request.path()))
}

fn bad_json(error: &JsonPayloadError) -> Problem {
    if matches!(error, JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. }) {
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is too large",
            format!("at most {BODY_BYTES_MAX} bytes"),
        );
    }
    if matches!(error, JsonPayloadError::ContentType) {
        return Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "The body is not JSON",
            "send JSON with Content-Type: application/json",
        );
    }
    Problem::bad_body(error.to_string())
}

/// Keeps the problem as the answer: actix would otherwise wrap it in its own.
fn answer(problem: Problem) -> actix_web::Error {
    let response = problem.error_response();
    InternalError::from_response(problem, response).into()
}

impl actix_web::Responder for Problem {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _request: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

#[cfg(test)]
mod tests;
