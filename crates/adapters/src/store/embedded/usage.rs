//! What Terra delivered: counted with the effects, read as its bill is.

use std::collections::BTreeMap;

use domain::id::ConnectionId;
use domain::usage::{Account, Tally};
use jiff::civil::Date;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::column::count;
use super::read::{after, limit};
use crate::store::view::{UsageBy, UsageFilter, UsageTotals, UsageView};
use crate::store::{Listing, Page, StoreError};

pub(super) fn add(connection: &Connection, sums: &BTreeMap<Account, Tally>) -> Result<(), StoreError> {
    const ADD: &str = "
        INSERT INTO usage (environment, terra_user_id, kind, month, origin, deliveries, unchanged, duplicates, bytes)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (environment, terra_user_id, kind, month, origin) DO UPDATE SET
            deliveries = usage.deliveries + excluded.deliveries, unchanged = usage.unchanged + excluded.unchanged,
            duplicates = usage.duplicates + excluded.duplicates, bytes = usage.bytes + excluded.bytes";
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(ADD)?;
    for (account, tally) in sums {
        statement.execute(params![
            account.environment.as_str(),
            account.terra_user_id,
            account.kind.label(),
            account.month.to_string(),
            account.cause.label(),
            signed(tally.deliveries),
            signed(tally.unchanged),
            signed(tally.duplicates),
            signed(tally.bytes),
        ])?;
    }
    Ok(())
}

const BY_CONNECTION: &str = "
    SELECT alias.connection_id AS connection, connection.user_id, connection.environment, connection.terra_user_id,
           connection.provider, NULL AS kind, '' AS place,
           sum(usage.deliveries) AS deliveries, sum(usage.unchanged) AS unchanged,
           sum(usage.duplicates) AS duplicates, sum(usage.bytes) AS bytes,
           coalesce(sum(usage.deliveries) FILTER (WHERE usage.origin = 'live'), 0) AS live
    FROM usage
    LEFT JOIN alias ON alias.environment = usage.environment AND alias.terra_user_id = usage.terra_user_id
    LEFT JOIN connection ON connection.id = alias.connection_id
    WHERE usage.month = ?1 AND (?2 IS NULL OR coalesce(alias.connection_id, zeroblob(16)) > ?2)
    GROUP BY alias.connection_id
    HAVING sum(usage.deliveries) > ?3 OR ?3 = 0
    ORDER BY coalesce(alias.connection_id, zeroblob(16)) LIMIT ?4";

const BY_KIND: &str = "
    SELECT NULL AS connection, NULL AS user_id, NULL AS environment, NULL AS terra_user_id, NULL AS provider,
           usage.kind, usage.kind AS place,
           sum(usage.deliveries) AS deliveries, sum(usage.unchanged) AS unchanged,
           sum(usage.duplicates) AS duplicates, sum(usage.bytes) AS bytes,
           coalesce(sum(usage.deliveries) FILTER (WHERE usage.origin = 'live'), 0) AS live
    FROM usage
    WHERE usage.month = ?1 AND (?2 IS NULL OR usage.kind > ?2)
    GROUP BY usage.kind
    HAVING sum(usage.deliveries) > ?3 OR ?3 = 0
    ORDER BY usage.kind LIMIT ?4";

const BY_PROVIDER: &str = "
    SELECT NULL AS connection, NULL AS user_id, NULL AS environment, NULL AS terra_user_id,
           nullif(coalesce(alias.provider, ''), '') AS provider, NULL AS kind, coalesce(alias.provider, '') AS place,
           sum(usage.deliveries) AS deliveries, sum(usage.unchanged) AS unchanged,
           sum(usage.duplicates) AS duplicates, sum(usage.bytes) AS bytes,
           coalesce(sum(usage.deliveries) FILTER (WHERE usage.origin = 'live'), 0) AS live
    FROM usage
    LEFT JOIN alias ON alias.environment = usage.environment AND alias.terra_user_id = usage.terra_user_id
    WHERE usage.month = ?1 AND (?2 IS NULL OR coalesce(alias.provider, '') > ?2)
    GROUP BY coalesce(alias.provider, '')
    HAVING sum(usage.deliveries) > ?3 OR ?3 = 0
    ORDER BY coalesce(alias.provider, '') LIMIT ?4";

pub(super) fn list(
    connection: &Connection,
    filter: &UsageFilter,
    page: &Page,
) -> Result<Listing<UsageView>, StoreError> {
    let (month, above) = (filter.month.to_string(), i64::try_from(filter.above).unwrap_or(i64::MAX));
    let views = match filter.by {
        UsageBy::Connection => {
            let after = after::<Uuid>(page)?.map(|id| id.as_bytes().to_vec());
            let mut statement = connection.prepare_cached(BY_CONNECTION)?;
            let rows = statement.query_map(params![month, after, above, limit(page)], view)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()?
        }
        UsageBy::Kind => {
            let mut statement = connection.prepare_cached(BY_KIND)?;
            let rows = statement.query_map(params![month, page.after, above, limit(page)], view)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()?
        }
        UsageBy::Provider => {
            let mut statement = connection.prepare_cached(BY_PROVIDER)?;
            let rows = statement.query_map(params![month, page.after, above, limit(page)], view)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()?
        }
    };
    Ok(Listing::of(views, page, |view| match filter.by {
        UsageBy::Connection => view.connection.map_or(Uuid::nil(), |id| id.0).to_string(),
        UsageBy::Kind | UsageBy::Provider => view.place.clone(),
    }))
}

fn view(row: &Row<'_>) -> rusqlite::Result<UsageView> {
    Ok(UsageView {
        connection: row.get::<_, Option<[u8; 16]>>("connection")?.map(|id| ConnectionId(Uuid::from_bytes(id))),
        user: row.get("user_id")?,
        environment: row.get("environment")?,
        terra_user_id: row.get("terra_user_id")?,
        provider: row.get("provider")?,
        kind: row.get("kind")?,
        place: row.get("place")?,
        tally: tally(row)?,
        live: count(row, "live")?,
    })
}

fn tally(row: &Row<'_>) -> rusqlite::Result<Tally> {
    Ok(Tally {
        deliveries: count(row, "deliveries")?,
        unchanged: count(row, "unchanged")?,
        duplicates: count(row, "duplicates")?,
        bytes: count(row, "bytes")?,
    })
}

pub(super) fn totals(connection: &Connection, month: Date, free: u64) -> Result<UsageTotals, StoreError> {
    const TOTALS: &str = "
        WITH per_connection AS (
            SELECT alias.connection_id, sum(usage.deliveries) AS deliveries, sum(usage.unchanged) AS unchanged,
                   sum(usage.duplicates) AS duplicates, sum(usage.bytes) AS bytes,
                   coalesce(sum(usage.deliveries) FILTER (WHERE usage.origin = 'live'), 0) AS live
            FROM usage
            LEFT JOIN alias ON alias.environment = usage.environment AND alias.terra_user_id = usage.terra_user_id
            WHERE usage.month = ?1
            GROUP BY alias.connection_id
        )
        SELECT coalesce(sum(deliveries), 0) AS deliveries, coalesce(sum(unchanged), 0) AS unchanged,
               coalesce(sum(duplicates), 0) AS duplicates, coalesce(sum(bytes), 0) AS bytes,
               coalesce(sum(live), 0) AS live, count(connection_id) AS connections,
               count(*) FILTER (WHERE connection_id IS NOT NULL AND deliveries > ?2) AS connections_over,
               coalesce(sum(deliveries - ?2) FILTER (WHERE connection_id IS NOT NULL AND deliveries > ?2), 0)
                   AS events_over
        FROM per_connection";
    let free = i64::try_from(free).unwrap_or(i64::MAX);
    Ok(connection.prepare_cached(TOTALS)?.query_row(params![month.to_string(), free], |row| {
        Ok(UsageTotals {
            tally: tally(row)?,
            live: count(row, "live")?,
            connections: count(row, "connections")?,
            connections_over: count(row, "connections_over")?,
            events_over: count(row, "events_over")?,
        })
    })?)
}
