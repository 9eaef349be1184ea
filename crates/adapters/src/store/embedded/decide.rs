//! What resolvers and people say, and what follows from it.

use domain::id::{AliasKey, ConnectionId, Environment, ReferenceId, UserId, derived_uuid};
use domain::identity::Resolution;
use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::audit;
use super::column::ms;
use super::identity;
use super::tx::{SqliteTx, at_once};
use crate::store::apply::{parting, revise};
use crate::store::{Audit, Decided, OpenReference, ReferenceAnswer, ReferencePolicy, StoreError};

pub(super) fn lease_references(
    connection: &Connection,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<OpenReference>, StoreError> {
    const LEASE: &str = "
        UPDATE resolution SET locked_until = ?2
        FROM (SELECT environment, reference_id FROM resolution
              WHERE user_id IS NULL AND run_at <= ?1 AND (locked_until IS NULL OR locked_until <= ?1)
              ORDER BY run_at LIMIT ?3) AS due
        WHERE resolution.environment = due.environment AND resolution.reference_id = due.reference_id
        RETURNING resolution.environment, resolution.reference_id, attempts";
    let mut statement = connection.prepare_cached(LEASE)?;
    let rows = statement.query_map(params![ms(now), ms(until), limit], |row| {
        let reference = ReferenceId::new(row.get::<_, String>(1)?);
        Ok(OpenReference { environment: Environment::new(row.get::<_, String>(0)?), reference, attempts: row.get(2)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn resolve(
    connection: &mut Connection,
    open: &OpenReference,
    answer: &ReferenceAnswer,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<(), StoreError> {
    const UNKNOWN: &str = "
        UPDATE resolution SET attempts = attempts + 1, run_at = ?3, locked_until = NULL
        WHERE environment = ?1 AND reference_id = ?2";
    const UNAVAILABLE: &str =
        "UPDATE resolution SET run_at = ?3, locked_until = NULL WHERE environment = ?1 AND reference_id = ?2";
    let (environment, reference) = (open.environment.as_str(), open.reference.as_str());
    match answer {
        ReferenceAnswer::Found(user) => found(connection, open, user, policy, now)?,
        ReferenceAnswer::Unknown { again_at } => {
            connection.prepare_cached(UNKNOWN)?.execute(params![environment, reference, ms(*again_at)])?;
        }
        ReferenceAnswer::Unavailable { again_at } => {
            connection.prepare_cached(UNAVAILABLE)?.execute(params![environment, reference, ms(*again_at)])?;
        }
    }
    Ok(())
}

/// The answer is written last: what was concluded before must be concluded without it.
fn found(
    connection: &mut Connection,
    open: &OpenReference,
    user: &UserId,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Of somebody who was erased while the resolver was asked there is no row any more, and there shall be none.
    const FOUND: &str = "
        UPDATE resolution SET user_id = ?3, locked_until = NULL WHERE environment = ?1 AND reference_id = ?2";
    let (environment, reference) = (open.environment.clone(), open.reference.clone());
    let keys = identity::aliases_of_references(connection, &[(environment.clone(), reference.clone())])?;
    let cause = cause(b"resolve", &[environment.as_str(), reference.as_str()], now);
    let resolution = Resolution::Found(user.clone());
    let mut tx = SqliteTx { connection };
    at_once(revise(&mut tx, &keys, policy, &cause, now, |_, _, set| set(environment, reference, resolution)))?;
    let row = params![open.environment.as_str(), open.reference.as_str(), user.as_str()];
    connection.prepare_cached(FOUND)?.execute(row)?;
    Ok(())
}

pub(super) fn assign(
    connection: &mut Connection,
    id: ConnectionId,
    user: &UserId,
    actor: &str,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Decided, StoreError> {
    let members = members(connection, id)?;
    let Some(first) = members.first().cloned() else { return Ok(Decided::UnknownConnection) };
    let cause = cause(b"assign", &[&id.to_string(), user.as_str()], now);
    let mut tx = SqliteTx { connection };
    let after = at_once(revise(&mut tx, &members, policy, &cause, now, |aliases, _, _| {
        for alias in aliases.values_mut().filter(|alias| members.contains(&alias.key)) {
            alias.assigned = Some(user.clone());
        }
    }))?;
    audit(connection, id, "connection.assign", actor, json!({ "user": user }), now)?;
    let joined = after.iter().find(|concluded| concluded.members.contains(&first)).map_or(id, |concluded| concluded.id);
    Ok(Decided::Done { connection: joined })
}

pub(super) fn split(
    connection: &mut Connection,
    id: ConnectionId,
    actor: &str,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Decided, StoreError> {
    let members = members(connection, id)?;
    if members.is_empty() {
        return Ok(Decided::UnknownConnection);
    }
    let mut tx = SqliteTx { connection };
    let parted = at_once(parting(&mut tx, &members))?;
    if parted.is_empty() {
        return Ok(Decided::Indivisible);
    }
    let cause = cause(b"split", &[&id.to_string()], now);
    at_once(revise(&mut tx, &members, policy, &cause, now, |_, edges, _| {
        for (_, edge) in edges.iter_mut().filter(|(ends, _)| parted.contains(*ends)) {
            edge.severed = true;
        }
    }))?;
    audit(connection, id, "connection.split", actor, json!({ "aliases": members.len() }), now)?;
    Ok(Decided::Done { connection: id })
}

fn members(connection: &Connection, id: ConnectionId) -> Result<Vec<AliasKey>, StoreError> {
    let rows = identity::aliases_of_connection(connection, id)?;
    Ok(rows.into_iter().map(|row| row.alias.key).collect())
}

/// Bytes that make the ids of the events that follow: the same decision at another time has other ones.
fn cause(what: &[u8], about: &[&str], now: Timestamp) -> [u8; 16] {
    let at = ms(now).to_be_bytes();
    let parts: Vec<&[u8]> = [what, &at].into_iter().chain(about.iter().map(|part| part.as_bytes())).collect();
    *derived_uuid(&parts).as_bytes()
}

fn audit(
    connection: &Connection,
    id: ConnectionId,
    action: &'static str,
    actor: &str,
    detail: Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = Audit { actor: actor.to_owned(), action, subject: id.to_string(), detail };
    audit::write(connection, &entry, now)
}
