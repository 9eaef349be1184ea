//! Facts and conclusions about aliases.

use std::collections::BTreeMap;

use domain::id::{AliasKey, ConnectionId, Environment, ReferenceId, UserId};
use domain::identity::{Alias, Edge, Resolution, Status};
use domain::order::Order;
use domain::plan::AuthEvent;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::column::{json_option, json_text, ms, order, order_bytes, stamp_bytes, stamped, uuid, word};
use crate::store::StoreError;
use crate::store::tx::{AliasRow, Placement};

pub(super) fn aliases(connection: &Connection, keys: &[AliasKey]) -> Result<Vec<AliasRow>, StoreError> {
    const ALIAS: &str = "
        SELECT environment, terra_user_id, birth_id, opened, closed, failed, seen, authenticated, provider,
               provider_order, reference_id, reference_order, scopes, scopes_order, assigned_user, backfilled,
               connection_id, user_id, status
        FROM alias WHERE environment = ?1 AND terra_user_id = ?2";
    let mut statement = connection.prepare_cached(ALIAS)?;
    let mut rows = Vec::with_capacity(keys.len());
    for key in keys {
        rows.extend(statement.query_row([key.environment.as_str(), key.terra_user_id.as_str()], alias_row).optional()?);
    }
    Ok(rows)
}

pub(super) fn aliases_of_connection(connection: &Connection, id: ConnectionId) -> Result<Vec<AliasRow>, StoreError> {
    const MEMBERS: &str = "
        SELECT environment, terra_user_id, birth_id, opened, closed, failed, seen, authenticated, provider,
               provider_order, reference_id, reference_order, scopes, scopes_order, assigned_user, backfilled,
               connection_id, user_id, status
        FROM alias WHERE connection_id = ?1";
    let mut statement = connection.prepare_cached(MEMBERS)?;
    let rows = statement.query_map([id.0.as_bytes()], alias_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn alias_row(row: &Row<'_>) -> rusqlite::Result<AliasRow> {
    let key =
        AliasKey::new(&Environment::new(row.get::<_, String>("environment")?), &row.get::<_, String>("terra_user_id")?);
    let reference = row.get::<_, Option<String>>("reference_id")?.map(ReferenceId::new);
    let alias = Alias {
        key,
        birth_id: ConnectionId(uuid(row, "birth_id")?),
        opened: order(row, "opened")?,
        closed: order(row, "closed")?,
        failed: order(row, "failed")?,
        seen: order(row, "seen")?,
        authenticated: row.get("authenticated")?,
        provider: stamped(row.get("provider")?, order(row, "provider_order")?),
        reference: stamped(reference, order(row, "reference_order")?),
        scopes: stamped(json_option(row, "scopes")?, order(row, "scopes_order")?),
        assigned: row.get::<_, Option<String>>("assigned_user")?.map(UserId::new),
        backfilled: order(row, "backfilled")?,
    };
    let placement = Placement {
        connection: ConnectionId(uuid(row, "connection_id")?),
        user: row.get::<_, Option<String>>("user_id")?.map(UserId::new),
        status: word(row, "status", Status::parse)?,
    };
    Ok(AliasRow { alias, placement })
}

/// The aliases that edges lead to in either direction, however far, and those edges.
pub(super) fn components(connection: &Connection, keys: &[AliasKey]) -> Result<(Vec<AliasRow>, Vec<Edge>), StoreError> {
    const REACHED: &str = "
        WITH RECURSIVE reached (environment, terra_user_id) AS (
            SELECT value ->> 0, value ->> 1 FROM json_each(?1)
            UNION
            SELECT edge.environment, edge.new_id FROM reached
            JOIN alias_edge AS edge ON edge.environment = reached.environment AND edge.old_id = reached.terra_user_id
            UNION
            SELECT edge.environment, edge.old_id FROM reached
            JOIN alias_edge AS edge ON edge.environment = reached.environment AND edge.new_id = reached.terra_user_id
        )
        SELECT reached.environment, reached.terra_user_id, edge.new_id, edge.edge_order, edge.severed FROM reached
        LEFT JOIN alias_edge AS edge ON edge.environment = reached.environment AND edge.old_id = reached.terra_user_id
        ORDER BY reached.environment, reached.terra_user_id";
    let wanted: Vec<[&str; 2]> =
        keys.iter().map(|key| [key.environment.as_str(), key.terra_user_id.as_str()]).collect();
    let mut statement = connection.prepare_cached(REACHED)?;
    let mut rows = statement.query([json_text(&wanted)])?;
    let (mut reached, mut edges) = (Vec::<AliasKey>::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let environment = Environment::new(row.get::<_, String>("environment")?);
        let old = AliasKey::new(&environment, &row.get::<_, String>("terra_user_id")?);
        if let Some(new) = row.get::<_, Option<String>>("new_id")? {
            let order = Order::from_bytes(row.get("edge_order")?);
            edges.push(Edge {
                old: old.clone(),
                new: AliasKey::new(&environment, &new),
                order,
                severed: row.get("severed")?,
            });
        }
        if reached.last() != Some(&old) {
            reached.push(old);
        }
    }
    Ok((aliases(connection, &reached)?, edges))
}

pub(super) fn write_aliases(connection: &Connection, rows: &[AliasRow]) -> Result<(), StoreError> {
    const UPSERT: &str = "
        INSERT INTO alias (environment, terra_user_id, birth_id, opened, closed, failed, seen, authenticated, provider,
                           provider_order, reference_id, reference_order, scopes, scopes_order, assigned_user,
                           backfilled, connection_id, user_id, status)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
        ON CONFLICT (environment, terra_user_id) DO UPDATE SET
            birth_id = excluded.birth_id, opened = excluded.opened, closed = excluded.closed, failed = excluded.failed,
            seen = excluded.seen, authenticated = excluded.authenticated, provider = excluded.provider,
            provider_order = excluded.provider_order, reference_id = excluded.reference_id,
            reference_order = excluded.reference_order, scopes = excluded.scopes, scopes_order = excluded.scopes_order,
            assigned_user = excluded.assigned_user, backfilled = excluded.backfilled,
            connection_id = excluded.connection_id, user_id = excluded.user_id, status = excluded.status";
    let mut statement = connection.prepare_cached(UPSERT)?;
    for AliasRow { alias, placement } in rows {
        statement.execute(params![
            alias.key.environment.as_str(),
            alias.key.terra_user_id.as_str(),
            alias.birth_id.0.as_bytes(),
            order_bytes(&alias.opened),
            order_bytes(&alias.closed),
            order_bytes(&alias.failed),
            order_bytes(&alias.seen),
            alias.authenticated,
            alias.provider.as_ref().map(|stated| stated.value.as_str()),
            stamp_bytes(&alias.provider),
            alias.reference.as_ref().map(|stated| stated.value.as_str()),
            stamp_bytes(&alias.reference),
            alias.scopes.as_ref().map(|stated| json_text(&stated.value)),
            stamp_bytes(&alias.scopes),
            alias.assigned.as_ref().map(UserId::as_str),
            order_bytes(&alias.backfilled),
            placement.connection.0.as_bytes(),
            placement.user.as_ref().map(UserId::as_str),
            placement.status.label(),
        ])?;
    }
    Ok(())
}

pub(super) fn write_edges(connection: &Connection, edges: &[Edge]) -> Result<(), StoreError> {
    const UPSERT: &str = "
        INSERT INTO alias_edge (environment, old_id, new_id, edge_order, severed) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (environment, old_id, new_id) DO UPDATE SET
            edge_order = excluded.edge_order, severed = excluded.severed
        WHERE edge_order != excluded.edge_order OR severed != excluded.severed";
    let mut statement = connection.prepare_cached(UPSERT)?;
    for edge in edges {
        statement.execute(params![
            edge.old.environment.as_str(),
            edge.old.terra_user_id.as_str(),
            edge.new.terra_user_id.as_str(),
            edge.order.as_bytes(),
            edge.severed,
        ])?;
    }
    Ok(())
}

pub(super) fn write_connections(
    connection: &Connection,
    connections: &[domain::identity::Connection],
    gone: &[ConnectionId],
    at: Timestamp,
) -> Result<(), StoreError> {
    const DELETE: &str = "DELETE FROM connection WHERE id = ?1";
    const UPSERT: &str = "
        INSERT INTO connection (id, environment, user_id, status, provider, terra_user_id, updated_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (id) DO UPDATE SET
            environment = excluded.environment, user_id = excluded.user_id, status = excluded.status,
            provider = excluded.provider, terra_user_id = excluded.terra_user_id, updated_at = excluded.updated_at";
    let mut delete = connection.prepare_cached(DELETE)?;
    for id in gone {
        delete.execute([id.0.as_bytes()])?;
    }
    let mut upsert = connection.prepare_cached(UPSERT)?;
    for concluded in connections {
        upsert.execute(params![
            concluded.id.0.as_bytes(),
            concluded.current.environment.as_str(),
            concluded.user.as_ref().map(UserId::as_str),
            concluded.status.label(),
            concluded.provider,
            concluded.current.terra_user_id.as_str(),
            ms(at),
        ])?;
    }
    Ok(())
}

pub(super) fn resolutions(
    connection: &Connection,
    references: &[(Environment, ReferenceId)],
    at: Timestamp,
) -> Result<BTreeMap<(Environment, ReferenceId), Resolution>, StoreError> {
    const OPEN: &str =
        "INSERT INTO resolution (environment, reference_id, run_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    const ANSWER: &str = "SELECT user_id FROM resolution WHERE environment = ?1 AND reference_id = ?2";
    let mut open = connection.prepare_cached(OPEN)?;
    let mut answer = connection.prepare_cached(ANSWER)?;
    let mut answers = BTreeMap::new();
    for (environment, reference) in references {
        open.execute(params![environment.as_str(), reference.as_str(), ms(at)])?;
        let user: Option<String> = answer.query_row([environment.as_str(), reference.as_str()], |row| row.get(0))?;
        let resolution = user.map_or(Resolution::Open, |user| Resolution::Found(UserId::new(user)));
        answers.insert((environment.clone(), reference.clone()), resolution);
    }
    Ok(answers)
}

pub(super) fn aliases_of_references(
    connection: &Connection,
    references: &[(Environment, ReferenceId)],
) -> Result<Vec<AliasKey>, StoreError> {
    const ALIASES: &str =
        "SELECT terra_user_id FROM alias WHERE environment = ?1 AND reference_id = ?2 ORDER BY terra_user_id";
    let mut statement = connection.prepare_cached(ALIASES)?;
    let mut keys = Vec::new();
    for (environment, reference) in references {
        let mut rows = statement.query([environment.as_str(), reference.as_str()])?;
        while let Some(row) = rows.next()? {
            keys.push(AliasKey::new(environment, &row.get::<_, String>(0)?));
        }
    }
    Ok(keys)
}

pub(super) fn insert_auth_events(connection: &Connection, events: &[(AuthEvent, Timestamp)]) -> Result<(), StoreError> {
    const INSERT: &str = "
        INSERT INTO auth_event (environment, kind, succeeded, terra_user_id, reference_id, provider, event_order,
                                received_at, detail)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let mut statement = connection.prepare_cached(INSERT)?;
    for (event, received_at) in events {
        statement.execute(params![
            event.environment.as_str(),
            event.kind,
            event.succeeded,
            event.terra_user_id,
            event.reference.as_ref().map(ReferenceId::as_str),
            event.provider,
            event.order.as_bytes(),
            ms(*received_at),
            event.detail.to_string(),
        ])?;
    }
    Ok(())
}
