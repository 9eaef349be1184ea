//! Terra's error bodies, in both dialects.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde_json::json;
use thiserror::Error;

use crate::fault::below_base;
use crate::settings::Dialect;
use crate::world::World;

/// What a gateway in front of Terra answers when something broke behind it.
pub(crate) const HTML_ERROR: &str = "<!doctype html>\n<html lang=\"en\"><head><title>Server Error</title></head>\n<body><h1>Server Error</h1><p>The server encountered an error and could not complete your request.</p></body></html>\n";

#[derive(Debug, Error)]
#[error("{detail}")]
pub(crate) struct Refusal {
    dialect: Dialect,
    /// From the widget endpoint, which answers `{message, status}` on both platforms.
    of_widget: bool,
    status: StatusCode,
    instance: String,
    detail: String,
    headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(crate) fn new(dialect: Dialect, status: StatusCode, path: &str, detail: &str) -> Self {
        Self {
            dialect,
            of_widget: false,
            status,
            instance: below_base(path).to_owned(),
            detail: detail.to_owned(),
            headers: Vec::new(),
        }
    }

    /// A refusal of this request, in the dialect that is set now.
    pub(crate) fn of(request: &HttpRequest, status: StatusCode, detail: &str) -> Self {
        let world = request.app_data::<web::Data<World>>();
        let dialect = world.map_or_else(Dialect::default, |world| world.dialect());
        Self::new(dialect, status, request.path(), detail)
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn of_widget(mut self) -> Self {
        self.of_widget = true;
        self
    }

    pub(crate) fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.insert_header((*name, value.as_str()));
        }
        let plain = json!({ "message": self.detail, "status": "error" });
        match self.dialect {
            Dialect::Newer | Dialect::Older if self.of_widget => response.json(plain),
            Dialect::Newer => {
                let title = self.status.canonical_reason().unwrap_or("error").to_lowercase();
                let problem = json!({
                    "type": "about:blank",
                    "title": title,
                    "instance": self.instance,
                    "detail": self.detail,
                });
                response.content_type("application/problem+json").body(problem.to_string())
            }
            Dialect::Older if self.status == StatusCode::UNAUTHORIZED => {
                response.json(json!({ "message": "unauthorized" }))
            }
            Dialect::Older => response.json(plain),
        }
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}
