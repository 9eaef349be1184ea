//! Records: by person and kind, one by one, and as Terra's whole object.

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use adapters::store::{Page, RecordView, Span, StoreError};
use domain::id::{RecordId, UserId};
use domain::record::overlaid;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use terra::event::DataKind;

use super::{items, listed, moment, page, private, user_of};
use crate::http::App;
use crate::http::auth::{Authorized, Records};
use crate::http::problem::Problem;

/// Ids in one request.
const IDS_MAX: usize = 500;

/// Records of one request that are read at the same time.
const READS_AT_ONCE: usize = 8;

/// Documents of one page: it ends with the record that reaches this, or with those read beside it.
const DOCUMENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The plural in the path → the kind.
const KINDS: [(&str, DataKind); 11] = [
    ("activities", DataKind::Activity),
    ("sleeps", DataKind::Sleep),
    ("dailies", DataKind::Daily),
    ("bodies", DataKind::Body),
    ("nutritions", DataKind::Nutrition),
    ("menstruations", DataKind::Menstruation),
    ("hormones", DataKind::Hormone),
    ("observations", DataKind::HealthObservation),
    ("athletes", DataKind::Athlete),
    ("planned-workouts", DataKind::PlannedWorkout),
    ("lab-reports", DataKind::LabReport),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    from: Option<String>,
    to: Option<String>,
    after: Option<String>,
    limit: Option<String>,
    /// `true`: each record with Terra's whole object, samples included, as `document`.
    samples: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detail {
    samples: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    ids: Vec<RecordId>,
}

pub(super) async fn list(
    _: Authorized<Records>,
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let (user, plural) = path.into_inner();
    let kind = kind_of(&plural)?;
    let filter = filter.into_inner();
    let span = span(filter.from, filter.to)?;
    let page = page(filter.after, filter.limit)?;
    let with_samples = yes("samples", filter.samples.as_deref())?;
    let user = user_of(&user)?;
    if with_samples {
        return with_documents(&app, &user, kind, span, page).await;
    }
    Ok(listed(&app.ports.store.records(&user, kind, span, &page).await?))
}

/// Each record with its document, a few at a time. A page ends early, with a cursor, once its documents are large enough:
/// a thousand of them may be gigabytes.
async fn with_documents(
    app: &App,
    user: &UserId,
    kind: DataKind,
    span: Span,
    page: Page,
) -> Result<HttpResponse, Problem> {
    let Page { mut after, limit } = page;
    let (mut left, mut bytes, mut found) = (limit, 0, Vec::new());
    loop {
        let some = Page { after, limit: left.min(READS_AT_ONCE as u32) };
        let listing = app.ports.store.records(user, kind, span, &some).await?;
        left = left.saturating_sub(listing.items.len() as u32);
        after = listing.next;
        let documents: Vec<(Value, usize)> =
            stream::iter(listing.items.into_iter().map(|record| with_document(app, record)))
                .buffered(READS_AT_ONCE)
                .try_collect()
                .await?;
        for (document, size) in documents {
            bytes += size;
            found.push(document);
        }
        if after.is_none() || left == 0 || bytes >= DOCUMENT_BYTES_MAX {
            return Ok(items(found, after));
        }
    }
}

/// A record with its document, and how large that is.
async fn with_document(app: &App, record: RecordView) -> Result<(Value, usize), Problem> {
    let document = document_of(app, record.id).await?;
    let broken = |error: serde_json::Error| Problem::unavailable("unreadable_record", error.to_string());
    let mut value = serde_json::to_value(&record).map_err(broken)?;
    // A number that no number of ours can hold stands in the document's own text only.
    value["document"] = serde_json::from_str(&document).unwrap_or(Value::Null);
    Ok((value, document.len()))
}

/// Terra's object as last sent, its scores as merged.
pub(super) async fn document_of(app: &App, id: RecordId) -> Result<String, Problem> {
    let (sealed, scores) = app.ports.store.record_document(id).await?.ok_or_else(|| unknown(id))?;
    let document = app.ports.payloads.unseal(&sealed).await?;
    Ok(overlaid(&String::from_utf8_lossy(&document), &scores))
}

fn yes(name: &str, value: Option<&str>) -> Result<bool, Problem> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::bad_parameter(format!("{name}: is `true` or `false`"))),
    }
}

fn kind_of(plural: &str) -> Result<DataKind, Problem> {
    let found = KINDS.iter().find(|(name, _)| *name == plural).map(|(_, kind)| *kind);
    found.ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        Problem::not_found("unknown_kind", format!("`{plural}` is none of {}", names.join(", ")))
    })
}

/// `from` is inside, `to` is not.
fn span(from: Option<String>, to: Option<String>) -> Result<Span, Problem> {
    let span = Span { from: moment("from", from)?, to: moment("to", to)? };
    match span {
        Span { from: Some(from), to: Some(to) } if from > to => Err(Problem::bad_parameter("from: is after `to`")),
        span => Ok(span),
    }
}

pub(super) async fn show(
    _: Authorized<Records>,
    app: web::Data<App>,
    id: web::Path<RecordId>,
    detail: web::Query<Detail>,
) -> Result<HttpResponse, Problem> {
    let with_samples = yes("samples", detail.samples.as_deref())?;
    match app.ports.store.record(*id).await? {
        Some(record) if with_samples => Ok(private(StatusCode::OK, &with_document(&app, record).await?.0)),
        Some(record) => Ok(private(StatusCode::OK, &record)),
        None => Err(unknown(*id)),
    }
}

/// Terra's object, with its samples, as it was kept.
pub(super) async fn document(
    _: Authorized<Records>,
    app: web::Data<App>,
    id: web::Path<RecordId>,
) -> Result<HttpResponse, Problem> {
    let document = document_of(&app, *id).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).content_type("application/json").body(document))
}

/// In the order asked for; what is not there is named in `missing`.
pub(super) async fn read(
    _: Authorized<Records>,
    app: web::Data<App>,
    wanted: web::Json<Wanted>,
) -> Result<HttpResponse, Problem> {
    let ids = wanted.into_inner().ids;
    if ids.len() > IDS_MAX {
        return Err(Problem::bad_body(format!("ids: at most {IDS_MAX}")));
    }
    let store = &app.ports.store;
    let reads = ids.iter().map(|id| store.record(*id));
    let found: Result<Vec<Option<RecordView>>, StoreError> =
        stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await;
    let found = found?;
    let missing: Vec<&RecordId> =
        ids.iter().zip(&found).filter(|(_, record)| record.is_none()).map(|(id, _)| id).collect();
    let records: Vec<&RecordView> = found.iter().flatten().collect();
    Ok(private(StatusCode::OK, &json!({ "items": records, "next": null, "missing": missing })))
}

fn unknown(id: RecordId) -> Problem {
    Problem::not_found("unknown_record", format!("there is no record {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_does_not_end_before_it_begins() {
        let text = |text: &str| Some(text.to_owned());
        assert!(span(text("2026-03-01"), text("2026-03-02")).is_ok());
        assert!(span(text("2026-03-01"), None).is_ok());
        assert_eq!(span(text("2026-03-02"), text("2026-03-01")).unwrap_err().code, "bad_parameter");
    }

    #[test]
    fn an_unknown_kind_is_answered_with_those_there_are() {
        assert_eq!(kind_of("sleeps").unwrap(), DataKind::Sleep);
        let problem = kind_of("sleep").unwrap_err();
        assert!(problem.detail.contains("planned-workouts"), "{}", problem.detail);
    }
}
