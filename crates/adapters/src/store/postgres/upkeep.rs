//! What grows is cut: partitions of the ledger by the day, old keys and sessions in small batches.

use std::time::Duration;

use bytes::Bytes;
use domain::erasure::SUBJECT_KEPT;
use domain::id::DeliveryId;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use tokio_postgres::Row;

use super::row::{count, get};
use super::unit::{Db, Units};
use super::{backfill_upkeep, payloads};
use crate::payloads::Sealed;
use crate::store::erasing::warn_of_dead;
use crate::store::tx::Unneeded;
use crate::store::{LEASE_MAX, StoreError};

const LOCK_PARTITIONS: i32 = 0x6c66_0003;

/// Today and this many days more have a partition waiting.
const DAYS_AHEAD: i64 = 3;

/// `processed` is what makes duplicates harmless; Terra retries for a day and its log lives for two weeks.
const KEEP_PROCESSED: Duration = Duration::from_secs(90 * 86_400);

/// A day of at most so many rows is moved out of the default partition, and so many days in one round.
const MOVED_ROWS_MAX: i64 = 100_000;
const MOVED_DAYS_MAX: i64 = 7;

const KEEP_SESSIONS: Duration = Duration::from_secs(86_400);

/// Two years of bills, and the month that began before them.
const KEEP_USAGE: Duration = Duration::from_secs(770 * 86_400);

/// What became of each delivery of a replay; the run itself, with its numbers, stays.
const KEEP_REPLAY_ITEMS: Duration = Duration::from_secs(30 * 86_400);

/// Rows deleted in one transaction, and such transactions in one round.
const BATCH_ROWS: i64 = 5_000;
const BATCHES_MAX: u32 = 200;

pub(super) async fn run(units: &Units, now: Timestamp, keep_deliveries: Duration) -> Result<(), StoreError> {
    let today = date(now);
    // Without a partition of its own a day goes to the default one: worth a word, no reason to stop.
    if let Err(cause) = units.keep(move |db| Box::pin(create_partitions(db, today))).await {
        tracing::warn!("could not create the partitions of the coming days: {cause}");
    }
    let end = before(now, keep_deliveries);
    // What is too old to get a partition of its own goes row by row.
    for _ in 0..BATCHES_MAX {
        if units.keep(move |db| Box::pin(delete_unpartitioned(db, end))).await? < BATCH_ROWS as usize {
            break;
        }
    }
    for day in units.single(move |db| Box::pin(unpartitioned_days(db, today))).await? {
        if let Err(cause) = units.keep(move |db| Box::pin(move_out_of_default(db, day))).await {
            tracing::warn!("could not give {day} a partition of its own: {cause}");
        }
    }
    for day in units.single(move |db| Box::pin(partitions_before(db, date(end)))).await? {
        units.keep(move |db| Box::pin(drop_partition(db, day))).await?;
    }
    delete_old(units, DELETE_PROCESSED, before(now, KEEP_PROCESSED)).await?;
    delete_old(units, DELETE_SESSIONS, before(now, KEEP_SESSIONS)).await?;
    delete_old(units, DELETE_USAGE, before(now, KEEP_USAGE)).await?;
    delete_old(units, DELETE_REPLAY_ITEMS, before(now, KEEP_REPLAY_ITEMS)).await?;
    backfill_upkeep::run(units, now).await?;
    units.keep(move |db| Box::pin(free_far_leases(db, now))).await?;
    let told = now.checked_sub(SUBJECT_KEPT).unwrap_or(Timestamp::MIN);
    units.single(move |db| Box::pin(async move { db.execute(FORGET_TOLD, &[&told]).await })).await?;
    Ok(())
}

/// What a clock that was wrong has hidden for longer than any lease lasts. Days that are spent when a request is
/// answered were spent at the latest now.
async fn free_far_leases(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    const REQUESTS: &str = "
        WITH freed AS (
            UPDATE fetch_job SET locked_until = NULL
             WHERE state = 'queued' AND locked_until > $2
            RETURNING environment, terra_user_id, priority
        )
        UPDATE fetch_turn SET due_at = $1
          FROM freed
         WHERE fetch_turn.environment = freed.environment AND fetch_turn.terra_user_id = freed.terra_user_id
           AND fetch_turn.priority = freed.priority";
    const SPENT: &str = "UPDATE fetch_spend SET spent_at = $1 WHERE spent_at > $2";
    const REFERENCES: &str =
        "UPDATE resolution SET locked_until = NULL, run_at = $1 WHERE user_id IS NULL AND locked_until > $2";
    for sql in [REQUESTS, SPENT, REFERENCES] {
        db.execute(sql, &[&now, &(now + LEASE_MAX)]).await?;
    }
    Ok(())
}

fn date(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn before(now: Timestamp, keep: Duration) -> Timestamp {
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    now.checked_sub(keep).unwrap_or(Timestamp::MIN)
}

/// `delivery_20260131`; parameters have no place in such commands, so names and bounds are made of dates alone.
fn partition(day: Date) -> String {
    format!("delivery_{}", day.strftime("%Y%m%d"))
}

pub(super) async fn create_partitions(db: &Db, today: Date) -> Result<(), StoreError> {
    db.rows("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))", &[&LOCK_PARTITIONS]).await?;
    for ahead in 0..=DAYS_AHEAD {
        let bounds = today.checked_add(Span::new().days(ahead)).and_then(|day| Ok((day, day.tomorrow()?)));
        let Ok((day, next)) = bounds else { return Ok(()) };
        let is_there = db.row("SELECT to_regclass($1) IS NOT NULL AS there", &[&partition(day)]).await?;
        if !is_there.is_some_and(|row| get(&row, "there").unwrap_or(false)) {
            create_partition(db, day, next).await?;
        }
    }
    Ok(())
}

/// A partition is filled before it is attached: rows of its day may have gone to the default one, which would refuse to
/// part with them otherwise. Deliveries of other days go on meanwhile.
async fn create_partition(db: &Db, day: Date, next: Date) -> Result<(), StoreError> {
    let name = partition(day);
    db.command(&format!(
        "LOCK TABLE delivery_default IN ACCESS EXCLUSIVE MODE;
         CREATE TABLE {name} (LIKE delivery INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE);
         WITH moved AS (
             DELETE FROM delivery_default
              WHERE received_at >= '{day} 00:00+00' AND received_at < '{next} 00:00+00'
             RETURNING id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order,
                       size_bytes, body_digest, late, metadata, body, outcome, reason, attempts, retry_at,
                       locked_until, row_count, settled_at, unread, class, fingerprint, replay_id, discarded_by,
                       discard_reason, crashes
         )
         INSERT INTO {name} (id, received_at, environment, trace_id, reference, type_name, terra_user_id,
                             delivery_order, size_bytes, body_digest, late, metadata, body, outcome, reason, attempts,
                             retry_at, locked_until, row_count, settled_at, unread, class, fingerprint, replay_id,
                             discarded_by, discard_reason, crashes)
         SELECT id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order,
                size_bytes, body_digest, late, metadata, body, outcome, reason, attempts, retry_at, locked_until,
                row_count, settled_at, unread, class, fingerprint, replay_id, discarded_by, discard_reason,
                crashes
           FROM moved;
         ALTER TABLE delivery ATTACH PARTITION {name} FOR VALUES FROM ('{day} 00:00+00') TO ('{next} 00:00+00');"
    ))
    .await
}

const PARTITIONS: &str = r"
SELECT to_date(substr(pg_class.relname, 10), 'YYYYMMDD') AS day
  FROM pg_inherits
  JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
 WHERE pg_inherits.inhparent = to_regclass('delivery') AND pg_class.relname ~ '^delivery_\d{8}$'
 ORDER BY 1";

async fn partitions_before(db: &Db, end: Date) -> Result<Vec<Date>, StoreError> {
    let days = db.rows(PARTITIONS, &[]).await?.iter().map(|row| get(row, "day")).collect::<Result<Vec<Date>, _>>()?;
    Ok(days.into_iter().filter(|day| *day < end).collect())
}

/// Days of the default partition that still have time to live, fewest rows first. One of very many rows stays where it
/// is: moving it would hold up everybody, and its rows are deleted all the same.
const UNPARTITIONED_DAYS: &str = "
SELECT (received_at AT TIME ZONE 'utc')::date AS day
  FROM delivery_default
 GROUP BY 1
HAVING count(*) <= $1 AND (received_at AT TIME ZONE 'utc')::date <= $2
 ORDER BY count(*)
 LIMIT $3";

async fn unpartitioned_days(db: &mut Db, today: Date) -> Result<Vec<Date>, StoreError> {
    let rows = db.rows(UNPARTITIONED_DAYS, &[&MOVED_ROWS_MAX, &today, &MOVED_DAYS_MAX]).await?;
    rows.iter().map(|row| get(row, "day")).collect()
}

async fn move_out_of_default(db: &mut Db, day: Date) -> Result<(), StoreError> {
    db.take_time().await?;
    db.rows("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))", &[&LOCK_PARTITIONS]).await?;
    let is_there = db.row("SELECT to_regclass($1) IS NOT NULL AS there", &[&partition(day)]).await?;
    match day.tomorrow() {
        Ok(next) if !is_there.is_some_and(|row| get(&row, "there").unwrap_or(false)) => {
            create_partition(db, day, next).await
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

const DEAD: &str = "
SELECT count(*) AS dead FROM delivery WHERE outcome = 'dead' AND received_at >= $1 AND received_at < $2";

const LET_GO: &str = "
INSERT INTO unneeded_payload (pointer)
SELECT body FROM delivery WHERE received_at >= $1 AND received_at < $2 AND substr(body, 1, 1) = ANY ($3)";

/// Their tries may have left documents, to which no record points; unless a replay is about to change that.
const WITHOUT_EFFECT: &str = "
SELECT id, received_at
  FROM delivery
 WHERE received_at >= $1 AND received_at < $2 AND outcome IN ('retry', 'dead', 'discarded')
   AND NOT EXISTS (SELECT FROM replay_run
                     JOIN replay_item ON replay_item.run_id = replay_run.id
                    WHERE replay_item.delivery_id = delivery.id AND replay_item.state = 'pending')";

async fn let_go_of_documents(db: &Db, deliveries: &[Row]) -> Result<(), StoreError> {
    let documents = |row: &Row| Ok(Sealed::documents_of(DeliveryId(get(row, "id")?), get(row, "received_at")?));
    let unneeded = deliveries.iter().map(|row| documents(row).map(|payload| Unneeded { payload, record: None }));
    payloads::let_go(db, &unneeded.collect::<Result<Vec<_>, StoreError>>()?).await
}

async fn drop_partition(db: &mut Db, day: Date) -> Result<(), StoreError> {
    let bounds = day.tomorrow().and_then(|next| Ok((day.to_zoned(TimeZone::UTC)?, next.to_zoned(TimeZone::UTC)?)));
    let Ok((start, end)) = bounds else { return Ok(()) };
    db.take_time().await?;
    db.rows("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))", &[&LOCK_PARTITIONS]).await?;
    let dead = db.row(DEAD, &[&start.timestamp(), &end.timestamp()]).await?;
    warn_of_dead(dead.map_or(Ok(0), |row| count(&row, "dead"))?);
    db.execute(LET_GO, &[&start.timestamp(), &end.timestamp(), &marks_of_stored()]).await?;
    let without_effect = db.rows(WITHOUT_EFFECT, &[&start.timestamp(), &end.timestamp()]).await?;
    let_go_of_documents(db, &without_effect).await?;
    db.command(&format!("DROP TABLE IF EXISTS {}", partition(day))).await
}

const DELETE_UNPARTITIONED: &str = "
DELETE FROM delivery_default
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM delivery_default WHERE received_at < $1 LIMIT $2))
RETURNING id, received_at,
          outcome IN ('retry', 'dead', 'discarded')
          AND NOT EXISTS (SELECT FROM replay_run
                            JOIN replay_item ON replay_item.run_id = replay_run.id
                           WHERE replay_item.delivery_id = delivery_default.id AND replay_item.state = 'pending')
              AS is_without_effect,
          CASE WHEN substr(body, 1, 1) = ANY ($3) THEN body END AS body";

/// Answers how many rows went.
async fn delete_unpartitioned(db: &mut Db, end: Timestamp) -> Result<usize, StoreError> {
    let rows = db.rows(DELETE_UNPARTITIONED, &[&end, &BATCH_ROWS, &marks_of_stored()]).await?;
    let stored = rows.iter().filter_map(|row| sealed(row).transpose());
    let unneeded = stored.map(|payload| payload.map(|payload| Unneeded { payload, record: None }));
    payloads::let_go(db, &unneeded.collect::<Result<Vec<_>, _>>()?).await?;
    let number = rows.len();
    let mut without_effect = Vec::new();
    for row in rows {
        if get(&row, "is_without_effect")? {
            without_effect.push(row);
        }
    }
    let_go_of_documents(db, &without_effect).await?;
    Ok(number)
}

/// The first bytes that make a payload a pointer, as `Sealed` itself says; so the database need not send us the others.
fn marks_of_stored() -> Vec<Vec<u8>> {
    (0..=u8::MAX).map(|mark| vec![mark]).filter(|mark| Sealed(Bytes::copy_from_slice(mark)).is_stored()).collect()
}

fn sealed(row: &Row) -> Result<Option<Sealed>, StoreError> {
    Ok(get::<Option<Vec<u8>>>(row, "body")?.map(|body| Sealed(Bytes::from(body))))
}

const DELETE_PROCESSED: &str = "
DELETE FROM processed
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM processed WHERE processed_at < $1 LIMIT $2))";

const DELETE_SESSIONS: &str = "
DELETE FROM connect_session
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM connect_session WHERE expires_at < $1 LIMIT $2))";

const DELETE_USAGE: &str = "
DELETE FROM usage
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM usage WHERE month < date_trunc('month', $1::timestamptz AT TIME ZONE 'utc')::date LIMIT $2))";

const DELETE_REPLAY_ITEMS: &str = "
DELETE FROM replay_item
 WHERE ctid = ANY (ARRAY(SELECT replay_item.ctid
                           FROM replay_item
                           JOIN replay_run ON replay_run.id = replay_item.run_id
                          WHERE replay_run.state IN ('done', 'previewed', 'cancelled', 'failed')
                            AND coalesce(replay_run.finished_at, replay_run.requested_at) < $1
                          LIMIT $2))";
/// The event of an erasure is the last that names somebody; every service has had its time to read it.
const FORGET_TOLD: &str = r#"
UPDATE event SET subject = NULL, data = '{"erased": true}'
  FROM erasure
 WHERE event.id = erasure.event_id AND erasure.requested_at < $1 AND event.data <> '{"erased": true}'"#;

pub(super) async fn delete_old(units: &Units, sql: &'static str, end: Timestamp) -> Result<(), StoreError> {
    for _ in 0..BATCHES_MAX {
        let deleted =
            units.single(move |db| Box::pin(async move { db.execute(sql, &[&end, &BATCH_ROWS]).await })).await?;
        if deleted < BATCH_ROWS as u64 {
            break;
        }
    }
    Ok(())
}
