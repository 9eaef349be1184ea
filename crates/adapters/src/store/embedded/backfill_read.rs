//! Backfills as the API shows them.

use std::time::Duration;

use domain::backfill::{BackfillState, Progress};
use domain::id::{BackfillId, UserId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::backfill::{account, asked, times};
use super::column::{count, word};
use super::read::{after, limit};
use crate::store::backfill::ViewRow;
use crate::store::view::{BackfillView, Listing, Page};
use crate::store::{BackfillFilter, StoreError};

pub(super) fn list(
    connection: &Connection,
    filter: &BackfillFilter,
    page: &Page,
    now: Timestamp,
) -> Result<Listing<BackfillView>, StoreError> {
    const PAGE: &str = "
        SELECT backfill.id, backfill.environment, backfill.terra_user_id, backfill.provider, backfill.origin,
               backfill.reference, backfill.kinds, backfill.window_start, backfill.window_end, backfill.state,
               backfill.reason, backfill.requested, backfill.expected, backfill.received, backfill.size_bytes,
               backfill.created_at, backfill.progressed_at, backfill.stalled_since, backfill.settled_at,
               alias.user_id
        FROM backfill
        LEFT JOIN alias ON alias.environment = backfill.environment AND alias.terra_user_id = backfill.terra_user_id
        WHERE backfill.id > ?1 AND (?2 IS NULL OR alias.user_id = ?2) AND (?3 IS NULL OR backfill.state = ?3)
        ORDER BY backfill.id LIMIT ?4";
    let mut statement = connection.prepare_cached(PAGE)?;
    let after: Uuid = after(page)?.unwrap_or(Uuid::nil());
    let (user, state) = (filter.user.as_ref().map(UserId::as_str), filter.state.map(BackfillState::label));
    let rows = statement.query_map(params![after.as_bytes(), user, state, limit(page)], row)?;
    let views = rows.map(|row| Ok(row?.view(now))).collect::<Result<_, StoreError>>()?;
    Ok(Listing::of(views, page, |view: &BackfillView| view.id.to_string()))
}

pub(super) fn one(
    connection: &Connection,
    id: BackfillId,
    now: Timestamp,
    stall: Duration,
) -> Result<Option<BackfillView>, StoreError> {
    const ONE: &str = "
        SELECT backfill.id, backfill.environment, backfill.terra_user_id, backfill.provider, backfill.origin,
               backfill.reference, backfill.kinds, backfill.window_start, backfill.window_end, backfill.state,
               backfill.reason, backfill.requested, backfill.expected, backfill.received, backfill.size_bytes,
               backfill.created_at, backfill.progressed_at, backfill.stalled_since, backfill.settled_at,
               alias.user_id
        FROM backfill
        LEFT JOIN alias ON alias.environment = backfill.environment AND alias.terra_user_id = backfill.terra_user_id
        WHERE backfill.id = ?1";
    let Some(found) = connection.prepare_cached(ONE)?.query_row([id.0.as_bytes()], row).optional()? else {
        return Ok(None);
    };
    let asked = asked(connection, &found.account)?;
    Ok(Some(found.view_whole(&asked, now, stall)))
}

fn row(row: &Row<'_>) -> rusqlite::Result<ViewRow> {
    let (created_at, progressed_at, stalled_since, settled_at) = times(row)?;
    Ok(ViewRow {
        account: account(row)?,
        user: row.get::<_, Option<String>>("user_id")?.map(UserId::new),
        state: word(row, "state", BackfillState::parse)?,
        reason: row.get("reason")?,
        progress: Progress {
            requested: row.get("requested")?,
            expected: count(row, "expected")?,
            received: count(row, "received")?,
            bytes: count(row, "size_bytes")?,
            items: 0,
            last_at: None,
        },
        stalled_since,
        created_at,
        progressed_at,
        settled_at,
    })
}
