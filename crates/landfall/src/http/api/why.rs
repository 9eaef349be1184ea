//! Why a person's data of one kind and day is there, or is not.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use terra::event::DataKind;

use super::{day, private, user_of};
use crate::http::App;
use crate::http::auth::{Authorized, Ops};
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    user: String,
    #[serde(rename = "type")]
    kind: String,
    date: String,
}

pub(super) async fn explain(
    _: Authorized<Ops>,
    app: web::Data<App>,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let user = user_of(&asked.user)?;
    let kind = DataKind::parse(&asked.kind).ok_or_else(|| {
        Problem::bad_parameter(format!("type: one of {}", DataKind::ALL.map(DataKind::label).join(", ")))
    })?;
    let date = day(&asked.date).ok_or_else(|| Problem::bad_parameter("date: a date (2026-03-01)"))?;
    let answer = crate::why::why(&app.ports, &app.config, user.as_str(), kind, date).await?;
    Ok(private(StatusCode::OK, &answer))
}
