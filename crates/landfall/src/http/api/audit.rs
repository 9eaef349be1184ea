//! Who decided what.

use actix_web::{HttpResponse, web};
use adapters::store::AuditFilter;
use serde::Deserialize;

use super::{given, listed, page};
use crate::http::App;
use crate::http::auth::{Authorized, Ops};
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    actor: Option<String>,
    action: Option<String>,
    subject: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

pub(super) async fn list(
    _: Authorized<Ops>,
    app: web::Data<App>,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let asked = asked.into_inner();
    let page = page(asked.after, asked.limit)?;
    let filter = AuditFilter { actor: given(asked.actor), action: given(asked.action), subject: given(asked.subject) };
    Ok(listed(&app.ports.store.audits(&filter, &page).await?))
}
