//! Every place where somebody may be found, in the order in which an erasure empties them.
//!
//! Rows by which other rows are found go after those. A step that deleted anything is followed by another, so the last
//! one found nothing at all.

use std::collections::BTreeSet;

use domain::delivery::Delivery;
use domain::erasure::{ErasureId, Progress, Target, TargetKind};
use domain::id::{AliasKey, DeliveryId, RecordId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use terra::event::DataKind;
use uuid::Uuid;

use super::column::{json, json_text, ms, time, uuid};
use super::record_sql::statements;
use super::tx::{SqliteTx, at_once};
use super::{erase, payloads};
use crate::payloads::Sealed;
use crate::store::erasing::{BLANK, ROWS_AT_ONCE, erased_key, keys, left_by};
use crate::store::{ReferencePolicy, StoreError, apply};

/// `?1` environment, `?2` Terra user id.
const OF_ALIAS: [&str; 20] = [
    "DELETE FROM fetch_chunk
      WHERE environment = ?1
        AND reference IN (SELECT terra_reference FROM fetch_job WHERE environment = ?1 AND terra_user_id = ?2
                           UNION ALL
                          SELECT reference FROM fetch_request WHERE environment = ?1 AND terra_user_id = ?2
                           UNION ALL
                          SELECT reference FROM delivery WHERE environment = ?1 AND terra_user_id = ?2)",
    "DELETE FROM recovery_backfill
      WHERE backfill_id IN (SELECT id FROM backfill WHERE environment = ?1 AND terra_user_id = ?2)",
    "DELETE FROM backfill_fetch
      WHERE backfill_id IN (SELECT id FROM backfill WHERE environment = ?1 AND terra_user_id = ?2)
         OR fetch_job_id IN (SELECT id FROM fetch_job WHERE environment = ?1 AND terra_user_id = ?2)",
    "DELETE FROM fetch_request WHERE environment = ?1 AND terra_user_id = ?2",
    "DELETE FROM fetch_turn WHERE environment = ?1 AND terra_user_id = ?2",
    "DELETE FROM fetch_job WHERE environment = ?1 AND terra_user_id = ?2",
    "DELETE FROM fetch_spend WHERE environment = ?1 AND terra_user_id = ?2",
    "DELETE FROM fetch_pause WHERE environment = ?1 AND scope = 'alias' AND subject = ?2",
    "UPDATE fetch_pause SET last = '' WHERE environment = ?1 AND last = ?2",
    "DELETE FROM backfill WHERE environment = ?1 AND terra_user_id = ?2",
    "DELETE FROM cadence WHERE environment = ?1 AND terra_user_id = ?2",
    "DELETE FROM recovery_event WHERE environment = ?1 AND terra_user_id = ?2",
    "DELETE FROM auth_event WHERE environment = ?1 AND terra_user_id = ?2",
    // Nothing proves that these are about them: all of that name go. A body in the payload store goes with its row.
    "INSERT INTO unneeded_payload (pointer)
     SELECT body FROM quarantine
      WHERE terra_user_id = ?2 AND coalesce(address, ?1) = ?1 AND substr(body, 1, 1) = x'02'",
    "DELETE FROM quarantine WHERE terra_user_id = ?2 AND coalesce(address, ?1) = ?1",
    // Not left empty: an empty filter would be one for everybody.
    "UPDATE replay_run SET selection = json_set(selection, '$.terra_user_id', 'erased')
      WHERE selection ->> 'terra_user_id' = ?2 AND coalesce(selection ->> 'environment', ?1) = ?1",
    "DELETE FROM connect_session WHERE environment = ?1 AND terra_user_id = ?2",
    // Terra bills what it delivered: the sums stay, under nobody.
    "INSERT INTO usage (environment, terra_user_id, kind, month, origin, deliveries, unchanged, duplicates, bytes)
     SELECT environment, '', kind, month, origin, deliveries, unchanged, duplicates, bytes
       FROM usage WHERE environment = ?1 AND terra_user_id = ?2 AND ?2 <> ''
         ON CONFLICT (environment, terra_user_id, kind, month, origin) DO UPDATE
        SET deliveries = usage.deliveries + excluded.deliveries, unchanged = usage.unchanged + excluded.unchanged,
            duplicates = usage.duplicates + excluded.duplicates, bytes = usage.bytes + excluded.bytes",
    "DELETE FROM usage WHERE environment = ?1 AND terra_user_id = ?2 AND ?2 <> ''",
    "DELETE FROM event
      WHERE environment = ?1 AND position IS NULL
        AND (terra_user_id = ?2 OR (terra_user_id IS NULL AND data ->> 'terra_user_id' = ?2))",
];

/// `?1` environment, `?2` reference.
const OF_REFERENCE: [&str; 6] = [
    "DELETE FROM connect_session WHERE environment = ?1 AND reference_id = ?2",
    "DELETE FROM resolution
      WHERE environment = ?1 AND reference_id = ?2
        AND NOT EXISTS (SELECT 1 FROM alias WHERE environment = ?1 AND reference_id = ?2)",
    "DELETE FROM auth_event
      WHERE environment = ?1 AND reference_id = ?2
        AND NOT EXISTS (SELECT 1 FROM alias
                         WHERE alias.environment = ?1 AND alias.terra_user_id = auth_event.terra_user_id)",
    "DELETE FROM reconcile_run
      WHERE (environment = ?1 OR environment IS NULL) AND reference_id = ?2 AND state NOT IN ('queued', 'running')",
    "UPDATE reconcile_run SET reference_id = '', state = 'failed', finished_at = requested_at, reason = 'erased'
      WHERE (environment = ?1 OR environment IS NULL) AND reference_id = ?2",
    "DELETE FROM event
      WHERE environment = ?1 AND terra_user_id IS NULL AND position IS NULL AND data ->> 'reference_id' = ?2",
];

/// `?1` internal user.
const OF_USER: [&str; 6] = [
    "DELETE FROM connect_session WHERE user_id = ?1",
    "DELETE FROM resolution WHERE user_id = ?1",
    "UPDATE replay_run SET selection = json_set(selection, '$.user', 'erased') WHERE selection ->> 'user' = ?1",
    "UPDATE audit SET detail = json_remove(detail, '$.user') WHERE detail ->> 'user' = ?1",
    "UPDATE audit SET subject = 'erased' WHERE subject = ?1",
    "DELETE FROM event
      WHERE terra_user_id IS NULL AND position IS NULL AND subject = ?1 AND NOT (entity = 'user' AND verb = 'erased')",
];

/// `?1` connection.
const OF_CONNECTION: &str = "DELETE FROM connection_silence WHERE connection_id = ?1";

/// `?1` environment, `?2` Terra user id: of the history of somebody else.
const OF_PARTNER: &str = "
UPDATE auth_event SET detail = json_remove(detail, '$.old_user_id', '$.new_user_id')
 WHERE environment = ?1 AND terra_user_id = ?2 AND kind = 'user_reauth'
   AND (detail ->> 'old_user_id' IS NOT NULL OR detail ->> 'new_user_id' IS NOT NULL)";

/// Positions stay without a gap: an event that has one stays and says nothing.
const BLANK_OF_ALIAS: &str = "
UPDATE event
   SET terra_user_id = NULL, connection_id = NULL, subject = NULL, provider = NULL, record_id = NULL, data = ?3
 WHERE sequence IN (SELECT sequence FROM event WHERE environment = ?1 AND terra_user_id = ?2 LIMIT ?4)";

/// Of the events that have no alias each is found by an index that what is blank already is not in: a log that has seen
/// many erasures makes the next no slower, and nobody numbers events meanwhile.
const BLANK_NAMELESS_OF_ALIAS: &str = "
UPDATE event SET subject = NULL, provider = NULL, data = ?3
 WHERE environment = ?1 AND terra_user_id IS NULL AND data ->> 'terra_user_id' = ?2";

const BLANK_NAMELESS_OF_REFERENCE: &str = "
UPDATE event SET subject = NULL, provider = NULL, data = ?3
 WHERE environment = ?1 AND terra_user_id IS NULL AND data ->> 'reference_id' = ?2";

const BLANK_NAMELESS_OF_USER: &str = "
UPDATE event SET subject = NULL, provider = NULL, data = ?2
 WHERE terra_user_id IS NULL AND subject = ?1 AND NOT (entity = 'user' AND verb = 'erased')";

/// Deletes some rows; false where there was none.
pub(super) fn some(
    connection: &mut Connection,
    id: ErasureId,
    limit: u32,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const PROGRESS: &str = "SELECT progress FROM erasure WHERE id = ?1";
    const KEEP: &str = "UPDATE erasure SET progress = ?2 WHERE id = ?1";
    let targets = erase::targets(connection, id)?;
    let targets: Vec<Target> = targets.into_iter().filter(|target| !target.is_erased).collect();
    if detach_followers(connection, id, &targets, policy, now)? {
        return Ok(true);
    }
    let limit = limit.min(ROWS_AT_ONCE);
    let mut gone = Progress::default();
    for target in &targets {
        empty(connection, target, limit, &mut gone)?;
    }
    if gone == Progress::default() {
        erase::mark_erased(connection, id, &targets)?;
        return Ok(false);
    }
    let kept = |row: &Row<'_>| json::<Progress>(row, "progress");
    let mut progress = connection.prepare_cached(PROGRESS)?.query_row([id.0.as_bytes()], kept)?;
    progress.add(&gone);
    connection.prepare_cached(KEEP)?.execute(params![id.0.as_bytes(), json_text(&progress)])?;
    Ok(true)
}

/// Those of whom the erasure learned later are still part of identity; not if they came back since.
fn detach_followers(
    connection: &mut Connection,
    id: ErasureId,
    targets: &[Target],
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const IS_THERE: &str = "SELECT 1 FROM alias WHERE environment = ?1 AND terra_user_id = ?2";
    let mut there: BTreeSet<AliasKey> = BTreeSet::new();
    for target in targets.iter().filter(|target| target.kind == TargetKind::Alias) {
        let key = [target.environment.as_str(), &target.name];
        if connection.prepare_cached(IS_THERE)?.query_row(key, |_| Ok(())).optional()?.is_some() {
            there.insert(target.key());
        }
    }
    let mut tx = SqliteTx { connection };
    let still = at_once(apply::erased::erased_aliases(&mut tx, there))?;
    if still.is_empty() {
        return Ok(false);
    }
    let partners = at_once(apply::detach(&mut tx, &still, policy, id.0.as_bytes(), now))?;
    let partners: Vec<Target> =
        partners.iter().map(|key| Target { kind: TargetKind::Partner, ..Target::alias(key, true) }).collect();
    erase::add_targets(connection, id, &partners, now)?;
    Ok(true)
}

fn empty(connection: &Connection, target: &Target, limit: u32, gone: &mut Progress) -> Result<(), StoreError> {
    let (environment, name) = (target.environment.as_str(), target.name.as_str());
    match target.kind {
        TargetKind::Alias => {
            gone.other += run(connection, &OF_ALIAS, [environment, name])?;
            records(connection, environment, name, limit, gone)?;
            deliveries(connection, environment, name, limit, gone)?;
            gone.events += run(connection, &[BLANK_OF_ALIAS], params![environment, name, BLANK, limit])?;
            gone.events += run(connection, &[BLANK_NAMELESS_OF_ALIAS], [environment, name, BLANK])?;
        }
        TargetKind::Reference => {
            gone.other += run(connection, &OF_REFERENCE, [environment, name])?;
            gone.events += run(connection, &[BLANK_NAMELESS_OF_REFERENCE], [environment, name, BLANK])?;
        }
        TargetKind::User => {
            gone.other += run(connection, &OF_USER, [name])?;
            gone.events += run(connection, &[BLANK_NAMELESS_OF_USER], [name, BLANK])?;
        }
        TargetKind::Connection => {
            let id = name.parse().unwrap_or(Uuid::nil());
            gone.other += run(connection, &[OF_CONNECTION], [id.as_bytes()])?;
        }
        TargetKind::Partner => {
            gone.other += run(connection, &[OF_PARTNER], [environment, name])?;
            reauths(connection, environment, name, gone)?;
        }
    }
    Ok(())
}

/// Answers how many rows went, or were changed.
fn run(connection: &Connection, all: &[&str], parameters: impl Params + Clone) -> Result<u64, StoreError> {
    let mut rows = 0;
    for sql in all {
        rows += connection.prepare_cached(sql)?.execute(parameters.clone())? as u64;
    }
    Ok(rows)
}

fn records(
    connection: &Connection,
    environment: &str,
    name: &str,
    limit: u32,
    gone: &mut Progress,
) -> Result<(), StoreError> {
    for kind in DataKind::ALL {
        let mut statement = connection.prepare_cached(&statements(kind).erase)?;
        let rows = statement.query_map(params![environment, name, limit], |row| {
            let sealed = Sealed(row.get::<_, Vec<u8>>("document")?.into());
            Ok(apply::erased::document(kind, RecordId(uuid(row, "id")?), sealed))
        })?;
        let unneeded = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        gone.records += unneeded.len() as u64;
        payloads::let_go(connection, &unneeded)?;
    }
    Ok(())
}

fn deliveries(
    connection: &Connection,
    environment: &str,
    name: &str,
    limit: u32,
    gone: &mut Progress,
) -> Result<(), StoreError> {
    const DELIVERIES: &str = "
        SELECT id, received_at FROM delivery WHERE environment = ?1 AND terra_user_id = ?2 ORDER BY id LIMIT ?3";
    let mut statement = connection.prepare_cached(DELIVERIES)?;
    let rows = statement.query_map(params![environment, name, limit], place)?.collect::<rusqlite::Result<Vec<_>>>()?;
    gone.deliveries += rows.len() as u64;
    forget_found(connection, &rows)
}

fn reauths(connection: &Connection, environment: &str, name: &str, gone: &mut Progress) -> Result<(), StoreError> {
    const REAUTHS: &str = "
        SELECT id, received_at FROM delivery
        WHERE environment = ?1 AND terra_user_id = ?2 AND type_name = 'user_reauth'";
    let mut statement = connection.prepare_cached(REAUTHS)?;
    let rows = statement.query_map([environment, name], place)?.collect::<rusqlite::Result<Vec<_>>>()?;
    gone.deliveries += rows.len() as u64;
    forget_found(connection, &rows)
}

fn place(row: &Row<'_>) -> rusqlite::Result<(DeliveryId, Timestamp)> {
    Ok((DeliveryId(uuid(row, "id")?), time(row, "received_at")?))
}

/// Deletes rows of the ledger, and what is left of them elsewhere: what took effect is known by its digests alone from
/// now on.
pub(super) fn forget_found(connection: &Connection, found: &[(DeliveryId, Timestamp)]) -> Result<(), StoreError> {
    const METADATA: &str = "SELECT metadata FROM delivery WHERE id = ?1";
    const FORGET_KEY: &str = "
        UPDATE processed SET dedupe_key = ?4 WHERE environment = ?1 AND dedupe_key = ?2 AND delivery_id = ?3";
    let (mut metadata, mut forget_key) = (connection.prepare_cached(METADATA)?, connection.prepare_cached(FORGET_KEY)?);
    for (id, _) in found {
        let text: Option<String> = metadata.query_row([id.0.as_bytes()], |row| row.get(0)).optional()?;
        let Some(Ok(delivery)) = text.map(|text| serde_json::from_str::<Delivery>(&text)) else { continue };
        for key in keys(&delivery) {
            let row = params![delivery.environment.as_str(), key, id.0.as_bytes(), erased_key(*id)];
            forget_key.execute(row)?;
        }
    }
    forget(connection, found)
}

pub(super) fn forget(connection: &Connection, deliveries: &[(DeliveryId, Timestamp)]) -> Result<(), StoreError> {
    const FORGET: &str = "DELETE FROM delivery WHERE id = ?1 AND received_at = ?2 RETURNING outcome, body";
    let mut statement = connection.prepare_cached(FORGET)?;
    let mut unneeded = Vec::new();
    for (id, received_at) in deliveries {
        let kept = statement.query_row(params![id.0.as_bytes(), ms(*received_at)], |row| {
            Ok((row.get::<_, String>("outcome")?, Sealed(row.get::<_, Vec<u8>>("body")?.into())))
        });
        unneeded.extend(
            kept.optional()?.into_iter().flat_map(|(outcome, body)| left_by(*id, *received_at, &outcome, body)),
        );
    }
    payloads::let_go(connection, &unneeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::Embedded;

    #[track_caller]
    fn check(connection: &Connection, sql: &str, expected: &str) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
        let steps =
            statement.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>("detail")).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        assert_eq!(steps, [format!("SEARCH event USING INDEX {expected}")], "{sql}");
    }

    #[test]
    fn no_event_that_was_blanked_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        drop(Embedded::open(dir.path()).unwrap());
        let connection = Connection::open(dir.path().join("landfall.db")).unwrap();
        check(&connection, BLANK_NAMELESS_OF_ALIAS, "event_nameless_alias (environment=? AND <expr>=?)");
        check(&connection, BLANK_NAMELESS_OF_REFERENCE, "event_nameless_reference (environment=? AND <expr>=?)");
        check(&connection, BLANK_NAMELESS_OF_USER, "event_nameless_subject (subject=?)");
        // What has no position yet was never blanked.
        for sql in [OF_ALIAS.last(), OF_REFERENCE.last(), OF_USER.last()] {
            check(&connection, sql.unwrap(), "sqlite_autoindex_event_2 (position=?)");
        }
    }
}
