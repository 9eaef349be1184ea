//! Listings of connections, history and fetch jobs, and the numbers for gauges.

use domain::delivery::Delivery;
use domain::id::{AliasKey, ConnectionId, Environment, UserId};
use domain::identity::Status;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::column::{count, json, order, time, uuid, word};
use super::identity::aliases_of_connection;
use crate::store::{
    AuthEventFilter, AuthEventView, ConnectionFilter, ConnectionView, Found, Listing, Page, Stats, StoreError,
};

/// One row more than fits: it says that there is another page.
pub(super) fn limit(page: &Page) -> i64 {
    i64::from(page.limit) + 1
}

pub(super) fn after<T: std::str::FromStr>(page: &Page) -> Result<Option<T>, StoreError> {
    page.after.as_deref().map(|text| text.parse().map_err(|_| StoreError::BadCursor)).transpose()
}

/// A row of `connection`, before its aliases are read.
struct Group {
    id: ConnectionId,
    current: AliasKey,
    user: Option<UserId>,
    status: Status,
}

impl Group {
    fn read(row: &Row<'_>) -> rusqlite::Result<Group> {
        let environment = Environment::new(row.get::<_, String>("environment")?);
        Ok(Group {
            id: ConnectionId(uuid(row, "id")?),
            current: AliasKey::new(&environment, &row.get::<_, String>("terra_user_id")?),
            user: row.get::<_, Option<String>>("user_id")?.map(UserId::new),
            status: word(row, "status", Status::parse)?,
        })
    }

    fn view(self, connection: &Connection) -> Result<ConnectionView, StoreError> {
        let aliases = aliases_of_connection(connection, self.id)?.into_iter().map(|row| row.alias).collect();
        Ok(ConnectionView::assemble(self.id, self.user, self.status, &self.current, aliases))
    }
}

/// Oldest first.
pub(super) fn connections(
    connection: &Connection,
    filter: &ConnectionFilter,
    page: &Page,
) -> Result<Listing<ConnectionView>, StoreError> {
    const ALL: &str = "
        SELECT id, environment, user_id, status, terra_user_id FROM connection
        WHERE id > ?1 AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR provider = ?3)
          AND (?4 IS NULL OR id IN (SELECT connection_id FROM alias WHERE terra_user_id = ?4)) AND ?6 IS NULL
        ORDER BY id LIMIT ?5";
    const OF_USER: &str = "
        SELECT id, environment, user_id, status, terra_user_id FROM connection
        WHERE id > ?1 AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR provider = ?3)
          AND (?4 IS NULL OR id IN (SELECT connection_id FROM alias WHERE terra_user_id = ?4)) AND user_id = ?6
        ORDER BY id LIMIT ?5";
    let mut statement = connection.prepare_cached(if filter.user.is_some() { OF_USER } else { ALL })?;
    let after: Uuid = after(page)?.unwrap_or(Uuid::nil());
    let parameters = params![
        after.as_bytes(),
        filter.status.map(Status::label),
        filter.provider,
        filter.terra_user_id,
        limit(page),
        filter.user.as_ref().map(UserId::as_str),
    ];
    let groups = statement.query_map(parameters, Group::read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let views = groups.into_iter().map(|group| group.view(connection)).collect::<Result<_, _>>()?;
    Ok(Listing::of(views, page, |view: &ConnectionView| view.id.to_string()))
}

pub(super) fn connection(connection: &Connection, id: ConnectionId) -> Result<Found, StoreError> {
    const ONE: &str = "SELECT id, environment, user_id, status, terra_user_id FROM connection WHERE id = ?1";
    const BORN: &str = "SELECT connection_id FROM alias WHERE birth_id = ?1";
    if let Some(group) = connection.prepare_cached(ONE)?.query_row([id.0.as_bytes()], Group::read).optional()? {
        return Ok(Found::Here(Box::new(group.view(connection)?)));
    }
    let mut born = connection.prepare_cached(BORN)?;
    let to = born.query_row([id.0.as_bytes()], |row| Ok(ConnectionId(uuid(row, "connection_id")?))).optional()?;
    Ok(to.map_or(Found::Unknown, |to| Found::Moved { to }))
}

/// In the order of processing.
pub(super) fn auth_events(
    connection: &Connection,
    filter: &AuthEventFilter,
    page: &Page,
) -> Result<Listing<AuthEventView>, StoreError> {
    const PAGE: &str = "
        SELECT id, environment, kind, succeeded, terra_user_id, reference_id, provider, event_order, received_at, detail
        FROM auth_event
        WHERE id > ?1 AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR terra_user_id = ?3)
          AND (?4 IS NULL OR EXISTS (SELECT 1 FROM alias
                                     WHERE alias.environment = auth_event.environment
                                       AND alias.terra_user_id = auth_event.terra_user_id AND alias.user_id = ?4))
        ORDER BY id LIMIT ?5";
    let mut statement = connection.prepare_cached(PAGE)?;
    let parameters = params![
        after(page)?.unwrap_or(0_i64),
        filter.kind,
        filter.terra_user_id,
        filter.user.as_ref().map(UserId::as_str),
        limit(page),
    ];
    let rows = statement.query_map(parameters, auth_event)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |view: &AuthEventView| view.id.to_string()))
}

fn auth_event(row: &Row<'_>) -> rusqlite::Result<AuthEventView> {
    let happened_at = order(row, "event_order")?.and_then(|order| Timestamp::from_millisecond(order.ms()).ok());
    let received_at = time(row, "received_at")?;
    Ok(AuthEventView {
        id: row.get("id")?,
        environment: Environment::new(row.get::<_, String>("environment")?),
        kind: row.get("kind")?,
        succeeded: row.get("succeeded")?,
        terra_user_id: row.get("terra_user_id")?,
        reference_id: row.get("reference_id")?,
        provider: row.get("provider")?,
        happened_at: happened_at.unwrap_or(received_at),
        received_at,
        detail: json(row, "detail")?,
    })
}

pub(super) fn stats(connection: &Connection) -> Result<Stats, StoreError> {
    const CONNECTIONS: &str = "
        SELECT status, coalesce(provider, '') AS provider, count(*) AS connections FROM connection
        GROUP BY 1, 2 ORDER BY 1, 2";
    const COUNTS: &str = "
        SELECT (SELECT count(*) FROM delivery WHERE outcome = 'dead') AS dead_letters,
               (SELECT count(*) FROM event WHERE position IS NULL AND held = 0)
                   + (SELECT numbered - published FROM relay) AS outbox_pending,
               (SELECT count(*) FROM event WHERE held = 1) AS events_held,
               (SELECT count(*) FROM resolution WHERE user_id IS NULL) AS open_references,
               (SELECT count(*) FROM fetch_job WHERE state = 'queued') AS fetch_open,
               (SELECT count(*) FROM backfill WHERE state = 'open') AS backfills_open,
               (SELECT count(*) FROM backfill WHERE state = 'open' AND stalled_since IS NOT NULL) AS backfills_stalled,
               (SELECT count(*) FROM unneeded_payload) AS unneeded_payloads,
               (SELECT count(*) FROM erasure WHERE state <> 'done') AS erasures_open,
               (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) AS file,
               (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size) AS free";
    let mut statement = connection.prepare_cached(CONNECTIONS)?;
    let rows = statement.query_map([], |row| {
        Ok((word(row, "status", Status::parse)?, row.get("provider")?, count(row, "connections")?))
    })?;
    let connections = rows.collect::<rusqlite::Result<_>>()?;
    let retries = retries(connection)?;
    let stats = connection.prepare_cached(COUNTS)?.query_row([], |row| {
        Ok(Stats {
            connections,
            retries,
            dead_letters: count(row, "dead_letters")?,
            outbox_pending: count(row, "outbox_pending")?,
            events_held: count(row, "events_held")?,
            open_references: count(row, "open_references")?,
            fetch_open: count(row, "fetch_open")?,
            backfills_open: count(row, "backfills_open")?,
            backfills_stalled: count(row, "backfills_stalled")?,
            unneeded_payloads: count(row, "unneeded_payloads")?,
            erasures_open: count(row, "erasures_open")?,
            bytes: vec![("file".to_owned(), count(row, "file")?), ("free".to_owned(), count(row, "free")?)],
        })
    })?;
    Ok(stats)
}

/// Deliveries that wait for another try, per lane. The lane is no column but a decision of the core: one delivery of
/// each sort is read back and asked.
fn retries(connection: &Connection) -> Result<Vec<(String, u64)>, StoreError> {
    const RETRIES: &str = "
        SELECT metadata, count(*) AS retries FROM delivery WHERE outcome = 'retry'
        GROUP BY type_name, metadata ->> 'origin'";
    let mut statement = connection.prepare_cached(RETRIES)?;
    let mut rows = statement.query([])?;
    let mut lanes = std::collections::BTreeMap::new();
    while let Some(row) = rows.next()? {
        let delivery: Delivery = json(row, "metadata")?;
        *lanes.entry(delivery.lane().label().to_owned()).or_insert(0) += count(row, "retries")?;
    }
    Ok(lanes.into_iter().collect())
}
