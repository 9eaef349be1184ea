//! Fetch jobs: what is to be asked of Terra, how fast, within which budgets, and what became of it.
//!
//! Who leases holds the row of the allowance, so one at a time decides; whoever else writes the rows read here is
//! skipped and looked at the next time, so a lease never waits for anybody.

use std::collections::BTreeMap;

use domain::fetch::{
    Allowance, Candidate, FetchJob, FetchOrigin, Reaction, Spend, Window, choose, cost, effects, take,
};
use domain::id::{AliasKey, BackfillId, Environment, FetchJobId};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use terra::event::DataKind;
use tokio_postgres::Row;

use super::row::{alias_columns, alias_key, column, count, environment, environments, get, small, strange};
use super::unit::Db;
use super::{backfill, pause};
use crate::store::fetching::{After, Ending, FetchAsk, SCANS_MAX, Turn, afters, chosen_jobs, jobs_per_turn, turns_max};
use crate::store::{LeasedFetch, StoreError};

const REFERENCES: &str = "
SELECT DISTINCT ON (asked.environment, asked.reference) asked.environment, asked.reference, fetch_job.origin
  FROM unnest($1::text[], $2::text[]) AS asked (environment, reference)
  JOIN fetch_job ON fetch_job.environment = asked.environment AND fetch_job.terra_reference = asked.reference";

/// Why jobs of ours asked for what came under these references.
pub(super) async fn references(
    db: &Db,
    asked: &[(Environment, String)],
) -> Result<BTreeMap<(Environment, String), FetchOrigin>, StoreError> {
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ours =
        db.rows(REFERENCES, &[&environments(asked), &column(asked, |(_, reference)| reference.as_str())]).await?;
    ours.iter().map(|row| Ok(((environment(row)?, get(row, "reference")?), origin(row)?))).collect()
}

fn origin(row: &Row) -> Result<FetchOrigin, StoreError> {
    FetchOrigin::parse(get(row, "origin")?).ok_or_else(|| strange("origin"))
}

const ALLOWANCE: &str = "SELECT millitokens, refilled_at, day, used_today FROM fetch_allowance FOR UPDATE";

const KEEP_ALLOWANCE: &str = "UPDATE fetch_allowance SET millitokens = $1, refilled_at = $2, day = $3, used_today = $4";

pub(super) async fn lease(db: &Db, ask: &FetchAsk) -> Result<Vec<LeasedFetch>, StoreError> {
    let Some(row) = db.row(ALLOWANCE, &[]).await? else { return Ok(Vec::new()) };
    let allowance = Allowance {
        millitokens: get(&row, "millitokens")?,
        refilled_at: get(&row, "refilled_at")?,
        day: get(&row, "day")?,
        used_today: count(&row, "used_today")?,
    };
    let today = ask.now.to_zoned(TimeZone::UTC).date();
    let (granted, _) = take(allowance, ask.pace, ask.limit, ask.now, today);
    let mut leased = Vec::new();
    for _ in 0..SCANS_MAX {
        if granted == 0 || !leased.is_empty() {
            break;
        }
        let (revoked, turns): (Vec<Turn>, Vec<Turn>) =
            turns(db, ask, turns_max(granted)).await?.into_iter().partition(|turn| turn.is_revoked);
        if revoked.is_empty() && turns.is_empty() {
            break;
        }
        fail_revoked(db, &revoked, ask.now).await?;
        let per_turn = jobs_per_turn(granted, turns.len());
        let spends = spent(db, &turns, ask).await?;
        let candidates = due(db, turns, ask.now, per_turn).await?;
        let choice = choose(&candidates, spends, &ask.budget, granted as usize, ask.now);
        leased = lock(db, &chosen_jobs(&candidates, &choice), ask.until).await?;
        keep_turns(db, &candidates, &afters(&candidates, &choice, per_turn, ask.now), ask.now).await?;
    }
    if !leased.is_empty() {
        let taken = u32::try_from(leased.len()).unwrap_or(u32::MAX);
        let left = take(allowance, ask.pace, taken, ask.now, today).1;
        let used = i64::try_from(left.used_today).unwrap_or(i64::MAX);
        db.execute(KEEP_ALLOWANCE, &[&left.millitokens, &left.refilled_at, &left.day, &used]).await?;
    }
    Ok(leased)
}

const TURNS: &str = "
SELECT turn.environment, turn.terra_user_id, turn.priority,
       (alias.closed IS NOT NULL AND (alias.opened IS NULL OR alias.closed >= alias.opened)) AS revoked
  FROM fetch_turn AS turn
  LEFT JOIN alias ON alias.environment = turn.environment AND alias.terra_user_id = turn.terra_user_id
 WHERE turn.due_at <= $1 AND (NOT $2 OR turn.priority = 0)
   AND NOT EXISTS (SELECT FROM fetch_pause AS pause
                    WHERE pause.environment = turn.environment AND pause.scope = 'environment' AND pause.subject = ''
                      AND pause.until > $1)
   AND NOT EXISTS (SELECT FROM fetch_pause AS pause
                    WHERE pause.environment = turn.environment AND pause.scope = 'provider'
                      AND pause.subject = turn.provider AND pause.until > $1)
   AND NOT EXISTS (SELECT FROM fetch_pause AS pause
                    WHERE pause.environment = turn.environment AND pause.scope = 'alias'
                      AND pause.subject = turn.terra_user_id AND pause.until > $1)
 ORDER BY turn.priority, turn.served_at
 LIMIT $3
   FOR UPDATE OF turn SKIP LOCKED";

async fn turns(db: &Db, ask: &FetchAsk, limit: u32) -> Result<Vec<Turn>, StoreError> {
    let rows = db.rows(TURNS, &[&ask.now, &ask.urgent_only, &i64::from(limit)]).await?;
    let turn = |row: &Row| {
        Ok(Turn {
            alias: alias_key(row)?,
            priority: priority(row)?,
            // Unknown aliases have no row to be revoked in.
            is_revoked: get::<Option<bool>>(row, "revoked")?.unwrap_or(false),
        })
    };
    rows.iter().map(turn).collect()
}

fn priority(row: &Row) -> Result<u8, StoreError> {
    u8::try_from(get::<i16>(row, "priority")?).map_err(|_| strange("priority"))
}

const FAIL_REVOKED: &str = "
WITH lost AS (
    SELECT fetch_job.id
      FROM fetch_job
      JOIN unnest($1::text[], $2::text[]) AS revoked (environment, terra_user_id) USING (environment, terra_user_id)
     WHERE fetch_job.state = 'queued' AND (fetch_job.locked_until IS NULL OR fetch_job.locked_until <= $3)
       FOR UPDATE OF fetch_job SKIP LOCKED
)
UPDATE fetch_job
   SET state = 'failed', reason = 'revoked', locked_until = NULL, updated_at = $3
  FROM lost
 WHERE fetch_job.id = lost.id
RETURNING fetch_job.id";

const FORGET_REVOKED: &str = "
DELETE FROM fetch_turn
 USING unnest($1::text[], $2::text[]) AS revoked (environment, terra_user_id)
 WHERE fetch_turn.environment = revoked.environment AND fetch_turn.terra_user_id = revoked.terra_user_id";

async fn fail_revoked(db: &Db, turns: &[Turn], now: Timestamp) -> Result<(), StoreError> {
    if turns.is_empty() {
        return Ok(());
    }
    let aliases: Vec<AliasKey> = turns.iter().map(|turn| turn.alias.clone()).collect();
    let (environments, users) = alias_columns(&aliases);
    let failed = db.rows(FAIL_REVOKED, &[&environments, &users, &now]).await?;
    db.execute(FORGET_REVOKED, &[&environments, &users]).await?;
    let failed = failed.iter().map(|row| get(row, "id")).collect::<Result<Vec<uuid::Uuid>, _>>()?;
    backfill::touch_of_jobs(db, &failed, now).await
}

const DUE: &str = "
SELECT turn.place, job.id, job.environment, job.terra_user_id, job.provider, job.kind, job.window_start,
       job.window_end, job.attempts, job.backfill_id, job.origin
  FROM unnest($1::text[], $2::text[], $3::smallint[]) WITH ORDINALITY
       AS turn (environment, terra_user_id, priority, place)
  JOIN LATERAL (
        SELECT id, environment, terra_user_id, provider, kind, window_start, window_end, attempts, backfill_id, origin
          FROM fetch_job
         WHERE fetch_job.environment = turn.environment AND fetch_job.terra_user_id = turn.terra_user_id
           AND fetch_job.priority = turn.priority AND fetch_job.state = 'queued' AND fetch_job.run_at <= $4
           AND (fetch_job.locked_until IS NULL OR fetch_job.locked_until <= $4)
         ORDER BY fetch_job.window_start DESC, fetch_job.kind
         LIMIT $5
           FOR UPDATE SKIP LOCKED
       ) AS job ON true
 ORDER BY turn.place, job.window_start DESC, job.kind";

/// The users' due jobs, the newest days first.
async fn due(db: &Db, turns: Vec<Turn>, now: Timestamp, per_turn: u32) -> Result<Vec<Candidate>, StoreError> {
    let rows = db
        .rows(
            DUE,
            &[
                &column(&turns, |turn| turn.alias.environment.as_str()),
                &column(&turns, |turn| turn.alias.terra_user_id.as_str()),
                &column(&turns, |turn| i16::from(turn.priority)),
                &now,
                &i64::from(per_turn),
            ],
        )
        .await?;
    let mut candidates: Vec<Candidate> = turns
        .into_iter()
        .map(|turn| Candidate { alias: turn.alias, priority: turn.priority, jobs: Vec::new() })
        .collect();
    for row in &rows {
        let place = usize::try_from(get::<i64>(row, "place")?).map_err(|_| strange("place"))?;
        let candidate = candidates.get_mut(place.wrapping_sub(1)).ok_or_else(|| strange("place"))?;
        candidate.jobs.push(job(row)?);
    }
    Ok(candidates)
}

fn job(row: &Row) -> Result<FetchJob, StoreError> {
    Ok(FetchJob {
        id: FetchJobId(get(row, "id")?),
        alias: alias_key(row)?,
        provider: get(row, "provider")?,
        kind: DataKind::parse(get(row, "kind")?).ok_or_else(|| strange("kind"))?,
        window: Window { start: get(row, "window_start")?, end: get(row, "window_end")? },
        attempts: small(row, "attempts")?,
        backfill: BackfillId(get(row, "backfill_id")?),
        origin: origin(row)?,
        gap: None,
    })
}

const SPENT: &str = "
SELECT fetch_spend.environment, fetch_spend.terra_user_id, fetch_spend.spent_at, fetch_spend.days
  FROM (SELECT DISTINCT environment, terra_user_id
          FROM unnest($1::text[], $2::text[]) AS turn (environment, terra_user_id)) AS turn
  JOIN fetch_spend ON fetch_spend.environment = turn.environment AND fetch_spend.terra_user_id = turn.terra_user_id
 WHERE fetch_spend.spent_at > $3";

async fn spent(db: &Db, turns: &[Turn], ask: &FetchAsk) -> Result<BTreeMap<AliasKey, Vec<Spend>>, StoreError> {
    let counts_for = SignedDuration::try_from(ask.budget.counts_for()).unwrap_or(SignedDuration::MAX);
    let since = ask.now.checked_sub(counts_for).unwrap_or(Timestamp::UNIX_EPOCH);
    let environments = column(turns, |turn| turn.alias.environment.as_str());
    let users = column(turns, |turn| turn.alias.terra_user_id.as_str());
    let mut spends: BTreeMap<AliasKey, Vec<Spend>> = BTreeMap::new();
    for row in &db.rows(SPENT, &[&environments, &users, &since]).await? {
        let spend = Spend { at: get(row, "spent_at")?, days: small(row, "days")? };
        spends.entry(alias_key(row)?).or_default().push(spend);
    }
    Ok(spends)
}

const LOCK: &str = "
UPDATE fetch_job
   SET locked_until = $2, lease_token = lease_token + 1
 WHERE id = ANY ($1)
RETURNING id, lease_token";

const SPEND: &str = "
INSERT INTO fetch_spend (fetch_job_id, lease_token, environment, terra_user_id, days, spent_at)
SELECT id, lease_token, environment, terra_user_id, days, $6
  FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::integer[])
       AS spend (id, lease_token, environment, terra_user_id, days)";

/// Hides jobs from others, and counts their days as spent for as long as their answers are not known.
async fn lock(db: &Db, jobs: &[&FetchJob], until: Timestamp) -> Result<Vec<LeasedFetch>, StoreError> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut tokens: BTreeMap<uuid::Uuid, i64> = BTreeMap::new();
    for row in &db.rows(LOCK, &[&column(jobs, |job| job.id.0), &until]).await? {
        tokens.insert(get(row, "id")?, get(row, "lease_token")?);
    }
    let leased: Vec<LeasedFetch> = jobs
        .iter()
        .filter_map(|job| Some(LeasedFetch { token: *tokens.get(&job.id.0)?, job: (*job).clone() }))
        .collect();
    db.execute(
        SPEND,
        &[
            &column(&leased, |leased| leased.job.id.0),
            &column(&leased, |leased| leased.token),
            &column(&leased, |leased| leased.job.alias.environment.as_str()),
            &column(&leased, |leased| leased.job.alias.terra_user_id.as_str()),
            &column(&leased, |leased| super::row::integer(cost(&leased.job))),
            &until,
        ],
    )
    .await?;
    Ok(leased)
}

const KEEP_TURNS: &str = "
UPDATE fetch_turn
   SET due_at = coalesce(after.due_at,
                         (SELECT min(greatest(job.run_at, job.locked_until))
                            FROM fetch_job AS job
                           WHERE job.environment = after.environment AND job.terra_user_id = after.terra_user_id
                             AND job.priority = after.priority AND job.state = 'queued'),
                         'infinity'),
       served_at = CASE WHEN after.served THEN $6 ELSE fetch_turn.served_at END
  FROM unnest($1::text[], $2::text[], $3::smallint[], $4::timestamptz[], $5::boolean[])
       AS after (environment, terra_user_id, priority, due_at, served)
 WHERE fetch_turn.environment = after.environment AND fetch_turn.terra_user_id = after.terra_user_id
   AND fetch_turn.priority = after.priority";

/// Those without jobs.
const FORGET_TURNS: &str = "
DELETE FROM fetch_turn
 USING unnest($1::text[], $2::text[], $3::smallint[]) AS after (environment, terra_user_id, priority)
 WHERE fetch_turn.environment = after.environment AND fetch_turn.terra_user_id = after.terra_user_id
   AND fetch_turn.priority = after.priority AND fetch_turn.due_at = 'infinity'";

async fn keep_turns(db: &Db, candidates: &[Candidate], afters: &[After], now: Timestamp) -> Result<(), StoreError> {
    if candidates.is_empty() {
        return Ok(());
    }
    let environments = column(candidates, |one| one.alias.environment.as_str());
    let users = column(candidates, |one| one.alias.terra_user_id.as_str());
    let priorities = column(candidates, |one| i16::from(one.priority));
    let (due, served) = (column(afters, |after| after.due), column(afters, |after| after.is_served));
    db.execute(KEEP_TURNS, &[&environments, &users, &priorities, &due, &served, &now]).await?;
    db.execute(FORGET_TURNS, &[&environments, &users, &priorities]).await?;
    Ok(())
}

const FINISH: &str = "
UPDATE fetch_job
   SET state = $3, run_at = coalesce($4, run_at), attempts = attempts + $5, reason = $6, status = $7,
       terra_reference = coalesce($8, terra_reference), locked_until = NULL, updated_at = $9,
       size_bytes = size_bytes + $10
 WHERE id = $1 AND lease_token = $2 AND state = 'queued'";

const SETTLE_SPEND: &str = "
UPDATE fetch_spend SET spent_at = least(spent_at, $3) WHERE fetch_job_id = $1 AND lease_token = $2";

/// What is answered may make room in the budget; what is put off says itself when it is due.
const DUE_NOW: &str = "
UPDATE fetch_turn
   SET due_at = $3
  FROM (SELECT environment, terra_user_id, priority
          FROM fetch_turn
         WHERE environment = $1 AND terra_user_id = $2 AND due_at > $3
         ORDER BY priority
           FOR UPDATE) AS turn
 WHERE fetch_turn.environment = turn.environment AND fetch_turn.terra_user_id = turn.terra_user_id
   AND fetch_turn.priority = turn.priority";

pub(super) async fn finish(
    db: &Db,
    leased: &LeasedFetch,
    reaction: &Reaction,
    status: Option<u16>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (job, end, status) = (&leased.job, Ending::of(reaction), status.map(i32::from));
    let kept = db
        .execute(
            FINISH,
            &[
                &job.id.0,
                &leased.token,
                &end.state,
                &end.run_at,
                &end.failed_tries,
                &end.reason,
                &status,
                &end.reference,
                &now,
                &end.bytes,
            ],
        )
        .await?;
    if kept == 0 {
        return Ok(false);
    }
    db.execute(SETTLE_SPEND, &[&job.id.0, &leased.token, &now]).await?;
    db.execute(DUE_NOW, &[&job.alias.environment.as_str(), &job.alias.terra_user_id.as_str(), &now]).await?;
    pause::apply(db, job, &effects(reaction), now).await?;
    if end.state != "queued" {
        backfill::touch_of_jobs(db, &[job.id.0], now).await?;
    }
    Ok(true)
}
