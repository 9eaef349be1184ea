//! Rhythms, and who has fallen silent.

use domain::id::{AliasKey, ConnectionId, Environment, UserId};
use domain::identity::Status;
use domain::silence::{
    Channel, ChannelSeen, ChannelState, Judgement, Quiet, Rhythm, Seen, Silent, USERS_WITHIN, WasStale, Watch,
};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use terra::event::DataKind;
use uuid::Uuid;

use super::column::{count, ms, time, time_option, uuid};
use super::read::{after, limit};
use super::tx::{SqliteTx, at_once};
use super::{events, leases};
use crate::store::tx::RhythmRow;
use crate::store::view::{Silences, SilentView, StaleView};
use crate::store::{Holder, Listing, Page, StoreError, apply};

/// Connections that one look finds to be overdue at most; the others are found by the next.
const OVERDUE_MAX: i64 = 5_000;

pub(super) fn rhythms(connection: &Connection, keys: &[(AliasKey, DataKind)]) -> Result<Vec<RhythmRow>, StoreError> {
    const RHYTHM: &str = "
        SELECT provider, first_at, last_at, longest_ms, deliveries FROM cadence
        WHERE environment = ?1 AND terra_user_id = ?2 AND kind = ?3";
    let mut statement = connection.prepare_cached(RHYTHM)?;
    let mut rows = Vec::new();
    for (alias, kind) in keys {
        let key = params![alias.environment.as_str(), alias.terra_user_id.as_str(), kind.label()];
        let row = statement.query_row(key, |row| {
            Ok(RhythmRow {
                alias: alias.clone(),
                kind: *kind,
                provider: row.get("provider")?,
                rhythm: Rhythm {
                    first_at: time(row, "first_at")?,
                    last_at: time(row, "last_at")?,
                    longest: duration(row, "longest_ms")?,
                    deliveries: count(row, "deliveries")?,
                },
            })
        });
        rows.extend(row.optional()?);
    }
    Ok(rows)
}

pub(super) fn write_rhythms(connection: &Connection, rows: &[RhythmRow]) -> Result<(), StoreError> {
    const WRITE: &str = "
        INSERT INTO cadence (environment, terra_user_id, kind, provider, first_at, last_at, longest_ms, deliveries,
                             due_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (environment, terra_user_id, kind) DO UPDATE SET
            provider = excluded.provider, last_at = excluded.last_at, longest_ms = excluded.longest_ms,
            deliveries = excluded.deliveries, due_at = excluded.due_at";
    let mut statement = connection.prepare_cached(WRITE)?;
    for row in rows {
        statement.execute(params![
            row.alias.environment.as_str(),
            row.alias.terra_user_id.as_str(),
            row.kind.label(),
            row.provider,
            ms(row.rhythm.first_at),
            ms(row.rhythm.last_at),
            millis(row.rhythm.longest),
            i64::try_from(row.rhythm.deliveries).unwrap_or(i64::MAX),
            row.rhythm.due_at().map(ms),
        ])?;
    }
    Ok(())
}

fn millis(time: SignedDuration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn duration(row: &Row<'_>, name: &str) -> rusqlite::Result<SignedDuration> {
    Ok(SignedDuration::from_millis(row.get(name)?))
}

pub(super) fn seen(connection: &Connection, now: Timestamp) -> Result<Seen, StoreError> {
    const WATCH: &str = "SELECT since, checked_at FROM silence_watch";
    const CHANNELS: &str = "
        WITH heard AS (
            SELECT environment, provider, kind, max(last_at) AS last_at,
                   count(*) FILTER (WHERE due_at IS NOT NULL AND last_at > ?1) AS users
            FROM cadence WHERE provider <> '' GROUP BY environment, provider, kind
        )
        SELECT heard.environment, heard.provider, heard.kind, heard.last_at, heard.users, state.watched_since,
               state.checked_at, state.heard_at, state.longest_ms, state.silent_since, state.users AS users_before
        FROM heard
        LEFT JOIN provider_silence AS state
          ON state.environment = heard.environment AND state.provider = heard.provider AND state.kind = heard.kind";
    // What a provider's silence explains is left out, so that it does not hide the others.
    const OVERDUE: &str = "
        SELECT connection.id, connection.environment, connection.user_id, connection.terra_user_id,
               connection.provider, max(cadence.last_at) AS last_at, min(cadence.due_at - cadence.last_at) AS bound_ms
        FROM connection
        JOIN alias ON alias.connection_id = connection.id
        JOIN cadence ON cadence.environment = alias.environment AND cadence.terra_user_id = alias.terra_user_id
        WHERE connection.status IN ('active', 'degraded') AND connection.user_id IS NOT NULL
          AND connection.id IN (SELECT late_alias.connection_id
                                FROM cadence AS late
                                JOIN alias AS late_alias ON late_alias.environment = late.environment
                                                        AND late_alias.terra_user_id = late.terra_user_id
                                WHERE late.due_at <= ?1)
          AND NOT EXISTS (SELECT 1 FROM connection_silence WHERE connection_silence.connection_id = connection.id)
          AND NOT EXISTS (SELECT 1 FROM provider_silence
                          WHERE provider_silence.environment = connection.environment
                            AND provider_silence.provider = connection.provider
                            AND provider_silence.silent_since IS NOT NULL)
        GROUP BY connection.id
        HAVING max(cadence.last_at) + min(cadence.due_at - cadence.last_at) <= ?1
        ORDER BY connection.id LIMIT ?2";
    const STALE: &str = "
        SELECT was.connection_id AS id, was.environment, was.provider, was.last_at, was.bound_ms, connection.user_id,
               connection.status, coalesce(connection.terra_user_id, '') AS terra_user_id,
               max(cadence.last_at) AS heard_at
        FROM connection_silence AS was
        LEFT JOIN connection ON connection.id = was.connection_id
        LEFT JOIN alias ON alias.connection_id = connection.id
        LEFT JOIN cadence ON cadence.environment = alias.environment AND cadence.terra_user_id = alias.terra_user_id
        GROUP BY was.connection_id
        HAVING connection.id IS NULL OR connection.user_id IS NULL
            OR connection.status NOT IN ('active', 'degraded') OR max(cadence.last_at) > was.last_at";
    let watch = connection
        .prepare_cached(WATCH)?
        .query_row([], |row| Ok(Watch { since: time(row, "since")?, checked_at: time(row, "checked_at")? }));
    let since = now.checked_sub(USERS_WITHIN).map_or(i64::MIN, ms);
    let mut channels = connection.prepare_cached(CHANNELS)?;
    let mut overdue = connection.prepare_cached(OVERDUE)?;
    let mut stale = connection.prepare_cached(STALE)?;
    Ok(Seen {
        watch: watch.optional()?,
        channels: channels.query_map([since], channel)?.collect::<rusqlite::Result<_>>()?,
        overdue: overdue.query_map(params![ms(now), OVERDUE_MAX], quiet)?.collect::<rusqlite::Result<_>>()?,
        stale: stale.query_map([], was_stale)?.collect::<rusqlite::Result<_>>()?,
    })
}

fn channel_key(row: &Row<'_>) -> rusqlite::Result<Channel> {
    Ok(Channel {
        environment: Environment::new(row.get::<_, String>("environment")?),
        provider: row.get("provider")?,
        kind: row.get("kind")?,
    })
}

fn channel(row: &Row<'_>) -> rusqlite::Result<ChannelSeen> {
    let channel = channel_key(row)?;
    let before = match time_option(row, "watched_since")? {
        None => None,
        Some(watched_since) => {
            let users = u64::try_from(row.get::<_, Option<i64>>("users_before")?.unwrap_or(0)).unwrap_or(0);
            Some(ChannelState {
                channel: channel.clone(),
                watched_since,
                checked_at: time(row, "checked_at")?,
                heard_at: time(row, "heard_at")?,
                longest: duration(row, "longest_ms")?,
                silent: time_option(row, "silent_since")?.map(|last_at| Silent { last_at, users }),
            })
        }
    };
    Ok(ChannelSeen { channel, users: count(row, "users")?, last_at: time(row, "last_at")?, before })
}

fn quiet(row: &Row<'_>) -> rusqlite::Result<Quiet> {
    Ok(Quiet {
        connection: ConnectionId(uuid(row, "id")?),
        environment: Environment::new(row.get::<_, String>("environment")?),
        user: row.get::<_, Option<String>>("user_id")?.map(UserId::new),
        terra_user_id: row.get("terra_user_id")?,
        provider: row.get("provider")?,
        last_at: time(row, "last_at")?,
        bound: duration(row, "bound_ms")?,
    })
}

fn was_stale(row: &Row<'_>) -> rusqlite::Result<WasStale> {
    let quiet = quiet(row)?;
    let status = row.get::<_, Option<String>>("status")?.as_deref().and_then(Status::parse);
    let is_open = quiet.user.is_some() && matches!(status, Some(Status::Active | Status::Degraded));
    Ok(WasStale { quiet, heard_at: time_option(row, "heard_at")?, is_open })
}

/// False where the lease was lost: then nothing is written.
pub(super) fn keep(
    connection: &mut Connection,
    lease: Holder<'_>,
    judgement: &Judgement,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const WATCH: &str = "
        INSERT INTO silence_watch (only_row, since, checked_at) VALUES (1, ?1, ?2)
        ON CONFLICT (only_row) DO UPDATE SET since = excluded.since, checked_at = excluded.checked_at";
    const CHANNEL: &str = "
        INSERT INTO provider_silence (environment, provider, kind, watched_since, checked_at, heard_at, longest_ms,
                                      silent_since, users)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (environment, provider, kind) DO UPDATE SET
            checked_at = excluded.checked_at, heard_at = excluded.heard_at, longest_ms = excluded.longest_ms,
            silent_since = excluded.silent_since, users = excluded.users";
    const STALE: &str = "
        INSERT INTO connection_silence (connection_id, environment, provider, last_at, bound_ms, told_at)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE ?1 IN (SELECT id FROM connection) ON CONFLICT DO NOTHING";
    const END: &str = "DELETE FROM connection_silence WHERE connection_id = ?1";
    if !leases::is_held(connection, lease)? {
        return Ok(false);
    }
    let watch = params![ms(judgement.watch.since), ms(judgement.watch.checked_at)];
    connection.prepare_cached(WATCH)?.execute(watch)?;
    let mut write_channel = connection.prepare_cached(CHANNEL)?;
    for state in &judgement.channels {
        write_channel.execute(params![
            state.channel.environment.as_str(),
            state.channel.provider,
            state.channel.kind,
            ms(state.watched_since),
            ms(state.checked_at),
            ms(state.heard_at),
            millis(state.longest),
            state.silent.map(|silent| ms(silent.last_at)),
            state.silent.map(|silent| i64::try_from(silent.users).unwrap_or(i64::MAX)),
        ])?;
    }
    let mut write_stale = connection.prepare_cached(STALE)?;
    for quiet in &judgement.stale {
        write_stale.execute(params![
            quiet.connection.0.as_bytes(),
            quiet.environment.as_str(),
            quiet.provider,
            ms(quiet.last_at),
            millis(quiet.bound),
            ms(now),
        ])?;
    }
    drop((write_channel, write_stale));
    let mut end = connection.prepare_cached(END)?;
    for ended in &judgement.ended {
        end.execute([ended.0.as_bytes()])?;
    }
    drop(end);
    let events = at_once(apply::erased::events_of_the_living(&mut SqliteTx { connection }, &judgement.events))?;
    events::insert(connection, &events)?;
    Ok(true)
}

pub(super) fn silences(connection: &Connection) -> Result<Silences, StoreError> {
    const SILENT: &str = "
        SELECT environment, provider, kind, silent_since, coalesce(users, 0) AS users FROM provider_silence
        WHERE silent_since IS NOT NULL ORDER BY environment, provider, kind";
    const STALE: &str = "
        SELECT coalesce(provider, '') AS provider, count(*) AS connections FROM connection_silence
        GROUP BY 1 ORDER BY 1";
    let mut silent = connection.prepare_cached(SILENT)?;
    let providers = silent.query_map([], |row| {
        Ok(SilentView { channel: channel_key(row)?, since: time(row, "silent_since")?, users: count(row, "users")? })
    })?;
    let mut stale = connection.prepare_cached(STALE)?;
    let counts = stale.query_map([], |row| Ok((row.get("provider")?, count(row, "connections")?)))?;
    Ok(Silences {
        providers: providers.collect::<rusqlite::Result<_>>()?,
        stale: counts.collect::<rusqlite::Result<_>>()?,
    })
}

pub(super) fn stale(connection: &Connection, page: &Page) -> Result<Listing<StaleView>, StoreError> {
    const PAGE: &str = "
        SELECT was.connection_id, was.environment, was.provider, was.last_at, was.bound_ms, connection.user_id,
               connection.terra_user_id
        FROM connection_silence AS was
        JOIN connection ON connection.id = was.connection_id
        WHERE was.connection_id > ?1 ORDER BY was.connection_id LIMIT ?2";
    let after: Uuid = after(page)?.unwrap_or(Uuid::nil());
    let mut statement = connection.prepare_cached(PAGE)?;
    let rows = statement.query_map(params![after.as_bytes(), limit(page)], |row| {
        Ok(StaleView {
            connection: ConnectionId(uuid(row, "connection_id")?),
            environment: Environment::new(row.get::<_, String>("environment")?),
            user: row.get::<_, Option<String>>("user_id")?.map(UserId::new),
            terra_user_id: row.get("terra_user_id")?,
            provider: row.get("provider")?,
            last_data_at: time(row, "last_at")?,
            expected_within_seconds: row.get::<_, i64>("bound_ms")? / 1_000,
        })
    })?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |view: &StaleView| view.connection.to_string()))
}
