//! Backfills: wishes, what came of them, and when to look at them again.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use domain::backfill::{Asked, Chunk, Sent};
use domain::fetch::Window;
use domain::id::{BackfillId, Environment, FetchJobId};
use jiff::Timestamp;
use jiff::civil::Date;
use terra::event::DataKind;
use tokio_postgres::Row;
use uuid::Uuid;

use super::identity;
use super::row::{alias_key, column, count, environment, get, integer, strange};
use super::unit::{Db, Units};
use crate::store::StoreError;
use crate::store::backfill::{
    Account, Accounts, BackfillRound, CLAIM, Looked, Notes, STRANGER_AFTER, announced_request, ask_state,
    id_of_reference, look,
};

const TOUCH_OF_JOBS: &str = "
UPDATE backfill
   SET look_at = $2
  FROM (SELECT backfill.id
          FROM backfill
         WHERE backfill.id IN (SELECT backfill_id FROM backfill_fetch WHERE fetch_job_id = ANY ($1))
           AND backfill.state = 'open' AND backfill.look_at > $2
         ORDER BY backfill.id
           FOR UPDATE) AS touched
 WHERE backfill.id = touched.id";

/// Something of the backfills that lean on these jobs has changed: they are looked at soon.
pub(super) async fn touch_of_jobs(db: &Db, jobs: &[Uuid], now: Timestamp) -> Result<(), StoreError> {
    if !jobs.is_empty() {
        db.execute(TOUCH_OF_JOBS, &[&jobs, &now]).await?;
    }
    Ok(())
}

const CHUNKS_IN: &str = "
INSERT INTO fetch_chunk (environment, reference, dedupe_key, number, items, size_bytes, first_day, last_day, received_at)
SELECT environment, reference, dedupe_key, number, items, size_bytes, first_day, last_day, received_at
  FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::bigint[], $7::date[], $8::date[],
              $9::timestamptz[])
       AS chunk (environment, reference, dedupe_key, number, items, size_bytes, first_day, last_day, received_at)
 ORDER BY environment, reference, dedupe_key
    ON CONFLICT (environment, reference, dedupe_key)
    DO UPDATE SET items = greatest(fetch_chunk.items, excluded.items),
                  size_bytes = greatest(fetch_chunk.size_bytes, excluded.size_bytes),
                  received_at = least(fetch_chunk.received_at, excluded.received_at)";

const ANNOUNCED: &str = "
INSERT INTO fetch_request (environment, reference, terra_user_id, provider, expected, announced_at)
SELECT environment, reference, terra_user_id, provider, expected, announced_at
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::timestamptz[])
       AS said (environment, reference, terra_user_id, provider, expected, announced_at)
 ORDER BY environment, reference
    ON CONFLICT (environment, reference)
    DO UPDATE SET expected = greatest(fetch_request.expected, excluded.expected),
                  terra_user_id = coalesce(fetch_request.terra_user_id, excluded.terra_user_id),
                  provider = coalesce(fetch_request.provider, excluded.provider),
                  announced_at = least(fetch_request.announced_at, excluded.announced_at)";

const TOUCH_OF_REFERENCES: &str = "
UPDATE backfill
   SET look_at = $3
  FROM (SELECT backfill.id
          FROM backfill
         WHERE backfill.state = 'open' AND backfill.look_at > $3
           AND backfill.id IN (
               SELECT link.backfill_id
                 FROM unnest($1::text[], $2::text[]) AS said (environment, reference)
                 JOIN fetch_job AS job
                   ON job.environment = said.environment AND job.terra_reference = said.reference
                 JOIN backfill_fetch AS link ON link.fetch_job_id = job.id
               UNION
               SELECT own.id
                 FROM unnest($1::text[], $2::text[]) AS said (environment, reference)
                 JOIN backfill AS own ON own.environment = said.environment AND own.reference = said.reference)
         ORDER BY backfill.id
           FOR UPDATE) AS touched
 WHERE backfill.id = touched.id";

pub(super) async fn note(db: &Db, notes: &Notes, at: Timestamp) -> Result<(), StoreError> {
    if !notes.chunks.is_empty() {
        let chunks: Vec<_> = notes.chunks.iter().collect();
        db.execute(
            CHUNKS_IN,
            &[
                &column(&chunks, |((environment, _, _), _)| environment.as_str()),
                &column(&chunks, |((_, reference, _), _)| reference.as_str()),
                &column(&chunks, |((_, _, key), _)| key.as_str()),
                &column(&chunks, |(_, chunk)| chunk.number.map(integer)),
                &column(&chunks, |(_, chunk)| integer(chunk.items)),
                &column(&chunks, |(_, chunk)| whole(chunk.bytes)),
                &column(&chunks, |(_, chunk)| chunk.days.map(|days| days.0)),
                &column(&chunks, |(_, chunk)| chunk.days.map(|days| days.1)),
                &column(&chunks, |(_, chunk)| chunk.received_at),
            ],
        )
        .await?;
    }
    if !notes.announced.is_empty() {
        let said: Vec<_> = notes.announced.iter().collect();
        db.execute(
            ANNOUNCED,
            &[
                &column(&said, |((environment, _), _)| environment.as_str()),
                &column(&said, |((_, reference), _)| reference.as_str()),
                &column(&said, |(_, said)| said.terra_user_id.as_deref()),
                &column(&said, |(_, said)| said.provider.as_deref()),
                &column(&said, |(_, said)| said.expected.map(integer)),
                &column(&said, |(_, said)| said.at),
            ],
        )
        .await?;
    }
    let references: Vec<_> = notes.references().into_iter().collect();
    if !references.is_empty() {
        let environments = column(&references, |(environment, _)| environment.as_str());
        let names = column(&references, |(_, reference)| reference.as_str());
        db.execute(TOUCH_OF_REFERENCES, &[&environments, &names, &at]).await?;
    }
    Ok(())
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// One round: each is looked at in a transaction of its own.
pub(super) async fn settle(
    units: &Units,
    now: Timestamp,
    stall: Duration,
    limit: u32,
) -> Result<BackfillRound, StoreError> {
    let mut round = BackfillRound::default();
    for account in units.keep(move |db| Box::pin(claim(db, now, limit))).await? {
        let account = std::sync::Arc::new(account);
        let looked = units.keep(move |db| {
            let account = account.clone();
            Box::pin(async move {
                // First of all, as in a batch: what is missing of somebody erased is not asked for.
                identity::lock(db, false).await?;
                look(db, &account, now, stall).await
            })
        });
        round.add(looked.await?);
    }
    Ok(round)
}

const CLAIM_DUE: &str = "
UPDATE backfill
   SET look_at = $2
 WHERE id IN (SELECT id
                FROM backfill
               WHERE state = 'open' AND look_at <= $1
               ORDER BY look_at
               LIMIT $3
                 FOR UPDATE SKIP LOCKED)
RETURNING id, environment, terra_user_id, provider, origin, reference, kinds, window_start, window_end";

/// Those that are due, hidden from others for a while: whatever comes from here on asks for another look.
async fn claim(db: &mut Db, now: Timestamp, limit: u32) -> Result<Vec<Account>, StoreError> {
    adopt(db, now, limit).await?;
    let until = now.checked_add(CLAIM).unwrap_or(now);
    db.rows(CLAIM_DUE, &[&now, &until, &i64::from(limit)]).await?.iter().map(account).collect()
}

pub(super) fn account(row: &Row) -> Result<Account, StoreError> {
    let days: (Option<Date>, Option<Date>) = (get(row, "window_start")?, get(row, "window_end")?);
    Ok(Account {
        id: BackfillId(get(row, "id")?),
        alias: alias_key(row)?,
        provider: get(row, "provider")?,
        origin: get(row, "origin")?,
        reference: get(row, "reference")?,
        kinds: get(row, "kinds")?,
        days: days.0.zip(days.1).map(|(start, end)| Window { start, end }),
    })
}

const STRANGERS: &str = "
UPDATE fetch_request
   SET tracked = true
  FROM (SELECT request.environment, request.reference,
               EXISTS (SELECT FROM fetch_job AS job
                        WHERE job.environment = request.environment AND job.terra_reference = request.reference)
               AS is_ours
          FROM fetch_request AS request
         WHERE NOT request.tracked AND request.announced_at <= $1
         LIMIT $2
           FOR UPDATE SKIP LOCKED) AS looked
 WHERE fetch_request.environment = looked.environment AND fetch_request.reference = looked.reference
RETURNING fetch_request.environment, fetch_request.reference, fetch_request.terra_user_id, fetch_request.provider,
          fetch_request.announced_at, looked.is_ours";

const ADOPT: &str = "
INSERT INTO backfill (id, environment, terra_user_id, provider, origin, reference, kinds, state, created_at,
                      progressed_at, look_at)
VALUES ($1, $2, $3, $4, 'terra', $5, '', 'open', $6, $6, $7)
    ON CONFLICT DO NOTHING";

/// Large requests of others get a backfill of their own.
async fn adopt(db: &Db, now: Timestamp, limit: u32) -> Result<(), StoreError> {
    let before = now.checked_sub(STRANGER_AFTER).unwrap_or(now);
    for row in &db.rows(STRANGERS, &[&before, &i64::from(limit)]).await? {
        let (environment, reference): (Environment, String) = (environment(row)?, get(row, "reference")?);
        let user: Option<String> = get(row, "terra_user_id")?;
        if let (false, Some(user)) = (get(row, "is_ours")?, user) {
            let id = id_of_reference(&environment, &reference).0;
            let provider: Option<String> = get(row, "provider")?;
            let at: Timestamp = get(row, "announced_at")?;
            db.execute(ADOPT, &[&id, &environment.as_str(), &user, &provider, &reference, &at, &now]).await?;
        }
    }
    Ok(())
}

#[async_trait]
impl Accounts for Db {
    async fn asked(&mut self, account: &Account) -> Result<Vec<Asked>, StoreError> {
        asked(self, account).await
    }

    async fn keep_looked(&mut self, looked: &Looked, now: Timestamp) -> Result<bool, StoreError> {
        keep_looked(self, looked, now).await
    }
}

const JOBS: &str = "
SELECT job.id, job.kind, job.window_start, job.window_end, job.state, job.reason, job.updated_at, job.size_bytes,
       job.terra_reference, link.gap_of, link.round
  FROM backfill_fetch AS link
  JOIN fetch_job AS job ON job.id = link.fetch_job_id
 WHERE link.backfill_id = $1 AND job.merged_into IS NULL
 ORDER BY job.kind, job.window_start, job.id";

pub(super) async fn asked(db: &Db, account: &Account) -> Result<Vec<Asked>, StoreError> {
    let environment = &account.alias.environment;
    if let Some(reference) = &account.reference {
        let mut sent = sent(db, environment, std::slice::from_ref(reference)).await?;
        let sent = sent.remove(reference).unwrap_or_default();
        let since = sent.announced_at.unwrap_or(Timestamp::UNIX_EPOCH);
        return Ok(vec![announced_request(account, since, sent)]);
    }
    let rows = db.rows(JOBS, &[&account.id.0]).await?;
    let mut asked = rows.iter().map(one_asked).collect::<Result<Vec<_>, _>>()?;
    let references: Vec<String> = asked.iter().filter_map(|one| one.reference.clone()).collect();
    let sent = sent(db, environment, &references).await?;
    for one in &mut asked {
        one.sent = one.reference.as_ref().and_then(|reference| sent.get(reference)).cloned().unwrap_or_default();
    }
    Ok(asked)
}

fn one_asked(row: &Row) -> Result<Asked, StoreError> {
    let gap_of: Uuid = get(row, "gap_of")?;
    Ok(Asked {
        id: FetchJobId(get(row, "id")?),
        kind: Some(DataKind::parse(get(row, "kind")?).ok_or_else(|| strange("kind"))?),
        window: Some(Window { start: get(row, "window_start")?, end: get(row, "window_end")? }),
        state: ask_state(get(row, "state")?, get(row, "reason")?).ok_or_else(|| strange("state"))?,
        since: get(row, "updated_at")?,
        bytes: count(row, "size_bytes")?,
        reference: get(row, "terra_reference")?,
        sent: Sent::default(),
        gap: if gap_of.is_nil() { None } else { Some((FetchJobId(gap_of), super::row::small(row, "round")?)) },
    })
}

const SAID: &str = "
SELECT reference, expected, announced_at
  FROM fetch_request
 WHERE environment = $1 AND reference = ANY ($2)";

const CAME: &str = "
SELECT reference, dedupe_key, number, items, size_bytes, first_day, last_day, received_at
  FROM fetch_chunk
 WHERE environment = $1 AND reference = ANY ($2)";

/// What Terra sent under these references.
async fn sent(db: &Db, environment: &Environment, references: &[String]) -> Result<BTreeMap<String, Sent>, StoreError> {
    let mut sent: BTreeMap<String, Sent> = BTreeMap::new();
    if references.is_empty() {
        return Ok(sent);
    }
    for row in &db.rows(SAID, &[&environment.as_str(), &references]).await? {
        let expected = get::<Option<i32>>(row, "expected")?.and_then(|expected| u32::try_from(expected).ok());
        let of = sent.entry(get(row, "reference")?).or_default();
        of.absorb_announcement(expected, get(row, "announced_at")?);
    }
    for row in &db.rows(CAME, &[&environment.as_str(), &references]).await? {
        let days: (Option<Date>, Option<Date>) = (get(row, "first_day")?, get(row, "last_day")?);
        let chunk = Chunk {
            number: get::<Option<i32>>(row, "number")?.and_then(|number| u32::try_from(number).ok()),
            items: super::row::small(row, "items")?,
            bytes: count(row, "size_bytes")?,
            days: days.0.zip(days.1),
            received_at: get(row, "received_at")?,
        };
        sent.entry(get(row, "reference")?).or_default().absorb_chunk(get(row, "dedupe_key")?, chunk);
    }
    Ok(sent)
}

const KEEP_LOOKED: &str = "
UPDATE backfill
   SET state = $2, reason = $3, requested = $4, expected = $5, received = $6, size_bytes = $7,
       progressed_at = coalesce($8, progressed_at), stalled_since = $9,
       look_at = CASE WHEN look_at < $12::timestamptz THEN least(look_at, $10::timestamptz) ELSE $10::timestamptz END,
       settled_at = CASE WHEN $2 = 'open' THEN NULL::timestamptz ELSE $11::timestamptz END
 WHERE id = $1 AND state = 'open'";

async fn keep_looked(db: &Db, looked: &Looked, now: Timestamp) -> Result<bool, StoreError> {
    let progress = &looked.progress;
    let claimed = now.checked_add(CLAIM).unwrap_or(now);
    let counted = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
    let kept = db
        .execute(
            KEEP_LOOKED,
            &[
                &looked.id.0,
                &looked.state.label(),
                &looked.reason,
                &integer(progress.requested),
                &counted(progress.expected),
                &counted(progress.received),
                &whole(progress.bytes),
                &progress.last_at,
                &looked.stalled_since,
                &looked.look_at,
                &now,
                &claimed,
            ],
        )
        .await?;
    Ok(kept == 1)
}
