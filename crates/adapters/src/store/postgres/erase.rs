//! Erasures: tombstones, targets, and how far each is. What is deleted, and where, is in `erase_rows.rs`.

use std::collections::BTreeSet;

use domain::erasure::{Cause, Erasure, ErasureId, Found, Scope, State, Target, TargetKind, Tombstone, order_of};
use domain::id::{AliasKey, ConnectionId, Environment, EventId, ReferenceId, UserId};
use domain::order::Order;
use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use super::read::{cursor, one_more};
use super::record_sql::count_of_user;
use super::row::{alias_key, column, count, environment, get, order, order_if_any, strange};
use super::unit::Db;
use crate::store::tx::Grave;
use crate::store::{Listing, Page, StoreError};

const TOMBSTONES: &str = "SELECT digest, erasure_id, erased, reopened FROM tombstone WHERE digest = ANY ($1)";

pub(super) async fn tombstones(db: &Db, digests: &[[u8; 32]]) -> Result<Vec<Grave>, StoreError> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let rows = db.rows(TOMBSTONES, &[&column(digests, |digest| digest.as_slice())]).await?;
    rows.iter()
        .map(|row| {
            let digest = get::<&[u8]>(row, "digest")?.try_into().map_err(|_| strange("digest"))?;
            let tombstone = Tombstone {
                erasure: ErasureId(get(row, "erasure_id")?),
                erased: order(row, "erased")?,
                reopened: order_if_any(row, "reopened")?,
            };
            Ok(Grave { digest, tombstone })
        })
        .collect()
}

const BURY: &str = "
INSERT INTO tombstone (digest, erasure_id, erased)
SELECT digest, erasure_id, erased
  FROM unnest($1::bytea[], $2::uuid[], $3::bytea[]) AS buried (digest, erasure_id, erased)
 ORDER BY digest
    ON CONFLICT (digest) DO UPDATE
   SET erasure_id = excluded.erasure_id, erased = greatest(tombstone.erased, excluded.erased), reopened = NULL";

pub(super) async fn write_tombstones(db: &Db, graves: &[Grave]) -> Result<(), StoreError> {
    if graves.is_empty() {
        return Ok(());
    }
    db.execute(
        BURY,
        &[
            &column(graves, |grave| grave.digest.as_slice()),
            &column(graves, |grave| grave.tombstone.erasure.0),
            &column(graves, |grave| grave.tombstone.erased.as_bytes().as_slice()),
        ],
    )
    .await?;
    Ok(())
}

const REOPEN: &str = "UPDATE tombstone SET reopened = $2 WHERE digest = $1 AND reopened IS NULL";

pub(super) async fn reopen(db: &Db, digests: &[([u8; 32], Order)]) -> Result<(), StoreError> {
    for (digest, order) in digests {
        db.execute(REOPEN, &[&digest.as_slice(), &order.as_bytes().as_slice()]).await?;
    }
    Ok(())
}

const ADD_TARGETS: &str = "
INSERT INTO erasure_target (erasure_id, kind, environment, name, is_erased, is_told)
SELECT $1, kind, environment, name, is_erased, is_told
  FROM unnest($2::text[], $3::text[], $4::text[], $5::boolean[], $6::boolean[])
       AS target (kind, environment, name, is_erased, is_told)
    ON CONFLICT DO NOTHING";

/// Who adds somebody to an erasure, and who says how far it is, take turns.
const LOCK: &str = "SELECT FROM erasure WHERE id = $1 FOR UPDATE";

const GO_ON: &str = "
UPDATE erasure SET state = 'erasing', erased_at = NULL, finished_at = NULL, look_at = $2
 WHERE id = $1 AND state <> 'erasing'";

pub(super) async fn add_targets(db: &Db, id: ErasureId, targets: &[Target], at: Timestamp) -> Result<(), StoreError> {
    db.row(LOCK, &[&id.0]).await?;
    let added = db
        .execute(
            ADD_TARGETS,
            &[
                &id.0,
                &column(targets, |target| target.kind.label()),
                &column(targets, |target| target.environment.as_str()),
                &column(targets, |target| target.name.as_str()),
                &column(targets, |target| target.is_erased),
                &column(targets, |target| target.is_told),
            ],
        )
        .await?;
    if added > 0 {
        db.execute(GO_ON, &[&id.0, &at]).await?;
    }
    Ok(())
}

const TARGETS: &str = "
SELECT kind, environment, name, is_erased, is_told
  FROM erasure_target
 WHERE erasure_id = $1
 ORDER BY kind, environment, name";

pub(super) async fn targets(db: &Db, id: ErasureId) -> Result<Vec<Target>, StoreError> {
    let rows = db.rows(TARGETS, &[&id.0]).await?;
    rows.iter()
        .map(|row| {
            Ok(Target {
                kind: TargetKind::parse(get(row, "kind")?).ok_or_else(|| strange("kind"))?,
                environment: environment(row)?,
                name: get(row, "name")?,
                is_erased: get(row, "is_erased")?,
                is_told: get(row, "is_told")?,
            })
        })
        .collect()
}

const ERASED: &str = "
UPDATE erasure_target SET is_erased = true WHERE erasure_id = $1 AND kind = $2 AND environment = $3 AND name = $4";

pub(super) async fn mark_erased(db: &Db, id: ErasureId, targets: &[Target]) -> Result<(), StoreError> {
    for target in targets {
        db.execute(ERASED, &[&id.0, &target.kind.label(), &target.environment.as_str(), &target.name]).await?;
    }
    Ok(())
}

const TOLD: &str = "
UPDATE erasure_target SET is_told = true WHERE erasure_id = $1 AND kind = $2 AND environment = $3 AND name = $4";

pub(super) async fn told(db: &Db, id: ErasureId, targets: &[Target]) -> Result<(), StoreError> {
    for target in targets {
        db.execute(TOLD, &[&id.0, &target.kind.label(), &target.environment.as_str(), &target.name]).await?;
    }
    Ok(())
}

const WRITE: &str = "
INSERT INTO erasure (id, scope, cause, actor, requested_at, erased_at, finished_at, look_at, state, progress, reason,
                     event_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (id) DO UPDATE
   SET erased_at = excluded.erased_at, finished_at = excluded.finished_at, look_at = excluded.look_at,
       state = excluded.state, progress = excluded.progress, reason = excluded.reason";

const LEFT: &str = "
SELECT coalesce(bool_and(is_erased), true) AS all_erased, coalesce(bool_and(is_told), true) AS all_told
  FROM erasure_target
 WHERE erasure_id = $1";

/// One that is done forgets whom it was about, unless somebody was added meanwhile: then it goes on.
pub(super) async fn write(db: &Db, erasure: &Erasure) -> Result<(), StoreError> {
    db.row(LOCK, &[&erasure.id.0]).await?;
    let left = db.row(LEFT, &[&erasure.id.0]).await?.ok_or_else(|| strange("erasure_target"))?;
    let erasure = erasure.clone().as_far_as(get(&left, "all_erased")?, get(&left, "all_told")?);
    if erasure.state == State::Done {
        db.execute("DELETE FROM erasure_target WHERE erasure_id = $1", &[&erasure.id.0]).await?;
    }
    let progress = serde_json::to_value(&erasure.progress).map_err(|_| strange("progress"))?;
    db.execute(
        WRITE,
        &[
            &erasure.id.0,
            &erasure.scope.label(),
            &erasure.cause.label(),
            &erasure.actor,
            &erasure.requested_at,
            &erasure.erased_at,
            &erasure.finished_at,
            &erasure.look_at,
            &erasure.state.label(),
            &progress,
            &erasure.reason,
            &erasure.event.0,
        ],
    )
    .await?;
    Ok(())
}

const LIST: &str = "
SELECT id, scope, cause, actor, requested_at, erased_at, finished_at, look_at, state, progress, reason, event_id
  FROM erasure
 WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3";

pub(super) async fn one(db: &Db, id: ErasureId) -> Result<Option<Erasure>, StoreError> {
    db.row(LIST, &[&Some(id.0), &None::<Uuid>, &1_i64]).await?.as_ref().map(erasure).transpose()
}

pub(super) async fn list(db: &Db, page: &Page) -> Result<Listing<Erasure>, StoreError> {
    let before: Option<Uuid> = cursor(page)?;
    let rows = db.rows(LIST, &[&None::<Uuid>, &before, &one_more(page)]).await?;
    let erasures = rows.iter().map(erasure).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(erasures, page, |erasure| erasure.id.to_string()))
}

const NEXT: &str = "
SELECT id, scope, cause, actor, requested_at, erased_at, finished_at, look_at, state, progress, reason, event_id
  FROM erasure
 WHERE state <> 'done' AND look_at <= $1
 ORDER BY look_at, id
 LIMIT 1";

pub(super) async fn next(db: &Db, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
    db.row(NEXT, &[&now]).await?.as_ref().map(erasure).transpose()
}

fn erasure(row: &Row) -> Result<Erasure, StoreError> {
    Ok(Erasure {
        id: ErasureId(get(row, "id")?),
        scope: Scope::parse(get(row, "scope")?).ok_or_else(|| strange("scope"))?,
        cause: Cause::parse(get(row, "cause")?).ok_or_else(|| strange("cause"))?,
        actor: get(row, "actor")?,
        requested_at: get(row, "requested_at")?,
        erased_at: get(row, "erased_at")?,
        finished_at: get(row, "finished_at")?,
        look_at: get(row, "look_at")?,
        state: State::parse(get(row, "state")?).ok_or_else(|| strange("state"))?,
        progress: serde_json::from_value(get(row, "progress")?).map_err(|_| strange("progress"))?,
        reason: get(row, "reason")?,
        event: EventId(get(row, "event_id")?),
    })
}

const ALIASES_OF: &str = r#"
SELECT environment, terra_user_id
  FROM alias
 WHERE ($1::text IS NOT NULL AND user_id = $1) OR ($2::uuid IS NOT NULL AND connection_id = $2)
 ORDER BY environment COLLATE "C", terra_user_id COLLATE "C""#;

pub(super) async fn aliases_of(
    db: &Db,
    user: Option<&UserId>,
    connection: Option<ConnectionId>,
) -> Result<Vec<AliasKey>, StoreError> {
    let rows = db.rows(ALIASES_OF, &[&user.map(UserId::as_str), &connection.map(|id| id.0)]).await?;
    rows.iter().map(alias_key).collect()
}

const REFERENCES_OF: &str = "
SELECT environment, reference_id FROM connect_session WHERE user_id = $1
 UNION
SELECT environment, reference_id FROM resolution WHERE user_id = $1";

pub(super) async fn references_of(db: &Db, user: &UserId) -> Result<BTreeSet<(Environment, ReferenceId)>, StoreError> {
    let rows = db.rows(REFERENCES_OF, &[&user.as_str()]).await?;
    rows.iter().map(|row| Ok((environment(row)?, ReferenceId::new(get::<String>(row, "reference_id")?)))).collect()
}

const DELETE_ALIASES: &str = "
DELETE FROM alias
 USING unnest($1::text[], $2::text[]) AS erased (environment, terra_user_id)
 WHERE alias.environment = erased.environment AND alias.terra_user_id = erased.terra_user_id";

const DELETE_EDGES: &str = "
DELETE FROM alias_edge
 USING unnest($1::text[], $2::text[]) AS erased (environment, terra_user_id)
 WHERE alias_edge.environment = erased.environment
   AND erased.terra_user_id IN (alias_edge.old_id, alias_edge.new_id)";

pub(super) async fn delete_aliases(db: &Db, keys: &[AliasKey]) -> Result<(), StoreError> {
    let environments = column(keys, |key| key.environment.as_str());
    let ids = column(keys, |key| key.terra_user_id.as_str());
    db.execute(DELETE_ALIASES, &[&environments, &ids]).await?;
    db.execute(DELETE_EDGES, &[&environments, &ids]).await?;
    Ok(())
}

const FOUND: &str = "
SELECT count(DISTINCT alias.connection_id) AS connections, count(*) AS terra_users,
       coalesce(sum((SELECT count(*) FROM delivery
                      WHERE delivery.terra_user_id = alias.terra_user_id
                        AND delivery.environment = alias.environment)), 0)::bigint AS deliveries,
       coalesce(sum((SELECT count(*) FROM event
                      WHERE event.environment = alias.environment
                        AND event.terra_user_id = alias.terra_user_id)), 0)::bigint AS events
  FROM alias
 WHERE alias.user_id = $1";

pub(super) async fn preview(db: &Db, user: &UserId) -> Result<Found, StoreError> {
    let row = db.row(FOUND, &[&user.as_str()]).await?.ok_or_else(|| strange("alias"))?;
    let records = db.row(count_of_user(), &[&user.as_str()]).await?.ok_or_else(|| strange("records"))?;
    Ok(Found {
        connections: count(&row, "connections")?,
        terra_users: count(&row, "terra_users")?,
        records: count(&records, "records")?,
        deliveries: count(&row, "deliveries")?,
        events: count(&row, "events")?,
    })
}

/// A connection in dispute waits for a person's decision.
const CLOSED: &str = "
SELECT alias.connection_id
  FROM alias
  JOIN connection ON connection.id = alias.connection_id AND connection.environment = alias.environment
                 AND connection.terra_user_id = alias.terra_user_id
 WHERE alias.closed <= $1 AND (alias.opened IS NULL OR alias.opened <= alias.closed)
   AND connection.status <> 'disputed'
 ORDER BY alias.closed
 LIMIT $2";

pub(super) async fn closed(db: &Db, before: Timestamp, limit: u32) -> Result<Vec<ConnectionId>, StoreError> {
    let before = order_of(before);
    let rows = db.rows(CLOSED, &[&before.as_bytes().as_slice(), &i64::from(limit)]).await?;
    rows.iter().map(|row| Ok(ConnectionId(get(row, "connection_id")?))).collect()
}

const AUDIT: &str = "INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)";

pub(super) async fn audit(
    db: &Db,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    db.execute(AUDIT, &[&now, &actor, &action, &subject, detail]).await?;
    Ok(())
}
