//! Fetch jobs: requests for data that go to Terra one by one, at the installation's pace and within each user's budget.

use std::collections::BTreeMap;

use domain::fetch::{
    self, Allowance, Candidate, FetchJob, FetchOrigin, Reaction, Spend, Window, choose, cost, effects,
};
use domain::id::{AliasKey, BackfillId, Environment, FetchJobId};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use terra::event::DataKind;

use super::column::{count, ms, time, uuid, word};
use super::{backfill, pause};
use crate::store::fetching::{After, Ending, FetchAsk, SCANS_MAX, Turn, afters, chosen_jobs, jobs_per_turn, turns_max};
use crate::store::{LeasedFetch, StoreError};

/// Why jobs of ours asked for what came under these references.
pub(super) fn references(
    connection: &Connection,
    references: &[(Environment, String)],
) -> Result<BTreeMap<(Environment, String), FetchOrigin>, StoreError> {
    const OURS: &str = "SELECT origin FROM fetch_job WHERE environment = ?1 AND terra_reference = ?2 LIMIT 1";
    let mut statement = connection.prepare_cached(OURS)?;
    let mut ours = BTreeMap::new();
    for (environment, reference) in references {
        let origin = statement
            .query_row([environment.as_str(), reference], |row| word(row, "origin", FetchOrigin::parse))
            .optional()?;
        if let Some(origin) = origin {
            ours.insert((environment.clone(), reference.clone()), origin);
        }
    }
    Ok(ours)
}

/// Takes as many due jobs as pace and budgets allow. Jobs of aliases that were revoked meanwhile fail here.
pub(super) fn lease(connection: &Connection, ask: &FetchAsk) -> Result<Vec<LeasedFetch>, StoreError> {
    let today = ask.now.to_zoned(TimeZone::UTC).date();
    let allowance = allowance(connection)?;
    let (granted, _) = fetch::take(allowance, ask.pace, ask.limit, ask.now, today);
    let mut leased = Vec::new();
    for _ in 0..SCANS_MAX {
        if granted == 0 || !leased.is_empty() {
            break;
        }
        let (revoked, turns): (Vec<Turn>, Vec<Turn>) =
            turns(connection, ask, turns_max(granted))?.into_iter().partition(|turn| turn.is_revoked);
        if revoked.is_empty() && turns.is_empty() {
            break;
        }
        fail_revoked(connection, &revoked, ask.now)?;
        let per_turn = jobs_per_turn(granted, turns.len());
        let mut candidates = Vec::new();
        let mut spends = BTreeMap::new();
        for turn in turns {
            let jobs = due(connection, &turn, ask.now, per_turn)?;
            spends.insert(turn.alias.clone(), spent(connection, &turn.alias, ask)?);
            candidates.push(Candidate { alias: turn.alias, priority: turn.priority, jobs });
        }
        let choice = choose(&candidates, spends, &ask.budget, granted as usize, ask.now);
        for job in chosen_jobs(&candidates, &choice) {
            leased.push(lock(connection, job, ask.until)?);
        }
        for (candidate, after) in candidates.iter().zip(afters(&candidates, &choice, per_turn, ask.now)) {
            keep_turn(connection, candidate, &after, ask.now)?;
        }
    }
    if !leased.is_empty() {
        let taken = u32::try_from(leased.len()).unwrap_or(u32::MAX);
        keep_allowance(connection, &fetch::take(allowance, ask.pace, taken, ask.now, today).1)?;
    }
    Ok(leased)
}

fn turns(connection: &Connection, ask: &FetchAsk, limit: u32) -> Result<Vec<Turn>, StoreError> {
    const TURNS: &str = "
        SELECT turn.environment, turn.terra_user_id, turn.priority,
               coalesce(alias.closed >= coalesce(alias.opened, x''), 0) AS revoked
        FROM fetch_turn AS turn
        LEFT JOIN alias ON alias.environment = turn.environment AND alias.terra_user_id = turn.terra_user_id
        WHERE turn.due_at <= ?1 AND (NOT ?2 OR turn.priority = 0)
          AND NOT EXISTS (SELECT 1 FROM fetch_pause WHERE environment = turn.environment AND scope = 'environment'
                                                      AND subject = '' AND until > ?1)
          AND NOT EXISTS (SELECT 1 FROM fetch_pause WHERE environment = turn.environment AND scope = 'provider'
                                                      AND subject = turn.provider AND until > ?1)
          AND NOT EXISTS (SELECT 1 FROM fetch_pause WHERE environment = turn.environment AND scope = 'alias'
                                                      AND subject = turn.terra_user_id AND until > ?1)
        ORDER BY turn.priority, turn.served_at LIMIT ?3";
    let mut statement = connection.prepare_cached(TURNS)?;
    let rows = statement.query_map(params![ms(ask.now), ask.urgent_only, limit], |row| {
        let environment = Environment::new(row.get::<_, String>("environment")?);
        Ok(Turn {
            alias: AliasKey::new(&environment, &row.get::<_, String>("terra_user_id")?),
            priority: row.get("priority")?,
            is_revoked: row.get("revoked")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn fail_revoked(connection: &Connection, turns: &[Turn], now: Timestamp) -> Result<(), StoreError> {
    const FAIL: &str = "
        UPDATE fetch_job SET state = 'failed', reason = 'revoked', locked_until = NULL, updated_at = ?3
        WHERE environment = ?1 AND terra_user_id = ?2 AND state = 'queued'
          AND (locked_until IS NULL OR locked_until <= ?3)
        RETURNING id";
    const FORGET: &str = "DELETE FROM fetch_turn WHERE environment = ?1 AND terra_user_id = ?2";
    for Turn { alias, .. } in turns {
        let (environment, user) = (alias.environment.as_str(), alias.terra_user_id.as_str());
        let mut fail = connection.prepare_cached(FAIL)?;
        let failed = fail
            .query_map(params![environment, user, ms(now)], |row| uuid(row, "id"))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        connection.prepare_cached(FORGET)?.execute([environment, user])?;
        for job in failed {
            backfill::touch_of_job(connection, job, now)?;
        }
    }
    Ok(())
}

/// A user's due jobs of one priority, the newest days first.
fn due(connection: &Connection, turn: &Turn, now: Timestamp, limit: u32) -> Result<Vec<FetchJob>, StoreError> {
    const DUE: &str = "
        SELECT id, environment, terra_user_id, provider, kind, window_start, window_end, attempts, backfill_id, origin
        FROM fetch_job
        WHERE environment = ?1 AND terra_user_id = ?2 AND priority = ?3 AND state = 'queued' AND run_at <= ?4
          AND (locked_until IS NULL OR locked_until <= ?4)
        ORDER BY window_start DESC, kind LIMIT ?5";
    let mut statement = connection.prepare_cached(DUE)?;
    let (environment, user) = (turn.alias.environment.as_str(), turn.alias.terra_user_id.as_str());
    let rows = statement.query_map(params![environment, user, turn.priority, ms(now), limit], job)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn spent(connection: &Connection, alias: &AliasKey, ask: &FetchAsk) -> Result<Vec<Spend>, StoreError> {
    const SPENT: &str =
        "SELECT spent_at, days FROM fetch_spend WHERE environment = ?1 AND terra_user_id = ?2 AND spent_at > ?3";
    let counts_for = SignedDuration::try_from(ask.budget.counts_for()).unwrap_or(SignedDuration::MAX);
    let since = ask.now.checked_sub(counts_for).unwrap_or(Timestamp::MIN);
    let mut statement = connection.prepare_cached(SPENT)?;
    let row = |row: &Row<'_>| Ok(Spend { at: time(row, "spent_at")?, days: row.get("days")? });
    let rows =
        statement.query_map(params![alias.environment.as_str(), alias.terra_user_id.as_str(), ms(since)], row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Hides a job from others, and counts its days as spent for as long as its answer is not known.
fn lock(connection: &Connection, job: &FetchJob, until: Timestamp) -> Result<LeasedFetch, StoreError> {
    const LOCK: &str =
        "UPDATE fetch_job SET lease_token = lease_token + 1, locked_until = ?2 WHERE id = ?1 RETURNING lease_token";
    const SPEND: &str = "
        INSERT INTO fetch_spend (fetch_job_id, lease_token, environment, terra_user_id, days, spent_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let id = job.id.0.as_bytes();
    let token: i64 = connection.prepare_cached(LOCK)?.query_row(params![id, ms(until)], |row| row.get(0))?;
    let (environment, user) = (job.alias.environment.as_str(), job.alias.terra_user_id.as_str());
    connection.prepare_cached(SPEND)?.execute(params![id, token, environment, user, cost(job), ms(until)])?;
    Ok(LeasedFetch { job: job.clone(), token })
}

fn keep_turn(connection: &Connection, candidate: &Candidate, after: &After, now: Timestamp) -> Result<(), StoreError> {
    const NEXT: &str = "
        SELECT min(max(run_at, coalesce(locked_until, 0))) AS next
        FROM fetch_job
        WHERE environment = ?1 AND terra_user_id = ?2 AND priority = ?3 AND state = 'queued'";
    const KEEP: &str = "
        UPDATE fetch_turn SET due_at = ?4, served_at = CASE WHEN ?5 THEN ?6 ELSE served_at END
        WHERE environment = ?1 AND terra_user_id = ?2 AND priority = ?3";
    const FORGET: &str = "DELETE FROM fetch_turn WHERE environment = ?1 AND terra_user_id = ?2 AND priority = ?3";
    let key = (candidate.alias.environment.as_str(), candidate.alias.terra_user_id.as_str(), candidate.priority);
    let due: Option<i64> = match after.due {
        Some(due) => Some(ms(due)),
        None => connection.prepare_cached(NEXT)?.query_row(key, |row| row.get("next"))?,
    };
    match due {
        Some(due) => {
            let (environment, user, priority) = key;
            let row = params![environment, user, priority, due, after.is_served, ms(now)];
            connection.prepare_cached(KEEP)?.execute(row)?;
        }
        None => {
            connection.prepare_cached(FORGET)?.execute(key)?;
        }
    }
    Ok(())
}

fn job(row: &Row<'_>) -> rusqlite::Result<FetchJob> {
    let environment = Environment::new(row.get::<_, String>("environment")?);
    Ok(FetchJob {
        id: FetchJobId(uuid(row, "id")?),
        alias: AliasKey::new(&environment, &row.get::<_, String>("terra_user_id")?),
        provider: row.get("provider")?,
        kind: word(row, "kind", DataKind::parse)?,
        window: Window { start: date(row, "window_start")?, end: date(row, "window_end")? },
        attempts: row.get("attempts")?,
        backfill: BackfillId(uuid(row, "backfill_id")?),
        origin: word(row, "origin", FetchOrigin::parse)?,
        gap: None,
    })
}

pub(super) fn date(row: &Row<'_>, name: &str) -> rusqlite::Result<jiff::civil::Date> {
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
            terra_reference = coalesce(?7, terra_reference), status = ?8, locked_until = NULL, updated_at = ?9,
            size_bytes = size_bytes + ?10
        WHERE id = ?1 AND lease_token = ?2 AND state = 'queued'";
    const SPENT: &str =
        "UPDATE fetch_spend SET spent_at = min(spent_at, ?3) WHERE fetch_job_id = ?1 AND lease_token = ?2";
    const DUE: &str = "UPDATE fetch_turn SET due_at = min(due_at, ?3) WHERE environment = ?1 AND terra_user_id = ?2";
    let (job, end) = (&leased.job, Ending::of(reaction));
    let kept = connection.prepare_cached(FINISH)?.execute(params![
        job.id.0.as_bytes(),
        leased.token,
        end.state,
        end.run_at.map(ms),
        end.failed_tries,
        end.reason,
        end.reference,
        status,
        ms(now),
        end.bytes,
    ])?;
    if kept == 0 {
        return Ok(false);
    }
    connection.prepare_cached(SPENT)?.execute(params![job.id.0.as_bytes(), leased.token, ms(now)])?;
    // What is answered may make room in the budget; what is put off says itself when it is due.
    let (environment, user) = (job.alias.environment.as_str(), job.alias.terra_user_id.as_str());
    connection.prepare_cached(DUE)?.execute(params![environment, user, ms(now)])?;
    pause::apply(connection, job, &effects(reaction), now)?;
    if end.state != "queued" {
        backfill::touch_of_job(connection, job.id.0, now)?;
    }
    Ok(true)
}
