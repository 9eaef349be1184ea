//! Replays: what each run has chosen, how far it is, and what became of its deliveries.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::id::DeliveryId;
use domain::replay::{ItemState, Items, Predicted, Replay, ReplayId, State};
use domain::settle::class::{Class, fingerprint};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::audit;
use super::column::{count, json, json_text, ms, time, time_option, uuid, word};
use super::read::{after, limit};
use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::replay::PreviewPart;
use crate::store::tx::{AskedReplay, LedgerOutcome, SettledReplay};
use crate::store::{Audit, Counted, Listing, Page, Preview, ReplayItem, ReplayedView, StoreError, Turn};

/// Adds a run, or changes one that is still in the state `was`; false where it is not.
pub(super) fn write(
    connection: &Connection,
    run: &Replay,
    was: Option<State>,
    entry: Option<&Audit>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const ADD: &str = "
        INSERT INTO replay_run (id, selection, state, dry_run, actor, rate, requested_at, started_at, finished_at,
                                position, progress, reason)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    const CHANGE: &str = "
        UPDATE replay_run SET state = ?2, dry_run = ?3, started_at = ?4, finished_at = ?5, position = ?6,
                              progress = ?7, reason = ?8
        WHERE id = ?1 AND state = ?9";
    let position = run.position.map(|id| *id.0.as_bytes());
    let (started_at, finished_at) = (run.started_at.map(ms), run.finished_at.map(ms));
    let progress = json_text(&run.progress);
    let written = match was {
        None => connection.prepare_cached(ADD)?.execute(params![
            run.id.0.as_bytes(),
            json_text(&run.selection),
            run.state.label(),
            run.dry_run,
            run.actor,
            run.rate,
            ms(run.requested_at),
            started_at,
            finished_at,
            position,
            progress,
            run.reason,
        ])?,
        Some(was) => connection.prepare_cached(CHANGE)?.execute(params![
            run.id.0.as_bytes(),
            run.state.label(),
            run.dry_run,
            started_at,
            finished_at,
            position,
            progress,
            run.reason,
            was.label(),
        ])?,
    };
    if let Some(entry) = entry.filter(|_| written > 0) {
        audit::write(connection, entry, now)?;
    }
    Ok(written > 0)
}

/// Adds chosen deliveries and keeps how far the counting is, unless it was stopped meanwhile.
pub(super) fn add_items(
    connection: &Connection,
    run: &Replay,
    items: &[Counted],
    now: Timestamp,
) -> Result<bool, StoreError> {
    const ADD: &str = "
        INSERT INTO replay_item (run_id, delivery_id, received_at, chosen_as, predicted, place, state)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending') ON CONFLICT DO NOTHING";
    if !write(connection, run, Some(State::Counting), None, now)? {
        return Ok(false);
    }
    let mut statement = connection.prepare_cached(ADD)?;
    for item in items {
        statement.execute(params![
            run.id.0.as_bytes(),
            item.delivery.0.as_bytes(),
            ms(item.received_at),
            item.outcome.label(),
            item.predicted.label(),
            item.predicted.place(),
        ])?;
    }
    Ok(true)
}

pub(super) fn one(connection: &Connection, id: ReplayId) -> Result<Option<Replay>, StoreError> {
    const ONE: &str = "
        SELECT id, selection, state, dry_run, actor, rate, requested_at, started_at, finished_at, position, progress,
               reason
        FROM replay_run WHERE id = ?1";
    Ok(connection.prepare_cached(ONE)?.query_row([id.0.as_bytes()], run).optional()?)
}

/// Newest first.
pub(super) fn list(connection: &Connection, page: &Page) -> Result<Listing<Replay>, StoreError> {
    const PAGE: &str = "
        SELECT id, selection, state, dry_run, actor, rate, requested_at, started_at, finished_at, position, progress,
               reason
        FROM replay_run WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    let before: Uuid = after(page)?.unwrap_or(Uuid::max());
    let mut statement = connection.prepare_cached(PAGE)?;
    let rows = statement.query_map(params![before.as_bytes(), limit(page)], run)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |run: &Replay| run.id.to_string()))
}

/// Somebody waits for a count; a run may take hours.
pub(super) fn next(connection: &Connection) -> Result<Option<Replay>, StoreError> {
    const NEXT: &str = "
        SELECT id, selection, state, dry_run, actor, rate, requested_at, started_at, finished_at, position, progress,
               reason
        FROM replay_run WHERE state IN ('counting', 'running') ORDER BY state, requested_at, id LIMIT 1";
    Ok(connection.prepare_cached(NEXT)?.query_row([], run).optional()?)
}

fn run(row: &Row<'_>) -> rusqlite::Result<Replay> {
    Ok(Replay {
        id: ReplayId(uuid(row, "id")?),
        selection: json(row, "selection")?,
        state: word(row, "state", State::parse)?,
        dry_run: row.get("dry_run")?,
        actor: row.get("actor")?,
        rate: row.get("rate")?,
        requested_at: time(row, "requested_at")?,
        started_at: time_option(row, "started_at")?,
        finished_at: time_option(row, "finished_at")?,
        position: row.get::<_, Option<[u8; 16]>>("position")?.map(|id| DeliveryId(Uuid::from_bytes(id))),
        progress: json(row, "progress")?,
        reason: row.get("reason")?,
    })
}

pub(super) fn preview(connection: &Connection, id: ReplayId) -> Result<Preview, StoreError> {
    const PREVIEW: &str = "
        SELECT delivery.type_name, delivery.class, delivery.outcome, replay_item.predicted, count(*) AS deliveries,
               min(delivery.received_at) AS first_at, max(delivery.received_at) AS last_at
        FROM replay_item JOIN delivery ON delivery.id = replay_item.delivery_id
        WHERE replay_item.run_id = ?1 GROUP BY 1, 2, 3, 4";
    const USERS: &str = "
        SELECT count(DISTINCT delivery.environment || char(0) || delivery.terra_user_id) AS users
        FROM replay_item JOIN delivery ON delivery.id = replay_item.delivery_id
        WHERE replay_item.run_id = ?1";
    let mut statement = connection.prepare_cached(PREVIEW)?;
    let parts = statement.query_map([id.0.as_bytes()], |row| {
        Ok(PreviewPart {
            type_name: row.get("type_name")?,
            class: row.get("class")?,
            outcome: row.get("outcome")?,
            predicted: word(row, "predicted", Predicted::parse)?,
            deliveries: count(row, "deliveries")?,
            first_at: time(row, "first_at")?,
            last_at: time(row, "last_at")?,
        })
    })?;
    let parts = parts.collect::<rusqlite::Result<_>>()?;
    let users = connection.prepare_cached(USERS)?.query_row([id.0.as_bytes()], |row| count(row, "users"))?;
    Ok(Preview::of(parts, users))
}

pub(super) fn counts(connection: &Connection, id: ReplayId) -> Result<Items, StoreError> {
    const COUNTS: &str = "SELECT state, count(*) AS deliveries FROM replay_item WHERE run_id = ?1 GROUP BY state";
    let mut statement = connection.prepare_cached(COUNTS)?;
    let mut rows = statement.query([id.0.as_bytes()])?;
    let mut items = Items::default();
    while let Some(row) = rows.next()? {
        items.add(word(row, "state", ItemState::parse)?, count(row, "deliveries")?);
    }
    Ok(items)
}

pub(super) fn pending(connection: &Connection, id: ReplayId, limit: u32) -> Result<Vec<ReplayItem>, StoreError> {
    const PENDING: &str = "
        SELECT replay_item.delivery_id, delivery.metadata, delivery.body, delivery.attempts, replay_item.predicted,
               coalesce(delivery.outcome = 'discarded' AND replay_item.chosen_as IS NOT 'discarded', 0) AS discarded
        FROM replay_item LEFT JOIN delivery ON delivery.id = replay_item.delivery_id
        WHERE replay_item.run_id = ?1 AND replay_item.state = 'pending'
        ORDER BY replay_item.place, replay_item.delivery_id LIMIT ?2";
    let mut statement = connection.prepare_cached(PENDING)?;
    let rows = statement.query_map(params![id.0.as_bytes(), limit], item)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The next to go first. The causes of those that failed so far are left for later: one bad delivery, or one bad cause,
/// says nothing about the others.
pub(super) fn first(connection: &Connection, id: ReplayId) -> Result<Option<ReplayItem>, StoreError> {
    const FIRST: &str = "
        SELECT replay_item.delivery_id, delivery.metadata, delivery.body, delivery.attempts, replay_item.predicted,
               delivery.outcome = 'discarded' AND replay_item.chosen_as IS NOT 'discarded' AS discarded
        FROM replay_item JOIN delivery ON delivery.id = replay_item.delivery_id
        WHERE replay_item.run_id = ?1 AND replay_item.state = 'pending'
          AND coalesce(delivery.fingerprint, '') NOT IN
              (SELECT coalesce(failed.fingerprint, '')
               FROM replay_item AS other JOIN delivery AS failed ON failed.id = other.delivery_id
               WHERE other.run_id = ?1 AND other.state = 'failed')
        ORDER BY replay_item.place, replay_item.delivery_id LIMIT 1";
    match connection.prepare_cached(FIRST)?.query_row([id.0.as_bytes()], item).optional()? {
        Some(first) => Ok(Some(first)),
        None => Ok(pending(connection, id, 1)?.pop()),
    }
}

fn item(row: &Row<'_>) -> rusqlite::Result<ReplayItem> {
    let turn = match row.get::<_, Option<Vec<u8>>>("body")? {
        None => Turn::Gone,
        Some(_) if row.get("discarded")? => Turn::Discarded,
        Some(body) => {
            let job = Job { delivery: json(row, "metadata")?, body: Sealed(Bytes::from(body)) };
            Turn::Work(Box::new(job), row.get("attempts")?)
        }
    };
    let at_risk = word(row, "predicted", Predicted::parse)? == Predicted::Unknown;
    Ok(ReplayItem { delivery: DeliveryId(uuid(row, "delivery_id")?), at_risk, turn })
}

pub(super) fn list_items(
    connection: &Connection,
    id: ReplayId,
    state: Option<ItemState>,
    page: &Page,
) -> Result<Listing<ReplayedView>, StoreError> {
    const ITEMS: &str = "
        SELECT delivery_id, received_at, predicted, state, reason FROM replay_item
        WHERE run_id = ?1 AND (?2 IS NULL OR state = ?2) AND delivery_id > ?3 ORDER BY delivery_id LIMIT ?4";
    let place: Uuid = after(page)?.unwrap_or(Uuid::nil());
    let mut statement = connection.prepare_cached(ITEMS)?;
    let parameters = params![id.0.as_bytes(), state.map(ItemState::label), place.as_bytes(), limit(page)];
    let rows = statement.query_map(parameters, |row| {
        Ok(ReplayedView {
            delivery: DeliveryId(uuid(row, "delivery_id")?),
            received_at: time(row, "received_at")?,
            predicted: row.get("predicted")?,
            state: row.get("state")?,
            reason: row.get("reason")?,
        })
    })?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |view: &ReplayedView| view.delivery.to_string()))
}

const SETTLE_ONE: &str = "
    UPDATE replay_item SET state = ?3, reason = ?4 WHERE run_id = ?1 AND delivery_id = ?2 AND state = 'pending'";

/// What is dead stays so, with the new reason; what had an effect, or is tried again by itself, stays as it is.
pub(super) fn fail(
    connection: &Connection,
    id: ReplayId,
    job: &Job,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    const DISCARDED: &str = "
        SELECT delivery.outcome = 'discarded' AND replay_item.chosen_as IS NOT 'discarded'
        FROM replay_item JOIN delivery ON delivery.id = replay_item.delivery_id
        WHERE replay_item.run_id = ?1 AND replay_item.delivery_id = ?2";
    const STILL_DEAD: &str = "
        UPDATE delivery SET reason = ?2, class = ?3, fingerprint = ?4, attempts = attempts + 1, replay_id = ?5,
                            settled_at = ?6
        WHERE id = ?1 AND outcome = 'dead'";
    let delivery = &job.delivery;
    let of_run = params![id.0.as_bytes(), delivery.id.0.as_bytes()];
    let discarded: Option<bool> =
        connection.prepare_cached(DISCARDED)?.query_row(of_run, |row| row.get(0)).optional()?;
    if discarded == Some(true) {
        return leave(connection, id, delivery.id, ItemState::Discarded);
    }
    let failed = params![id.0.as_bytes(), delivery.id.0.as_bytes(), ItemState::Failed.label(), reason];
    if connection.prepare_cached(SETTLE_ONE)?.execute(failed)? > 0 {
        connection.prepare_cached(STILL_DEAD)?.execute(params![
            delivery.id.0.as_bytes(),
            reason,
            Class::of(reason).label(),
            fingerprint(reason, delivery.kind()),
            id.0.as_bytes(),
            ms(now),
        ])?;
    }
    Ok(())
}

pub(super) fn leave(
    connection: &Connection,
    id: ReplayId,
    delivery: DeliveryId,
    state: ItemState,
) -> Result<(), StoreError> {
    let left = params![id.0.as_bytes(), delivery.0.as_bytes(), state.label(), None::<&str>];
    connection.prepare_cached(SETTLE_ONE)?.execute(left)?;
    Ok(())
}

pub(super) fn retry_failed(connection: &Connection, id: ReplayId) -> Result<(), StoreError> {
    const RETRY: &str = "
        UPDATE replay_item SET state = 'pending', reason = NULL, place = place + 2
        WHERE run_id = ?1 AND state = 'failed'";
    connection.prepare_cached(RETRY)?.execute([id.0.as_bytes()])?;
    Ok(())
}

/// Which of these are pending. One thread writes: nobody settles them meanwhile.
pub(super) fn lock(
    connection: &Connection,
    asked: &[AskedReplay],
) -> Result<BTreeMap<(ReplayId, DeliveryId), Option<LedgerOutcome>>, StoreError> {
    const PENDING: &str = "
        SELECT chosen_as FROM replay_item WHERE run_id = ?1 AND delivery_id = ?2 AND state = 'pending'";
    let mut statement = connection.prepare_cached(PENDING)?;
    let mut pending = BTreeMap::new();
    for one in asked {
        let of_run = params![one.run.0.as_bytes(), one.delivery.0.as_bytes()];
        if let Some(chosen_as) = statement.query_row(of_run, |row| row.get::<_, Option<String>>(0)).optional()? {
            pending.insert((one.run, one.delivery), chosen_as.as_deref().and_then(LedgerOutcome::parse));
        }
    }
    Ok(pending)
}

pub(super) fn settle(connection: &Connection, settled: &[SettledReplay]) -> Result<(), StoreError> {
    const SETTLE: &str = "UPDATE replay_item SET state = ?3 WHERE run_id = ?1 AND delivery_id = ?2";
    let mut statement = connection.prepare_cached(SETTLE)?;
    for one in settled {
        statement.execute(params![one.run.0.as_bytes(), one.delivery.0.as_bytes(), one.state.label()])?;
    }
    Ok(())
}
