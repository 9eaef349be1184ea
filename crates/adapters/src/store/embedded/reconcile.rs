//! Comparisons with Terra's list of users: what is known to compare with, and the runs.

use domain::id::{Environment, ReferenceId};
use domain::reconcile::run::{Reconcile, State};
use domain::reconcile::{Known, ReconcileId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::column::{json, json_text, ms, time, time_option, uuid, word};
use super::identity::alias_row;
use super::read::{after, limit};
use crate::store::{Listing, Page, ReconcileMarks, StoreError};

pub(super) fn known(
    connection: &Connection,
    environment: &Environment,
    reference: Option<&ReferenceId>,
    page: &Page,
) -> Result<Listing<Known>, StoreError> {
    const KNOWN: &str = "
        SELECT alias.environment, alias.terra_user_id, alias.birth_id, alias.opened, alias.closed, alias.failed,
               alias.seen, alias.authenticated, alias.provider, alias.provider_order, alias.reference_id,
               alias.reference_order, alias.scopes, alias.scopes_order, alias.assigned_user, alias.backfilled,
               alias.connection_id, alias.user_id, alias.status,
               EXISTS (SELECT 1 FROM alias_edge
                       WHERE alias_edge.environment = alias.environment AND alias_edge.old_id = alias.terra_user_id
                         AND alias_edge.new_id <> alias_edge.old_id AND alias_edge.severed = 0) AS replaced
        FROM alias
        WHERE alias.environment = ?1 AND (?2 IS NULL OR alias.reference_id = ?2)
          AND (?3 IS NULL OR alias.terra_user_id > ?3)
        ORDER BY alias.terra_user_id LIMIT ?4";
    let mut statement = connection.prepare_cached(KNOWN)?;
    let parameters = params![environment.as_str(), reference.map(ReferenceId::as_str), page.after, limit(page)];
    let rows = statement
        .query_map(parameters, |row| Ok(Known { alias: alias_row(row)?.alias, replaced: row.get("replaced")? }))?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |known: &Known| {
        known.alias.key.terra_user_id.to_string()
    }))
}

pub(super) fn write(connection: &Connection, run: &Reconcile) -> Result<(), StoreError> {
    const WRITE: &str = "
        INSERT INTO reconcile_run (id, environment, reference_id, dry_run, scheduled, requested_at, started_at,
                                   finished_at, state, counts, reason)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (id) DO UPDATE SET
            started_at = excluded.started_at, finished_at = excluded.finished_at, state = excluded.state,
            counts = excluded.counts, reason = excluded.reason";
    connection.prepare_cached(WRITE)?.execute(params![
        run.id.0.as_bytes(),
        run.environment.as_ref().map(Environment::as_str),
        run.reference.as_ref().map(ReferenceId::as_str),
        run.dry_run,
        run.scheduled,
        ms(run.requested_at),
        run.started_at.map(ms),
        run.finished_at.map(ms),
        run.state.label(),
        json_text(&run.counts),
        run.reason,
    ])?;
    Ok(())
}

pub(super) fn one(connection: &Connection, id: ReconcileId) -> Result<Option<Reconcile>, StoreError> {
    const ONE: &str = "
        SELECT id, environment, reference_id, dry_run, scheduled, requested_at, started_at, finished_at, state, counts,
               reason
        FROM reconcile_run WHERE id = ?1";
    Ok(connection.prepare_cached(ONE)?.query_row([id.0.as_bytes()], run).optional()?)
}

/// Newest first.
pub(super) fn list(connection: &Connection, page: &Page) -> Result<Listing<Reconcile>, StoreError> {
    const PAGE: &str = "
        SELECT id, environment, reference_id, dry_run, scheduled, requested_at, started_at, finished_at, state, counts,
               reason
        FROM reconcile_run WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    let before: Uuid = after(page)?.unwrap_or(Uuid::max());
    let mut statement = connection.prepare_cached(PAGE)?;
    let rows = statement.query_map(params![before.as_bytes(), limit(page)], run)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |run: &Reconcile| run.id.to_string()))
}

pub(super) fn next(connection: &Connection) -> Result<Option<Reconcile>, StoreError> {
    const NEXT: &str = "
        SELECT id, environment, reference_id, dry_run, scheduled, requested_at, started_at, finished_at, state, counts,
               reason
        FROM reconcile_run WHERE state IN ('queued', 'running') ORDER BY requested_at, id LIMIT 1";
    Ok(connection.prepare_cached(NEXT)?.query_row([], run).optional()?)
}

fn run(row: &Row<'_>) -> rusqlite::Result<Reconcile> {
    Ok(Reconcile {
        id: ReconcileId(uuid(row, "id")?),
        environment: row.get::<_, Option<String>>("environment")?.map(Environment::new),
        reference: row.get::<_, Option<String>>("reference_id")?.map(ReferenceId::new),
        dry_run: row.get("dry_run")?,
        scheduled: row.get("scheduled")?,
        requested_at: time(row, "requested_at")?,
        started_at: time_option(row, "started_at")?,
        finished_at: time_option(row, "finished_at")?,
        state: word(row, "state", State::parse)?,
        counts: json(row, "counts")?,
        reason: row.get("reason")?,
    })
}

pub(super) fn marks(connection: &Connection) -> Result<ReconcileMarks, StoreError> {
    const MARKS: &str = "
        SELECT (SELECT max(requested_at) FROM reconcile_run WHERE scheduled = 1) AS scheduled,
               (SELECT max(started_at) FROM reconcile_run
                WHERE state IN ('done', 'refused') AND reference_id IS NULL AND environment IS NULL AND dry_run = 0)
                   AS listed,
               coalesce((SELECT state = 'refused' FROM reconcile_run
                         WHERE finished_at IS NOT NULL AND reference_id IS NULL ORDER BY finished_at DESC LIMIT 1), 0)
                   AS refused";
    Ok(connection.prepare_cached(MARKS)?.query_row([], |row| {
        Ok(ReconcileMarks {
            scheduled: time_option(row, "scheduled")?,
            listed: time_option(row, "listed")?,
            refused: row.get("refused")?,
        })
    })?)
}
