//! Fetch jobs as the API shows them.

use domain::id::{BackfillId, Environment, FetchJobId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::column::{time, uuid};
use super::read::{after, limit};
use crate::store::view::{FetchView, Listing, Page};
use crate::store::{FetchFilter, StoreError};

pub(super) fn fetches(
    connection: &Connection,
    filter: &FetchFilter,
    page: &Page,
) -> Result<Listing<FetchView>, StoreError> {
    const PAGE: &str = "
        SELECT id, environment, terra_user_id, kind, window_start, window_end, origin, backfill_id, state, reason,
               merged_into, attempts, status, terra_reference,
               CASE WHEN state <> 'queued' THEN run_at
                    ELSE max(run_at, coalesce((SELECT max(until) FROM fetch_pause
                                               WHERE fetch_pause.environment = fetch_job.environment
                                                 AND (scope = 'environment'
                                                      OR (scope = 'provider' AND subject = upper(fetch_job.provider))
                                                      OR (scope = 'alias' AND subject = fetch_job.terra_user_id))),
                                              run_at)) END AS due_at
        FROM fetch_job
        WHERE id > ?1 AND (?2 IS NULL OR terra_user_id = ?2)
          AND (?3 IS NULL OR CASE WHEN merged_into IS NULL THEN state ELSE 'merged' END = ?3)
          AND (?4 IS NULL OR EXISTS (SELECT 1 FROM alias
                                     WHERE alias.environment = fetch_job.environment
                                       AND alias.terra_user_id = fetch_job.terra_user_id AND alias.user_id = ?4))
          AND (?6 IS NULL OR terra_reference = ?6)
        ORDER BY id LIMIT ?5";
    let mut statement = connection.prepare_cached(PAGE)?;
    let after: Uuid = after(page)?.unwrap_or(Uuid::nil());
    let parameters = params![
        after.as_bytes(),
        filter.terra_user_id,
        filter.state,
        filter.user.as_ref().map(UserId::as_str),
        limit(page),
        filter.reference,
    ];
    let rows = statement.query_map(parameters, view)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |view: &FetchView| view.id.to_string()))
}

pub(super) fn fetch(connection: &Connection, id: FetchJobId) -> Result<Option<FetchView>, StoreError> {
    const ONE: &str = "
        SELECT id, environment, terra_user_id, kind, window_start, window_end, origin, backfill_id, state, reason,
               merged_into, attempts, status, terra_reference,
               CASE WHEN state <> 'queued' THEN run_at
                    ELSE max(run_at, coalesce((SELECT max(until) FROM fetch_pause
                                               WHERE fetch_pause.environment = fetch_job.environment
                                                 AND (scope = 'environment'
                                                      OR (scope = 'provider' AND subject = upper(fetch_job.provider))
                                                      OR (scope = 'alias' AND subject = fetch_job.terra_user_id))),
                                              run_at)) END AS due_at
        FROM fetch_job
        WHERE id = ?1";
    Ok(connection.prepare_cached(ONE)?.query_row([id.0.as_bytes()], view).optional()?)
}

fn view(row: &Row<'_>) -> rusqlite::Result<FetchView> {
    let merged_into = row.get::<_, Option<[u8; 16]>>("merged_into")?.map(|id| FetchJobId(Uuid::from_bytes(id)));
    Ok(FetchView {
        id: FetchJobId(uuid(row, "id")?),
        environment: Environment::new(row.get::<_, String>("environment")?),
        terra_user_id: row.get("terra_user_id")?,
        kind: row.get("kind")?,
        start: row.get("window_start")?,
        end: row.get("window_end")?,
        origin: row.get("origin")?,
        backfill: BackfillId(uuid(row, "backfill_id")?),
        state: if merged_into.is_some() { "merged".into() } else { row.get("state")? },
        reason: row.get("reason")?,
        merged_into,
        attempts: row.get("attempts")?,
        status: row.get("status")?,
        reference: row.get("terra_reference")?,
        run_at: time(row, "due_at")?,
    })
}
