//! Records as those who read see them.

use std::str::FromStr;

use bytes::Bytes;
use domain::id::{ConnectionId, RecordId, UserId};
use jiff::Timestamp;
use terra::event::DataKind;
use tokio_postgres::Row;
use uuid::Uuid;

use super::activity::{self, After};
use super::read::one_more;
use super::row::{environment, get, strange};
use super::unit::Db;
use crate::payloads::Sealed;
use crate::store::{ActivityView, Listing, Page, RecordView, Span, StoreError};

pub(super) async fn activities(
    db: &Db,
    user: &UserId,
    span: Span,
    page: &Page,
) -> Result<Listing<ActivityView>, StoreError> {
    let rows = activity::of_user(db, user.as_str(), span, &after(page)?, one_more(page)).await?;
    let views = rows
        .iter()
        .map(|row| {
            Ok(ActivityView { record: view(row, DataKind::Activity.label())?, columns: activity::columns(row)? })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Listing::of(views, page, |view| cursor(&view.record)))
}

const OF_USER: &str = "
WITH mine AS MATERIALIZED (
    SELECT environment, terra_user_id, connection_id, provider FROM alias WHERE user_id = $1
)
SELECT document_record.id, mine.connection_id, mine.provider, document_record.environment,
       document_record.terra_user_id, document_record.natural_key, document_record.order_inferred,
       document_record.deleted, document_record.start_at, document_record.start_time, document_record.end_time,
       document_record.updated_at
  FROM mine
  JOIN document_record
    ON document_record.environment = mine.environment AND document_record.terra_user_id = mine.terra_user_id
   AND document_record.kind = $2
 WHERE NOT document_record.deleted
   AND ($3::timestamptz IS NULL OR document_record.start_at >= $3)
   AND ($4::timestamptz IS NULL OR document_record.start_at < $4)
   AND ($6::uuid IS NULL
        OR CASE WHEN $5::timestamptz IS NULL THEN document_record.start_at IS NULL AND document_record.id > $6
                ELSE document_record.start_at < $5 OR (document_record.start_at = $5 AND document_record.id > $6)
                     OR document_record.start_at IS NULL
           END)
   AND NOT EXISTS (
       SELECT FROM mine AS other
         JOIN document_record AS newer
           ON newer.environment = other.environment AND newer.terra_user_id = other.terra_user_id AND newer.kind = $2
          AND newer.natural_key = document_record.natural_key
        WHERE other.connection_id = mine.connection_id
          AND (newer.record_order, newer.id) > (document_record.record_order, document_record.id))
 ORDER BY document_record.start_at DESC NULLS LAST, document_record.id
 LIMIT $7";

pub(super) async fn documents(
    db: &Db,
    user: &UserId,
    kind: DataKind,
    span: Span,
    page: &Page,
) -> Result<Listing<RecordView>, StoreError> {
    let after = after(page)?;
    let rows = match kind {
        DataKind::Activity => activity::of_user(db, user.as_str(), span, &after, one_more(page)).await?,
        DataKind::Sleep
        | DataKind::Daily
        | DataKind::Body
        | DataKind::Nutrition
        | DataKind::Menstruation
        | DataKind::Athlete
        | DataKind::PlannedWorkout
        | DataKind::Hormone
        | DataKind::HealthObservation => {
            let limit = one_more(page);
            db.rows(OF_USER, &[&user.as_str(), &kind.label(), &span.from, &span.to, &after.start_at, &after.id, &limit])
                .await?
        }
    };
    let views = rows.iter().map(|row| view(row, kind.label())).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(views, page, cursor))
}

/// `<start in ms | null>:<id>`.
fn cursor(view: &RecordView) -> String {
    let start = view.start_at.map_or_else(|| "null".to_owned(), |at| at.as_millisecond().to_string());
    format!("{start}:{}", view.id)
}

fn after(page: &Page) -> Result<After, StoreError> {
    let Some(text) = &page.after else { return Ok(After { start_at: None, id: None }) };
    let (start, id) = text.split_once(':').ok_or(StoreError::BadCursor)?;
    let start_at = match start {
        "null" => None,
        ms => Some(ms.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).ok_or(StoreError::BadCursor)?),
    };
    Ok(After { start_at, id: Some(Uuid::from_str(id).map_err(|_| StoreError::BadCursor)?) })
}

const ONE: &str = "
SELECT activity.id, 'activity' AS kind, alias.connection_id, alias.provider, activity.environment,
       activity.terra_user_id, activity.natural_key, activity.order_inferred, activity.deleted, activity.start_at,
       activity.start_time, activity.end_time, activity.updated_at
  FROM activity
  JOIN alias ON alias.environment = activity.environment AND alias.terra_user_id = activity.terra_user_id
 WHERE activity.id = $1
 UNION ALL
SELECT document_record.id, document_record.kind, alias.connection_id, alias.provider, document_record.environment,
       document_record.terra_user_id, document_record.natural_key, document_record.order_inferred,
       document_record.deleted, document_record.start_at, document_record.start_time, document_record.end_time,
       document_record.updated_at
  FROM document_record
  JOIN alias ON alias.environment = document_record.environment
            AND alias.terra_user_id = document_record.terra_user_id
 WHERE document_record.id = $1";

pub(super) async fn one(db: &Db, id: RecordId) -> Result<Option<RecordView>, StoreError> {
    let Some(row) = db.row(ONE, &[&id.0]).await? else { return Ok(None) };
    let kind = DataKind::parse(get(&row, "kind")?).ok_or_else(|| strange("kind"))?;
    view(&row, kind.label()).map(Some)
}

const DOCUMENT: &str = "
SELECT document FROM activity WHERE id = $1
 UNION ALL
SELECT document FROM document_record WHERE id = $1";

pub(super) async fn document(db: &Db, id: RecordId) -> Result<Option<Sealed>, StoreError> {
    let row = db.row(DOCUMENT, &[&id.0]).await?;
    row.map(|row| Ok(Sealed(Bytes::from(get::<Vec<u8>>(&row, "document")?)))).transpose()
}

fn view(row: &Row, kind: &'static str) -> Result<RecordView, StoreError> {
    Ok(RecordView {
        id: RecordId(get(row, "id")?),
        kind,
        key: get(row, "natural_key")?,
        connection: ConnectionId(get(row, "connection_id")?),
        environment: environment(row)?,
        terra_user_id: get(row, "terra_user_id")?,
        provider: get(row, "provider")?,
        start_time: get(row, "start_time")?,
        end_time: get(row, "end_time")?,
        deleted: get(row, "deleted")?,
        order_inferred: get(row, "order_inferred")?,
        updated_at: get(row, "updated_at")?,
        start_at: get(row, "start_at")?,
    })
}
