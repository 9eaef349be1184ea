//! Every place where somebody may be found, in the order in which an erasure empties them.
//!
//! Rows by which other rows are found go after those. A step that deleted anything is followed by another, so the last
//! one found nothing at all.

use domain::delivery::Delivery;
use domain::erasure::{ErasureId, Progress, Target, TargetKind};
use domain::id::{DeliveryId, RecordId};
use jiff::Timestamp;
use terra::event::DataKind;
use tokio_postgres::Row;
use uuid::Uuid;

use super::record_sql::statements;
use super::row::{column, get, strange};
use super::unit::Db;
use super::{erase, payloads};
use crate::payloads::Sealed;
use crate::store::erasing::{BLANK, ROWS_AT_ONCE, erased_key, keys, left_by};
use crate::store::tx::Unneeded;
use crate::store::{ReferencePolicy, StoreError, apply};

/// `$1` environment, `$2` Terra user id.
const OF_ALIAS: [&str; 18] = [
    "DELETE FROM fetch_chunk
      WHERE environment = $1
        AND reference IN (SELECT terra_reference FROM fetch_job WHERE environment = $1 AND terra_user_id = $2
                           UNION ALL
                          SELECT reference FROM fetch_request WHERE environment = $1 AND terra_user_id = $2
                           UNION ALL
                          SELECT reference FROM delivery WHERE environment = $1 AND terra_user_id = $2)",
    "DELETE FROM recovery_backfill
      WHERE backfill_id IN (SELECT id FROM backfill WHERE environment = $1 AND terra_user_id = $2)",
    "DELETE FROM backfill_fetch
      WHERE backfill_id IN (SELECT id FROM backfill WHERE environment = $1 AND terra_user_id = $2)
         OR fetch_job_id IN (SELECT id FROM fetch_job WHERE environment = $1 AND terra_user_id = $2)",
    "DELETE FROM fetch_request WHERE environment = $1 AND terra_user_id = $2",
    "DELETE FROM fetch_turn WHERE environment = $1 AND terra_user_id = $2",
    "DELETE FROM fetch_job WHERE environment = $1 AND terra_user_id = $2",
    "DELETE FROM fetch_spend WHERE environment = $1 AND terra_user_id = $2",
    "DELETE FROM fetch_pause WHERE environment = $1 AND scope = 'alias' AND subject = $2",
    "UPDATE fetch_pause SET last = '' WHERE environment = $1 AND last = $2",
    "DELETE FROM backfill WHERE environment = $1 AND terra_user_id = $2",
    "DELETE FROM cadence WHERE environment = $1 AND terra_user_id = $2",
    "DELETE FROM recovery_event WHERE environment = $1 AND terra_user_id = $2",
    "DELETE FROM auth_event WHERE environment = $1 AND terra_user_id = $2",
    // Nothing proves that these are about them: all of that name go. A body in the payload store goes with its row.
    "WITH gone AS (
         DELETE FROM quarantine WHERE terra_user_id = $2 AND coalesce(address, $1) = $1 RETURNING body
     )
     INSERT INTO unneeded_payload (pointer) SELECT body FROM gone WHERE get_byte(body, 0) = 2",
    // Not left empty: an empty filter would be one for everybody.
    "UPDATE replay_run SET selection = jsonb_set(selection, '{terra_user_id}', '\"erased\"')
      WHERE selection ->> 'terra_user_id' = $2 AND coalesce(selection ->> 'environment', $1) = $1",
    "DELETE FROM connect_session WHERE environment = $1 AND terra_user_id = $2",
    // Terra bills what it delivered: the sums stay, under nobody.
    "WITH gone AS (
         DELETE FROM usage WHERE environment = $1 AND terra_user_id = $2 AND $2 <> ''
         RETURNING environment, kind, month, origin, deliveries, unchanged, duplicates, bytes
     )
     INSERT INTO usage (environment, terra_user_id, kind, month, origin, deliveries, unchanged, duplicates, bytes)
     SELECT environment, '', kind, month, origin, deliveries, unchanged, duplicates, bytes FROM gone
         ON CONFLICT (environment, terra_user_id, kind, month, origin) DO UPDATE
        SET deliveries = usage.deliveries + excluded.deliveries, unchanged = usage.unchanged + excluded.unchanged,
            duplicates = usage.duplicates + excluded.duplicates, bytes = usage.bytes + excluded.bytes",
    "DELETE FROM event
      WHERE environment = $1 AND position IS NULL
        AND (terra_user_id = $2 OR (terra_user_id IS NULL AND data ->> 'terra_user_id' = $2))",
];

/// `$1` environment, `$2` reference.
const OF_REFERENCE: [&str; 6] = [
    "DELETE FROM connect_session WHERE environment = $1 AND reference_id = $2",
    "DELETE FROM resolution
      WHERE environment = $1 AND reference_id = $2
        AND NOT EXISTS (SELECT FROM alias WHERE environment = $1 AND reference_id = $2)",
    "DELETE FROM auth_event
      WHERE environment = $1 AND reference_id = $2
        AND NOT EXISTS (SELECT FROM alias
                         WHERE alias.environment = $1 AND alias.terra_user_id = auth_event.terra_user_id)",
    "DELETE FROM reconcile_run
      WHERE (environment = $1 OR environment IS NULL) AND reference_id = $2 AND state NOT IN ('queued', 'running')",
    "UPDATE reconcile_run SET reference_id = '', state = 'failed', finished_at = requested_at, reason = 'erased'
      WHERE (environment = $1 OR environment IS NULL) AND reference_id = $2",
    "DELETE FROM event
      WHERE environment = $1 AND terra_user_id IS NULL AND position IS NULL AND data ->> 'reference_id' = $2",
];

/// `$1` internal user.
const OF_USER: [&str; 6] = [
    "DELETE FROM connect_session WHERE user_id = $1",
    "DELETE FROM resolution WHERE user_id = $1",
    "UPDATE replay_run SET selection = jsonb_set(selection, '{user}', '\"erased\"') WHERE selection ->> 'user' = $1",
    "UPDATE audit SET detail = detail - 'user' WHERE detail ->> 'user' = $1",
    "UPDATE audit SET subject = 'erased' WHERE subject = $1",
    "DELETE FROM event
      WHERE terra_user_id IS NULL AND position IS NULL AND subject = $1 AND NOT (entity = 'user' AND verb = 'erased')",
];

/// `$1` connection.
const OF_CONNECTION: &str = "DELETE FROM connection_silence WHERE connection_id = $1";

/// `$1` environment, `$2` Terra user id: of the history of somebody else.
const OF_PARTNER: &str = "
UPDATE auth_event SET detail = detail - 'old_user_id' - 'new_user_id'
 WHERE environment = $1 AND terra_user_id = $2 AND kind = 'user_reauth' AND (detail ? 'old_user_id' OR detail ? 'new_user_id')";

/// Positions stay without a gap: an event that has one stays and says nothing.
const BLANK_OF_ALIAS: &str = "
UPDATE event
   SET terra_user_id = NULL, connection_id = NULL, subject = NULL, provider = NULL, record_id = NULL, data = $3
 WHERE sequence = ANY (ARRAY(SELECT sequence FROM event WHERE environment = $1 AND terra_user_id = $2 LIMIT $4))";

/// Of the events that have no alias each is found by an index that what is blank already is not in: a log that has seen
/// many erasures makes the next no slower, and nobody numbers events meanwhile.
const BLANK_NAMELESS_OF_ALIAS: &str = "
UPDATE event SET subject = NULL, provider = NULL, data = $3
 WHERE environment = $1 AND terra_user_id IS NULL AND data ->> 'terra_user_id' = $2";

const BLANK_NAMELESS_OF_REFERENCE: &str = "
UPDATE event SET subject = NULL, provider = NULL, data = $3
 WHERE environment = $1 AND terra_user_id IS NULL AND data ->> 'reference_id' = $2";

const BLANK_NAMELESS_OF_USER: &str = "
UPDATE event SET subject = NULL, provider = NULL, data = $2
 WHERE terra_user_id IS NULL AND subject = $1 AND NOT (entity = 'user' AND verb = 'erased')";

/// Nobody numbers events while some that wait for a number go.
const LOCK_RELAY: &str = "SELECT FROM relay FOR UPDATE";

const PROGRESS: &str = "SELECT progress FROM erasure WHERE id = $1 FOR UPDATE";
const KEEP_PROGRESS: &str = "UPDATE erasure SET progress = $2 WHERE id = $1";

/// Deletes some rows; false where there was none.
pub(super) async fn some(
    db: &mut Db,
    id: ErasureId,
    limit: u32,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let targets: Vec<Target> = erase::targets(db, id).await?.into_iter().filter(|target| !target.is_erased).collect();
    if detach_followers(db, id, &targets, policy, now).await? {
        return Ok(true);
    }
    db.row(LOCK_RELAY, &[]).await?;
    let limit = i64::from(limit.min(ROWS_AT_ONCE));
    let mut gone = Progress::default();
    for target in &targets {
        empty(db, target, limit, &mut gone).await?;
    }
    if gone == Progress::default() {
        erase::mark_erased(db, id, &targets).await?;
        return Ok(false);
    }
    let row = db.row(PROGRESS, &[&id.0]).await?.ok_or_else(|| strange("erasure"))?;
    let mut progress: Progress = serde_json::from_value(get(&row, "progress")?).map_err(|_| strange("progress"))?;
    progress.add(&gone);
    let progress = serde_json::to_value(&progress).map_err(|_| strange("progress"))?;
    db.execute(KEEP_PROGRESS, &[&id.0, &progress]).await?;
    Ok(true)
}

const STILL_THERE: &str = "
SELECT alias.environment, alias.terra_user_id
  FROM unnest($1::text[], $2::text[]) AS erased (environment, terra_user_id)
  JOIN alias ON alias.environment = erased.environment AND alias.terra_user_id = erased.terra_user_id";

/// Those of whom the erasure learned later are still part of identity; not if they came back since.
async fn detach_followers(
    db: &mut Db,
    id: ErasureId,
    targets: &[Target],
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let aliases: Vec<&Target> = targets.iter().filter(|target| target.kind == TargetKind::Alias).collect();
    let environments = column(&aliases, |target| target.environment.as_str());
    let rows = db.rows(STILL_THERE, &[&environments, &column(&aliases, |target| target.name.as_str())]).await?;
    if rows.is_empty() {
        return Ok(false);
    }
    super::identity::lock(db, true).await?;
    let keys = rows.iter().map(super::row::alias_key).collect::<Result<_, _>>()?;
    let still = apply::erased::erased_aliases(db, keys).await?;
    if still.is_empty() {
        return Ok(false);
    }
    let partners = apply::detach(db, &still, policy, id.0.as_bytes(), now).await?;
    let partners: Vec<Target> =
        partners.iter().map(|key| Target { kind: TargetKind::Partner, ..Target::alias(key, true) }).collect();
    erase::add_targets(db, id, &partners, now).await?;
    Ok(true)
}

async fn empty(db: &mut Db, target: &Target, limit: i64, gone: &mut Progress) -> Result<(), StoreError> {
    let (environment, name) = (target.environment.as_str(), target.name.as_str());
    match target.kind {
        TargetKind::Alias => {
            for sql in OF_ALIAS {
                gone.other += db.execute(sql, &[&environment, &name]).await?;
            }
            records(db, environment, name, limit, gone).await?;
            deliveries(db, environment, name, limit, gone).await?;
            let blank = blank()?;
            gone.events += db.execute(BLANK_OF_ALIAS, &[&environment, &name, &blank, &limit]).await?;
            gone.events += db.execute(BLANK_NAMELESS_OF_ALIAS, &[&environment, &name, &blank]).await?;
        }
        TargetKind::Reference => {
            for sql in OF_REFERENCE {
                gone.other += db.execute(sql, &[&environment, &name]).await?;
            }
            gone.events += db.execute(BLANK_NAMELESS_OF_REFERENCE, &[&environment, &name, &blank()?]).await?;
        }
        TargetKind::User => {
            for sql in OF_USER {
                gone.other += db.execute(sql, &[&name]).await?;
            }
            gone.events += db.execute(BLANK_NAMELESS_OF_USER, &[&name, &blank()?]).await?;
        }
        TargetKind::Connection => {
            let id: Uuid = name.parse().map_err(|_| strange("name"))?;
            gone.other += db.execute(OF_CONNECTION, &[&id]).await?;
        }
        TargetKind::Partner => {
            gone.other += db.execute(OF_PARTNER, &[&environment, &name]).await?;
            reauths(db, environment, name, gone).await?;
        }
    }
    Ok(())
}

fn blank() -> Result<serde_json::Value, StoreError> {
    serde_json::from_str(BLANK).map_err(|_| strange("data"))
}

async fn records(db: &Db, environment: &str, name: &str, limit: i64, gone: &mut Progress) -> Result<(), StoreError> {
    for kind in DataKind::ALL {
        let rows = db.rows(&statements(kind).erase, &[&environment, &name, &limit]).await?;
        gone.records += rows.len() as u64;
        let unneeded = rows.iter().map(|row| document(row, kind)).collect::<Result<Vec<_>, _>>()?;
        payloads::let_go(db, &unneeded).await?;
    }
    Ok(())
}

fn document(row: &Row, kind: DataKind) -> Result<Unneeded, StoreError> {
    let sealed = Sealed(get::<Vec<u8>>(row, "document")?.into());
    Ok(apply::erased::document(kind, RecordId(get(row, "id")?), sealed))
}

const DELIVERIES: &str = "
SELECT id, received_at, metadata
  FROM delivery
 WHERE environment = $1 AND terra_user_id = $2
 ORDER BY id
 LIMIT $3";

/// What took effect is known by its digests alone from now on.
const FORGET_KEY: &str = "
UPDATE processed
   SET dedupe_key = gone.erased_key
  FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[]) AS gone (environment, dedupe_key, delivery_id, erased_key)
 WHERE processed.environment = gone.environment AND processed.dedupe_key = gone.dedupe_key
   AND processed.delivery_id = gone.delivery_id";

async fn deliveries(db: &Db, environment: &str, name: &str, limit: i64, gone: &mut Progress) -> Result<(), StoreError> {
    let rows = db.rows(DELIVERIES, &[&environment, &name, &limit]).await?;
    gone.deliveries += forget_rows(db, &rows).await?;
    Ok(())
}

const REAUTHS: &str = "
SELECT id, received_at, metadata
  FROM delivery
 WHERE environment = $1 AND terra_user_id = $2 AND type_name = 'user_reauth'";

async fn reauths(db: &Db, environment: &str, name: &str, gone: &mut Progress) -> Result<(), StoreError> {
    let rows = db.rows(REAUTHS, &[&environment, &name]).await?;
    gone.deliveries += forget_rows(db, &rows).await?;
    Ok(())
}

async fn forget_rows(db: &Db, rows: &[Row]) -> Result<u64, StoreError> {
    let (mut ids, mut forgotten) = (Vec::new(), Vec::new());
    for row in rows {
        let id = DeliveryId(get(row, "id")?);
        ids.push((id, get(row, "received_at")?));
        let metadata: serde_json::Value = get(row, "metadata")?;
        if let Ok(delivery) = serde_json::from_value::<Delivery>(metadata) {
            forgotten.extend(keys(&delivery).into_iter().map(|key| (delivery.environment.to_string(), key, id)));
        }
    }
    if !forgotten.is_empty() {
        db.execute(
            FORGET_KEY,
            &[
                &column(&forgotten, |(environment, ..)| environment.as_str()),
                &column(&forgotten, |(_, key, _)| key.as_str()),
                &column(&forgotten, |(.., id)| id.0),
                &column(&forgotten, |(.., id)| erased_key(*id)),
            ],
        )
        .await?;
    }
    forget(db, &ids).await
}

const FORGET: &str = "
DELETE FROM delivery
 USING unnest($1::uuid[], $2::timestamptz[]) AS gone (id, received_at)
 WHERE delivery.received_at = gone.received_at AND delivery.id = gone.id
RETURNING delivery.id, delivery.received_at, delivery.outcome, delivery.body";

pub(super) async fn forget(db: &Db, deliveries: &[(DeliveryId, Timestamp)]) -> Result<u64, StoreError> {
    if deliveries.is_empty() {
        return Ok(0);
    }
    let ids = column(deliveries, |(id, _)| id.0);
    let rows = db.rows(FORGET, &[&ids, &column(deliveries, |(_, at)| *at)]).await?;
    let mut unneeded = Vec::new();
    for row in &rows {
        let (id, body) = (DeliveryId(get(row, "id")?), Sealed(get::<Vec<u8>>(row, "body")?.into()));
        unneeded.extend(left_by(id, get(row, "received_at")?, get(row, "outcome")?, body));
    }
    payloads::let_go(db, &unneeded).await?;
    Ok(rows.len() as u64)
}

const OF_IDS: &str = "
SELECT delivery.id, delivery.received_at, delivery.metadata
  FROM unnest($1::uuid[], $2::timestamptz[]) AS gone (id, received_at)
  JOIN delivery ON delivery.received_at = gone.received_at AND delivery.id = gone.id";

/// Deletes rows of the ledger, and what is left of them elsewhere.
pub(super) async fn forget_found(db: &Db, deliveries: &[(DeliveryId, Timestamp)]) -> Result<(), StoreError> {
    let ids = column(deliveries, |(id, _)| id.0);
    let rows = db.rows(OF_IDS, &[&ids, &column(deliveries, |(_, at)| *at)]).await?;
    forget_rows(db, &rows).await?;
    Ok(())
}
