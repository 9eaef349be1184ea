//! Fetch jobs as the API shows them.

use domain::id::{BackfillId, FetchJobId, UserId};
use jiff::civil::Date;
use tokio_postgres::Row;
use uuid::Uuid;

use super::read::{cursor, one_more};
use super::row::{environment, get, small};
use super::unit::Db;
use crate::store::view::{FetchView, Listing, Page};
use crate::store::{FetchFilter, StoreError};

const FETCHES: &str = "
SELECT fetch_job.id, fetch_job.environment, fetch_job.terra_user_id, fetch_job.kind, fetch_job.window_start,
       fetch_job.window_end, fetch_job.origin, fetch_job.backfill_id, fetch_job.state, fetch_job.reason,
       fetch_job.merged_into, fetch_job.attempts, fetch_job.status, fetch_job.terra_reference,
       CASE WHEN fetch_job.state <> 'queued' THEN fetch_job.run_at
            ELSE greatest(fetch_job.run_at,
                          (SELECT max(pause.until)
                             FROM fetch_pause AS pause
                            WHERE pause.environment = fetch_job.environment
                              AND (pause.scope = 'environment'
                                   OR (pause.scope = 'provider' AND pause.subject = upper(fetch_job.provider))
                                   OR (pause.scope = 'alias' AND pause.subject = fetch_job.terra_user_id))))
             END AS due_at
  FROM fetch_job
 WHERE ($1::text IS NULL OR fetch_job.terra_user_id = $1)
   AND ($2::text IS NULL
        OR EXISTS (SELECT FROM alias
                    WHERE alias.environment = fetch_job.environment
                      AND alias.terra_user_id = fetch_job.terra_user_id AND alias.user_id = $2))
   AND ($3::text IS NULL OR CASE WHEN fetch_job.merged_into IS NULL THEN fetch_job.state ELSE 'merged' END = $3)
   AND ($4::uuid IS NULL OR fetch_job.id > $4)
   AND ($6::text IS NULL OR fetch_job.terra_reference = $6)
 ORDER BY fetch_job.id
 LIMIT $5";

pub(super) async fn fetches(db: &Db, filter: &FetchFilter, page: &Page) -> Result<Listing<FetchView>, StoreError> {
    let after: Option<Uuid> = cursor(page)?;
    let user = filter.user.as_ref().map(UserId::as_str);
    let limit = one_more(page);
    let rows =
        db.rows(FETCHES, &[&filter.terra_user_id, &user, &filter.state, &after, &limit, &filter.reference]).await?;
    let views = rows.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(views, page, |view| view.id.to_string()))
}

const ONE: &str = "
SELECT fetch_job.id, fetch_job.environment, fetch_job.terra_user_id, fetch_job.kind, fetch_job.window_start,
       fetch_job.window_end, fetch_job.origin, fetch_job.backfill_id, fetch_job.state, fetch_job.reason,
       fetch_job.merged_into, fetch_job.attempts, fetch_job.status, fetch_job.terra_reference,
       CASE WHEN fetch_job.state <> 'queued' THEN fetch_job.run_at
            ELSE greatest(fetch_job.run_at,
                          (SELECT max(pause.until)
                             FROM fetch_pause AS pause
                            WHERE pause.environment = fetch_job.environment
                              AND (pause.scope = 'environment'
                                   OR (pause.scope = 'provider' AND pause.subject = upper(fetch_job.provider))
                                   OR (pause.scope = 'alias' AND pause.subject = fetch_job.terra_user_id))))
             END AS due_at
  FROM fetch_job
 WHERE fetch_job.id = $1";

pub(super) async fn fetch(db: &Db, id: FetchJobId) -> Result<Option<FetchView>, StoreError> {
    db.row(ONE, &[&id.0]).await?.as_ref().map(view).transpose()
}

fn view(row: &Row) -> Result<FetchView, StoreError> {
    let merged_into = get::<Option<Uuid>>(row, "merged_into")?.map(FetchJobId);
    Ok(FetchView {
        id: FetchJobId(get(row, "id")?),
        environment: environment(row)?,
        terra_user_id: get(row, "terra_user_id")?,
        kind: get(row, "kind")?,
        start: get::<Date>(row, "window_start")?.to_string(),
        end: get::<Date>(row, "window_end")?.to_string(),
        origin: get(row, "origin")?,
        backfill: BackfillId(get(row, "backfill_id")?),
        state: if merged_into.is_some() { "merged".into() } else { get(row, "state")? },
        reason: get(row, "reason")?,
        merged_into,
        attempts: small(row, "attempts")?,
        status: get::<Option<i32>>(row, "status")?.and_then(|status| u16::try_from(status).ok()),
        reference: get(row, "terra_reference")?,
        run_at: get(row, "due_at")?,
    })
}
