//! Recoveries: how far each is, the events it is about, and its requests.

use std::collections::BTreeSet;

use domain::fetch::FetchJob;
use domain::id::Environment;
use domain::recover::{Missed, MissedState, Pause, Recovery, RecoveryId, Step};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::column::{count, json, json_text, ms, time, time_option, uuid, word};
use super::enqueue;
use super::read::{after, limit};
use super::tx::{SqliteTx, at_once};
use crate::store::{Listing, Page, RecoveryBackfills, StoreError, apply};

/// Pauses of a preview.
const PAUSES_MAX: i64 = 10;

pub(super) fn write(connection: &Connection, recovery: &Recovery) -> Result<(), StoreError> {
    const WRITE: &str = "
        INSERT INTO recovery (id, environment, from_at, to_at, kinds, dry_run, actor, requested_at, started_at,
                              finished_at, state, progress, reason)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
        ON CONFLICT (id) DO UPDATE SET
            started_at = excluded.started_at, finished_at = excluded.finished_at, state = excluded.state,
            progress = excluded.progress, reason = excluded.reason";
    connection.prepare_cached(WRITE)?.execute(params![
        recovery.id.0.as_bytes(),
        recovery.environment.as_ref().map(Environment::as_str),
        ms(recovery.from),
        ms(recovery.to),
        recovery.kinds.join(","),
        recovery.dry_run,
        recovery.actor,
        ms(recovery.requested_at),
        recovery.started_at.map(ms),
        recovery.finished_at.map(ms),
        recovery.step.label(),
        json_text(&recovery.progress),
        recovery.reason,
    ])?;
    Ok(())
}

pub(super) fn one(connection: &Connection, id: RecoveryId) -> Result<Option<Recovery>, StoreError> {
    const ONE: &str = "
        SELECT id, environment, from_at, to_at, kinds, dry_run, actor, requested_at, started_at, finished_at, state,
               progress, reason
        FROM recovery WHERE id = ?1";
    Ok(connection.prepare_cached(ONE)?.query_row([id.0.as_bytes()], recovery).optional()?)
}

/// Newest first.
pub(super) fn list(connection: &Connection, page: &Page) -> Result<Listing<Recovery>, StoreError> {
    const PAGE: &str = "
        SELECT id, environment, from_at, to_at, kinds, dry_run, actor, requested_at, started_at, finished_at, state,
               progress, reason
        FROM recovery WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    let before: Uuid = after(page)?.unwrap_or(Uuid::max());
    let mut statement = connection.prepare_cached(PAGE)?;
    let rows = statement.query_map(params![before.as_bytes(), limit(page)], recovery)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |recovery: &Recovery| recovery.id.to_string()))
}

pub(super) fn next(connection: &Connection) -> Result<Option<Recovery>, StoreError> {
    const NEXT: &str = "
        SELECT id, environment, from_at, to_at, kinds, dry_run, actor, requested_at, started_at, finished_at, state,
               progress, reason
        FROM recovery WHERE state IN ('queued', 'counting', 'resending', 'arriving', 'fetching')
        ORDER BY requested_at, id LIMIT 1";
    Ok(connection.prepare_cached(NEXT)?.query_row([], recovery).optional()?)
}

fn recovery(row: &Row<'_>) -> rusqlite::Result<Recovery> {
    let kinds: String = row.get("kinds")?;
    Ok(Recovery {
        id: RecoveryId(uuid(row, "id")?),
        environment: row.get::<_, Option<String>>("environment")?.map(Environment::new),
        from: time(row, "from_at")?,
        to: time(row, "to_at")?,
        kinds: kinds.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
        dry_run: row.get("dry_run")?,
        actor: row.get("actor")?,
        requested_at: time(row, "requested_at")?,
        started_at: time_option(row, "started_at")?,
        finished_at: time_option(row, "finished_at")?,
        step: word(row, "state", Step::parse)?,
        progress: json(row, "progress")?,
        reason: row.get("reason")?,
    })
}

pub(super) fn add_missed(connection: &mut Connection, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
    const ADD: &str = "
        INSERT INTO recovery_event (recovery_id, environment, event_id, event_type, terra_user_id, sent_at, state,
                                    attempts)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', 0) ON CONFLICT DO NOTHING";
    let missed = at_once(apply::erased::missed_of_the_living(&mut SqliteTx { connection }, missed))?;
    let mut statement = connection.prepare_cached(ADD)?;
    for event in &missed {
        statement.execute(params![
            id.0.as_bytes(),
            event.environment.as_str(),
            event.event_id,
            event.event_type,
            event.terra_user_id,
            ms(event.sent_at),
        ])?;
    }
    Ok(())
}

pub(super) fn missed(
    connection: &Connection,
    id: RecoveryId,
    state: MissedState,
    limit: u32,
) -> Result<Vec<Missed>, StoreError> {
    const MISSED: &str = "
        SELECT environment, event_id, event_type, terra_user_id, sent_at, state, resent_at, attempts
        FROM recovery_event
        WHERE recovery_id = ?1 AND state = ?2 ORDER BY sent_at, environment, event_id LIMIT ?3";
    let mut statement = connection.prepare_cached(MISSED)?;
    let rows = statement.query_map(params![id.0.as_bytes(), state.label(), limit], |row| {
        Ok(Missed {
            environment: Environment::new(row.get::<_, String>("environment")?),
            event_id: row.get("event_id")?,
            event_type: row.get("event_type")?,
            terra_user_id: row.get("terra_user_id")?,
            sent_at: time(row, "sent_at")?,
            state: word(row, "state", MissedState::parse)?,
            resent_at: time_option(row, "resent_at")?,
            attempts: row.get("attempts")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn settle_missed(connection: &Connection, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
    const SETTLE: &str = "
        UPDATE recovery_event SET state = ?4, resent_at = ?5, attempts = ?6
        WHERE recovery_id = ?1 AND environment = ?2 AND event_id = ?3";
    let mut statement = connection.prepare_cached(SETTLE)?;
    for event in missed {
        statement.execute(params![
            id.0.as_bytes(),
            event.environment.as_str(),
            event.event_id,
            event.state.label(),
            event.resent_at.map(ms),
            event.attempts,
        ])?;
    }
    Ok(())
}

pub(super) fn missed_counts(
    connection: &Connection,
    id: RecoveryId,
) -> Result<Vec<(MissedState, u64, u64)>, StoreError> {
    const COUNTS: &str = "
        SELECT state, count(*) AS events, count(resent_at) AS resent FROM recovery_event
        WHERE recovery_id = ?1 GROUP BY state";
    let mut statement = connection.prepare_cached(COUNTS)?;
    let rows = statement.query_map([id.0.as_bytes()], |row| {
        Ok((word(row, "state", MissedState::parse)?, count(row, "events")?, count(row, "resent")?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn processed(
    connection: &Connection,
    events: &[(Environment, String)],
) -> Result<BTreeSet<(Environment, String)>, StoreError> {
    const PROCESSED: &str = "SELECT 1 FROM processed WHERE environment = ?1 AND dedupe_key = 'trace:' || ?2";
    let mut statement = connection.prepare_cached(PROCESSED)?;
    let mut processed = BTreeSet::new();
    for event in events {
        if statement.query_row(params![event.0.as_str(), event.1], |_| Ok(())).optional()?.is_some() {
            processed.insert(event.clone());
        }
    }
    Ok(processed)
}

pub(super) fn add_jobs(
    connection: &mut Connection,
    id: RecoveryId,
    jobs: &[FetchJob],
    at: Timestamp,
) -> Result<(), StoreError> {
    const ADD: &str = "
        INSERT INTO recovery_backfill (recovery_id, backfill_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    enqueue::insert(connection, jobs, at)?;
    let mut statement = connection.prepare_cached(ADD)?;
    for job in jobs {
        statement.execute(params![id.0.as_bytes(), job.backfill.0.as_bytes()])?;
    }
    Ok(())
}

pub(super) fn backfills(connection: &Connection, id: RecoveryId) -> Result<RecoveryBackfills, StoreError> {
    const BACKFILLS: &str = "
        SELECT count(*) AS backfills, coalesce(sum(backfill.requested), 0) AS requests,
               count(*) FILTER (WHERE backfill.state = 'open') AS open,
               count(*) FILTER (WHERE backfill.state = 'incomplete') AS incomplete
        FROM recovery_backfill JOIN backfill ON backfill.id = recovery_backfill.backfill_id
        WHERE recovery_backfill.recovery_id = ?1";
    Ok(connection.prepare_cached(BACKFILLS)?.query_row([id.0.as_bytes()], |row| {
        Ok(RecoveryBackfills {
            all: count(row, "backfills")?,
            requests: count(row, "requests")?,
            open: count(row, "open")?,
            incomplete: count(row, "incomplete")?,
        })
    })?)
}

pub(super) fn pauses(
    connection: &Connection,
    from: Timestamp,
    to: Timestamp,
    longer_than: SignedDuration,
) -> Result<Vec<Pause>, StoreError> {
    const PAUSES: &str = "
        WITH heard AS (
            SELECT received_at FROM delivery WHERE received_at >= ?1 AND received_at < ?2
            UNION ALL SELECT ?1
            UNION ALL SELECT ?2
        ), pause AS (
            SELECT received_at AS from_at, lead(received_at) OVER (ORDER BY received_at) AS to_at FROM heard
        )
        SELECT from_at, to_at FROM pause WHERE to_at - from_at >= ?3 ORDER BY to_at - from_at DESC, from_at LIMIT ?4";
    let longer_than = i64::try_from(longer_than.as_millis()).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(PAUSES)?;
    let rows = statement.query_map(params![ms(from), ms(to), longer_than, PAUSES_MAX], |row| {
        Ok(Pause { from: time(row, "from_at")?, to: time(row, "to_at")? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
