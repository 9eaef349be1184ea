//! The Admin API's errors: problem documents with a `code` that programs read.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;
use thiserror::Error;

#[derive(Debug, Error)]
#[error("{code}: {detail}")]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    pub(crate) fn unauthorized() -> Self {
        let detail = "the personal access token is missing or wrong".to_owned();
        Self { status: StatusCode::UNAUTHORIZED, code: "unauthorized", detail }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "validation_failed", detail: detail.into() }
    }

    pub(crate) fn not_found(code: &'static str, detail: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, code, detail: detail.to_owned() }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error").to_lowercase(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        HttpResponse::build(self.status).content_type("application/problem+json").body(body.to_string())
    }
}
