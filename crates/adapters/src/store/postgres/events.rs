//! Outgoing events: outbox and log in one table.
//!
//! `sequence` is given at insertion and becomes visible whenever its transaction commits, so nobody reads by it but the
//! relay, which gives `position` to what is committed: one relay at a time, under a lock on its row.

use std::collections::HashMap;

use domain::id::{AliasKey, ConnectionId, EventId, RecordId, UserId};
use domain::outgoing::{Outgoing, Published};
use tokio_postgres::Row;

use super::row::{column, environment, get, storable};
use super::unit::Db;
use crate::store::{Holder, LEASE_MAX, StoreError};

/// A held event about a record gives way to the next one: who comes late is told how things stand, not how they came
/// about.
const FORGET_HELD: &str = "DELETE FROM event WHERE held AND record_id = ANY ($1)";

const INSERT: &str = "
INSERT INTO event (id, held, environment, terra_user_id, connection_id, subject, entity, verb, provider, record_id,
                   happened_at, data)
SELECT id, held, environment, terra_user_id, connection_id, subject, entity, verb, provider, record_id, happened_at, data
  FROM unnest($1::uuid[], $2::boolean[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[],
              $9::text[], $10::uuid[], $11::timestamptz[], $12::jsonb[])
       WITH ORDINALITY AS told (id, held, environment, terra_user_id, connection_id, subject, entity, verb, provider,
                                record_id, happened_at, data, place)
 ORDER BY place
    ON CONFLICT DO NOTHING";

pub(super) async fn insert(db: &Db, events: &[Outgoing]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let events = latest_of_held(events);
    let records: Vec<_> =
        events.iter().filter(|event| is_held(event)).filter_map(|event| Some(event.record?.0)).collect();
    if !records.is_empty() {
        db.execute(FORGET_HELD, &[&records]).await?;
    }
    db.execute(
        INSERT,
        &[
            &column(&events, |event| event.id.0),
            &column(&events, |event| is_held(event)),
            &column(&events, |event| event.environment.as_str()),
            &column(&events, |event| event.alias.as_ref().map(|alias| alias.terra_user_id.as_str())),
            &column(&events, |event| event.connection.map(|id| id.0)),
            &column(&events, |event| event.subject.as_ref().map(UserId::as_str)),
            &column(&events, |event| event.entity.as_str()),
            &column(&events, |event| event.verb.as_str()),
            &column(&events, |event| event.provider.as_deref()),
            &column(&events, |event| event.record.map(|id| id.0)),
            &column(&events, |event| event.time),
            &column(&events, |event| storable(event.data.clone())),
        ],
    )
    .await?;
    Ok(())
}

fn is_held(event: &Outgoing) -> bool {
    event.alias.is_some() && event.subject.is_none()
}

fn latest_of_held(events: &[Outgoing]) -> Vec<&Outgoing> {
    let held_record = |event: &Outgoing| event.record.filter(|_| is_held(event));
    let last: HashMap<RecordId, usize> =
        events.iter().enumerate().filter_map(|(index, event)| Some((held_record(event)?, index))).collect();
    let is_last =
        |index: usize, event: &Outgoing| held_record(event).is_none_or(|record| last.get(&record) == Some(&index));
    events.iter().enumerate().filter(|(index, event)| is_last(*index, event)).map(|(_, event)| event).collect()
}

/// The connection stands in the event's data too, where readers find it.
const RELEASE: &str = "
UPDATE event
   SET held = false, connection_id = owned.connection_id, subject = owned.user_id,
       data = jsonb_set(event.data, '{connection}', to_jsonb(owned.connection_id))
  FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[])
       AS owned (environment, terra_user_id, connection_id, user_id)
 WHERE event.held AND event.environment = owned.environment AND event.terra_user_id = owned.terra_user_id";

pub(super) async fn release(db: &Db, owned: &[(AliasKey, ConnectionId, UserId)]) -> Result<(), StoreError> {
    if owned.is_empty() {
        return Ok(());
    }
    db.execute(
        RELEASE,
        &[
            &column(owned, |(alias, ..)| alias.environment.as_str()),
            &column(owned, |(alias, ..)| alias.terra_user_id.as_str()),
            &column(owned, |(_, connection, _)| connection.0),
            &column(owned, |(.., user)| user.as_str()),
        ],
    )
    .await?;
    Ok(())
}

const LOCK_RELAY: &str = "SELECT numbered FROM relay FOR UPDATE";

const IS_HOLDER: &str = "SELECT FROM lease WHERE name = $1 AND holder = $2";

const NUMBER: &str = "
WITH waiting AS (
    SELECT sequence FROM event WHERE position IS NULL AND NOT held ORDER BY sequence LIMIT $2
), numbered AS (
    SELECT sequence, $1 + row_number() OVER (ORDER BY sequence) AS position FROM waiting
)
UPDATE event SET position = numbered.position FROM numbered WHERE event.sequence = numbered.sequence";

/// Whoever numbers holds the relay's row to the end of the transaction, so positions are given in the order in which
/// they become visible, whatever the order in which the events were committed.
pub(super) async fn number(db: &Db, name: &str, holder: uuid::Uuid, limit: u32) -> Result<u32, StoreError> {
    let Some(relay) = db.row(LOCK_RELAY, &[]).await? else { return Ok(0) };
    if db.row(IS_HOLDER, &[&name, &holder]).await?.is_none() {
        return Ok(0);
    }
    let numbered: i64 = get(&relay, "numbered")?;
    let given = db.execute(NUMBER, &[&numbered, &i64::from(limit)]).await?;
    let last = numbered.saturating_add(i64::try_from(given).unwrap_or(i64::MAX));
    db.execute("UPDATE relay SET numbered = $1", &[&last]).await?;
    Ok(u32::try_from(given).unwrap_or(u32::MAX))
}

const PUBLISHED: &str = "
UPDATE relay SET published = greatest(published, least($1, numbered))
 WHERE EXISTS (SELECT FROM lease WHERE name = $2 AND holder = $3)";

pub(super) async fn mark_published(db: &Db, name: &str, holder: uuid::Uuid, position: i64) -> Result<(), StoreError> {
    db.execute(PUBLISHED, &[&position, &name, &holder]).await?;
    Ok(())
}

const UNPUBLISHED: &str = "
SELECT position, id, environment, subject, entity, verb, provider, happened_at, data
  FROM event
 WHERE position > (SELECT published FROM relay)
 ORDER BY position
 LIMIT $1";

pub(super) async fn unpublished(db: &Db, limit: u32) -> Result<Vec<Published>, StoreError> {
    db.rows(UNPUBLISHED, &[&i64::from(limit)]).await?.iter().map(published).collect()
}

const AFTER: &str = "
SELECT position, id, environment, subject, entity, verb, provider, happened_at, data
  FROM event
 WHERE position > $1
 ORDER BY position
 LIMIT $2";

pub(super) async fn after(db: &Db, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
    db.rows(AFTER, &[&position, &i64::from(limit)]).await?.iter().map(published).collect()
}

/// An event about an alias may have another subject, or none yet.
const OF_USER: &str = "
SELECT position, id, environment, subject, entity, verb, provider, happened_at, data
  FROM (SELECT event.position, event.id, event.environment, event.subject, event.entity, event.verb, event.provider,
               event.happened_at, event.data
          FROM alias
          JOIN event ON event.environment = alias.environment AND event.terra_user_id = alias.terra_user_id
         WHERE alias.user_id = $1 AND event.position > $2
         UNION ALL
        SELECT position, id, environment, subject, entity, verb, provider, happened_at, data
          FROM event
         WHERE terra_user_id IS NULL AND subject = $1 AND position > $2) AS own
 ORDER BY position
 LIMIT $3";

pub(super) async fn of_user(db: &Db, user: &UserId, position: i64, limit: u32) -> Result<Vec<Published>, StoreError> {
    db.rows(OF_USER, &[&user.as_str(), &position, &i64::from(limit)]).await?.iter().map(published).collect()
}

fn published(row: &Row) -> Result<Published, StoreError> {
    Ok(Published {
        position: get(row, "position")?,
        id: EventId(get(row, "id")?),
        environment: environment(row)?,
        subject: get::<Option<String>>(row, "subject")?.map(UserId::new),
        entity: get(row, "entity")?,
        verb: get(row, "verb")?,
        provider: get(row, "provider")?,
        time: get(row, "happened_at")?,
        data: get(row, "data")?,
    })
}

const HOLD: &str = "
INSERT INTO lease (name, holder, held_until) VALUES ($1, $2, $4)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
 WHERE lease.holder = excluded.holder OR lease.held_until <= $3 OR lease.held_until > $5";

pub(super) async fn hold(
    db: &Db,
    lease: Holder<'_>,
    now: jiff::Timestamp,
    until: jiff::Timestamp,
) -> Result<bool, StoreError> {
    Ok(db.execute(HOLD, &[&lease.name, &lease.holder, &now, &until, &(now + LEASE_MAX)]).await? == 1)
}

pub(super) async fn let_go(db: &Db, lease: Holder<'_>) -> Result<(), StoreError> {
    db.execute("DELETE FROM lease WHERE name = $1 AND holder = $2", &[&lease.name, &lease.holder]).await?;
    Ok(())
}
