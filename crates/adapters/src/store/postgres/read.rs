//! What those who read ask for: connections, history, the ledger, fetch jobs, numbers.

use std::str::FromStr;

use bytes::Bytes;
use domain::delivery::Delivery;
use domain::id::{AliasKey, ConnectionId, DeliveryId, Environment, UserId};
use domain::identity::Status;
use domain::replay::ReplayId;
use domain::settle::class::Class;
use terra::event::DataKind;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::identity;
use super::row::{count, digest, environment, get, small, strange};
use super::unit::Db;
use crate::payloads::Sealed;
use crate::store::{
    ConnectionFilter, ConnectionView, DeliveryFilter, DeliveryView, Found, LedgerOutcome, Listing, Page, Stats,
    StoreError,
};

/// A cursor of ours, if the page has one.
pub(super) fn cursor<T: FromStr>(page: &Page) -> Result<Option<T>, StoreError> {
    page.after.as_deref().map(|text| text.parse().map_err(|_| StoreError::BadCursor)).transpose()
}

/// One row more than asked for says whether there is another page.
pub(super) fn one_more(page: &Page) -> i64 {
    i64::from(page.limit) + 1
}

const CONNECTIONS: &str = "
WITH page AS (
    SELECT connection.id, connection.user_id, connection.status, connection.terra_user_id
      FROM connection
     WHERE ($1::text IS NULL OR connection.user_id = $1)
       AND ($2::text IS NULL OR connection.status = $2)
       AND ($3::text IS NULL OR connection.provider = $3)
       AND ($4::text IS NULL OR connection.id IN (SELECT alias.connection_id FROM alias WHERE alias.terra_user_id = $4))
       AND ($5::uuid IS NULL OR connection.id > $5)
       AND ($6::uuid IS NULL OR connection.id = $6)
     ORDER BY connection.id
     LIMIT $7
)
SELECT page.id, page.user_id, page.status, page.terra_user_id AS current_id, alias.environment, alias.terra_user_id,
       alias.birth_id, alias.opened, alias.closed, alias.failed, alias.seen, alias.authenticated, alias.provider,
       alias.provider_order, alias.reference_id, alias.reference_order, alias.scopes, alias.scopes_order,
       alias.assigned_user, alias.backfilled
  FROM page
  JOIN alias ON alias.connection_id = page.id
 ORDER BY page.id";

pub(super) async fn connections(
    db: &Db,
    filter: &ConnectionFilter,
    page: &Page,
) -> Result<Listing<ConnectionView>, StoreError> {
    let after: Option<Uuid> = cursor(page)?;
    let rows = db
        .rows(
            CONNECTIONS,
            &[
                &filter.user.as_ref().map(UserId::as_str),
                &filter.status.map(Status::label),
                &filter.provider,
                &filter.terra_user_id,
                &after,
                &None::<Uuid>,
                &one_more(page),
            ],
        )
        .await?;
    Ok(Listing::of(assembled(&rows)?, page, |view| view.id.to_string()))
}

const SURVIVOR: &str = "SELECT connection_id FROM alias WHERE birth_id = $1";

pub(super) async fn connection(db: &Db, id: ConnectionId) -> Result<Found, StoreError> {
    let none = None::<&str>;
    let rows = db.rows(CONNECTIONS, &[&none, &none, &none, &none, &None::<Uuid>, &Some(id.0), &1_i64]).await?;
    if let Some(view) = assembled(&rows)?.pop() {
        return Ok(Found::Here(Box::new(view)));
    }
    match db.row(SURVIVOR, &[&id.0]).await? {
        Some(row) => Ok(Found::Moved { to: ConnectionId(get(&row, "connection_id")?) }),
        None => Ok(Found::Unknown),
    }
}

/// Rows are in the order of connections, one per alias.
fn assembled(rows: &[Row]) -> Result<Vec<ConnectionView>, StoreError> {
    let mut views = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let id: Uuid = get(first, "id")?;
        let size = rest.iter().take_while(|row| get::<Uuid>(row, "id").is_ok_and(|other| other == id)).count();
        let (group, later) = rest.split_at(size.max(1));
        let status = Status::parse(get(first, "status")?).ok_or_else(|| strange("status"))?;
        let user = get::<Option<String>>(first, "user_id")?.map(UserId::new);
        let current = AliasKey::new(&environment(first)?, get(first, "current_id")?);
        let aliases = group.iter().map(identity::alias).collect::<Result<Vec<_>, _>>()?;
        views.push(ConnectionView::assemble(ConnectionId(id), user, status, &current, aliases));
        rest = later;
    }
    Ok(views)
}

const DELIVERIES: &str = "
SELECT id, received_at, environment, trace_id, reference, type_name, terra_user_id, size_bytes, body_digest, late,
       outcome, reason, attempts, retry_at, row_count, settled_at, unread, class, fingerprint, replay_id, discarded_by,
       discard_reason
  FROM delivery
 WHERE ($1::text IS NULL OR outcome = $1)
   AND ($2::text IS NULL OR type_name = $2)
   AND ($3::text IS NULL OR terra_user_id = $3)
   AND ($4::text IS NULL OR trace_id = $4)
   AND ($5::text IS NULL OR environment = $5)
   AND ($6::uuid IS NULL OR id < $6)
   AND ($8::text IS NULL OR class = $8)
   AND ($9::text IS NULL OR fingerprint = $9)
   AND ($10::uuid IS NULL OR replay_id = $10)
   AND ($11::timestamptz IS NULL OR received_at >= $11)
   AND ($12::timestamptz IS NULL OR received_at < $12)
 ORDER BY id DESC
 LIMIT $7";

pub(super) async fn deliveries(
    db: &Db,
    filter: &DeliveryFilter,
    page: &Page,
) -> Result<Listing<DeliveryView>, StoreError> {
    let after: Option<Uuid> = cursor(page)?;
    let rows = db
        .rows(
            DELIVERIES,
            &[
                &filter.outcome.map(LedgerOutcome::label),
                &filter.type_name,
                &filter.terra_user_id,
                &filter.trace_id,
                &filter.environment.as_ref().map(Environment::as_str),
                &after,
                &one_more(page),
                &filter.class.map(Class::label),
                &filter.fingerprint,
                &filter.replay.map(|run| run.0),
                &filter.span.from,
                &filter.span.to,
            ],
        )
        .await?;
    let views = rows.iter().map(delivery_view).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(views, page, |view| view.id.to_string()))
}

const DELIVERY: &str = "
SELECT id, received_at, environment, trace_id, reference, type_name, terra_user_id, size_bytes, body_digest, late,
       outcome, reason, attempts, retry_at, row_count, settled_at, unread, class, fingerprint, replay_id, discarded_by,
       discard_reason
  FROM delivery
 WHERE id = $1";

pub(super) async fn delivery(db: &Db, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
    db.row(DELIVERY, &[&id.0]).await?.as_ref().map(delivery_view).transpose()
}

fn delivery_view(row: &Row) -> Result<DeliveryView, StoreError> {
    Ok(DeliveryView {
        id: DeliveryId(get(row, "id")?),
        environment: environment(row)?,
        received_at: get(row, "received_at")?,
        trace_id: get(row, "trace_id")?,
        reference: get(row, "reference")?,
        type_name: get(row, "type_name")?,
        terra_user_id: get(row, "terra_user_id")?,
        outcome: LedgerOutcome::parse(get(row, "outcome")?).ok_or_else(|| strange("outcome"))?,
        reason: get(row, "reason")?,
        attempts: small(row, "attempts")?,
        retry_at: get(row, "retry_at")?,
        rows: small(row, "row_count")?,
        size_bytes: count(row, "size_bytes")?,
        body_digest: hex::encode(digest(row, "body_digest")?),
        late: get(row, "late")?,
        unread: get::<Option<Json<_>>>(row, "unread")?.map(|Json(unread)| unread),
        settled_at: get(row, "settled_at")?,
        class: get(row, "class")?,
        fingerprint: get(row, "fingerprint")?,
        replay: get::<Option<Uuid>>(row, "replay_id")?.map(ReplayId),
        discarded_by: get(row, "discarded_by")?,
        discard_reason: get(row, "discard_reason")?,
    })
}

pub(super) async fn delivery_body(db: &Db, id: DeliveryId) -> Result<Option<Sealed>, StoreError> {
    let row = db.row("SELECT body FROM delivery WHERE id = $1", &[&id.0]).await?;
    row.map(|row| Ok(Sealed(Bytes::from(get::<Vec<u8>>(&row, "body")?)))).transpose()
}

const BY_STATUS: &str = "
SELECT status, coalesce(provider, '') AS provider, count(*) AS connections
  FROM connection
 GROUP BY 1, 2
 ORDER BY 1, 2";

const COUNTS: &str = "
SELECT (SELECT count(*) FROM delivery WHERE outcome = 'dead') AS dead,
       (SELECT count(*) FROM event WHERE position IS NULL AND NOT held) AS unnumbered,
       (SELECT numbered - published FROM relay) AS unpublished,
       (SELECT count(*) FROM event WHERE held) AS held,
       (SELECT count(*) FROM resolution WHERE user_id IS NULL) AS open_references,
       (SELECT count(*) FROM fetch_job WHERE state = 'queued') AS open_fetches,
       (SELECT count(*) FROM backfill WHERE state = 'open') AS open_backfills,
       (SELECT count(*) FROM backfill WHERE state = 'open' AND stalled_since IS NOT NULL) AS stalled_backfills,
       (SELECT count(*) FROM unneeded_payload) AS unneeded_payloads,
       (SELECT count(*) FROM erasure WHERE state <> 'done') AS open_erasures";

/// Indexes and what is kept out of line are part of a table.
const BYTES: &str = "
SELECT CASE WHEN relname LIKE 'delivery%' THEN 'ledger'
            WHEN relname IN ('event', 'processed') THEN relname::text
            WHEN relname = ANY ($1) THEN 'records'
            ELSE 'other'
       END AS part,
       sum(pg_total_relation_size(oid))::bigint AS bytes
  FROM pg_class
 WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
 GROUP BY 1
 ORDER BY 1";

/// The lane is a decision of the core: one delivery of each sort is read back and asked.
const RETRIES: &str = "
SELECT (array_agg(metadata))[1] AS metadata, count(*) AS retries
  FROM delivery
 WHERE outcome = 'retry'
 GROUP BY type_name, metadata -> 'origin'";

pub(super) async fn stats(db: &Db) -> Result<Stats, StoreError> {
    let counts = db.row(COUNTS, &[]).await?.ok_or_else(|| strange("relay"))?;
    let mut stats = Stats {
        dead_letters: count(&counts, "dead")?,
        outbox_pending: count(&counts, "unnumbered")? + count(&counts, "unpublished")?,
        events_held: count(&counts, "held")?,
        open_references: count(&counts, "open_references")?,
        fetch_open: count(&counts, "open_fetches")?,
        backfills_open: count(&counts, "open_backfills")?,
        backfills_stalled: count(&counts, "stalled_backfills")?,
        unneeded_payloads: count(&counts, "unneeded_payloads")?,
        erasures_open: count(&counts, "open_erasures")?,
        ..Stats::default()
    };
    for row in db.rows(BY_STATUS, &[]).await? {
        let status = Status::parse(get(&row, "status")?).ok_or_else(|| strange("status"))?;
        stats.connections.push((status, get(&row, "provider")?, count(&row, "connections")?));
    }
    for row in db.rows(BYTES, &[&DataKind::ALL.map(DataKind::label).to_vec()]).await? {
        stats.bytes.push((get(&row, "part")?, count(&row, "bytes")?));
    }
    let mut by_lane = std::collections::BTreeMap::new();
    for row in db.rows(RETRIES, &[]).await? {
        let sample: Delivery = serde_json::from_value(get(&row, "metadata")?).map_err(|_| strange("metadata"))?;
        *by_lane.entry(sample.lane().label().to_owned()).or_default() += count(&row, "retries")?;
    }
    stats.retries = by_lane.into_iter().collect();
    Ok(stats)
}
