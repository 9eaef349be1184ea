//! Queueing fetch jobs: each day of an alias and kind is asked for once, whoever wishes for it.

use std::collections::{BTreeMap, BTreeSet};

use domain::fetch::{FetchJob, Queued, Window, coalesce};
use domain::id::{AliasKey, FetchJobId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use terra::event::DataKind;
use uuid::Uuid;

use super::column::{ms, uuid, word};
use super::fetch::date;
use super::tx::{SqliteTx, at_once};
use crate::store::backfill::{Wished, wishes};
use crate::store::{StoreError, apply};

pub(super) fn insert(connection: &mut Connection, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
    let jobs = at_once(apply::erased::of_the_living(&mut SqliteTx { connection }, jobs))?;
    let jobs = unknown(connection, &jobs)?;
    for wish in wishes(&jobs) {
        insert_backfill(connection, &wish, at)?;
    }
    let mut by_alias: BTreeMap<&AliasKey, Vec<FetchJob>> = BTreeMap::new();
    for job in &jobs {
        by_alias.entry(&job.alias).or_default().push(job.clone());
    }
    for (alias, wanted) in by_alias {
        insert_of_alias(connection, alias, &wanted, at)?;
    }
    Ok(())
}

/// Those whose cause did not queue them before.
fn unknown(connection: &Connection, jobs: &[FetchJob]) -> Result<Vec<FetchJob>, StoreError> {
    const KNOWN: &str = "SELECT 1 FROM fetch_job WHERE id = ?1";
    let mut statement = connection.prepare_cached(KNOWN)?;
    let mut unknown = Vec::new();
    for job in jobs {
        if statement.query_row([job.id.0.as_bytes()], |_| Ok(())).optional()?.is_none() {
            unknown.push(job.clone());
        }
    }
    Ok(unknown)
}

fn insert_backfill(connection: &Connection, wish: &Wished<'_>, at: Timestamp) -> Result<(), StoreError> {
    const INSERT: &str = "
        INSERT INTO backfill (id, environment, terra_user_id, provider, origin, kinds, window_start, window_end, state,
                              requested, expected, created_at, progressed_at, look_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'open', ?9, ?9, ?10, ?10, ?10)
        ON CONFLICT (id) DO UPDATE SET look_at = min(look_at, excluded.look_at)";
    connection.prepare_cached(INSERT)?.execute(params![
        wish.id.0.as_bytes(),
        wish.alias.environment.as_str(),
        wish.alias.terra_user_id.as_str(),
        wish.provider,
        wish.origin.label(),
        wish.kinds,
        wish.days.start.to_string(),
        wish.days.end.to_string(),
        wish.requested,
        ms(at),
    ])?;
    Ok(())
}

fn insert_of_alias(
    connection: &Connection,
    alias: &AliasKey,
    wanted: &[FetchJob],
    at: Timestamp,
) -> Result<(), StoreError> {
    let merged = coalesce(&queued(connection, alias, at)?, wanted);
    for job in &merged.insert {
        insert_one(connection, job, at)?;
    }
    for (gone, into) in &merged.absorbed {
        absorb(connection, *gone, *into, at)?;
    }
    for (index, job) in &merged.links {
        link(connection, &wanted[*index], *job)?;
    }
    let priorities: BTreeSet<u8> = wanted.iter().map(|job| job.origin.priority()).collect();
    for priority in priorities {
        take_turn(connection, alias, wanted[0].provider.as_deref(), priority, at)?;
    }
    Ok(())
}

fn queued(connection: &Connection, alias: &AliasKey, at: Timestamp) -> Result<Vec<Queued>, StoreError> {
    const QUEUED: &str = "
        SELECT id, kind, window_start, window_end, coalesce(locked_until > ?3, 0) AS held
        FROM fetch_job
        WHERE environment = ?1 AND terra_user_id = ?2 AND state = 'queued'";
    let mut statement = connection.prepare_cached(QUEUED)?;
    let key = params![alias.environment.as_str(), alias.terra_user_id.as_str(), ms(at)];
    let rows = statement.query_map(key, |row| {
        Ok(Queued {
            id: FetchJobId(uuid(row, "id")?),
            kind: word(row, "kind", DataKind::parse)?,
            window: Window { start: date(row, "window_start")?, end: date(row, "window_end")? },
            held: row.get("held")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn absorb(connection: &Connection, gone: FetchJobId, into: FetchJobId, at: Timestamp) -> Result<(), StoreError> {
    const ABSORB: &str = "
        UPDATE fetch_job SET state = 'nothing', reason = 'merged', merged_into = ?2, updated_at = ?3 WHERE id = ?1";
    const RELINK: &str = "
        INSERT INTO backfill_fetch (backfill_id, fetch_job_id, gap_of, round)
        SELECT backfill_id, ?2, gap_of, round FROM backfill_fetch WHERE fetch_job_id = ?1
        ON CONFLICT DO NOTHING";
    const INHERIT: &str = "
        UPDATE fetch_job SET priority = min(priority, (SELECT gone.priority FROM fetch_job AS gone WHERE gone.id = ?1))
        WHERE id = ?2";
    connection.prepare_cached(ABSORB)?.execute(params![gone.0.as_bytes(), into.0.as_bytes(), ms(at)])?;
    connection.prepare_cached(INHERIT)?.execute([gone.0.as_bytes(), into.0.as_bytes()])?;
    connection.prepare_cached(RELINK)?.execute([gone.0.as_bytes(), into.0.as_bytes()])?;
    Ok(())
}

fn insert_one(connection: &Connection, job: &FetchJob, at: Timestamp) -> Result<(), StoreError> {
    const INSERT: &str = "
        INSERT INTO fetch_job (id, environment, terra_user_id, provider, kind, window_start, window_end, state, run_at,
                               attempts, updated_at, backfill_id, origin, priority)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', ?8, ?9, ?8, ?10, ?11, ?12) ON CONFLICT DO NOTHING";
    connection.prepare_cached(INSERT)?.execute(params![
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
    Ok(())
}

/// The wish leans on this job; what somebody waits for pulls the job ahead.
fn link(connection: &Connection, wanted: &FetchJob, job: FetchJobId) -> Result<(), StoreError> {
    const LINK: &str = "
        INSERT INTO backfill_fetch (backfill_id, fetch_job_id, gap_of, round) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING";
    const PULL: &str = "UPDATE fetch_job SET priority = ?2 WHERE id = ?1 AND priority > ?2 AND state = 'queued'";
    let (gap_of, round) = wanted.gap.map_or((Uuid::nil(), 0), |gap| (gap.of.0, gap.round));
    let row = params![wanted.backfill.0.as_bytes(), job.0.as_bytes(), gap_of.as_bytes(), round];
    connection.prepare_cached(LINK)?.execute(row)?;
    connection.prepare_cached(PULL)?.execute(params![job.0.as_bytes(), wanted.origin.priority()])?;
    Ok(())
}

fn take_turn(
    connection: &Connection,
    alias: &AliasKey,
    provider: Option<&str>,
    priority: u8,
    at: Timestamp,
) -> Result<(), StoreError> {
    const TURN: &str = "
        INSERT INTO fetch_turn (environment, terra_user_id, priority, provider, due_at, served_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?5)
        ON CONFLICT (environment, terra_user_id, priority)
        DO UPDATE SET due_at = min(due_at, excluded.due_at), provider = coalesce(excluded.provider, provider)";
    let (environment, user) = (alias.environment.as_str(), alias.terra_user_id.as_str());
    let row = params![environment, user, priority, provider.map(str::to_uppercase), ms(at)];
    connection.prepare_cached(TURN)?.execute(row)?;
    Ok(())
}
