//! Backfills: wishes, what came of them, and when to look at them again.

use std::time::Duration;

use async_trait::async_trait;
use domain::backfill::{Asked, Chunk, Sent};
use domain::fetch::Window;
use domain::id::{AliasKey, BackfillId, Environment, FetchJobId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use terra::event::DataKind;
use uuid::Uuid;

use super::column::{ms, time, time_option, uuid, word};
use super::fetch::date;
use super::tx::{SqliteTx, at_once};
use crate::store::StoreError;
use crate::store::backfill::{
    Account, Accounts, BackfillRound, CLAIM, Looked, Notes, STRANGER_AFTER, announced_request, ask_state,
    id_of_reference, look,
};

/// Something of the backfills that lean on this job has changed: they are looked at soon.
pub(super) fn touch_of_job(connection: &Connection, job: Uuid, now: Timestamp) -> Result<(), StoreError> {
    const TOUCH: &str = "
        UPDATE backfill SET look_at = ?2
        WHERE id IN (SELECT backfill_id FROM backfill_fetch WHERE fetch_job_id = ?1) AND state = 'open' AND look_at > ?2";
    connection.prepare_cached(TOUCH)?.execute(params![job.as_bytes(), ms(now)])?;
    Ok(())
}

pub(super) fn note(connection: &Connection, notes: &Notes, at: Timestamp) -> Result<(), StoreError> {
    const CHUNK: &str = "
        INSERT INTO fetch_chunk (environment, reference, dedupe_key, number, items, size_bytes, first_day, last_day,
                                 received_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (environment, reference, dedupe_key)
        DO UPDATE SET items = max(items, excluded.items), size_bytes = max(size_bytes, excluded.size_bytes),
                      received_at = min(received_at, excluded.received_at)";
    const ANNOUNCED: &str = "
        INSERT INTO fetch_request (environment, reference, terra_user_id, provider, expected, announced_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (environment, reference)
        DO UPDATE SET expected = CASE WHEN expected IS NULL OR excluded.expected > expected THEN excluded.expected
                                      ELSE expected END,
                      terra_user_id = coalesce(terra_user_id, excluded.terra_user_id),
                      provider = coalesce(provider, excluded.provider),
                      announced_at = min(announced_at, excluded.announced_at)";
    const TOUCH: &str = "
        UPDATE backfill SET look_at = ?3
        WHERE state = 'open' AND look_at > ?3
          AND (id IN (SELECT link.backfill_id FROM fetch_job AS job
                      JOIN backfill_fetch AS link ON link.fetch_job_id = job.id
                      WHERE job.environment = ?1 AND job.terra_reference = ?2)
               OR id IN (SELECT id FROM backfill WHERE environment = ?1 AND reference = ?2))";
    for ((environment, reference, key), chunk) in &notes.chunks {
        connection.prepare_cached(CHUNK)?.execute(params![
            environment.as_str(),
            reference,
            key,
            chunk.number,
            chunk.items,
            i64::try_from(chunk.bytes).unwrap_or(i64::MAX),
            chunk.days.map(|days| days.0.to_string()),
            chunk.days.map(|days| days.1.to_string()),
            ms(chunk.received_at),
        ])?;
    }
    for ((environment, reference), announced) in &notes.announced {
        connection.prepare_cached(ANNOUNCED)?.execute(params![
            environment.as_str(),
            reference,
            announced.terra_user_id,
            announced.provider,
            announced.expected,
            ms(announced.at),
        ])?;
    }
    for (environment, reference) in notes.references() {
        connection.prepare_cached(TOUCH)?.execute(params![environment.as_str(), reference, ms(at)])?;
    }
    Ok(())
}

/// Those that are due, claimed for a while, after large requests of others have got a backfill of their own.
pub(super) fn claim(
    connection: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(Account, Timestamp)>, StoreError> {
    const CLAIM_DUE: &str = "
        UPDATE backfill SET look_at = ?2
        WHERE id IN (SELECT id FROM backfill WHERE state = 'open' AND look_at <= ?1 ORDER BY look_at LIMIT ?3)
        RETURNING id, environment, terra_user_id, provider, origin, reference, kinds, window_start, window_end";
    adopt(connection, now, limit)?;
    let until = now.checked_add(CLAIM).unwrap_or(now);
    let mut statement = connection.prepare_cached(CLAIM_DUE)?;
    let rows = statement.query_map(params![ms(now), ms(until), limit], |row| Ok((account(row)?, until)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn adopt(connection: &Connection, now: Timestamp, limit: u32) -> Result<(), StoreError> {
    const STRANGERS: &str = "
        SELECT environment, reference, terra_user_id, provider, announced_at
        FROM fetch_request
        WHERE NOT tracked AND announced_at <= ?1
        LIMIT ?2";
    const IS_OURS: &str = "SELECT 1 FROM fetch_job WHERE environment = ?1 AND terra_reference = ?2 LIMIT 1";
    const ADOPT: &str = "
        INSERT INTO backfill (id, environment, terra_user_id, provider, origin, reference, kinds, state, created_at,
                              progressed_at, look_at)
        VALUES (?1, ?2, ?3, ?4, 'terra', ?5, '', 'open', ?6, ?6, ?7) ON CONFLICT DO NOTHING";
    const TRACKED: &str = "UPDATE fetch_request SET tracked = 1 WHERE environment = ?1 AND reference = ?2";
    let before = now.checked_sub(STRANGER_AFTER).unwrap_or(now);
    let mut strangers = connection.prepare_cached(STRANGERS)?;
    let rows = strangers.query_map(params![ms(before), limit], |row| {
        let environment = Environment::new(row.get::<_, String>("environment")?);
        let user: Option<String> = row.get("terra_user_id")?;
        let provider: Option<String> = row.get("provider")?;
        Ok((environment, row.get::<_, String>("reference")?, user, provider, time(row, "announced_at")?))
    })?;
    for (environment, reference, user, provider, at) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
        let key = [environment.as_str(), &reference];
        let is_ours = connection.prepare_cached(IS_OURS)?.query_row(key, |_| Ok(())).optional()?.is_some();
        if let (false, Some(user)) = (is_ours, user) {
            let id = id_of_reference(&environment, &reference);
            let row = params![id.0.as_bytes(), environment.as_str(), user, provider, reference, ms(at), ms(now)];
            connection.prepare_cached(ADOPT)?.execute(row)?;
        }
        connection.prepare_cached(TRACKED)?.execute(key)?;
    }
    Ok(())
}

pub(super) fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let environment = Environment::new(row.get::<_, String>("environment")?);
    let has_days = row.get::<_, Option<String>>("window_start")?.is_some();
    Ok(Account {
        id: BackfillId(uuid(row, "id")?),
        alias: AliasKey::new(&environment, &row.get::<_, String>("terra_user_id")?),
        provider: row.get("provider")?,
        origin: row.get("origin")?,
        reference: row.get("reference")?,
        kinds: row.get("kinds")?,
        days: if has_days {
            Some(Window { start: date(row, "window_start")?, end: date(row, "window_end")? })
        } else {
            None
        },
    })
}

/// Looks at one that was claimed.
pub(super) fn look_at_one(
    connection: &mut Connection,
    account: &Account,
    now: Timestamp,
    stall: Duration,
) -> Result<BackfillRound, StoreError> {
    at_once(look(&mut SqliteTx { connection }, account, now, stall))
}

#[async_trait]
impl Accounts for SqliteTx<'_> {
    async fn asked(&mut self, account: &Account) -> Result<Vec<Asked>, StoreError> {
        asked(self.connection, account)
    }

    async fn keep_looked(&mut self, looked: &Looked, now: Timestamp) -> Result<bool, StoreError> {
        keep_looked(self.connection, looked, now)
    }
}

pub(super) fn asked(connection: &Connection, account: &Account) -> Result<Vec<Asked>, StoreError> {
    const JOBS: &str = "
        SELECT job.id, job.kind, job.window_start, job.window_end, job.state, job.reason, job.updated_at,
               job.size_bytes, job.terra_reference, link.gap_of, link.round
        FROM backfill_fetch AS link
        JOIN fetch_job AS job ON job.id = link.fetch_job_id
        WHERE link.backfill_id = ?1 AND job.merged_into IS NULL
        ORDER BY job.kind, job.window_start, job.id";
    let environment = &account.alias.environment;
    if let Some(reference) = &account.reference {
        let sent = sent(connection, environment, reference)?;
        let since = sent.announced_at.unwrap_or(Timestamp::UNIX_EPOCH);
        return Ok(vec![announced_request(account, since, sent)]);
    }
    let mut jobs = connection.prepare_cached(JOBS)?;
    let rows = jobs.query_map([account.id.0.as_bytes()], |row| {
        let gap_of = uuid(row, "gap_of")?;
        let reason: Option<String> = row.get("reason")?;
        Ok(Asked {
            id: FetchJobId(uuid(row, "id")?),
            kind: Some(word(row, "kind", DataKind::parse)?),
            window: Some(Window { start: date(row, "window_start")?, end: date(row, "window_end")? }),
            state: word(row, "state", |state| ask_state(state, reason.clone()))?,
            since: time(row, "updated_at")?,
            bytes: super::column::count(row, "size_bytes")?,
            reference: row.get("terra_reference")?,
            sent: Sent::default(),
            gap: if gap_of.is_nil() { None } else { Some((FetchJobId(gap_of), row.get("round")?)) },
        })
    })?;
    let mut asked = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for one in &mut asked {
        if let Some(reference) = &one.reference {
            one.sent = sent(connection, environment, reference)?;
        }
    }
    Ok(asked)
}

/// What Terra sent under a reference.
fn sent(connection: &Connection, environment: &Environment, reference: &str) -> Result<Sent, StoreError> {
    const REQUEST: &str = "SELECT expected, announced_at FROM fetch_request WHERE environment = ?1 AND reference = ?2";
    const CHUNKS: &str = "
        SELECT dedupe_key, number, items, size_bytes, first_day, last_day, received_at
        FROM fetch_chunk
        WHERE environment = ?1 AND reference = ?2";
    let key = [environment.as_str(), reference];
    let mut sent = Sent::default();
    let announced = connection
        .prepare_cached(REQUEST)?
        .query_row(key, |row| Ok((row.get("expected")?, time(row, "announced_at")?)))
        .optional()?;
    if let Some((expected, at)) = announced {
        sent.absorb_announcement(expected, at);
    }
    let mut chunks = connection.prepare_cached(CHUNKS)?;
    let rows = chunks.query_map(key, |row| {
        let has_days = row.get::<_, Option<String>>("first_day")?.is_some();
        let chunk = Chunk {
            number: row.get("number")?,
            items: row.get("items")?,
            bytes: super::column::count(row, "size_bytes")?,
            days: if has_days { Some((date(row, "first_day")?, date(row, "last_day")?)) } else { None },
            received_at: time(row, "received_at")?,
        };
        Ok((row.get::<_, String>("dedupe_key")?, chunk))
    })?;
    for row in rows {
        let (key, chunk) = row?;
        sent.absorb_chunk(&key, chunk);
    }
    Ok(sent)
}

fn keep_looked(connection: &Connection, looked: &Looked, now: Timestamp) -> Result<bool, StoreError> {
    const KEEP: &str = "
        UPDATE backfill
        SET state = ?2, reason = ?3, requested = ?4, expected = ?5, received = ?6, size_bytes = ?7,
            progressed_at = coalesce(?8, progressed_at), stalled_since = ?9,
            look_at = CASE WHEN look_at < ?12 THEN min(look_at, ?10) ELSE ?10 END,
            settled_at = CASE WHEN ?2 = 'open' THEN NULL ELSE ?11 END
        WHERE id = ?1 AND state = 'open'";
    let progress = &looked.progress;
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let kept = connection.prepare_cached(KEEP)?.execute(params![
        looked.id.0.as_bytes(),
        looked.state.label(),
        looked.reason,
        progress.requested,
        whole(progress.expected),
        whole(progress.received),
        whole(progress.bytes),
        progress.last_at.map(ms),
        looked.stalled_since.map(ms),
        ms(looked.look_at),
        ms(now),
        now.checked_add(CLAIM).map_or(i64::MAX, ms),
    ])?;
    Ok(kept == 1)
}

/// For reading: when a row last said so itself.
pub(super) fn times(row: &Row<'_>) -> rusqlite::Result<(Timestamp, Timestamp, Option<Timestamp>, Option<Timestamp>)> {
    Ok((
        time(row, "created_at")?,
        time(row, "progressed_at")?,
        time_option(row, "stalled_since")?,
        time_option(row, "settled_at")?,
    ))
}
