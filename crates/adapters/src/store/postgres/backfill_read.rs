//! Backfills as the API shows them.

use std::time::Duration;

use domain::backfill::{BackfillState, Progress};
use domain::id::{BackfillId, UserId};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::backfill::{account, asked};
use super::read::{cursor, one_more};
use super::row::{count, get, small, strange};
use super::unit::Db;
use crate::store::backfill::ViewRow;
use crate::store::view::{BackfillView, Listing, Page};
use crate::store::{BackfillFilter, StoreError};

const LIST: &str = "
SELECT backfill.id, backfill.environment, backfill.terra_user_id, backfill.provider, backfill.origin,
       backfill.reference, backfill.kinds, backfill.window_start, backfill.window_end, backfill.state,
       backfill.reason, backfill.requested, backfill.expected, backfill.received, backfill.size_bytes,
       backfill.created_at, backfill.progressed_at, backfill.stalled_since, backfill.settled_at, alias.user_id
  FROM backfill
  LEFT JOIN alias ON alias.environment = backfill.environment AND alias.terra_user_id = backfill.terra_user_id
 WHERE ($1::text IS NULL OR alias.user_id = $1)
   AND ($2::text IS NULL OR backfill.state = $2)
   AND ($3::uuid IS NULL OR backfill.id > $3)
 ORDER BY backfill.id
 LIMIT $4";

pub(super) async fn list(
    db: &Db,
    filter: &BackfillFilter,
    page: &Page,
    now: Timestamp,
) -> Result<Listing<BackfillView>, StoreError> {
    let after: Option<Uuid> = cursor(page)?;
    let (user, state) = (filter.user.as_ref().map(UserId::as_str), filter.state.map(BackfillState::label));
    let rows = db.rows(LIST, &[&user, &state, &after, &one_more(page)]).await?;
    let views = rows.iter().map(|row| Ok(view_row(row)?.view(now))).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Listing::of(views, page, |view| view.id.to_string()))
}

const ONE: &str = "
SELECT backfill.id, backfill.environment, backfill.terra_user_id, backfill.provider, backfill.origin,
       backfill.reference, backfill.kinds, backfill.window_start, backfill.window_end, backfill.state,
       backfill.reason, backfill.requested, backfill.expected, backfill.received, backfill.size_bytes,
       backfill.created_at, backfill.progressed_at, backfill.stalled_since, backfill.settled_at, alias.user_id
  FROM backfill
  LEFT JOIN alias ON alias.environment = backfill.environment AND alias.terra_user_id = backfill.terra_user_id
 WHERE backfill.id = $1";

pub(super) async fn one(
    db: &Db,
    id: BackfillId,
    now: Timestamp,
    stall: Duration,
) -> Result<Option<BackfillView>, StoreError> {
    let Some(row) = db.row(ONE, &[&id.0]).await? else { return Ok(None) };
    let found = view_row(&row)?;
    let asked = asked(db, &found.account).await?;
    Ok(Some(found.view_whole(&asked, now, stall)))
}

fn view_row(row: &Row) -> Result<ViewRow, StoreError> {
    Ok(ViewRow {
        account: account(row)?,
        user: get::<Option<String>>(row, "user_id")?.map(UserId::new),
        state: BackfillState::parse(get(row, "state")?).ok_or_else(|| strange("state"))?,
        reason: get(row, "reason")?,
        progress: Progress {
            requested: small(row, "requested")?,
            expected: small(row, "expected")?.into(),
            received: small(row, "received")?.into(),
            bytes: count(row, "size_bytes")?,
            items: 0,
            last_at: None,
        },
        stalled_since: get(row, "stalled_since")?,
        created_at: get(row, "created_at")?,
        progressed_at: get(row, "progressed_at")?,
        settled_at: get(row, "settled_at")?,
    })
}
