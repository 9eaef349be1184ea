//! Deliveries of the ledger as a person chooses them: to be replayed, grouped, or discarded.

use bytes::Bytes;
use domain::id::DeliveryId;
use domain::replay::Selection;
use domain::settle::class::Class;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::audit;
use super::read::{cursor, one_more};
use super::row::{count, get, strange};
use super::unit::Db;
use crate::payloads::Sealed;
use crate::queue::Job;
use crate::store::{Audit, DeadGroup, LedgerOutcome, Listing, Page, Selected, StoreError};

/// What a selection asks of a delivery, its ids and its outcome apart: each statement asks for those in its own way.
macro_rules! chosen {
    () => {
        "AND ($3::text IS NULL OR type_name = $3)
   AND ($4::text IS NULL OR terra_user_id = $4)
   AND ($5::text IS NULL OR trace_id = $5)
   AND ($6::text IS NULL OR environment = $6)
   AND ($7::text IS NULL OR class = $7)
   AND ($8::text IS NULL OR fingerprint = $8)
   AND ($9::timestamptz IS NULL OR received_at >= $9)
   AND ($10::timestamptz IS NULL OR received_at < $10)
   AND (($11::text IS NULL AND $12::text IS NULL)
        OR EXISTS (SELECT FROM alias
                    WHERE alias.environment = delivery.environment AND alias.terra_user_id = delivery.terra_user_id
                      AND ($11 IS NULL OR alias.user_id = $11) AND ($12 IS NULL OR alias.provider = $12)))"
    };
}

/// A selection as the first twelve parameters of each statement here.
struct Chosen<'a> {
    ids: Option<Vec<Uuid>>,
    class: Option<&'static str>,
    selection: &'a Selection,
}

impl<'a> Chosen<'a> {
    fn new(selection: &'a Selection) -> Self {
        let ids = (!selection.ids.is_empty()).then(|| selection.ids.iter().map(|id| id.0).collect());
        Chosen { ids, class: selection.class.map(Class::label), selection }
    }

    fn and<'p>(&'p self, more: &[&'p (dyn ToSql + Sync)]) -> Vec<&'p (dyn ToSql + Sync)> {
        let selection = self.selection;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &self.ids,
            &selection.outcome,
            &selection.type_name,
            &selection.terra_user_id,
            &selection.trace_id,
            &selection.environment,
            &self.class,
            &selection.fingerprint,
            &selection.from,
            &selection.to,
            &selection.user,
            &selection.provider,
        ];
        parameters.extend(more);
        parameters
    }
}

/// No maximum: there is none of ids in PostgreSQL before its version 18.
const NEWEST: &str = "SELECT id FROM delivery ORDER BY id DESC LIMIT 1";

pub(super) async fn newest(db: &Db) -> Result<Option<DeliveryId>, StoreError> {
    db.row(NEWEST, &[]).await?.map(|row| Ok(DeliveryId(get(&row, "id")?))).transpose()
}

/// A stored payload's link is past: there is nothing to work again, so it is never chosen.
const SELECT: &str = concat!(
    "
SELECT id, metadata, body, outcome, reason
  FROM delivery
 WHERE ($1::uuid[] IS NULL OR id = ANY ($1))
   AND (outcome = $2::text
        OR ($2 IS NULL AND ($1 IS NOT NULL OR outcome IN ('processed', 'set_aside', 'dead'))))
   ",
    chosen!(),
    "
   AND coalesce(type_name NOT IN ('s3_payload', 's3_upload'), true)
   AND ($13::uuid IS NULL OR id > $13)
   AND ($14::uuid IS NULL OR id <= $14)
 ORDER BY id
 LIMIT $15"
);

pub(super) async fn select(
    db: &Db,
    selection: &Selection,
    after: Option<DeliveryId>,
    until: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Selected>, StoreError> {
    let (after, until) = (after.map(|id| id.0), until.map(|id| id.0));
    let chosen = Chosen::new(selection);
    let rows = db.rows(SELECT, &chosen.and(&[&after, &until, &i64::from(limit)])).await?;
    rows.iter()
        .map(|row| {
            let delivery = serde_json::from_value(get(row, "metadata")?).map_err(|_| strange("metadata"))?;
            let body = Sealed(Bytes::from(get::<Vec<u8>>(row, "body")?));
            let outcome = LedgerOutcome::parse(get(row, "outcome")?).ok_or_else(|| strange("outcome"))?;
            Ok(Selected { job: Job { delivery, body }, outcome, reason: get(row, "reason")? })
        })
        .collect()
}

const GROUPS: &str = concat!(
    "
SELECT coalesce(fingerprint, '') AS fingerprint, min(class) AS class, min(reason) AS reason,
       min(type_name) AS type_name, count(*) AS deliveries,
       count(DISTINCT (environment, terra_user_id)) FILTER (WHERE terra_user_id IS NOT NULL) AS users,
       min(received_at) AS first_seen, max(received_at) AS last_seen, (array_agg(id ORDER BY id DESC))[1] AS sample
  FROM delivery
 WHERE outcome = 'dead'
   AND ($1::uuid[] IS NULL OR id = ANY ($1))
   AND ($2::text IS NULL OR outcome = $2)
   ",
    chosen!(),
    "
   AND ($13::text IS NULL OR coalesce(fingerprint, '') COLLATE \"C\" > $13 COLLATE \"C\")
 GROUP BY coalesce(fingerprint, '')
 ORDER BY coalesce(fingerprint, '') COLLATE \"C\"
 LIMIT $14"
);

pub(super) async fn groups(db: &Db, selection: &Selection, page: &Page) -> Result<Listing<DeadGroup>, StoreError> {
    let after: Option<String> = cursor(page)?;
    let chosen = Chosen::new(selection);
    let rows = db.rows(GROUPS, &chosen.and(&[&after, &one_more(page)])).await?;
    let groups = rows.iter().map(group).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(groups, page, |group| group.fingerprint.clone()))
}

fn group(row: &Row) -> Result<DeadGroup, StoreError> {
    Ok(DeadGroup {
        fingerprint: get(row, "fingerprint")?,
        class: get(row, "class")?,
        reason: get(row, "reason")?,
        type_name: get(row, "type_name")?,
        deliveries: count(row, "deliveries")?,
        users: count(row, "users")?,
        first_seen: get(row, "first_seen")?,
        last_seen: get(row, "last_seen")?,
        sample: DeliveryId(get(row, "sample")?),
    })
}

const DISCARD: &str = concat!(
    "
UPDATE delivery
   SET outcome = 'discarded', discarded_by = $13, discard_reason = $14, settled_at = $15
  FROM (SELECT received_at, id
          FROM delivery
         WHERE outcome = 'dead'
           AND ($1::uuid[] IS NULL OR id = ANY ($1))
           AND ($2::text IS NULL OR outcome = $2)
   ",
    chosen!(),
    "
         ORDER BY received_at, id
         LIMIT $16
           FOR UPDATE) AS chosen
 WHERE delivery.received_at = chosen.received_at AND delivery.id = chosen.id"
);

/// Answers how many were discarded; `audit` is written with them, if there were any.
pub(super) async fn discard(
    db: &Db,
    selection: &Selection,
    reason: &str,
    entry: &Audit,
    limit: u32,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let chosen = Chosen::new(selection);
    let discarded = db.execute(DISCARD, &chosen.and(&[&entry.actor, &reason, &now, &i64::from(limit)])).await?;
    if discarded > 0 {
        let mut entry = entry.clone();
        entry.detail["deliveries"] = discarded.into();
        audit::write(db, &entry, now).await?;
    }
    Ok(discarded)
}
