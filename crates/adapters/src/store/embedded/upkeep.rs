//! The schema's version, and deleting what has had its time.

use std::time::Duration;

use bytes::Bytes;
use domain::erasure::SUBJECT_KEPT;
use domain::id::DeliveryId;
use domain::usage::month_of;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::column::{ms, time, uuid};
use super::{backfill_upkeep, payloads};
use crate::embedded::schema_version;
use crate::payloads::Sealed;
use crate::store::erasing::{BLANK, warn_of_dead};
use crate::store::tx::Unneeded;
use crate::store::{LEASE_MAX, Schema, StoreError, judge_schema};

/// Rows of each table that one operation deletes: some milliseconds of the writer's time.
const ROWS_MAX: usize = 500;

const PROCESSED_KEEP: SignedDuration = SignedDuration::from_hours(90 * 24);
/// What became of each delivery of a replay; the run itself, with its numbers, stays.
const REPLAY_ITEM_KEEP: SignedDuration = SignedDuration::from_hours(30 * 24);
const SESSION_KEEP: SignedDuration = SignedDuration::from_hours(24);
/// Two years of bills, and the month that began before them.
const USAGE_KEEP: SignedDuration = SignedDuration::from_hours(770 * 24);

pub(super) fn schema(connection: &Connection) -> Result<Schema, StoreError> {
    const READABLE_FROM: &str = "SELECT readable_from FROM schema_level";
    let version = schema_version(connection)?;
    if version == 0 {
        return Ok(judge_schema(0, 0));
    }
    let readable_from = connection.prepare_cached(READABLE_FROM)?.query_row([], |row| row.get(0))?;
    Ok(judge_schema(version, readable_from))
}

/// What a clock that was wrong has hidden for longer than any lease lasts. Days that are spent when a request is
/// answered were spent at the latest now.
fn free_far_leases(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    const TURNS: &str = "
        UPDATE fetch_turn SET due_at = ?1
        WHERE (environment, terra_user_id, priority) IN
            (SELECT environment, terra_user_id, priority FROM fetch_job WHERE state = 'queued' AND locked_until > ?2)";
    const REQUESTS: &str =
        "UPDATE fetch_job SET locked_until = NULL WHERE ?1 IS NOT NULL AND state = 'queued' AND locked_until > ?2";
    const SPENT: &str = "UPDATE fetch_spend SET spent_at = ?1 WHERE spent_at > ?2";
    const REFERENCES: &str =
        "UPDATE resolution SET locked_until = NULL, run_at = ?1 WHERE user_id IS NULL AND locked_until > ?2";
    for sql in [TURNS, REQUESTS, SPENT, REFERENCES] {
        connection.prepare_cached(sql)?.execute(params![ms(now), ms(now + LEASE_MAX)])?;
    }
    Ok(())
}

/// One operation; true where there is more to delete.
pub(super) fn step(connection: &Connection, now: Timestamp, keep_deliveries: Duration) -> Result<bool, StoreError> {
    const DELIVERIES: &str = "
        DELETE FROM delivery WHERE id IN (SELECT id FROM delivery WHERE received_at < ?1 LIMIT ?2)
        RETURNING id, received_at, body, outcome = 'dead' AS is_dead,
                  outcome IN ('retry', 'dead', 'discarded')
                  AND NOT EXISTS (SELECT 1 FROM replay_run JOIN replay_item ON replay_item.run_id = replay_run.id
                                   WHERE replay_item.delivery_id = delivery.id AND replay_item.state = 'pending')
                  AS is_without_effect";
    const PROCESSED: &str = "
        DELETE FROM processed WHERE (environment, dedupe_key) IN
            (SELECT environment, dedupe_key FROM processed WHERE processed_at < ?1 LIMIT ?2)";
    const SESSIONS: &str = "
        DELETE FROM connect_session WHERE id IN (SELECT id FROM connect_session WHERE expires_at < ?1 LIMIT ?2)";
    const USAGE: &str = "
        DELETE FROM usage WHERE (environment, terra_user_id, kind, month, origin) IN
            (SELECT environment, terra_user_id, kind, month, origin FROM usage WHERE month < ?1 LIMIT ?2)";
    const REPLAY_ITEMS: &str = "
        DELETE FROM replay_item WHERE (run_id, delivery_id) IN
            (SELECT run_id, delivery_id FROM replay_item JOIN replay_run ON replay_run.id = replay_item.run_id
             WHERE replay_run.state IN ('done', 'previewed', 'cancelled', 'failed')
               AND coalesce(replay_run.finished_at, replay_run.requested_at) < ?1 LIMIT ?2)";
    // The event of an erasure is the last that names somebody; every service has had its time to read it.
    const FORGET_TOLD: &str = "
        UPDATE event SET subject = NULL, data = ?2
        WHERE id IN (SELECT event_id FROM erasure WHERE requested_at < ?1) AND data <> ?2";
    let rows_max = i64::try_from(ROWS_MAX).unwrap_or(i64::MAX);
    let before = |age: SignedDuration| now.checked_sub(age).map_or(i64::MIN, ms);
    let keep = SignedDuration::try_from(keep_deliveries).unwrap_or(SignedDuration::MAX);

    let mut statement = connection.prepare_cached(DELIVERIES)?;
    let mut dead = 0;
    let bodies = statement.query_map(params![before(keep), rows_max], |row| {
        dead += u64::from(row.get::<_, bool>("is_dead")?);
        let body = Sealed(Bytes::from(row.get::<_, Vec<u8>>("body")?));
        let (id, received_at) = (DeliveryId(uuid(row, "id")?), time(row, "received_at")?);
        let documents = row.get::<_, bool>("is_without_effect")?.then(|| Sealed::documents_of(id, received_at));
        Ok([Some(body), documents])
    })?;
    let bodies = bodies.collect::<rusqlite::Result<Vec<_>>>()?;
    warn_of_dead(dead);
    let unneeded = bodies.iter().flatten().flatten().map(|payload| Unneeded { payload: payload.clone(), record: None });
    payloads::let_go(connection, &unneeded.collect::<Vec<_>>())?;
    let processed = connection.prepare_cached(PROCESSED)?.execute(params![before(PROCESSED_KEEP), rows_max])?;
    let sessions = connection.prepare_cached(SESSIONS)?.execute(params![before(SESSION_KEEP), rows_max])?;

    let items = connection.prepare_cached(REPLAY_ITEMS)?.execute(params![before(REPLAY_ITEM_KEEP), rows_max])?;
    let months = now.checked_sub(USAGE_KEEP).map_or_else(|_| String::new(), |end| month_of(end).to_string());
    let usage = connection.prepare_cached(USAGE)?.execute(params![months, rows_max])?;

    let told = params![before(SUBJECT_KEPT), BLANK];
    connection.prepare_cached(FORGET_TOLD)?.execute(told)?;

    free_far_leases(connection, now)?;
    let fetching = backfill_upkeep::step(connection, now, ROWS_MAX)?;
    Ok(fetching || [bodies.len(), processed, sessions, items, usage].contains(&ROWS_MAX))
}
