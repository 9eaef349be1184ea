//! Replays: what each run has chosen, how far it is, and what became of its deliveries.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::id::DeliveryId;
use domain::replay::{ItemState, Items, Predicted, Progress, Replay, ReplayId, Selection, State};
use domain::settle::class::{Class, fingerprint};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::audit;
use super::read::{cursor, one_more};
use super::row::{column, count, get, integer, small, strange};
use super::unit::Db;
use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::replay::PreviewPart;
use crate::store::tx::{AskedReplay, LedgerOutcome, SettledReplay};
use crate::store::{Audit, Counted, Listing, Page, Preview, ReplayItem, ReplayedView, StoreError, Turn};

const ADD: &str = "
INSERT INTO replay_run (id, selection, state, dry_run, actor, rate, requested_at, started_at, finished_at, position,
                        progress, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

const CHANGE: &str = "
UPDATE replay_run
   SET state = $2, dry_run = $3, started_at = $4, finished_at = $5, position = $6, progress = $7, reason = $8
 WHERE id = $1 AND state = $9";

/// Adds a run, or changes one that is still in the state `was`; false where it is not.
pub(super) async fn write(
    db: &Db,
    run: &Replay,
    was: Option<State>,
    entry: Option<&Audit>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let position = run.position.map(|id| id.0);
    let (selection, progress, state) = (Json(&run.selection), Json(&run.progress), run.state.label());
    let written = match was {
        None => {
            db.execute(
                ADD,
                &[
                    &run.id.0,
                    &selection,
                    &state,
                    &run.dry_run,
                    &run.actor,
                    &integer(run.rate),
                    &run.requested_at,
                    &run.started_at,
                    &run.finished_at,
                    &position,
                    &progress,
                    &run.reason,
                ],
            )
            .await?
        }
        Some(was) => {
            db.execute(
                CHANGE,
                &[
                    &run.id.0,
                    &state,
                    &run.dry_run,
                    &run.started_at,
                    &run.finished_at,
                    &position,
                    &progress,
                    &run.reason,
                    &was.label(),
                ],
            )
            .await?
        }
    };
    if let Some(entry) = entry.filter(|_| written > 0) {
        audit::write(db, entry, now).await?;
    }
    Ok(written > 0)
}

const ADD_ITEMS: &str = "
INSERT INTO replay_item (run_id, delivery_id, received_at, chosen_as, predicted, place, state)
SELECT $1, delivery_id, received_at, chosen_as, predicted, place, 'pending'
  FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::int[])
    AS counted (delivery_id, received_at, chosen_as, predicted, place)
    ON CONFLICT DO NOTHING";

/// Adds chosen deliveries and keeps how far the counting is, unless it was stopped meanwhile.
pub(super) async fn add_items(db: &Db, run: &Replay, items: &[Counted], now: Timestamp) -> Result<bool, StoreError> {
    if !write(db, run, Some(State::Counting), None, now).await? {
        return Ok(false);
    }
    db.execute(
        ADD_ITEMS,
        &[
            &run.id.0,
            &column(items, |item| item.delivery.0),
            &column(items, |item| item.received_at),
            &column(items, |item| item.outcome.label()),
            &column(items, |item| item.predicted.label()),
            &column(items, |item| integer(item.predicted.place())),
        ],
    )
    .await?;
    Ok(true)
}

const LIST: &str = "
SELECT id, selection, state, dry_run, actor, rate, requested_at, started_at, finished_at, position, progress, reason
  FROM replay_run
 WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3";

pub(super) async fn one(db: &Db, id: ReplayId) -> Result<Option<Replay>, StoreError> {
    db.row(LIST, &[&Some(id.0), &None::<Uuid>, &1_i64]).await?.as_ref().map(run).transpose()
}

pub(super) async fn list(db: &Db, page: &Page) -> Result<Listing<Replay>, StoreError> {
    let before: Option<Uuid> = cursor(page)?;
    let rows = db.rows(LIST, &[&None::<Uuid>, &before, &one_more(page)]).await?;
    let runs = rows.iter().map(run).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(runs, page, |run| run.id.to_string()))
}

/// Somebody waits for a count; a run may take hours.
const NEXT: &str = "
SELECT id, selection, state, dry_run, actor, rate, requested_at, started_at, finished_at, position, progress, reason
  FROM replay_run
 WHERE state IN ('counting', 'running')
 ORDER BY state, requested_at, id
 LIMIT 1";

pub(super) async fn next(db: &Db) -> Result<Option<Replay>, StoreError> {
    db.row(NEXT, &[]).await?.as_ref().map(run).transpose()
}

fn run(row: &Row) -> Result<Replay, StoreError> {
    let Json(selection): Json<Selection> = get(row, "selection")?;
    let Json(progress): Json<Progress> = get(row, "progress")?;
    Ok(Replay {
        id: ReplayId(get(row, "id")?),
        selection,
        state: State::parse(get(row, "state")?).ok_or_else(|| strange("state"))?,
        dry_run: get(row, "dry_run")?,
        actor: get(row, "actor")?,
        rate: small(row, "rate")?,
        requested_at: get(row, "requested_at")?,
        started_at: get(row, "started_at")?,
        finished_at: get(row, "finished_at")?,
        position: get::<Option<Uuid>>(row, "position")?.map(DeliveryId),
        progress,
        reason: get(row, "reason")?,
    })
}

const PREVIEW: &str = "
SELECT delivery.type_name, delivery.class, delivery.outcome, replay_item.predicted, count(*) AS deliveries,
       min(delivery.received_at) AS first_at, max(delivery.received_at) AS last_at
  FROM replay_item
  JOIN delivery ON delivery.received_at = replay_item.received_at AND delivery.id = replay_item.delivery_id
 WHERE replay_item.run_id = $1
 GROUP BY 1, 2, 3, 4";

const USERS: &str = "
SELECT count(DISTINCT (delivery.environment, delivery.terra_user_id)) AS users
  FROM replay_item
  JOIN delivery ON delivery.received_at = replay_item.received_at AND delivery.id = replay_item.delivery_id
 WHERE replay_item.run_id = $1 AND delivery.terra_user_id IS NOT NULL";

pub(super) async fn preview(db: &Db, id: ReplayId) -> Result<Preview, StoreError> {
    let rows = db.rows(PREVIEW, &[&id.0]).await?;
    let parts = rows.iter().map(|row| {
        Ok(PreviewPart {
            type_name: get(row, "type_name")?,
            class: get(row, "class")?,
            outcome: get(row, "outcome")?,
            predicted: Predicted::parse(get(row, "predicted")?).ok_or_else(|| strange("predicted"))?,
            deliveries: count(row, "deliveries")?,
            first_at: get(row, "first_at")?,
            last_at: get(row, "last_at")?,
        })
    });
    let users = db.row(USERS, &[&id.0]).await?.ok_or_else(|| strange("users"))?;
    Ok(Preview::of(parts.collect::<Result<Vec<_>, StoreError>>()?, count(&users, "users")?))
}

const COUNTS: &str = "SELECT state, count(*) AS deliveries FROM replay_item WHERE run_id = $1 GROUP BY state";

pub(super) async fn counts(db: &Db, id: ReplayId) -> Result<Items, StoreError> {
    let mut items = Items::default();
    for row in db.rows(COUNTS, &[&id.0]).await? {
        let state = ItemState::parse(get(&row, "state")?).ok_or_else(|| strange("state"))?;
        items.add(state, count(&row, "deliveries")?);
    }
    Ok(items)
}

const PENDING: &str = "
SELECT replay_item.delivery_id, delivery.metadata, delivery.body, delivery.attempts,
       replay_item.predicted,
       coalesce(delivery.outcome = 'discarded' AND replay_item.chosen_as IS DISTINCT FROM 'discarded', false) AS discarded
  FROM (SELECT delivery_id, received_at, chosen_as, predicted, place
          FROM replay_item
         WHERE run_id = $1 AND state = 'pending'
         ORDER BY place, delivery_id
         LIMIT $2) AS replay_item
  LEFT JOIN delivery ON delivery.received_at = replay_item.received_at AND delivery.id = replay_item.delivery_id
 ORDER BY replay_item.place, replay_item.delivery_id";

pub(super) async fn pending(db: &Db, id: ReplayId, limit: u32) -> Result<Vec<ReplayItem>, StoreError> {
    let rows = db.rows(PENDING, &[&id.0, &i64::from(limit)]).await?;
    rows.iter().map(item).collect()
}

/// The next to go first. The causes of those that failed so far are left for later: one bad delivery, or one bad cause,
/// says nothing about the others.
const FIRST: &str = "
SELECT replay_item.delivery_id, delivery.metadata, delivery.body, delivery.attempts, replay_item.predicted,
       delivery.outcome = 'discarded' AND replay_item.chosen_as IS DISTINCT FROM 'discarded' AS discarded
  FROM replay_item
  JOIN delivery ON delivery.received_at = replay_item.received_at AND delivery.id = replay_item.delivery_id
 WHERE replay_item.run_id = $1
   AND replay_item.state = 'pending'
   AND coalesce(delivery.fingerprint, '') NOT IN
       (SELECT coalesce(failed.fingerprint, '')
          FROM replay_item AS other
          JOIN delivery AS failed ON failed.received_at = other.received_at AND failed.id = other.delivery_id
         WHERE other.run_id = $1 AND other.state = 'failed')
 ORDER BY replay_item.place, replay_item.delivery_id
 LIMIT 1";

pub(super) async fn first(db: &Db, id: ReplayId) -> Result<Option<ReplayItem>, StoreError> {
    match db.row(FIRST, &[&id.0]).await? {
        Some(row) => item(&row).map(Some),
        None => Ok(pending(db, id, 1).await?.pop()),
    }
}

fn item(row: &Row) -> Result<ReplayItem, StoreError> {
    let turn = match get::<Option<Vec<u8>>>(row, "body")? {
        None => Turn::Gone,
        Some(_) if get(row, "discarded")? => Turn::Discarded,
        Some(body) => {
            let delivery = serde_json::from_value(get(row, "metadata")?).map_err(|_| strange("metadata"))?;
            Turn::Work(Box::new(Job { delivery, body: Sealed(Bytes::from(body)) }), small(row, "attempts")?)
        }
    };
    let at_risk = get::<&str>(row, "predicted")? == Predicted::Unknown.label();
    Ok(ReplayItem { delivery: DeliveryId(get(row, "delivery_id")?), at_risk, turn })
}

const ITEMS: &str = "
SELECT delivery_id, received_at, predicted, state, reason
  FROM replay_item
 WHERE run_id = $1
   AND ($2::text IS NULL OR state = $2)
   AND ($3::uuid IS NULL OR delivery_id > $3)
 ORDER BY delivery_id
 LIMIT $4";

pub(super) async fn list_items(
    db: &Db,
    id: ReplayId,
    state: Option<ItemState>,
    page: &Page,
) -> Result<Listing<ReplayedView>, StoreError> {
    let after: Option<Uuid> = cursor(page)?;
    let rows = db.rows(ITEMS, &[&id.0, &state.map(ItemState::label), &after, &one_more(page)]).await?;
    let view = |row: &Row| {
        Ok(ReplayedView {
            delivery: DeliveryId(get(row, "delivery_id")?),
            received_at: get(row, "received_at")?,
            predicted: get(row, "predicted")?,
            state: get(row, "state")?,
            reason: get(row, "reason")?,
        })
    };
    let views = rows.iter().map(view).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Listing::of(views, page, |view| view.delivery.to_string()))
}

const SETTLE_ONE: &str = "
UPDATE replay_item SET state = $3, reason = $4 WHERE run_id = $1 AND delivery_id = $2 AND state = 'pending'";

/// Whoever discards it now waits, or has discarded it.
const DISCARDED: &str = "
SELECT delivery.outcome = 'discarded' AND replay_item.chosen_as IS DISTINCT FROM 'discarded' AS discarded
  FROM replay_item
  JOIN delivery ON delivery.received_at = replay_item.received_at AND delivery.id = replay_item.delivery_id
 WHERE replay_item.run_id = $1 AND replay_item.delivery_id = $2
   FOR NO KEY UPDATE";

const STILL_DEAD: &str = "
UPDATE delivery
   SET reason = $3, class = $4, fingerprint = $5, attempts = attempts + 1, replay_id = $6, settled_at = $7
 WHERE received_at = $1 AND id = $2 AND outcome = 'dead'";

/// What is dead stays so, with the new reason; what had an effect, or is tried again by itself, stays as it is.
pub(super) async fn fail(db: &Db, id: ReplayId, job: &Job, reason: &str, now: Timestamp) -> Result<(), StoreError> {
    let delivery = &job.delivery;
    if let Some(row) = db.row(DISCARDED, &[&id.0, &delivery.id.0]).await?
        && get(&row, "discarded")?
    {
        return leave(db, id, delivery.id, ItemState::Discarded).await;
    }
    let failed = ItemState::Failed.label();
    if db.execute(SETTLE_ONE, &[&id.0, &delivery.id.0, &failed, &Some(reason)]).await? > 0 {
        let (class, fingerprint) = (Class::of(reason).label(), fingerprint(reason, delivery.kind()));
        db.execute(STILL_DEAD, &[&delivery.received_at, &delivery.id.0, &reason, &class, &fingerprint, &id.0, &now])
            .await?;
    }
    Ok(())
}

pub(super) async fn leave(db: &Db, id: ReplayId, delivery: DeliveryId, state: ItemState) -> Result<(), StoreError> {
    db.execute(SETTLE_ONE, &[&id.0, &delivery.0, &state.label(), &None::<&str>]).await?;
    Ok(())
}

const RETRY: &str = "
UPDATE replay_item SET state = 'pending', reason = NULL, place = place + 2 WHERE run_id = $1 AND state = 'failed'";

pub(super) async fn retry_failed(db: &Db, id: ReplayId) -> Result<(), StoreError> {
    db.execute(RETRY, &[&id.0]).await?;
    Ok(())
}

/// Two workers of one run meet here: the second waits until the first has ended, and then finds nothing pending.
const LOCK: &str = "
SELECT replay_item.run_id, replay_item.delivery_id, replay_item.chosen_as
  FROM replay_item
  JOIN unnest($1::uuid[], $2::uuid[]) AS asked (run_id, delivery_id)
    ON replay_item.run_id = asked.run_id AND replay_item.delivery_id = asked.delivery_id
 WHERE replay_item.state = 'pending'
 ORDER BY replay_item.run_id, replay_item.delivery_id
   FOR UPDATE OF replay_item";

/// Who discards one of these waits, or is done before their outcomes are read.
const LOCK_DEAD: &str = "
SELECT delivery.id
  FROM delivery
  JOIN unnest($1::uuid[], $2::timestamptz[]) AS asked (id, received_at)
    ON delivery.received_at = asked.received_at AND delivery.id = asked.id
 WHERE delivery.outcome = 'dead'
 ORDER BY delivery.received_at, delivery.id
   FOR NO KEY UPDATE OF delivery";

pub(super) async fn lock(
    db: &Db,
    asked: &[AskedReplay],
) -> Result<BTreeMap<(ReplayId, DeliveryId), Option<LedgerOutcome>>, StoreError> {
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (runs, ids) = (column(asked, |one| one.run.0), column(asked, |one| one.delivery.0));
    let rows = db.rows(LOCK, &[&runs, &ids]).await?;
    db.rows(LOCK_DEAD, &[&ids, &column(asked, |one| one.received_at)]).await?;
    rows.iter()
        .map(|row| {
            let chosen_as = get::<Option<&str>>(row, "chosen_as")?.and_then(LedgerOutcome::parse);
            Ok(((ReplayId(get(row, "run_id")?), DeliveryId(get(row, "delivery_id")?)), chosen_as))
        })
        .collect()
}

const SETTLE: &str = "
UPDATE replay_item SET state = settled.state
  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS settled (run_id, delivery_id, state)
 WHERE replay_item.run_id = settled.run_id AND replay_item.delivery_id = settled.delivery_id";

pub(super) async fn settle(db: &Db, settled: &[SettledReplay]) -> Result<(), StoreError> {
    if settled.is_empty() {
        return Ok(());
    }
    db.execute(
        SETTLE,
        &[
            &column(settled, |one| one.run.0),
            &column(settled, |one| one.delivery.0),
            &column(settled, |one| one.state.label()),
        ],
    )
    .await?;
    Ok(())
}
