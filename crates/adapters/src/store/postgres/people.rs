//! Decisions that change whose an alias is: a resolver's answer, a person's word. Each holds identity alone.

use domain::erasure::ErasureId;
use domain::id::{AliasKey, ConnectionId, UserId};
use domain::identity::Resolution;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::unit::{Db, Done};
use super::{audit, identity, references};
use crate::store::{Audit, Decided, OpenReference, ReferenceAnswer, ReferencePolicy, StoreError, apply};

/// Of somebody who was erased while the resolver was asked there is no row any more, and there shall be none.
const FOUND: &str = "
UPDATE resolution SET user_id = $3, locked_until = NULL WHERE environment = $1 AND reference_id = $2";

const NOT_FOUND: &str = "
UPDATE resolution
   SET run_at = $3, locked_until = NULL, attempts = attempts + $4
 WHERE environment = $1 AND reference_id = $2 AND user_id IS NULL";

pub(super) async fn resolve(
    db: &mut Db,
    reference: &OpenReference,
    answer: &ReferenceAnswer,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (environment, name) = (reference.environment.as_str(), reference.reference.as_str());
    match answer {
        ReferenceAnswer::Unknown { again_at } => {
            db.execute(NOT_FOUND, &[&environment, &name, again_at, &1_i32]).await?;
        }
        ReferenceAnswer::Unavailable { again_at } => {
            db.execute(NOT_FOUND, &[&environment, &name, again_at, &0_i32]).await?;
        }
        ReferenceAnswer::Found(user) => {
            identity::lock(db, true).await?;
            // What was concluded before comes from an open reference, so its answer is kept last.
            revise_found(db, reference, user, policy, now).await?;
            db.execute(FOUND, &[&environment, &name, &user.as_str()]).await?;
        }
    }
    Ok(())
}

async fn revise_found(
    db: &mut Db,
    reference: &OpenReference,
    user: &UserId,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<(), StoreError> {
    let asked = (reference.environment.clone(), reference.reference.clone());
    let keys = references::aliases_of(db, std::slice::from_ref(&asked)).await?;
    let cause = cause(&["resolve", asked.0.as_str(), asked.1.as_str(), user.as_str()], now);
    let found = Resolution::Found(user.clone());
    apply::revise(db, &keys, policy, &cause, now, move |_, _, set| set(asked.0, asked.1, found)).await?;
    Ok(())
}

pub(super) async fn assign(
    db: &mut Db,
    connection: ConnectionId,
    user: &UserId,
    actor: &str,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Done<Decided>, StoreError> {
    identity::lock(db, true).await?;
    let members = identity::members(db, connection).await?;
    let Some(first) = members.first().cloned() else { return Ok(Done::Discard(Decided::UnknownConnection)) };
    let cause = cause(&["assign", &connection.to_string(), user.as_str()], now);
    let (decided, owner) = (members.clone(), user.clone());
    let after = apply::revise(db, &members, policy, &cause, now, move |aliases, _, _| {
        for alias in aliases.values_mut().filter(|alias| decided.contains(&alias.key)) {
            alias.assigned = Some(owner.clone());
        }
    })
    .await?;
    audit(db, actor, "connection.assign", connection, json!({ "user": user }), now).await?;
    let home = after.iter().find(|group| group.members.contains(&first)).map_or(connection, |group| group.id);
    Ok(Done::Keep(Decided::Done { connection: home }))
}

pub(super) async fn split(
    db: &mut Db,
    connection: ConnectionId,
    actor: &str,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Done<Decided>, StoreError> {
    identity::lock(db, true).await?;
    let members = identity::members(db, connection).await?;
    if members.is_empty() {
        return Ok(Done::Discard(Decided::UnknownConnection));
    }
    let parted = apply::parting(db, &members).await?;
    if parted.is_empty() {
        return Ok(Done::Discard(Decided::Indivisible));
    }
    let cause = cause(&["split", &connection.to_string()], now);
    apply::revise(db, &members, policy, &cause, now, move |_, edges, _| {
        for (_, edge) in edges.iter_mut().filter(|(ends, _)| parted.contains(*ends)) {
            edge.severed = true;
        }
    })
    .await?;
    audit(db, actor, "connection.split", connection, json!({ "aliases": members.len() }), now).await?;
    Ok(Done::Keep(Decided::Done { connection }))
}

async fn audit(
    db: &Db,
    actor: &str,
    action: &'static str,
    connection: ConnectionId,
    detail: Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = Audit { actor: actor.to_owned(), action, subject: connection.to_string(), detail };
    audit::write(db, &entry, now).await
}

/// Adds Terra users to an erasure, alone in identity.
pub(super) async fn bury(db: &mut Db, id: ErasureId, keys: &[AliasKey], now: Timestamp) -> Result<(), StoreError> {
    identity::lock(db, true).await?;
    apply::bury(db, id, keys, now).await
}

/// Stable bytes for the ids of the events of one decision: the same call again, after an unknown outcome, tells nothing
/// twice.
fn cause(parts: &[&str], now: Timestamp) -> Vec<u8> {
    let moment = now.as_nanosecond().to_be_bytes();
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).chain([moment.as_slice()]).collect();
    domain::id::derived_uuid(&parts).as_bytes().to_vec()
}
