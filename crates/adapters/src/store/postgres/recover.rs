//! Recoveries: how far each is, the events it is about, and its requests.

use std::collections::BTreeSet;

use domain::fetch::FetchJob;
use domain::id::Environment;
use domain::recover::{Missed, MissedState, Pause, Progress, Recovery, RecoveryId, Step};
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::read::{cursor, one_more};
use super::row::{column, count, environment, environments, get, integer, small, strange};
use super::unit::Db;
use super::{enqueue, identity};
use crate::store::{Listing, Page, RecoveryBackfills, StoreError, apply};

/// Pauses of a preview.
const PAUSES_MAX: i64 = 10;

const WRITE: &str = "
INSERT INTO recovery (id, environment, from_at, to_at, kinds, dry_run, actor, requested_at, started_at, finished_at,
                      state, progress, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (id) DO UPDATE
   SET started_at = excluded.started_at, finished_at = excluded.finished_at, state = excluded.state,
       progress = excluded.progress, reason = excluded.reason";

pub(super) async fn write(db: &Db, recovery: &Recovery) -> Result<(), StoreError> {
    let progress = serde_json::to_value(&recovery.progress).map_err(|_| strange("progress"))?;
    db.execute(
        WRITE,
        &[
            &recovery.id.0,
            &recovery.environment.as_ref().map(Environment::as_str),
            &recovery.from,
            &recovery.to,
            &recovery.kinds.join(","),
            &recovery.dry_run,
            &recovery.actor,
            &recovery.requested_at,
            &recovery.started_at,
            &recovery.finished_at,
            &recovery.step.label(),
            &progress,
            &recovery.reason,
        ],
    )
    .await?;
    Ok(())
}

const LIST: &str = "
SELECT id, environment, from_at, to_at, kinds, dry_run, actor, requested_at, started_at, finished_at, state, progress,
       reason
  FROM recovery
 WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3";

pub(super) async fn one(db: &Db, id: RecoveryId) -> Result<Option<Recovery>, StoreError> {
    db.row(LIST, &[&Some(id.0), &None::<Uuid>, &1_i64]).await?.as_ref().map(recovery).transpose()
}

pub(super) async fn list(db: &Db, page: &Page) -> Result<Listing<Recovery>, StoreError> {
    let before: Option<Uuid> = cursor(page)?;
    let rows = db.rows(LIST, &[&None::<Uuid>, &before, &one_more(page)]).await?;
    let recoveries = rows.iter().map(recovery).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(recoveries, page, |recovery| recovery.id.to_string()))
}

const NEXT: &str = "
SELECT id, environment, from_at, to_at, kinds, dry_run, actor, requested_at, started_at, finished_at, state, progress,
       reason
  FROM recovery
 WHERE state IN ('queued', 'counting', 'resending', 'arriving', 'fetching')
 ORDER BY requested_at, id
 LIMIT 1";

pub(super) async fn next(db: &Db) -> Result<Option<Recovery>, StoreError> {
    db.row(NEXT, &[]).await?.as_ref().map(recovery).transpose()
}

fn recovery(row: &Row) -> Result<Recovery, StoreError> {
    Ok(Recovery {
        id: RecoveryId(get(row, "id")?),
        environment: get::<Option<String>>(row, "environment")?.map(Environment::new),
        from: get(row, "from_at")?,
        to: get(row, "to_at")?,
        kinds: get::<&str>(row, "kinds")?.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
        dry_run: get(row, "dry_run")?,
        actor: get(row, "actor")?,
        requested_at: get(row, "requested_at")?,
        started_at: get(row, "started_at")?,
        finished_at: get(row, "finished_at")?,
        step: Step::parse(get(row, "state")?).ok_or_else(|| strange("state"))?,
        progress: serde_json::from_value::<Progress>(get(row, "progress")?).map_err(|_| strange("progress"))?,
        reason: get(row, "reason")?,
    })
}

const ADD_MISSED: &str = "
INSERT INTO recovery_event (recovery_id, environment, event_id, event_type, terra_user_id, sent_at, state,
                            attempts)
SELECT $1, environment, event_id, event_type, terra_user_id, sent_at, 'pending', 0
  FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
       AS missed (environment, event_id, event_type, terra_user_id, sent_at)
    ON CONFLICT DO NOTHING";

pub(super) async fn add_missed(db: &mut Db, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
    identity::lock(db, false).await?;
    let missed = apply::erased::missed_of_the_living(db, missed).await?;
    db.execute(
        ADD_MISSED,
        &[
            &id.0,
            &column(&missed, |event| event.environment.as_str()),
            &column(&missed, |event| event.event_id.as_str()),
            &column(&missed, |event| event.event_type.as_str()),
            &column(&missed, |event| event.terra_user_id.as_str()),
            &column(&missed, |event| event.sent_at),
        ],
    )
    .await?;
    Ok(())
}

const MISSED: &str = "
SELECT environment, event_id, event_type, terra_user_id, sent_at, state, resent_at, attempts
  FROM recovery_event
 WHERE recovery_id = $1 AND state = $2
 ORDER BY sent_at, environment, event_id
 LIMIT $3";

pub(super) async fn missed(db: &Db, id: RecoveryId, state: MissedState, limit: u32) -> Result<Vec<Missed>, StoreError> {
    let rows = db.rows(MISSED, &[&id.0, &state.label(), &i64::from(limit)]).await?;
    rows.iter()
        .map(|row| {
            Ok(Missed {
                environment: environment(row)?,
                event_id: get(row, "event_id")?,
                event_type: get(row, "event_type")?,
                terra_user_id: get(row, "terra_user_id")?,
                sent_at: get(row, "sent_at")?,
                state: MissedState::parse(get(row, "state")?).ok_or_else(|| strange("state"))?,
                resent_at: get(row, "resent_at")?,
                attempts: small(row, "attempts")?,
            })
        })
        .collect()
}

const SETTLE_MISSED: &str = "
UPDATE recovery_event
   SET state = settled.state, resent_at = settled.resent_at, attempts = settled.attempts
  FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::integer[])
       AS settled (environment, event_id, state, resent_at, attempts)
 WHERE recovery_event.recovery_id = $1 AND recovery_event.environment = settled.environment
   AND recovery_event.event_id = settled.event_id";

pub(super) async fn settle_missed(db: &Db, id: RecoveryId, missed: &[Missed]) -> Result<(), StoreError> {
    db.execute(
        SETTLE_MISSED,
        &[
            &id.0,
            &column(missed, |event| event.environment.as_str()),
            &column(missed, |event| event.event_id.as_str()),
            &column(missed, |event| event.state.label()),
            &column(missed, |event| event.resent_at),
            &column(missed, |event| integer(event.attempts)),
        ],
    )
    .await?;
    Ok(())
}

const MISSED_COUNTS: &str = "
SELECT state, count(*) AS events, count(resent_at) AS resent
  FROM recovery_event
 WHERE recovery_id = $1
 GROUP BY state";

pub(super) async fn missed_counts(db: &Db, id: RecoveryId) -> Result<Vec<(MissedState, u64, u64)>, StoreError> {
    let rows = db.rows(MISSED_COUNTS, &[&id.0]).await?;
    rows.iter()
        .map(|row| {
            let state = MissedState::parse(get(row, "state")?).ok_or_else(|| strange("state"))?;
            Ok((state, count(row, "events")?, count(row, "resent")?))
        })
        .collect()
}

const PROCESSED: &str = "
SELECT asked.environment, asked.event_id
  FROM unnest($1::text[], $2::text[]) AS asked (environment, event_id)
  JOIN processed ON processed.environment = asked.environment AND processed.dedupe_key = 'trace:' || asked.event_id";

pub(super) async fn processed(
    db: &Db,
    events: &[(Environment, String)],
) -> Result<BTreeSet<(Environment, String)>, StoreError> {
    let rows = db.rows(PROCESSED, &[&environments(events), &column(events, |(_, id)| id.as_str())]).await?;
    rows.iter().map(|row| Ok((environment(row)?, get(row, "event_id")?))).collect()
}

const ADD_BACKFILLS: &str = "
INSERT INTO recovery_backfill (recovery_id, backfill_id)
SELECT $1, backfill_id FROM unnest($2::uuid[]) AS backfill_id
    ON CONFLICT DO NOTHING";

pub(super) async fn add_jobs(db: &mut Db, id: RecoveryId, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
    enqueue::insert_alone(db, jobs, at).await?;
    db.execute(ADD_BACKFILLS, &[&id.0, &column(jobs, |job| job.backfill.0)]).await?;
    Ok(())
}

const BACKFILLS: &str = "
SELECT count(*) AS backfills, coalesce(sum(backfill.requested), 0)::bigint AS requests,
       count(*) FILTER (WHERE backfill.state = 'open') AS open,
       count(*) FILTER (WHERE backfill.state = 'incomplete') AS incomplete
  FROM recovery_backfill
  JOIN backfill ON backfill.id = recovery_backfill.backfill_id
 WHERE recovery_backfill.recovery_id = $1";

pub(super) async fn backfills(db: &Db, id: RecoveryId) -> Result<RecoveryBackfills, StoreError> {
    let row = db.row(BACKFILLS, &[&id.0]).await?.ok_or_else(|| strange("recovery_backfill"))?;
    Ok(RecoveryBackfills {
        all: count(&row, "backfills")?,
        requests: count(&row, "requests")?,
        open: count(&row, "open")?,
        incomplete: count(&row, "incomplete")?,
    })
}

const PAUSES: &str = "
WITH heard AS (
    SELECT received_at FROM delivery WHERE received_at >= $1 AND received_at < $2
    UNION ALL SELECT $1::timestamptz
    UNION ALL SELECT $2::timestamptz
), pause AS (
    SELECT received_at AS from_at, lead(received_at) OVER (ORDER BY received_at) AS to_at FROM heard
)
SELECT from_at, to_at
  FROM pause
 WHERE to_at - from_at >= make_interval(secs => $3)
 ORDER BY to_at - from_at DESC, from_at
 LIMIT $4";

pub(super) async fn pauses(
    db: &Db,
    from: Timestamp,
    to: Timestamp,
    longer_than: SignedDuration,
) -> Result<Vec<Pause>, StoreError> {
    let rows = db.rows(PAUSES, &[&from, &to, &longer_than.as_secs_f64(), &PAUSES_MAX]).await?;
    rows.iter().map(|row| Ok(Pause { from: get(row, "from_at")?, to: get(row, "to_at")? })).collect()
}
