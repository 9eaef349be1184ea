//! Fetch jobs: what is to be asked of Terra, how fast, and what became of it.

use std::collections::BTreeSet;

use domain::fetch::{Allowance, FetchJob, FetchOrigin, Pace, Reaction, Window, take};
use domain::id::{AliasKey, BackfillId, Environment, FetchJobId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use terra::event::DataKind;
use tokio_postgres::Row;

use super::row::{alias_key, column, count, environment, environments, get, integer, small, strange};
use super::unit::Db;
use crate::store::{LeasedFetch, StoreError, fetch_state};

const INSERT: &str = "
INSERT INTO fetch_job (id, environment, terra_user_id, provider, kind, window_start, window_end, state, run_at, attempts,
                       updated_at, backfill_id, origin, priority)
SELECT id, environment, terra_user_id, provider, kind, window_start, window_end, 'queued', $9, attempts, $9,
       backfill_id, origin, priority
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[], $8::integer[],
              $10::uuid[], $11::text[], $12::smallint[])
       AS wanted (id, environment, terra_user_id, provider, kind, window_start, window_end, attempts,
                  backfill_id, origin, priority)
 ORDER BY id
    ON CONFLICT DO NOTHING";

pub(super) async fn insert(db: &Db, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
    if jobs.is_empty() {
        return Ok(());
    }
    db.execute(
        INSERT,
        &[
            &column(jobs, |job| job.id.0),
            &column(jobs, |job| job.alias.environment.as_str()),
            &column(jobs, |job| job.alias.terra_user_id.as_str()),
            &column(jobs, |job| job.provider.as_deref()),
            &column(jobs, |job| job.kind.label()),
            &column(jobs, |job| job.window.start),
            &column(jobs, |job| job.window.end),
            &column(jobs, |job| integer(job.attempts)),
            &at,
            &column(jobs, |job| job.backfill.0),
            &column(jobs, |job| job.origin.label()),
            &column(jobs, |job| i16::from(job.origin.priority())),
        ],
    )
    .await?;
    Ok(())
}

const REFERENCES: &str = "
SELECT DISTINCT asked.environment, asked.reference
  FROM unnest($1::text[], $2::text[]) AS asked (environment, reference)
  JOIN fetch_job ON fetch_job.environment = asked.environment AND fetch_job.terra_reference = asked.reference";

pub(super) async fn references(
    db: &Db,
    asked: &[(Environment, String)],
) -> Result<BTreeSet<(Environment, String)>, StoreError> {
    if asked.is_empty() {
        return Ok(BTreeSet::new());
    }
    let ours =
        db.rows(REFERENCES, &[&environments(asked), &column(asked, |(_, reference)| reference.as_str())]).await?;
    ours.iter().map(|row| Ok((environment(row)?, get(row, "reference")?))).collect()
}

/// Jobs that are failed at once in one go.
const REVOKED_MAX: i64 = 1_000;

const FAIL_REVOKED: &str = "
WITH lost AS (
    SELECT fetch_job.id
      FROM fetch_job
      JOIN alias ON alias.environment = fetch_job.environment AND alias.terra_user_id = fetch_job.terra_user_id
     WHERE fetch_job.state = 'queued' AND fetch_job.run_at <= $1
       AND (fetch_job.locked_until IS NULL OR fetch_job.locked_until <= $1)
       AND alias.closed IS NOT NULL AND (alias.opened IS NULL OR alias.closed >= alias.opened)
     ORDER BY fetch_job.run_at
     LIMIT $2
       FOR UPDATE OF fetch_job SKIP LOCKED
)
UPDATE fetch_job
   SET state = 'failed', reason = 'revoked', locked_until = NULL, updated_at = $1
  FROM lost
 WHERE fetch_job.id = lost.id";

const ALLOWANCE: &str = "SELECT millitokens, refilled_at, day, used_today FROM fetch_allowance FOR UPDATE";

const KEEP_ALLOWANCE: &str = "UPDATE fetch_allowance SET millitokens = $1, refilled_at = $2, day = $3, used_today = $4";

const DUE: &str = "
SELECT id
  FROM fetch_job
 WHERE state = 'queued' AND run_at <= $1 AND (locked_until IS NULL OR locked_until <= $1)
 ORDER BY run_at, id
 LIMIT $2
   FOR UPDATE SKIP LOCKED";

const LEASE: &str = "
UPDATE fetch_job
   SET locked_until = $2, lease_token = lease_token + 1
 WHERE id = ANY ($1)
RETURNING id, environment, terra_user_id, provider, kind, window_start, window_end, attempts, lease_token, backfill_id,
          origin";

pub(super) async fn lease(
    db: &Db,
    now: Timestamp,
    until: Timestamp,
    pace: Pace,
    limit: u32,
) -> Result<Vec<LeasedFetch>, StoreError> {
    db.execute(FAIL_REVOKED, &[&now, &REVOKED_MAX]).await?;
    let Some(row) = db.row(ALLOWANCE, &[]).await? else { return Ok(Vec::new()) };
    let allowance = Allowance {
        millitokens: get(&row, "millitokens")?,
        refilled_at: get(&row, "refilled_at")?,
        day: get(&row, "day")?,
        used_today: count(&row, "used_today")?,
    };
    let due: Vec<uuid::Uuid> =
        db.rows(DUE, &[&now, &i64::from(limit)]).await?.iter().map(|row| get(row, "id")).collect::<Result<_, _>>()?;
    let wanted = u32::try_from(due.len()).unwrap_or(u32::MAX);
    let (granted, left) = take(allowance, pace, wanted, now, now.to_zoned(TimeZone::UTC).date());
    let used = i64::try_from(left.used_today).unwrap_or(i64::MAX);
    db.execute(KEEP_ALLOWANCE, &[&left.millitokens, &left.refilled_at, &left.day, &used]).await?;
    let granted = &due[..due.len().min(granted as usize)];
    if granted.is_empty() {
        return Ok(Vec::new());
    }
    db.rows(LEASE, &[&granted, &until]).await?.iter().map(leased).collect()
}

fn leased(row: &Row) -> Result<LeasedFetch, StoreError> {
    let job = FetchJob {
        id: FetchJobId(get(row, "id")?),
        alias: alias_key(row)?,
        provider: get(row, "provider")?,
        kind: DataKind::parse(get(row, "kind")?).ok_or_else(|| strange("kind"))?,
        window: Window { start: get(row, "window_start")?, end: get(row, "window_end")? },
        attempts: small(row, "attempts")?,
        backfill: BackfillId(get(row, "backfill_id")?),
        origin: FetchOrigin::parse(get(row, "origin")?).ok_or_else(|| strange("origin"))?,
    };
    Ok(LeasedFetch { job, token: get(row, "lease_token")? })
}

const FINISH: &str = "
UPDATE fetch_job
   SET state = $3, run_at = coalesce($4, run_at), attempts = attempts + $5, reason = $6, status = $7,
       terra_reference = coalesce($8, terra_reference), locked_until = NULL, updated_at = $9
 WHERE id = $1 AND lease_token = $2 AND state = 'queued'";

pub(super) async fn finish(
    db: &Db,
    leased: &LeasedFetch,
    reaction: &Reaction,
    status: Option<u16>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let end = Ending::of(reaction);
    let status = status.map(i32::from);
    let kept = db
        .execute(
            FINISH,
            &[
                &leased.job.id.0,
                &leased.token,
                &fetch_state(reaction),
                &end.run_at,
                &end.failed_tries,
                &end.reason,
                &status,
                &end.reference,
                &now,
            ],
        )
        .await?;
    if kept == 0 {
        return Ok(false);
    }
    if let Reaction::PauseEnvironment { until } = reaction {
        postpone(db, &leased.job.alias.environment, None, *until).await?;
    }
    Ok(true)
}

/// What of a reaction is kept in columns.
#[derive(Default)]
struct Ending<'a> {
    run_at: Option<Timestamp>,
    failed_tries: i32,
    reason: Option<&'a str>,
    reference: Option<&'a str>,
}

impl<'a> Ending<'a> {
    fn of(reaction: &'a Reaction) -> Self {
        match reaction {
            Reaction::Requested { reference } => Ending { reference: reference.as_deref(), ..Ending::default() },
            Reaction::Inline | Reaction::Nothing => Ending::default(),
            Reaction::Wait { until, reason } => {
                Ending { run_at: Some(*until), reason: Some(reason), ..Ending::default() }
            }
            Reaction::Retry { at, reason } => {
                Ending { run_at: Some(*at), reason: Some(reason), failed_tries: 1, ..Ending::default() }
            }
            Reaction::PauseEnvironment { until } => {
                Ending { run_at: Some(*until), reason: Some("credentials_refused"), ..Ending::default() }
            }
            Reaction::Failed { reason } => Ending { reason: Some(reason), failed_tries: 1, ..Ending::default() },
        }
    }
}

const POSTPONE: &str = "
UPDATE fetch_job
   SET run_at = $3
 WHERE state = 'queued' AND environment = $1 AND ($2::text IS NULL OR terra_user_id = $2) AND run_at < $3";

pub(super) async fn postpone(
    db: &Db,
    environment: &Environment,
    alias: Option<&AliasKey>,
    until: Timestamp,
) -> Result<(), StoreError> {
    let user = alias.map(|alias| alias.terra_user_id.as_str());
    db.execute(POSTPONE, &[&environment.as_str(), &user, &until]).await?;
    Ok(())
}
