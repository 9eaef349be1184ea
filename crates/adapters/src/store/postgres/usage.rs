//! What Terra delivered: counted with the effects, read as its bill is.

use std::collections::BTreeMap;

use domain::id::ConnectionId;
use domain::usage::{Account, Tally};
use jiff::civil::Date;
use tokio_postgres::Row;
use uuid::Uuid;

use super::read::{cursor, one_more};
use super::row::{column, count, get};
use super::unit::Db;
use crate::store::view::{UsageBy, UsageFilter, UsageTotals, UsageView};
use crate::store::{Listing, Page, StoreError};

const ADD: &str = "
INSERT INTO usage (environment, terra_user_id, kind, month, origin, deliveries, unchanged, duplicates, bytes)
SELECT environment, terra_user_id, kind, month, origin, deliveries, unchanged, duplicates, bytes
  FROM unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
              $9::bigint[])
       WITH ORDINALITY
       AS added (environment, terra_user_id, kind, month, origin, deliveries, unchanged, duplicates, bytes, place)
 ORDER BY place
    ON CONFLICT (environment, terra_user_id, kind, month, origin) DO UPDATE
   SET deliveries = usage.deliveries + excluded.deliveries, unchanged = usage.unchanged + excluded.unchanged,
       duplicates = usage.duplicates + excluded.duplicates, bytes = usage.bytes + excluded.bytes";

pub(super) async fn add(db: &Db, sums: &BTreeMap<Account, Tally>) -> Result<(), StoreError> {
    if sums.is_empty() {
        return Ok(());
    }
    // Ascending, as the map is: batches that add to the same rows wait for each other in one order.
    let sums: Vec<_> = sums.iter().collect();
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    db.execute(
        ADD,
        &[
            &column(&sums, |(account, _)| account.environment.as_str()),
            &column(&sums, |(account, _)| account.terra_user_id.as_str()),
            &column(&sums, |(account, _)| account.kind.label()),
            &column(&sums, |(account, _)| account.month),
            &column(&sums, |(account, _)| account.cause.label()),
            &column(&sums, |(_, tally)| signed(tally.deliveries)),
            &column(&sums, |(_, tally)| signed(tally.unchanged)),
            &column(&sums, |(_, tally)| signed(tally.duplicates)),
            &column(&sums, |(_, tally)| signed(tally.bytes)),
        ],
    )
    .await?;
    Ok(())
}

const BY_CONNECTION: &str = "
SELECT alias.connection_id AS connection, connection.user_id, connection.environment, connection.terra_user_id,
       connection.provider, NULL::text AS kind,
       coalesce(alias.connection_id, '00000000-0000-0000-0000-000000000000')::text AS place,
       sum(usage.deliveries)::bigint AS deliveries, sum(usage.unchanged)::bigint AS unchanged,
       sum(usage.duplicates)::bigint AS duplicates, sum(usage.bytes)::bigint AS bytes,
       coalesce(sum(usage.deliveries) FILTER (WHERE usage.origin = 'live'), 0)::bigint AS live
  FROM usage
  LEFT JOIN alias ON alias.environment = usage.environment AND alias.terra_user_id = usage.terra_user_id
  LEFT JOIN connection ON connection.id = alias.connection_id
 WHERE usage.month = $1
   AND ($2::uuid IS NULL OR coalesce(alias.connection_id, '00000000-0000-0000-0000-000000000000') > $2)
 GROUP BY alias.connection_id, connection.user_id, connection.environment, connection.terra_user_id,
          connection.provider
HAVING sum(usage.deliveries) > $3::bigint OR $3::bigint = 0
 ORDER BY coalesce(alias.connection_id, '00000000-0000-0000-0000-000000000000')
 LIMIT $4";

const BY_KIND: &str = "
SELECT NULL::uuid AS connection, NULL::text AS user_id, NULL::text AS environment, NULL::text AS terra_user_id,
       NULL::text AS provider, usage.kind, usage.kind AS place,
       sum(usage.deliveries)::bigint AS deliveries, sum(usage.unchanged)::bigint AS unchanged,
       sum(usage.duplicates)::bigint AS duplicates, sum(usage.bytes)::bigint AS bytes,
       coalesce(sum(usage.deliveries) FILTER (WHERE usage.origin = 'live'), 0)::bigint AS live
  FROM usage
 WHERE usage.month = $1 AND ($2::text IS NULL OR usage.kind COLLATE \"C\" > $2 COLLATE \"C\")
 GROUP BY usage.kind
HAVING sum(usage.deliveries) > $3::bigint OR $3::bigint = 0
 ORDER BY usage.kind COLLATE \"C\"
 LIMIT $4";

const BY_PROVIDER: &str = "
SELECT NULL::uuid AS connection, NULL::text AS user_id, NULL::text AS environment, NULL::text AS terra_user_id,
       nullif(coalesce(alias.provider, ''), '') AS provider, NULL::text AS kind, coalesce(alias.provider, '') AS place,
       sum(usage.deliveries)::bigint AS deliveries, sum(usage.unchanged)::bigint AS unchanged,
       sum(usage.duplicates)::bigint AS duplicates, sum(usage.bytes)::bigint AS bytes,
       coalesce(sum(usage.deliveries) FILTER (WHERE usage.origin = 'live'), 0)::bigint AS live
  FROM usage
  LEFT JOIN alias ON alias.environment = usage.environment AND alias.terra_user_id = usage.terra_user_id
 WHERE usage.month = $1 AND ($2::text IS NULL OR coalesce(alias.provider, '') COLLATE \"C\" > $2 COLLATE \"C\")
 GROUP BY coalesce(alias.provider, '')
HAVING sum(usage.deliveries) > $3::bigint OR $3::bigint = 0
 ORDER BY coalesce(alias.provider, '') COLLATE \"C\"
 LIMIT $4";

pub(super) async fn list(db: &Db, filter: &UsageFilter, page: &Page) -> Result<Listing<UsageView>, StoreError> {
    let above = i64::try_from(filter.above).unwrap_or(i64::MAX);
    let rows = match filter.by {
        UsageBy::Connection => {
            let after: Option<Uuid> = cursor(page)?;
            db.rows(BY_CONNECTION, &[&filter.month, &after, &above, &one_more(page)]).await?
        }
        UsageBy::Kind => db.rows(BY_KIND, &[&filter.month, &page.after, &above, &one_more(page)]).await?,
        UsageBy::Provider => db.rows(BY_PROVIDER, &[&filter.month, &page.after, &above, &one_more(page)]).await?,
    };
    let views = rows.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(views, page, |view| view.place.clone()))
}

fn view(row: &Row) -> Result<UsageView, StoreError> {
    Ok(UsageView {
        connection: get::<Option<Uuid>>(row, "connection")?.map(ConnectionId),
        user: get(row, "user_id")?,
        environment: get(row, "environment")?,
        terra_user_id: get(row, "terra_user_id")?,
        provider: get(row, "provider")?,
        kind: get(row, "kind")?,
        place: get(row, "place")?,
        tally: Tally {
            deliveries: count(row, "deliveries")?,
            unchanged: count(row, "unchanged")?,
            duplicates: count(row, "duplicates")?,
            bytes: count(row, "bytes")?,
        },
        live: count(row, "live")?,
    })
}

const TOTALS: &str = "
WITH per_connection AS (
    SELECT alias.connection_id, sum(usage.deliveries) AS deliveries, sum(usage.unchanged) AS unchanged,
           sum(usage.duplicates) AS duplicates, sum(usage.bytes) AS bytes,
           coalesce(sum(usage.deliveries) FILTER (WHERE usage.origin = 'live'), 0) AS live
      FROM usage
      LEFT JOIN alias ON alias.environment = usage.environment AND alias.terra_user_id = usage.terra_user_id
     WHERE usage.month = $1
     GROUP BY alias.connection_id
)
SELECT coalesce(sum(deliveries), 0)::bigint AS deliveries, coalesce(sum(unchanged), 0)::bigint AS unchanged,
       coalesce(sum(duplicates), 0)::bigint AS duplicates, coalesce(sum(bytes), 0)::bigint AS bytes,
       coalesce(sum(live), 0)::bigint AS live, count(connection_id) AS connections,
       count(*) FILTER (WHERE connection_id IS NOT NULL AND deliveries > $2::bigint) AS connections_over,
       coalesce(sum(deliveries - $2::bigint) FILTER (WHERE connection_id IS NOT NULL AND deliveries > $2::bigint), 0)::bigint
           AS events_over
  FROM per_connection";

pub(super) async fn totals(db: &Db, month: Date, free: u64) -> Result<UsageTotals, StoreError> {
    let free = i64::try_from(free).unwrap_or(i64::MAX);
    let Some(row) = db.row(TOTALS, &[&month, &free]).await? else { return Ok(UsageTotals::default()) };
    Ok(UsageTotals {
        tally: Tally {
            deliveries: count(&row, "deliveries")?,
            unchanged: count(&row, "unchanged")?,
            duplicates: count(&row, "duplicates")?,
            bytes: count(&row, "bytes")?,
        },
        live: count(&row, "live")?,
        connections: count(&row, "connections")?,
        connections_over: count(&row, "connections_over")?,
        events_over: count(&row, "events_over")?,
    })
}
