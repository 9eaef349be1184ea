//! Fetch jobs: requests for data that go to Terra one by one, at the installation's pace.

use std::collections::BTreeSet;

use domain::fetch::{self, Allowance, FetchJob, FetchOrigin, Pace, Reaction, Window};
use domain::id::{AliasKey, BackfillId, Environment, FetchJobId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use terra::event::DataKind;

use super::column::{count, ms, time, uuid, word};
use crate::store::{LeasedFetch, StoreError, fetch_state};

pub(super) fn insert(connection: &Connection, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
    const INSERT: &str = "
        INSERT INTO fetch_job (id, environment, terra_user_id, provider, kind, window_start, window_end, state, run_at,
                               attempts, updated_at, backfill_id, origin, priority)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', ?8, ?9, ?8, ?10, ?11, ?12) ON CONFLICT DO NOTHING";
    let mut statement = connection.prepare_cached(INSERT)?;
    for job in jobs {
        statement.execute(params![
            job.id.0.as_bytes(),
            job.alias.environment.as_str(),
            job.alias.terra_user_id.as_str(),
            job.provider,
            job.kind.label(),
            job.window.start.to_string(),
            job.window.end.to_string(),
            ms(at),
            job.attempts,
            job.backfill.0.as_bytes(),
            job.origin.label(),
            job.origin.priority(),
        ])?;
    }
    Ok(())
}

pub(super) fn references(
    connection: &Connection,
    references: &[(Environment, String)],
) -> Result<BTreeSet<(Environment, String)>, StoreError> {
    const OURS: &str = "SELECT 1 FROM fetch_job WHERE environment = ?1 AND terra_reference = ?2 LIMIT 1";
    let mut statement = connection.prepare_cached(OURS)?;
    let mut ours = BTreeSet::new();
    for (environment, reference) in references {
        if statement.query_row([environment.as_str(), reference], |_| Ok(())).optional()?.is_some() {
            ours.insert((environment.clone(), reference.clone()));
        }
    }
    Ok(ours)
}

/// Takes as many due jobs as the pace allows. Jobs of aliases that were revoked meanwhile fail here.
pub(super) fn lease(
    connection: &Connection,
    now: Timestamp,
    until: Timestamp,
    pace: Pace,
    limit: u32,
) -> Result<Vec<LeasedFetch>, StoreError> {
    const LOCK: &str = "UPDATE fetch_job SET lease_token = lease_token + 1, locked_until = ?2 WHERE id = ?1";
    let mut due = due(connection, now, limit)?;
    let wanted = u32::try_from(due.len()).unwrap_or(limit);
    if wanted == 0 {
        return Ok(due);
    }
    let today = now.to_zoned(TimeZone::UTC).date();
    let (granted, after) = fetch::take(allowance(connection)?, pace, wanted, now, today);
    keep_allowance(connection, &after)?;
    due.truncate(granted as usize);
    let mut lock = connection.prepare_cached(LOCK)?;
    for leased in &mut due {
        lock.execute(params![leased.job.id.0.as_bytes(), ms(until)])?;
        leased.token += 1;
    }
    Ok(due)
}

/// Due jobs of aliases that are not revoked. The work beyond `limit` is bounded: each revoked one is failed once.
fn due(connection: &Connection, now: Timestamp, limit: u32) -> Result<Vec<LeasedFetch>, StoreError> {
    const DUE: &str = "
        SELECT job.id, job.environment, job.terra_user_id, job.provider, job.kind, job.window_start, job.window_end,
               job.attempts, job.lease_token, job.backfill_id, job.origin,
               coalesce(alias.closed >= coalesce(alias.opened, x''), 0) AS revoked
        FROM fetch_job AS job
        LEFT JOIN alias ON alias.environment = job.environment AND alias.terra_user_id = job.terra_user_id
        WHERE job.state = 'queued' AND job.run_at <= ?1 AND (job.locked_until IS NULL OR job.locked_until <= ?1)
        ORDER BY job.run_at, job.rowid LIMIT ?2";
    const REVOKED: &str = "UPDATE fetch_job SET state = 'failed', reason = 'revoked', updated_at = ?2 WHERE id = ?1";
    let mut select = connection.prepare_cached(DUE)?;
    let mut fail = connection.prepare_cached(REVOKED)?;
    loop {
        let rows =
            select.query_map(params![ms(now), limit], |row| Ok((row.get::<_, bool>("revoked")?, leased_row(row)?)))?;
        let (revoked, due): (Vec<_>, Vec<_>) =
            rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().partition(|(revoked, _)| *revoked);
        for (_, leased) in &revoked {
            fail.execute(params![leased.job.id.0.as_bytes(), ms(now)])?;
        }
        if revoked.is_empty() {
            return Ok(due.into_iter().map(|(_, leased)| leased).collect());
        }
    }
}

fn leased_row(row: &Row<'_>) -> rusqlite::Result<LeasedFetch> {
    let environment = Environment::new(row.get::<_, String>("environment")?);
    let job = FetchJob {
        id: FetchJobId(uuid(row, "id")?),
        alias: AliasKey::new(&environment, &row.get::<_, String>("terra_user_id")?),
        provider: row.get("provider")?,
        kind: word(row, "kind", DataKind::parse)?,
        window: Window { start: date(row, "window_start")?, end: date(row, "window_end")? },
        attempts: row.get("attempts")?,
        backfill: BackfillId(uuid(row, "backfill_id")?),
        origin: word(row, "origin", FetchOrigin::parse)?,
    };
    Ok(LeasedFetch { job, token: row.get("lease_token")? })
}

fn date(row: &Row<'_>, name: &str) -> rusqlite::Result<jiff::civil::Date> {
    let text: String = row.get(name)?;
    text.parse().map_err(|_| rusqlite::Error::InvalidColumnType(0, name.to_owned(), Type::Text))
}

fn allowance(connection: &Connection) -> Result<Allowance, StoreError> {
    const READ: &str = "SELECT millitokens, refilled_at, day, used_today FROM fetch_allowance";
    let allowance = connection.prepare_cached(READ)?.query_row([], |row| {
        Ok(Allowance {
            millitokens: row.get("millitokens")?,
            refilled_at: time(row, "refilled_at")?,
            day: date(row, "day")?,
            used_today: count(row, "used_today")?,
        })
    })?;
    Ok(allowance)
}

fn keep_allowance(connection: &Connection, allowance: &Allowance) -> Result<(), StoreError> {
    const KEEP: &str = "UPDATE fetch_allowance SET millitokens = ?1, refilled_at = ?2, day = ?3, used_today = ?4";
    let row = params![
        allowance.millitokens,
        ms(allowance.refilled_at),
        allowance.day.to_string(),
        i64::try_from(allowance.used_today).unwrap_or(i64::MAX)
    ];
    connection.prepare_cached(KEEP)?.execute(row)?;
    Ok(())
}

/// What a reaction changes in a row.
struct Next<'a> {
    run_at: Option<Timestamp>,
    failed_tries: u32,
    reason: Option<&'a str>,
    reference: Option<&'a str>,
}

impl Next<'_> {
    fn of(reaction: &Reaction) -> Next<'_> {
        let next = Next { run_at: None, failed_tries: 0, reason: None, reference: None };
        match reaction {
            Reaction::Requested { reference } => Next { reference: reference.as_deref(), ..next },
            Reaction::Inline | Reaction::Nothing => next,
            Reaction::Wait { until, reason } => Next { run_at: Some(*until), reason: Some(reason), ..next },
            Reaction::Retry { at, reason } => Next { run_at: Some(*at), reason: Some(reason), failed_tries: 1, ..next },
            Reaction::PauseEnvironment { until } => {
                Next { run_at: Some(*until), reason: Some("credentials_refused"), ..next }
            }
            Reaction::Failed { reason } => Next { failed_tries: 1, reason: Some(reason), ..next },
        }
    }
}

/// Keeps what became of a job, unless somebody else has leased it since.
pub(super) fn finish(
    connection: &Connection,
    leased: &LeasedFetch,
    reaction: &Reaction,
    status: Option<u16>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const FINISH: &str = "
        UPDATE fetch_job
        SET state = ?3, run_at = coalesce(?4, run_at), attempts = attempts + ?5, reason = ?6,
            terra_reference = coalesce(?7, terra_reference), status = ?8, locked_until = NULL, updated_at = ?9
        WHERE id = ?1 AND lease_token = ?2 AND state = 'queued'";
    let next = Next::of(reaction);
    let kept = connection.prepare_cached(FINISH)?.execute(params![
        leased.job.id.0.as_bytes(),
        leased.token,
        fetch_state(reaction),
        next.run_at.map(ms),
        next.failed_tries,
        next.reason,
        next.reference,
        status,
        ms(now),
    ])?;
    if kept == 1
        && let Reaction::PauseEnvironment { until } = reaction
    {
        postpone(connection, &leased.job.alias.environment, None, *until)?;
    }
    Ok(kept == 1)
}

pub(super) fn postpone(
    connection: &Connection,
    environment: &Environment,
    alias: Option<&AliasKey>,
    until: Timestamp,
) -> Result<(), StoreError> {
    const POSTPONE: &str = "
        UPDATE fetch_job SET run_at = ?3
        WHERE state = 'queued' AND environment = ?1 AND (?2 IS NULL OR terra_user_id = ?2) AND run_at < ?3";
    let terra_user_id = alias.map(|alias| alias.terra_user_id.as_str());
    connection.prepare_cached(POSTPONE)?.execute(params![environment.as_str(), terra_user_id, ms(until)])?;
    Ok(())
}
