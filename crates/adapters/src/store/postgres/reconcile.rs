//! Comparisons with Terra's list of users: what is known to compare with, and the runs.

use domain::id::{Environment, ReferenceId};
use domain::reconcile::run::{Counts, Reconcile, State};
use domain::reconcile::{Known, ReconcileId};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::identity::alias;
use super::read::{cursor, one_more};
use super::row::{get, strange};
use super::unit::Db;
use crate::store::{Listing, Page, ReconcileMarks, StoreError};

const KNOWN: &str = "
SELECT alias.environment, alias.terra_user_id, alias.birth_id, alias.opened, alias.closed, alias.failed, alias.seen,
       alias.authenticated, alias.provider, alias.provider_order, alias.reference_id, alias.reference_order,
       alias.scopes, alias.scopes_order, alias.assigned_user, alias.backfilled,
       EXISTS (SELECT FROM alias_edge
                WHERE alias_edge.environment = alias.environment AND alias_edge.old_id = alias.terra_user_id
                  AND alias_edge.new_id <> alias_edge.old_id AND NOT alias_edge.severed) AS replaced
  FROM alias
 WHERE alias.environment = $1
   AND ($2::text IS NULL OR alias.reference_id = $2)
   AND ($3::text IS NULL OR alias.terra_user_id > $3)
 ORDER BY alias.terra_user_id
 LIMIT $4";

pub(super) async fn known(
    db: &Db,
    environment: &Environment,
    reference: Option<&ReferenceId>,
    page: &Page,
) -> Result<Listing<Known>, StoreError> {
    let reference = reference.map(ReferenceId::as_str);
    let rows = db.rows(KNOWN, &[&environment.as_str(), &reference, &page.after, &one_more(page)]).await?;
    let known = rows
        .iter()
        .map(|row| Ok(Known { alias: alias(row)?, replaced: get(row, "replaced")? }))
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Listing::of(known, page, |known| known.alias.key.terra_user_id.to_string()))
}

const WRITE: &str = "
INSERT INTO reconcile_run (id, environment, reference_id, dry_run, scheduled, requested_at, started_at, finished_at,
                           state, counts, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (id) DO UPDATE
   SET started_at = excluded.started_at, finished_at = excluded.finished_at, state = excluded.state,
       counts = excluded.counts, reason = excluded.reason";

pub(super) async fn write(db: &Db, run: &Reconcile) -> Result<(), StoreError> {
    let counts = serde_json::to_value(run.counts).map_err(|_| strange("counts"))?;
    db.execute(
        WRITE,
        &[
            &run.id.0,
            &run.environment.as_ref().map(Environment::as_str),
            &run.reference.as_ref().map(ReferenceId::as_str),
            &run.dry_run,
            &run.scheduled,
            &run.requested_at,
            &run.started_at,
            &run.finished_at,
            &run.state.label(),
            &counts,
            &run.reason,
        ],
    )
    .await?;
    Ok(())
}

const LIST: &str = "
SELECT id, environment, reference_id, dry_run, scheduled, requested_at, started_at, finished_at, state, counts, reason
  FROM reconcile_run
 WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3";

pub(super) async fn one(db: &Db, id: ReconcileId) -> Result<Option<Reconcile>, StoreError> {
    db.row(LIST, &[&Some(id.0), &None::<Uuid>, &1_i64]).await?.as_ref().map(run).transpose()
}

pub(super) async fn list(db: &Db, page: &Page) -> Result<Listing<Reconcile>, StoreError> {
    let before: Option<Uuid> = cursor(page)?;
    let rows = db.rows(LIST, &[&None::<Uuid>, &before, &one_more(page)]).await?;
    let runs = rows.iter().map(run).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(runs, page, |run| run.id.to_string()))
}

const NEXT: &str = "
SELECT id, environment, reference_id, dry_run, scheduled, requested_at, started_at, finished_at, state, counts, reason
  FROM reconcile_run
 WHERE state IN ('queued', 'running')
 ORDER BY requested_at, id
 LIMIT 1";

pub(super) async fn next(db: &Db) -> Result<Option<Reconcile>, StoreError> {
    db.row(NEXT, &[]).await?.as_ref().map(run).transpose()
}

fn run(row: &Row) -> Result<Reconcile, StoreError> {
    Ok(Reconcile {
        id: ReconcileId(get(row, "id")?),
        environment: get::<Option<String>>(row, "environment")?.map(Environment::new),
        reference: get::<Option<String>>(row, "reference_id")?.map(ReferenceId::new),
        dry_run: get(row, "dry_run")?,
        scheduled: get(row, "scheduled")?,
        requested_at: get(row, "requested_at")?,
        started_at: get(row, "started_at")?,
        finished_at: get(row, "finished_at")?,
        state: State::parse(get(row, "state")?).ok_or_else(|| strange("state"))?,
        counts: serde_json::from_value::<Counts>(get(row, "counts")?).map_err(|_| strange("counts"))?,
        reason: get(row, "reason")?,
    })
}

const MARKS: &str = "
SELECT (SELECT max(requested_at) FROM reconcile_run WHERE scheduled) AS scheduled,
       (SELECT max(started_at) FROM reconcile_run
         WHERE state IN ('done', 'refused') AND reference_id IS NULL AND environment IS NULL AND NOT dry_run) AS listed,
       coalesce((SELECT state = 'refused' FROM reconcile_run
                  WHERE finished_at IS NOT NULL AND reference_id IS NULL ORDER BY finished_at DESC LIMIT 1), false)
           AS refused";

pub(super) async fn marks(db: &Db) -> Result<ReconcileMarks, StoreError> {
    let row = db.row(MARKS, &[]).await?.ok_or_else(|| strange("reconcile_run"))?;
    Ok(ReconcileMarks {
        scheduled: get::<Option<Timestamp>>(&row, "scheduled")?,
        listed: get(&row, "listed")?,
        refused: get(&row, "refused")?,
    })
}
