//! Queueing fetch jobs: each day of an alias and kind is asked for once, whoever wishes for it.

use std::collections::{BTreeMap, BTreeSet};

use domain::fetch::{Coalesced, FetchJob, Queued, Window, coalesce};
use domain::id::{AliasKey, FetchJobId};
use jiff::Timestamp;
use terra::event::DataKind;
use tokio_postgres::Row;
use uuid::Uuid;

use super::identity;
use super::row::{column, get, integer, strange};
use super::unit::Db;
use crate::store::backfill::{Wished, wishes};
use crate::store::{StoreError, apply};

/// Queues jobs of whoever is there now, outside a batch.
pub(super) async fn insert_alone(db: &mut Db, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
    identity::lock(db, false).await?;
    insert(db, jobs, at).await
}

/// Identity is locked, so that nobody is erased meanwhile.
pub(super) async fn insert(db: &mut Db, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let jobs = apply::erased::of_the_living(db, jobs).await?;
    let jobs = unknown(db, &jobs).await?;
    insert_backfills(db, &wishes(&jobs), at).await?;
    let mut by_alias: BTreeMap<&AliasKey, Vec<FetchJob>> = BTreeMap::new();
    for job in &jobs {
        by_alias.entry(&job.alias).or_default().push(job.clone());
    }
    for (alias, wanted) in by_alias {
        insert_of_alias(db, alias, &wanted, at).await?;
    }
    Ok(())
}

const KNOWN: &str = "SELECT id FROM fetch_job WHERE id = ANY ($1)";

/// Those whose cause did not queue them before.
async fn unknown(db: &Db, jobs: &[FetchJob]) -> Result<Vec<FetchJob>, StoreError> {
    let rows = db.rows(KNOWN, &[&column(jobs, |job| job.id.0)]).await?;
    let known = rows.iter().map(|row| get(row, "id")).collect::<Result<BTreeSet<Uuid>, _>>()?;
    Ok(jobs.iter().filter(|job| !known.contains(&job.id.0)).cloned().collect())
}

const INSERT_BACKFILLS: &str = "
INSERT INTO backfill (id, environment, terra_user_id, provider, origin, kinds, window_start, window_end, state,
                      requested, expected, created_at, progressed_at, look_at)
SELECT id, environment, terra_user_id, provider, origin, kinds, window_start, window_end, 'open',
       requested, requested, $10, $10, $10
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::date[], $8::date[],
              $9::integer[])
       AS wish (id, environment, terra_user_id, provider, origin, kinds, window_start, window_end, requested)
 ORDER BY id
    ON CONFLICT (id) DO UPDATE SET look_at = least(backfill.look_at, excluded.look_at)";

async fn insert_backfills(db: &Db, wishes: &[Wished<'_>], at: Timestamp) -> Result<(), StoreError> {
    if wishes.is_empty() {
        return Ok(());
    }
    db.execute(
        INSERT_BACKFILLS,
        &[
            &column(wishes, |wish| wish.id.0),
            &column(wishes, |wish| wish.alias.environment.as_str()),
            &column(wishes, |wish| wish.alias.terra_user_id.as_str()),
            &column(wishes, |wish| wish.provider),
            &column(wishes, |wish| wish.origin.label()),
            &column(wishes, |wish| wish.kinds.as_str()),
            &column(wishes, |wish| wish.days.start),
            &column(wishes, |wish| wish.days.end),
            &column(wishes, |wish| integer(wish.requested)),
            &at,
        ],
    )
    .await?;
    Ok(())
}

async fn insert_of_alias(db: &Db, alias: &AliasKey, wanted: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
    // Turns before jobs, as a lease locks them.
    take_turns(db, alias, wanted, at).await?;
    let mut merged = coalesce(&queued(db, alias, at).await?, wanted);
    insert_jobs(db, &merged.insert, at).await?;
    lean_on_what_is_there(db, &mut merged).await?;
    absorb(db, &merged, at).await?;
    link(db, &merged, wanted).await
}

/// Nobody leases jobs of this alias meanwhile, and nobody else queues any.
const LOCK_TURNS: &str = "
SELECT priority FROM fetch_turn WHERE environment = $1 AND terra_user_id = $2 ORDER BY priority FOR UPDATE";

const TAKE_TURNS: &str = "
INSERT INTO fetch_turn (environment, terra_user_id, priority, provider, due_at, served_at)
SELECT $1, $2, priority, upper($3), $5, $5
  FROM unnest($4::smallint[]) AS wanted (priority)
 ORDER BY priority
    ON CONFLICT (environment, terra_user_id, priority)
    DO UPDATE SET due_at = least(fetch_turn.due_at, excluded.due_at),
                  provider = coalesce(excluded.provider, fetch_turn.provider)";

async fn take_turns(db: &Db, alias: &AliasKey, wanted: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
    let (environment, user) = (alias.environment.as_str(), alias.terra_user_id.as_str());
    db.rows(LOCK_TURNS, &[&environment, &user]).await?;
    let priorities: BTreeSet<i16> = wanted.iter().map(|job| i16::from(job.origin.priority())).collect();
    let priorities: Vec<i16> = priorities.into_iter().collect();
    let provider = wanted.iter().find_map(|job| job.provider.as_deref());
    db.execute(TAKE_TURNS, &[&environment, &user, &provider, &priorities, &at]).await?;
    Ok(())
}

/// A row that somebody is just writing is left alone: at worst its days are asked for twice.
const QUEUED: &str = "
SELECT id, kind, window_start, window_end, coalesce(locked_until > $3, false) AS held
  FROM fetch_job
 WHERE environment = $1 AND terra_user_id = $2 AND state = 'queued'
   FOR UPDATE SKIP LOCKED";

async fn queued(db: &Db, alias: &AliasKey, at: Timestamp) -> Result<Vec<Queued>, StoreError> {
    let rows = db.rows(QUEUED, &[&alias.environment.as_str(), &alias.terra_user_id.as_str(), &at]).await?;
    let waits = |row: &Row| {
        Ok(Queued {
            id: FetchJobId(get(row, "id")?),
            kind: DataKind::parse(get(row, "kind")?).ok_or_else(|| strange("kind"))?,
            window: Window { start: get(row, "window_start")?, end: get(row, "window_end")? },
            held: get(row, "held")?,
        })
    };
    rows.iter().map(waits).collect()
}

const INSERT: &str = "
INSERT INTO fetch_job (id, environment, terra_user_id, provider, kind, window_start, window_end, state, run_at, attempts,
                       updated_at, backfill_id, origin, priority)
SELECT id, environment, terra_user_id, provider, kind, window_start, window_end, 'queued', $9, attempts, $9,
       backfill_id, origin, priority
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[], $8::integer[],
              $10::uuid[], $11::text[], $12::smallint[])
       AS wanted (id, environment, terra_user_id, provider, kind, window_start, window_end, attempts,
                  backfill_id, origin, priority)
 ORDER BY id
    ON CONFLICT DO NOTHING";

async fn insert_jobs(db: &Db, jobs: &[FetchJob], at: Timestamp) -> Result<(), StoreError> {
    if jobs.is_empty() {
        return Ok(());
    }
    db.execute(
        INSERT,
        &[
            &column(jobs, |job| job.id.0),
            &column(jobs, |job| job.alias.environment.as_str()),
            &column(jobs, |job| job.alias.terra_user_id.as_str()),
            &column(jobs, |job| job.provider.as_deref()),
            &column(jobs, |job| job.kind.label()),
            &column(jobs, |job| job.window.start),
            &column(jobs, |job| job.window.end),
            &column(jobs, |job| integer(job.attempts)),
            &at,
            &column(jobs, |job| job.backfill.0),
            &column(jobs, |job| job.origin.label()),
            &column(jobs, |job| i16::from(job.origin.priority())),
        ],
    )
    .await?;
    Ok(())
}

const SAME: &str = "
SELECT wanted.id AS wanted, job.id AS same
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::date[], $6::date[])
       AS wanted (id, environment, terra_user_id, kind, window_start, window_end)
  JOIN fetch_job AS job
    ON job.environment = wanted.environment AND job.terra_user_id = wanted.terra_user_id AND job.kind = wanted.kind
       AND job.window_start = wanted.window_start AND job.window_end = wanted.window_end AND job.state = 'queued'
 WHERE job.id <> wanted.id";

/// The same window may have been put back into the queue just now, by whoever asked for it: it was not inserted again.
async fn lean_on_what_is_there(db: &Db, merged: &mut Coalesced) -> Result<(), StoreError> {
    let jobs = &merged.insert;
    if jobs.is_empty() {
        return Ok(());
    }
    let rows = db
        .rows(
            SAME,
            &[
                &column(jobs, |job| job.id.0),
                &column(jobs, |job| job.alias.environment.as_str()),
                &column(jobs, |job| job.alias.terra_user_id.as_str()),
                &column(jobs, |job| job.kind.label()),
                &column(jobs, |job| job.window.start),
                &column(jobs, |job| job.window.end),
            ],
        )
        .await?;
    for row in &rows {
        let (wanted, same) = (FetchJobId(get(row, "wanted")?), FetchJobId(get(row, "same")?));
        for (_, link) in merged.links.iter_mut().filter(|(_, link)| *link == wanted) {
            *link = same;
        }
        for (_, heir) in merged.absorbed.iter_mut().filter(|(_, heir)| *heir == wanted) {
            *heir = same;
        }
    }
    Ok(())
}

const INHERIT: &str = "
UPDATE fetch_job
   SET priority = least(fetch_job.priority, merged.priority)
  FROM (SELECT merged.heir, min(gone.priority) AS priority
          FROM unnest($1::uuid[], $2::uuid[]) AS merged (gone, heir)
          JOIN fetch_job AS gone ON gone.id = merged.gone
         GROUP BY merged.heir) AS merged
 WHERE fetch_job.id = merged.heir";

const ABSORB: &str = "
UPDATE fetch_job
   SET state = 'nothing', reason = 'merged', merged_into = merged.heir, updated_at = $3
  FROM unnest($1::uuid[], $2::uuid[]) AS merged (gone, heir)
 WHERE fetch_job.id = merged.gone";

const RELINK: &str = "
INSERT INTO backfill_fetch (backfill_id, fetch_job_id, gap_of, round)
SELECT link.backfill_id, merged.heir, link.gap_of, link.round
  FROM unnest($1::uuid[], $2::uuid[]) AS merged (gone, heir)
  JOIN backfill_fetch AS link ON link.fetch_job_id = merged.gone
    ON CONFLICT DO NOTHING";

async fn absorb(db: &Db, merged: &Coalesced, at: Timestamp) -> Result<(), StoreError> {
    if merged.absorbed.is_empty() {
        return Ok(());
    }
    let gone = column(&merged.absorbed, |(gone, _)| gone.0);
    let heirs = column(&merged.absorbed, |(_, heir)| heir.0);
    db.execute(INHERIT, &[&gone, &heirs]).await?;
    db.execute(ABSORB, &[&gone, &heirs, &at]).await?;
    db.execute(RELINK, &[&gone, &heirs]).await?;
    Ok(())
}

const LINK: &str = "
INSERT INTO backfill_fetch (backfill_id, fetch_job_id, gap_of, round)
SELECT backfill_id, fetch_job_id, gap_of, round
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[]) AS link (backfill_id, fetch_job_id, gap_of, round)
    ON CONFLICT DO NOTHING";

/// What somebody waits for pulls a job ahead.
const PULL: &str = "
UPDATE fetch_job
   SET priority = wanted.priority
  FROM (SELECT fetch_job_id, min(priority) AS priority
          FROM unnest($1::uuid[], $2::smallint[]) AS wanted (fetch_job_id, priority)
         GROUP BY fetch_job_id) AS wanted
 WHERE fetch_job.id = wanted.fetch_job_id AND fetch_job.priority > wanted.priority AND fetch_job.state = 'queued'";

async fn link(db: &Db, merged: &Coalesced, wanted: &[FetchJob]) -> Result<(), StoreError> {
    let of = |index: usize| &wanted[index];
    let jobs = column(&merged.links, |(_, job)| job.0);
    let backfills = column(&merged.links, |(index, _)| of(*index).backfill.0);
    let gaps = column(&merged.links, |(index, _)| of(*index).gap.map_or(Uuid::nil(), |gap| gap.of.0));
    let rounds = column(&merged.links, |(index, _)| integer(of(*index).gap.map_or(0, |gap| gap.round)));
    let priorities = column(&merged.links, |(index, _)| i16::from(of(*index).origin.priority()));
    db.execute(LINK, &[&backfills, &jobs, &gaps, &rounds]).await?;
    db.execute(PULL, &[&jobs, &priorities]).await?;
    Ok(())
}
