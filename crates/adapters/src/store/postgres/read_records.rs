//! Records as those who read see them.

use std::str::FromStr;

use bytes::Bytes;
use domain::id::{ConnectionId, RecordId, UserId};
use domain::record::Scores;
use jiff::Timestamp;
use terra::event::DataKind;
use terra::record::{Column, Scalar, Shape, columns};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::read::one_more;
use super::record_sql::{kind_of, statements};
use super::row::{alias_key, environment, get, order, strange};
use super::unit::Db;
use crate::payloads::Sealed;
use crate::store::record_table::{Bounds, bounds, with_scores};
use crate::store::tx::StoredDocument;
use crate::store::{Listing, Page, RecordView, Span, StoreError};

pub(super) async fn of_user(
    db: &Db,
    user: &UserId,
    kind: DataKind,
    span: Span,
    page: &Page,
) -> Result<Listing<RecordView>, StoreError> {
    let After { start_at, id } = after(page)?;
    let (sql, user, limit) = (&statements(kind).of_user, user.as_str(), one_more(page));
    let rows = match bounds(kind, span) {
        Bounds::Days { from, to } => db.rows(sql, &[&user, &from, &to, &start_at, &id, &limit]).await?,
        Bounds::Moments(Span { from, to }) => db.rows(sql, &[&user, &from, &to, &start_at, &id, &limit]).await?,
    };
    let views = rows.iter().map(|row| view(row, kind)).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(views, page, cursor))
}

/// Where a listing goes on: after this start (`None`: among those without one) and id.
struct After {
    start_at: Option<Timestamp>,
    id: Option<Uuid>,
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

pub(super) async fn one(db: &Db, id: RecordId) -> Result<Option<RecordView>, StoreError> {
    let Some((kind, row)) = row_of(db, id).await? else { return Ok(None) };
    view(&row, kind).map(Some)
}

pub(super) async fn document(db: &Db, id: RecordId) -> Result<Option<(Sealed, Scores)>, StoreError> {
    let Some((_, row)) = row_of(db, id).await? else { return Ok(None) };
    Ok(Some((Sealed(Bytes::from(get::<Vec<u8>>(&row, "document")?)), scores(&row)?)))
}

async fn row_of(db: &Db, id: RecordId) -> Result<Option<(DataKind, Row)>, StoreError> {
    let Some(row) = db.row(kind_of(), &[&id.0]).await? else { return Ok(None) };
    let kind = DataKind::parse(get(&row, "kind")?).ok_or_else(|| strange("kind"))?;
    Ok(db.row(&statements(kind).one, &[&id.0]).await?.map(|row| (kind, row)))
}

/// Documents of a kind in the order of their ids, to be read again.
pub(super) async fn documents(
    db: &Db,
    kind: DataKind,
    after: Option<RecordId>,
    limit: u32,
) -> Result<Vec<StoredDocument>, StoreError> {
    let after = after.map(|id| id.0);
    let rows = db.rows(&statements(kind).documents, &[&after, &i64::from(limit)]).await?;
    let stored = |row: &Row| {
        Ok(StoredDocument {
            id: RecordId(get(row, "id")?),
            alias: alias_key(row)?,
            order: order(row, "record_order")?,
            scores: get::<Option<Json<Scores>>>(row, "enrichment")?.map(|Json(scores)| scores).unwrap_or_default(),
            document: Sealed(Bytes::from(get::<Vec<u8>>(row, "document")?)),
        })
    };
    rows.iter().map(stored).collect()
}

/// The scores of a record, those it has under other aliases of its connection included.
fn scores(row: &Row) -> Result<Scores, StoreError> {
    let own: Option<Json<Scores>> = get(row, "enrichment")?;
    let elsewhere: Option<Json<Vec<Scores>>> = get(row, "elsewhere")?;
    let mut scores = own.map(|Json(own)| own).unwrap_or_default();
    for other in elsewhere.into_iter().flat_map(|Json(elsewhere)| elsewhere) {
        scores.join(other);
    }
    Ok(scores)
}

fn view(row: &Row, kind: DataKind) -> Result<RecordView, StoreError> {
    let values = columns(kind).iter().map(|column| value(row, column)).collect::<Result<Vec<_>, _>>()?;
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
        values: with_scores(kind, values, &scores(row)?),
    })
}

fn value(row: &Row, column: &Column) -> Result<Option<Scalar>, StoreError> {
    let name = column.sql_name();
    let broken = |cause| super::error::of_postgres(&cause);
    Ok(match column.shape {
        Shape::Number => row.try_get::<_, Option<f64>>(name.as_str()).map_err(broken)?.map(Scalar::Number),
        Shape::Integer => row.try_get::<_, Option<i64>>(name.as_str()).map_err(broken)?.map(Scalar::Integer),
        Shape::Text => row.try_get::<_, Option<String>>(name.as_str()).map_err(broken)?.map(Scalar::Text),
        Shape::Flag => row.try_get::<_, Option<bool>>(name.as_str()).map_err(broken)?.map(Scalar::Flag),
    })
}
