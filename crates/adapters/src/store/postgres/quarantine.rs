//! Requests whose signature failed: counted, kept while there is room, forgotten.

use std::collections::BTreeSet;

use bytes::Bytes;
use domain::id::Environment;
use domain::quarantine::{Part, QuarantineId, Quarantined, Why};
use jiff::Timestamp;
use serde_json::json;
use terra::headers::DeliveryHeaders;
use terra::signature::Change;
use tokio_postgres::Row;
use uuid::Uuid;

use super::payloads;
use super::read::{cursor, one_more};
use super::row::{column, count, digest, get, strange};
use super::unit::Db;
use crate::payloads::Sealed;
use crate::store::quarantine::kept_when_full;
use crate::store::tx::Unneeded;
use crate::store::{Held, LetIn, Listing, Page, QuarantineFilter, QuarantineTotals, StoreError};

const NOTE: &str = "
UPDATE quarantine
   SET seen = quarantine.seen + noted.seen, last_seen = greatest(quarantine.last_seen, noted.last_seen),
       part = noted.part, fits_environment = noted.fits_environment, change = noted.change,
       signature = noted.signature, t_seconds = noted.t_seconds
  FROM unnest($1::bytea[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[],
              $8::bigint[])
       AS noted (fingerprint, seen, last_seen, part, fits_environment, change, signature, t_seconds)
 WHERE quarantine.fingerprint = noted.fingerprint
RETURNING quarantine.fingerprint";

/// Counts those that are kept already; answers which they are.
pub(super) async fn note(db: &Db, requests: &[&Quarantined]) -> Result<BTreeSet<[u8; 32]>, StoreError> {
    let rows = db
        .rows(
            NOTE,
            &[
                &column(requests, |request| &request.fingerprint[..]),
                &column(requests, |request| number(request.seen)),
                &column(requests, |request| request.last_seen),
                &column(requests, |request| request.why.part.label()),
                &column(requests, |request| request.why.environment.as_ref().map(Environment::as_str)),
                &column(requests, |request| request.why.change.map(Change::label)),
                &column(requests, |request| request.signature.as_deref()),
                &column(requests, |request| request.t_seconds),
            ],
        )
        .await?;
    rows.iter().map(|row| digest(row, "fingerprint")).collect()
}

const ADD: &str = "
INSERT INTO quarantine (id, fingerprint, first_seen, last_seen, seen, address, part, fits_environment, change,
                        looks_like_terra, signature, t_seconds, trace_id, reference, ordering_ms, type_name,
                        terra_user_id, size_bytes, held_bytes, body)
SELECT id, fingerprint, first_seen, last_seen, seen, address, part, fits_environment, change, looks_like_terra,
       signature, t_seconds, trace_id, reference, ordering_ms, type_name, terra_user_id, size_bytes, held_bytes, body
  FROM unnest($1::uuid[], $2::bytea[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::text[], $7::text[],
              $8::text[], $9::text[], $10::boolean[], $11::text[], $12::bigint[], $13::text[], $14::text[],
              $15::bigint[], $16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::bytea[])
       AS added (id, fingerprint, first_seen, last_seen, seen, address, part, fits_environment, change,
                 looks_like_terra, signature, t_seconds, trace_id, reference, ordering_ms, type_name, terra_user_id,
                 size_bytes, held_bytes, body)
 ORDER BY fingerprint
    ON CONFLICT (fingerprint) DO NOTHING
RETURNING fingerprint";

/// Keeps requests, then makes room.
pub(super) async fn add(db: &Db, held: &[Held], bytes_max: u64) -> Result<(), StoreError> {
    let of = |pick: fn(&Quarantined) -> Option<&str>| column(held, move |held| pick(&held.request));
    let rows = db
        .rows(
            ADD,
            &[
                &column(held, |held| held.request.id.0),
                &column(held, |held| &held.request.fingerprint[..]),
                &column(held, |held| held.request.first_seen),
                &column(held, |held| held.request.last_seen),
                &column(held, |held| number(held.request.seen)),
                &of(|request| request.address.as_ref().map(Environment::as_str)),
                &column(held, |held| held.request.why.part.label()),
                &of(|request| request.why.environment.as_ref().map(Environment::as_str)),
                &of(|request| request.why.change.map(Change::label)),
                &column(held, |held| held.request.looks_like_terra),
                &of(|request| request.signature.as_deref()),
                &column(held, |held| held.request.t_seconds),
                &of(|request| request.headers.trace_id.as_deref()),
                &of(|request| request.headers.reference.as_deref()),
                &column(held, |held| held.request.headers.ordering_ms),
                &of(|request| request.type_name.as_deref()),
                &of(|request| request.terra_user_id.as_deref()),
                &column(held, |held| held.request.size_bytes.map(number)),
                &column(held, |held| number(held.request.held_bytes)),
                &column(held, |held| held.body.as_ref().map(|body| &body.0[..])),
            ],
        )
        .await?;
    let added = rows.iter().map(|row| digest(row, "fingerprint")).collect::<Result<BTreeSet<_>, _>>()?;
    // Another process was faster.
    let known: Vec<&Held> = held.iter().filter(|held| !added.contains(&held.request.fingerprint)).collect();
    note(db, &column(&known, |held| &held.request)).await?;
    let mut unneeded: Vec<Sealed> = known.into_iter().filter_map(|held| held.body.clone()).collect();
    unneeded.extend(make_room(db, bytes_max).await?);
    forget_bodies(db, unneeded).await
}

const MAKE_ROOM: &str = "
DELETE FROM quarantine
 WHERE id IN (SELECT id
                FROM (SELECT id, sum(held_bytes) OVER (ORDER BY looks_like_terra DESC, first_seen DESC, id DESC) AS held
                        FROM quarantine) AS ordered
               WHERE held > $1::bigint)
RETURNING body";

async fn make_room(db: &Db, bytes_max: u64) -> Result<Vec<Sealed>, StoreError> {
    if totals(db).await?.bytes <= bytes_max {
        return Ok(Vec::new());
    }
    bodies(&db.rows(MAKE_ROOM, &[&number(kept_when_full(bytes_max))]).await?)
}

const LIST: &str = "
SELECT id, fingerprint, first_seen, last_seen, seen, address, part, fits_environment, change, looks_like_terra,
       signature, t_seconds, trace_id, reference, ordering_ms, type_name, terra_user_id, size_bytes, held_bytes,
       CASE WHEN body IS NOT NULL THEN ''::bytea END AS body
  FROM quarantine
 WHERE ($1::text IS NULL OR part = $1)
   AND ($2::text IS NULL OR address = $2 OR fits_environment = $2)
   AND ($3::uuid IS NULL OR id < $3)
 ORDER BY id DESC
 LIMIT $4";

/// Newest first; of the bodies only whether there is one.
pub(super) async fn list(db: &Db, filter: &QuarantineFilter, page: &Page) -> Result<Listing<Held>, StoreError> {
    let before: Option<Uuid> = cursor(page)?;
    let environment = filter.environment.as_ref().map(Environment::as_str);
    let rows = db.rows(LIST, &[&filter.part.map(Part::label), &environment, &before, &one_more(page)]).await?;
    let held = rows.iter().map(held).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(held, page, |held: &Held| held.request.id.to_string()))
}

const VERIFIABLE: &str = "
SELECT id, fingerprint, first_seen, last_seen, seen, address, part, fits_environment, change, looks_like_terra,
       signature, t_seconds, trace_id, reference, ordering_ms, type_name, terra_user_id, size_bytes, held_bytes, body
  FROM quarantine
 WHERE ($1::text IS NULL OR part = $1)
   AND ($2::text IS NULL OR address = $2 OR fits_environment = $2)
   AND ($3::uuid IS NULL OR id > $3)
   AND signature IS NOT NULL AND body IS NOT NULL
 ORDER BY id
 LIMIT $4";

pub(super) async fn verifiable(
    db: &Db,
    filter: &QuarantineFilter,
    after: Option<QuarantineId>,
    limit: u32,
) -> Result<Vec<Held>, StoreError> {
    let environment = filter.environment.as_ref().map(Environment::as_str);
    let part = filter.part.map(Part::label);
    let rows = db.rows(VERIFIABLE, &[&part, &environment, &after.map(|id| id.0), &i64::from(limit)]).await?;
    rows.iter().map(held).collect()
}

fn held(row: &Row) -> Result<Held, StoreError> {
    let change: Option<String> = get(row, "change")?;
    let optional = |name| get::<Option<i64>>(row, name);
    Ok(Held {
        request: Quarantined {
            id: QuarantineId(get(row, "id")?),
            fingerprint: digest(row, "fingerprint")?,
            first_seen: get(row, "first_seen")?,
            last_seen: get(row, "last_seen")?,
            seen: count(row, "seen")?,
            address: get::<Option<String>>(row, "address")?.map(Environment::new),
            why: Why {
                part: Part::parse(get(row, "part")?).ok_or_else(|| strange("part"))?,
                environment: get::<Option<String>>(row, "fits_environment")?.map(Environment::new),
                change: change.map(|label| Change::parse(&label).ok_or_else(|| strange("change"))).transpose()?,
            },
            looks_like_terra: get(row, "looks_like_terra")?,
            signature: get(row, "signature")?,
            t_seconds: optional("t_seconds")?,
            headers: DeliveryHeaders {
                trace_id: get(row, "trace_id")?,
                reference: get(row, "reference")?,
                ordering_ms: optional("ordering_ms")?,
            },
            type_name: get(row, "type_name")?,
            terra_user_id: get(row, "terra_user_id")?,
            size_bytes: optional("size_bytes")?.and_then(|bytes| u64::try_from(bytes).ok()),
            held_bytes: count(row, "held_bytes")?,
        },
        body: get::<Option<Vec<u8>>>(row, "body")?.map(|body| Sealed(Bytes::from(body))),
    })
}

const LET_GO: &str = "DELETE FROM quarantine WHERE id = ANY ($1) RETURNING body";

const AUDIT: &str = "
INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, 'quarantine.reverify', 'quarantine', $3)";

pub(super) async fn let_in(db: &Db, let_in: &[LetIn], actor: &str, now: Timestamp) -> Result<(), StoreError> {
    let unneeded = bodies(&db.rows(LET_GO, &[&column(let_in, |one| one.id.0)]).await?)?;
    forget_bodies(db, unneeded).await?;
    let detail = json!({ "deliveries": column(let_in, |one| one.delivery) });
    db.execute(AUDIT, &[&now, &actor, &detail]).await?;
    Ok(())
}

const FORGET: &str = "DELETE FROM quarantine WHERE first_seen < $1 RETURNING body";

pub(super) async fn forget(db: &Db, before: Timestamp) -> Result<u64, StoreError> {
    let rows = db.rows(FORGET, &[&before]).await?;
    forget_bodies(db, bodies(&rows)?).await?;
    Ok(rows.len() as u64)
}

/// What of them lies in the payload store is deleted once this is committed.
async fn forget_bodies(db: &Db, bodies: Vec<Sealed>) -> Result<(), StoreError> {
    let unneeded: Vec<Unneeded> = bodies.into_iter().map(|payload| Unneeded { payload, record: None }).collect();
    payloads::let_go(db, &unneeded).await
}

fn bodies(rows: &[Row]) -> Result<Vec<Sealed>, StoreError> {
    let bodies = rows.iter().map(|row| get::<Option<Vec<u8>>>(row, "body")).collect::<Result<Vec<_>, _>>()?;
    Ok(bodies.into_iter().flatten().map(|body| Sealed(Bytes::from(body))).collect())
}

const TOTALS: &str = "SELECT count(*) AS held, coalesce(sum(held_bytes), 0)::bigint AS bytes FROM quarantine";

pub(super) async fn totals(db: &Db) -> Result<QuarantineTotals, StoreError> {
    let Some(row) = db.row(TOTALS, &[]).await? else { return Ok(QuarantineTotals::default()) };
    Ok(QuarantineTotals { rows: count(&row, "held")?, bytes: count(&row, "bytes")? })
}

fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
