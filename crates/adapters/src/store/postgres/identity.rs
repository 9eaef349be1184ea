//! Facts and conclusions about people: aliases, edges, connections, references, and the history of connects.

use domain::id::{AliasKey, ConnectionId, ReferenceId, UserId};
use domain::identity::{Alias, Connection, Edge, Status};
use domain::order::{Order, Stamped};
use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Row;

use super::row::{alias_columns, alias_key, column, environment, get, order, order_if_any, strange};
use super::unit::Db;
use crate::store::StoreError;
use crate::store::tx::{AliasRow, Placement};

/// The first key of our advisory locks; the second is made of the schema's name, so that two installations in one
/// database do not wait for each other.
pub(super) const LOCK_IDENTITY: i32 = 0x6c66_0001;

pub(super) async fn lock(db: &Db, exclusive: bool) -> Result<(), StoreError> {
    let sql = if exclusive {
        "SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))"
    } else {
        "SELECT pg_advisory_xact_lock_shared($1, hashtext(current_schema()))"
    };
    db.rows(sql, &[&LOCK_IDENTITY]).await?;
    Ok(())
}

const ALIASES: &str = r#"
SELECT alias.environment, alias.terra_user_id, alias.birth_id, alias.opened, alias.closed, alias.failed, alias.seen,
       alias.authenticated, alias.provider, alias.provider_order, alias.reference_id, alias.reference_order,
       alias.scopes, alias.scopes_order, alias.assigned_user, alias.backfilled, alias.connection_id, alias.user_id,
       alias.status
  FROM unnest($1::text[], $2::text[]) AS asked (environment, terra_user_id)
  JOIN alias ON alias.environment = asked.environment AND alias.terra_user_id = asked.terra_user_id
 ORDER BY alias.environment COLLATE "C", alias.terra_user_id COLLATE "C"
   FOR UPDATE OF alias"#;

pub(super) async fn aliases(db: &Db, keys: &[AliasKey]) -> Result<Vec<AliasRow>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (environments, users) = alias_columns(keys);
    db.rows(ALIASES, &[&environments, &users]).await?.iter().map(alias_row).collect()
}

const REACHED: &str = "
WITH RECURSIVE reached (environment, terra_user_id) AS (
    SELECT asked.environment, asked.terra_user_id
      FROM unnest($1::text[], $2::text[]) AS asked (environment, terra_user_id)
     UNION
    SELECT reached.environment, neighbour.terra_user_id
      FROM reached
     CROSS JOIN LATERAL (
           SELECT new_id FROM alias_edge
            WHERE alias_edge.environment = reached.environment AND alias_edge.old_id = reached.terra_user_id
            UNION ALL
           SELECT old_id FROM alias_edge
            WHERE alias_edge.environment = reached.environment AND alias_edge.new_id = reached.terra_user_id
           ) AS neighbour (terra_user_id)
)
SELECT environment, terra_user_id FROM reached";

const EDGES: &str = "
SELECT alias_edge.environment, alias_edge.old_id, alias_edge.new_id, alias_edge.edge_order, alias_edge.severed
  FROM unnest($1::text[], $2::text[]) AS asked (environment, terra_user_id)
  JOIN alias_edge ON alias_edge.environment = asked.environment AND alias_edge.old_id = asked.terra_user_id";

/// The keys come back before their rows are asked for: the planner expects far too much of a recursion, and would rather
/// read the whole table of aliases than join them with it.
pub(super) async fn components(db: &Db, keys: &[AliasKey]) -> Result<(Vec<AliasRow>, Vec<Edge>), StoreError> {
    if keys.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let (environments, users) = alias_columns(keys);
    let reached = db.rows(REACHED, &[&environments, &users]).await?;
    let reached = reached.iter().map(alias_key).collect::<Result<Vec<_>, _>>()?;
    let (environments, users) = alias_columns(&reached);
    let edges = db.rows(EDGES, &[&environments, &users]).await?;
    Ok((aliases(db, &reached).await?, edges.iter().map(edge_row).collect::<Result<_, _>>()?))
}

const OF_CONNECTION: &str = "SELECT environment, terra_user_id FROM alias WHERE connection_id = $1";

pub(super) async fn members(db: &Db, connection: ConnectionId) -> Result<Vec<AliasKey>, StoreError> {
    db.rows(OF_CONNECTION, &[&connection.0]).await?.iter().map(alias_key).collect()
}

fn alias_row(row: &Row) -> Result<AliasRow, StoreError> {
    let status = Status::parse(get(row, "status")?).ok_or_else(|| strange("status"))?;
    let placement = Placement {
        connection: ConnectionId(get(row, "connection_id")?),
        user: get::<Option<String>>(row, "user_id")?.map(UserId::new),
        status,
    };
    Ok(AliasRow { alias: alias(row)?, placement })
}

pub(super) fn alias(row: &Row) -> Result<Alias, StoreError> {
    Ok(Alias {
        key: alias_key(row)?,
        birth_id: ConnectionId(get(row, "birth_id")?),
        opened: order_if_any(row, "opened")?,
        closed: order_if_any(row, "closed")?,
        failed: order_if_any(row, "failed")?,
        seen: order_if_any(row, "seen")?,
        authenticated: get(row, "authenticated")?,
        provider: stamped(get(row, "provider")?, order_if_any(row, "provider_order")?),
        reference: stamped(
            get::<Option<String>>(row, "reference_id")?.map(ReferenceId::new),
            order_if_any(row, "reference_order")?,
        ),
        scopes: stamped(get(row, "scopes")?, order_if_any(row, "scopes_order")?),
        assigned: get::<Option<String>>(row, "assigned_user")?.map(UserId::new),
        backfilled: order_if_any(row, "backfilled")?,
    })
}

fn stamped<T>(value: Option<T>, order: Option<Order>) -> Option<Stamped<T>> {
    Some(Stamped { value: value?, order: order? })
}

fn edge_row(row: &Row) -> Result<Edge, StoreError> {
    let environment = environment(row)?;
    Ok(Edge {
        old: AliasKey::new(&environment, get(row, "old_id")?),
        new: AliasKey::new(&environment, get(row, "new_id")?),
        order: order(row, "edge_order")?,
        severed: get(row, "severed")?,
    })
}

/// Scopes travel as JSON: an array of arrays would have to be rectangular.
const WRITE_ALIASES: &str = r#"
INSERT INTO alias (environment, terra_user_id, birth_id, opened, closed, failed, seen, authenticated, provider,
                   provider_order, reference_id, reference_order, scopes, scopes_order, assigned_user, backfilled,
                   connection_id, user_id, status)
SELECT environment, terra_user_id, birth_id, opened, closed, failed, seen, authenticated, provider, provider_order,
       reference_id, reference_order,
       CASE WHEN scopes IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(scopes)) END,
       scopes_order, assigned_user, backfilled, connection_id, user_id, status
  FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::boolean[],
              $9::text[], $10::bytea[], $11::text[], $12::bytea[], $13::jsonb[], $14::bytea[], $15::text[],
              $16::bytea[], $17::uuid[], $18::text[], $19::text[])
       AS said (environment, terra_user_id, birth_id, opened, closed, failed, seen, authenticated, provider,
                provider_order, reference_id, reference_order, scopes, scopes_order, assigned_user, backfilled,
                connection_id, user_id, status)
 ORDER BY environment COLLATE "C", terra_user_id COLLATE "C"
    ON CONFLICT (environment, terra_user_id) DO UPDATE
   SET birth_id = excluded.birth_id, opened = excluded.opened, closed = excluded.closed, failed = excluded.failed,
       seen = excluded.seen, authenticated = excluded.authenticated, provider = excluded.provider,
       provider_order = excluded.provider_order, reference_id = excluded.reference_id,
       reference_order = excluded.reference_order, scopes = excluded.scopes, scopes_order = excluded.scopes_order,
       assigned_user = excluded.assigned_user, backfilled = excluded.backfilled,
       connection_id = excluded.connection_id, user_id = excluded.user_id, status = excluded.status"#;

pub(super) async fn write_aliases(db: &Db, rows: &[AliasRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let facts: Vec<&Alias> = rows.iter().map(|row| &row.alias).collect();
    db.execute(
        WRITE_ALIASES,
        &[
            &column(&facts, |alias| alias.key.environment.as_str()),
            &column(&facts, |alias| alias.key.terra_user_id.as_str()),
            &column(&facts, |alias| alias.birth_id.0),
            &column(&facts, |alias| bytes(&alias.opened)),
            &column(&facts, |alias| bytes(&alias.closed)),
            &column(&facts, |alias| bytes(&alias.failed)),
            &column(&facts, |alias| bytes(&alias.seen)),
            &column(&facts, |alias| alias.authenticated),
            &column(&facts, |alias| alias.provider.as_ref().map(|stated| stated.value.as_str())),
            &column(&facts, |alias| stamp(&alias.provider)),
            &column(&facts, |alias| alias.reference.as_ref().map(|stated| stated.value.as_str())),
            &column(&facts, |alias| stamp(&alias.reference)),
            &column(&facts, |alias| alias.scopes.as_ref().map(|stated| Value::from(stated.value.clone()))),
            &column(&facts, |alias| stamp(&alias.scopes)),
            &column(&facts, |alias| alias.assigned.as_ref().map(UserId::as_str)),
            &column(&facts, |alias| bytes(&alias.backfilled)),
            &column(rows, |row| row.placement.connection.0),
            &column(rows, |row| row.placement.user.as_ref().map(UserId::as_str)),
            &column(rows, |row| row.placement.status.label()),
        ],
    )
    .await?;
    Ok(())
}

fn bytes(order: &Option<Order>) -> Option<&[u8]> {
    order.as_ref().map(|order| order.as_bytes().as_slice())
}

fn stamp<T>(stated: &Option<Stamped<T>>) -> Option<&[u8]> {
    stated.as_ref().map(|stated| stated.order.as_bytes().as_slice())
}

const WRITE_EDGES: &str = r#"
INSERT INTO alias_edge (environment, old_id, new_id, edge_order, severed)
SELECT environment, old_id, new_id, edge_order, severed
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::boolean[])
       AS said (environment, old_id, new_id, edge_order, severed)
 ORDER BY environment COLLATE "C", old_id COLLATE "C", new_id COLLATE "C"
    ON CONFLICT (environment, old_id, new_id) DO UPDATE
   SET edge_order = excluded.edge_order, severed = excluded.severed"#;

pub(super) async fn write_edges(db: &Db, edges: &[Edge]) -> Result<(), StoreError> {
    if edges.is_empty() {
        return Ok(());
    }
    db.execute(
        WRITE_EDGES,
        &[
            &column(edges, |edge| edge.old.environment.as_str()),
            &column(edges, |edge| edge.old.terra_user_id.as_str()),
            &column(edges, |edge| edge.new.terra_user_id.as_str()),
            &column(edges, |edge| edge.order.as_bytes().as_slice()),
            &column(edges, |edge| edge.severed),
        ],
    )
    .await?;
    Ok(())
}

const WRITE_CONNECTIONS: &str = "
INSERT INTO connection (id, environment, user_id, status, provider, terra_user_id, updated_at)
SELECT id, environment, user_id, status, provider, terra_user_id, $7
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
       AS concluded (id, environment, user_id, status, provider, terra_user_id)
 ORDER BY id
    ON CONFLICT (id) DO UPDATE
   SET environment = excluded.environment, user_id = excluded.user_id, status = excluded.status,
       provider = excluded.provider, terra_user_id = excluded.terra_user_id, updated_at = excluded.updated_at";

pub(super) async fn write_connections(
    db: &Db,
    connections: &[Connection],
    gone: &[ConnectionId],
    at: Timestamp,
) -> Result<(), StoreError> {
    if !gone.is_empty() {
        db.execute("DELETE FROM connection WHERE id = ANY ($1)", &[&column(gone, |id| id.0)]).await?;
    }
    if connections.is_empty() {
        return Ok(());
    }
    db.execute(
        WRITE_CONNECTIONS,
        &[
            &column(connections, |connection| connection.id.0),
            &column(connections, |connection| connection.current.environment.as_str()),
            &column(connections, |connection| connection.user.as_ref().map(UserId::as_str)),
            &column(connections, |connection| connection.status.label()),
            &column(connections, |connection| connection.provider.as_deref()),
            &column(connections, |connection| connection.current.terra_user_id.as_str()),
            &at,
        ],
    )
    .await?;
    Ok(())
}
