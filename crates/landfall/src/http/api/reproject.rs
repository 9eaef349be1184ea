//! Documents read again: after an upgrade their columns are filled as this binary reads them.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::payloads::PayloadError;
use adapters::store::view::LIMIT_DEFAULT;
use adapters::store::{Reprojection, StoredDocument};
use domain::id::RecordId;
use domain::record::Fingerprint;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use terra::event::DataKind;
use terra::record::columns::score_values;
use tracing::{info, warn};

use super::private;
use crate::http::App;
use crate::http::auth::{Authorized, OpsWrite};
use crate::http::problem::Problem;

/// Documents of one request; each is unsealed and read within it.
const DOCUMENTS_MAX: u32 = 500;

/// Documents that are unsealed at the same time.
const READS_AT_ONCE: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    kind: String,
    after: Option<RecordId>,
    limit: Option<u32>,
    /// Read, count, and write nothing.
    #[serde(default)]
    dry_run: bool,
}

/// One page of documents of a kind, in the order of their ids. `refilled` counts the rows that were still those that
/// were read; a newer delivery brings its own columns.
pub(super) async fn page(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    wanted: web::Json<Wanted>,
) -> Result<HttpResponse, Problem> {
    let kind = kind_of(&wanted.kind)?;
    let limit = limit_of(wanted.limit)?;
    let stored = app.ports.store.documents(kind, wanted.after, limit).await?;
    let next = if stored.len() == limit as usize { stored.last().map(|stored| stored.id) } else { None };
    let read = stored.len();
    let again: Vec<Again> = stream::iter(stored.into_iter().map(|stored| read_again(&app, kind, stored)))
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let mut rows = Vec::with_capacity(again.len());
    let mut unreadable = Vec::new();
    for one in again {
        match one {
            Again::Row(row) => rows.push(*row),
            Again::Unreadable { id, reason } => unreadable.push(json!({ "id": id, "reason": reason })),
        }
    }
    let refilled = if wanted.dry_run { rows.len() as u64 } else { app.ports.store.reproject(kind, &rows).await? };
    if !wanted.dry_run && read > 0 {
        info!(actor = %caller.actor.0, kind = kind.label(), refilled, "refilled {refilled} records from their documents");
    }
    Ok(private(
        StatusCode::OK,
        &json!({ "kind": kind.label(), "read": read, "refilled": refilled, "unreadable": unreadable, "next": next, "dry_run": wanted.dry_run }),
    ))
}

fn kind_of(label: &str) -> Result<DataKind, Problem> {
    DataKind::parse(label).ok_or_else(|| {
        let labels = DataKind::ALL.map(DataKind::label).join(", ");
        Problem::bad_body(format!("kind: one of {labels}"))
    })
}

fn limit_of(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=DOCUMENTS_MAX => Ok(limit),
        _ => Err(Problem::bad_body(format!("limit: a whole number from 1 to {DOCUMENTS_MAX}"))),
    }
}

enum Again {
    Row(Box<Reprojection>),
    Unreadable { id: RecordId, reason: &'static str },
}

/// A payload store that is away fails the page, to be asked again; one document that is lost does not.
async fn read_again(app: &App, kind: DataKind, stored: StoredDocument) -> Result<Again, Problem> {
    let id = stored.id;
    let document = match app.ports.payloads.unseal(&stored.document).await {
        Ok(document) => document,
        Err(error @ PayloadError::Unavailable { .. }) => return Err(error.into()),
        Err(error @ (PayloadError::Lost(_) | PayloadError::TooLarge { .. } | PayloadError::Setting { .. })) => {
            warn!(record.id = %id, cause = %error, "cannot read the document of record {id}");
            return Ok(Again::Unreadable { id, reason: "payload_lost" });
        }
    };
    match std::str::from_utf8(&document) {
        Ok(text) => Ok(Again::Row(Box::new(row(kind, stored, text)))),
        Err(_) => Ok(Again::Unreadable { id, reason: "not_text" }),
    }
}

/// Scores are those kept, and what the document says as of its own order: no null of a later delivery erased them.
fn row(kind: DataKind, stored: StoredDocument, text: &str) -> Reprojection {
    let mut reading = terra::record::read(kind, text);
    let mut scores = stored.scores;
    scores.take(stored.order, &reading.scores);
    score_values(kind, &mut reading.values, |name| scores.get(name));
    Reprojection {
        id: stored.id,
        order: stored.order,
        fingerprint: Fingerprint::new(reading.fingerprint),
        scores,
        start_time: reading.start_time,
        values: reading.values,
    }
}

#[cfg(test)]
mod tests {
    use adapters::payloads::Sealed;
    use domain::id::{AliasKey, Environment};
    use domain::order::Order;
    use domain::record::Scores;
    use terra::record::Scalar;

    use super::*;

    fn value(row: &Reprojection, name: &str) -> Option<Scalar> {
        let place = terra::record::columns(DataKind::Daily).iter().position(|column| column.name() == name);
        row.values[place.unwrap()].clone()
    }

    #[test]
    fn a_score_that_a_later_delivery_left_out_stays() {
        let mut scores = Scores::default();
        scores.take(Order::at(1), &[("strain_index".to_owned(), "1.5".to_owned())].into());
        let stored = StoredDocument {
            id: RecordId(uuid::Uuid::from_u128(7)),
            alias: AliasKey::new(&Environment::new("default"), "u"),
            order: Order::at(5),
            scores,
            document: Sealed(bytes::Bytes::new()),
        };
        let text = r#"{"metadata":{"start_time":"2026-03-01T00:00:00Z"},"distance_data":{"steps":7},"data_enrichment":{"strain_index":null,"total_stress_score":40}}"#;
        let row = row(DataKind::Daily, stored, text);
        assert_eq!(value(&row, "strain_index"), Some(Scalar::Number(1.5)));
        assert_eq!(value(&row, "steps"), Some(Scalar::Integer(7)));
        assert_eq!(row.scores.get("total_stress_score"), Some("40"));
        assert_eq!(row.start_time.as_deref(), Some("2026-03-01T00:00:00Z"));
    }

    #[test]
    fn a_kind_that_is_none_is_answered_with_those_there_are() {
        assert_eq!(kind_of("daily").unwrap(), DataKind::Daily);
        let problem = kind_of("dailies").unwrap_err();
        assert!(problem.detail.contains("planned_workout"), "{}", problem.detail);
        assert!(limit_of(Some(0)).is_err() && limit_of(Some(501)).is_err());
        assert_eq!(limit_of(None).unwrap(), 100);
    }
}
