//! Rhythms, and who has fallen silent.

use domain::id::{AliasKey, ConnectionId, UserId};
use domain::identity::Status;
use domain::silence::{
    Channel, ChannelSeen, ChannelState, Judgement, Quiet, Rhythm, Seen, Silent, USERS_WITHIN, WasStale, Watch,
};
use jiff::{SignedDuration, Timestamp};
use terra::event::DataKind;
use tokio_postgres::Row;
use uuid::Uuid;

use super::read::{cursor, one_more};
use super::row::{alias_key, column, count, environment, get, strange};
use super::unit::Db;
use super::{events, identity};
use crate::store::tx::RhythmRow;
use crate::store::view::{Silences, SilentView, StaleView};
use crate::store::{Holder, Listing, Page, StoreError, apply};

/// Connections that one look finds to be overdue at most; the others are found by the next.
const OVERDUE_MAX: i64 = 5_000;

const RHYTHMS: &str = "
SELECT cadence.environment, cadence.terra_user_id, cadence.kind, cadence.provider, cadence.first_at, cadence.last_at,
       cadence.longest_ms, cadence.deliveries
  FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (environment, terra_user_id, kind)
  JOIN cadence ON cadence.environment = asked.environment AND cadence.terra_user_id = asked.terra_user_id
              AND cadence.kind = asked.kind";

pub(super) async fn rhythms(db: &Db, keys: &[(AliasKey, DataKind)]) -> Result<Vec<RhythmRow>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = db
        .rows(
            RHYTHMS,
            &[
                &column(keys, |(alias, _)| alias.environment.as_str()),
                &column(keys, |(alias, _)| alias.terra_user_id.as_str()),
                &column(keys, |(_, kind)| kind.label()),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(RhythmRow {
                alias: alias_key(row)?,
                kind: DataKind::parse(get(row, "kind")?).ok_or_else(|| strange("kind"))?,
                provider: get(row, "provider")?,
                rhythm: Rhythm {
                    first_at: get(row, "first_at")?,
                    last_at: get(row, "last_at")?,
                    longest: SignedDuration::from_millis(get(row, "longest_ms")?),
                    deliveries: count(row, "deliveries")?,
                },
            })
        })
        .collect()
}

const WRITE_RHYTHMS: &str = "
INSERT INTO cadence (environment, terra_user_id, kind, provider, first_at, last_at, longest_ms, deliveries, due_at)
SELECT environment, terra_user_id, kind, provider, first_at, last_at, longest_ms, deliveries, due_at
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::bigint[],
              $8::bigint[], $9::timestamptz[])
       AS learned (environment, terra_user_id, kind, provider, first_at, last_at, longest_ms, deliveries, due_at)
    ON CONFLICT (environment, terra_user_id, kind) DO UPDATE
   SET provider = excluded.provider, last_at = excluded.last_at, longest_ms = excluded.longest_ms,
       deliveries = excluded.deliveries, due_at = excluded.due_at";

pub(super) async fn write_rhythms(db: &Db, rows: &[RhythmRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    db.execute(
        WRITE_RHYTHMS,
        &[
            &column(rows, |row| row.alias.environment.as_str()),
            &column(rows, |row| row.alias.terra_user_id.as_str()),
            &column(rows, |row| row.kind.label()),
            &column(rows, |row| row.provider.as_str()),
            &column(rows, |row| row.rhythm.first_at),
            &column(rows, |row| row.rhythm.last_at),
            &column(rows, |row| millis(row.rhythm.longest)),
            &column(rows, |row| i64::try_from(row.rhythm.deliveries).unwrap_or(i64::MAX)),
            &column(rows, |row| row.rhythm.due_at()),
        ],
    )
    .await?;
    Ok(())
}

fn millis(time: SignedDuration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

const WATCH: &str = "SELECT since, checked_at FROM silence_watch";

const CHANNELS: &str = "
WITH heard AS (
    SELECT environment, provider, kind, max(last_at) AS last_at,
           count(*) FILTER (WHERE due_at IS NOT NULL AND last_at > $1) AS users
      FROM cadence
     WHERE provider <> ''
     GROUP BY environment, provider, kind
)
SELECT heard.environment, heard.provider, heard.kind, heard.last_at, heard.users, state.watched_since,
       state.checked_at, state.heard_at, state.longest_ms, state.silent_since, state.users AS users_before
  FROM heard
  LEFT JOIN provider_silence AS state
    ON state.environment = heard.environment AND state.provider = heard.provider AND state.kind = heard.kind";

/// What a provider's silence explains is left out, so that it does not hide the others.
const OVERDUE: &str = "
SELECT connection.id, connection.environment, connection.user_id, connection.terra_user_id, connection.provider,
       max(cadence.last_at) AS last_at,
       (extract(epoch FROM min(cadence.due_at - cadence.last_at)) * 1000)::bigint AS bound_ms
  FROM connection
  JOIN alias ON alias.connection_id = connection.id
  JOIN cadence ON cadence.environment = alias.environment AND cadence.terra_user_id = alias.terra_user_id
 WHERE connection.status IN ('active', 'degraded') AND connection.user_id IS NOT NULL
   AND connection.id IN (SELECT late_alias.connection_id
                           FROM cadence AS late
                           JOIN alias AS late_alias ON late_alias.environment = late.environment
                                                   AND late_alias.terra_user_id = late.terra_user_id
                          WHERE late.due_at <= $1)
   AND NOT EXISTS (SELECT FROM connection_silence WHERE connection_silence.connection_id = connection.id)
   AND NOT EXISTS (SELECT FROM provider_silence
                    WHERE provider_silence.environment = connection.environment
                      AND provider_silence.provider = connection.provider
                      AND provider_silence.silent_since IS NOT NULL)
 GROUP BY connection.id
HAVING max(cadence.last_at) + min(cadence.due_at - cadence.last_at) <= $1
 ORDER BY connection.id
 LIMIT $2";

const STALE: &str = "
SELECT was.connection_id AS id, was.environment, was.provider, was.last_at, was.bound_ms, connection.user_id,
       connection.status, coalesce(connection.terra_user_id, '') AS terra_user_id, max(cadence.last_at) AS heard_at
  FROM connection_silence AS was
  LEFT JOIN connection ON connection.id = was.connection_id
  LEFT JOIN alias ON alias.connection_id = connection.id
  LEFT JOIN cadence ON cadence.environment = alias.environment AND cadence.terra_user_id = alias.terra_user_id
 GROUP BY was.connection_id, connection.id
HAVING connection.id IS NULL OR connection.user_id IS NULL OR connection.status NOT IN ('active', 'degraded')
    OR max(cadence.last_at) > was.last_at";

pub(super) async fn seen(db: &Db, now: Timestamp) -> Result<Seen, StoreError> {
    let watch = db.row(WATCH, &[]).await?;
    let watch = watch
        .map(|row| Ok::<_, StoreError>(Watch { since: get(&row, "since")?, checked_at: get(&row, "checked_at")? }))
        .transpose()?;
    let since = now.checked_sub(USERS_WITHIN).unwrap_or(Timestamp::MIN);
    let channels = db.rows(CHANNELS, &[&since]).await?;
    let overdue = db.rows(OVERDUE, &[&now, &OVERDUE_MAX]).await?;
    let stale = db.rows(STALE, &[]).await?;
    Ok(Seen {
        watch,
        channels: channels.iter().map(channel).collect::<Result<_, _>>()?,
        overdue: overdue.iter().map(quiet).collect::<Result<_, _>>()?,
        stale: stale.iter().map(was_stale).collect::<Result<_, _>>()?,
    })
}

fn channel(row: &Row) -> Result<ChannelSeen, StoreError> {
    let channel = Channel { environment: environment(row)?, provider: get(row, "provider")?, kind: get(row, "kind")? };
    let silent = |users: Option<i64>, last_at: Option<Timestamp>| {
        Some(Silent { last_at: last_at?, users: u64::try_from(users.unwrap_or(0)).unwrap_or(0) })
    };
    let before = match get::<Option<Timestamp>>(row, "watched_since")? {
        None => None,
        Some(watched_since) => Some(ChannelState {
            channel: channel.clone(),
            watched_since,
            checked_at: get(row, "checked_at")?,
            heard_at: get(row, "heard_at")?,
            longest: SignedDuration::from_millis(get(row, "longest_ms")?),
            silent: silent(get(row, "users_before")?, get(row, "silent_since")?),
        }),
    };
    Ok(ChannelSeen { channel, users: count(row, "users")?, last_at: get(row, "last_at")?, before })
}

fn quiet(row: &Row) -> Result<Quiet, StoreError> {
    Ok(Quiet {
        connection: ConnectionId(get(row, "id")?),
        environment: environment(row)?,
        user: get::<Option<String>>(row, "user_id")?.map(UserId::new),
        terra_user_id: get(row, "terra_user_id")?,
        provider: get(row, "provider")?,
        last_at: get(row, "last_at")?,
        bound: SignedDuration::from_millis(get(row, "bound_ms")?),
    })
}

fn was_stale(row: &Row) -> Result<WasStale, StoreError> {
    let quiet = quiet(row)?;
    let status = get::<Option<&str>>(row, "status")?.and_then(Status::parse);
    let is_open = quiet.user.is_some() && matches!(status, Some(Status::Active | Status::Degraded));
    Ok(WasStale { quiet, heard_at: get(row, "heard_at")?, is_open })
}

const IS_HELD: &str = "SELECT FROM lease WHERE name = $1 AND holder = $2 FOR UPDATE";

const WRITE_WATCH: &str = "
INSERT INTO silence_watch (since, checked_at) VALUES ($1, $2)
    ON CONFLICT (only_row) DO UPDATE SET since = excluded.since, checked_at = excluded.checked_at";

const WRITE_CHANNELS: &str = "
INSERT INTO provider_silence (environment, provider, kind, watched_since, checked_at, heard_at, longest_ms,
                              silent_since, users)
SELECT environment, provider, kind, watched_since, checked_at, heard_at, longest_ms, silent_since, users
  FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
              $7::bigint[], $8::timestamptz[], $9::bigint[])
       AS judged (environment, provider, kind, watched_since, checked_at, heard_at, longest_ms, silent_since, users)
    ON CONFLICT (environment, provider, kind) DO UPDATE
   SET checked_at = excluded.checked_at, heard_at = excluded.heard_at, longest_ms = excluded.longest_ms, silent_since = excluded.silent_since,
       users = excluded.users";

const WRITE_STALE: &str = "
INSERT INTO connection_silence (connection_id, environment, provider, last_at, bound_ms, told_at)
SELECT connection_id, environment, provider, last_at, bound_ms, $6
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[])
       AS judged (connection_id, environment, provider, last_at, bound_ms)
 WHERE connection_id IN (SELECT id FROM connection)
    ON CONFLICT (connection_id) DO NOTHING";

const END_STALE: &str = "DELETE FROM connection_silence WHERE connection_id = ANY ($1)";

/// False where the lease was lost: then nothing is written.
pub(super) async fn keep(
    db: &mut Db,
    lease: Holder<'_>,
    judgement: &Judgement,
    now: Timestamp,
) -> Result<bool, StoreError> {
    identity::lock(db, false).await?;
    if db.row(IS_HELD, &[&lease.name, &lease.holder]).await?.is_none() {
        return Ok(false);
    }
    db.execute(WRITE_WATCH, &[&judgement.watch.since, &judgement.watch.checked_at]).await?;
    let channels = &judgement.channels;
    db.execute(
        WRITE_CHANNELS,
        &[
            &column(channels, |state| state.channel.environment.as_str()),
            &column(channels, |state| state.channel.provider.as_str()),
            &column(channels, |state| state.channel.kind.as_str()),
            &column(channels, |state| state.watched_since),
            &column(channels, |state| state.checked_at),
            &column(channels, |state| state.heard_at),
            &column(channels, |state| millis(state.longest)),
            &column(channels, |state| state.silent.map(|silent| silent.last_at)),
            &column(channels, |state| state.silent.map(|silent| i64::try_from(silent.users).unwrap_or(i64::MAX))),
        ],
    )
    .await?;
    let stale = &judgement.stale;
    db.execute(
        WRITE_STALE,
        &[
            &column(stale, |quiet| quiet.connection.0),
            &column(stale, |quiet| quiet.environment.as_str()),
            &column(stale, |quiet| quiet.provider.as_deref()),
            &column(stale, |quiet| quiet.last_at),
            &column(stale, |quiet| millis(quiet.bound)),
            &now,
        ],
    )
    .await?;
    db.execute(END_STALE, &[&column(&judgement.ended, |id| id.0)]).await?;
    let events = apply::erased::events_of_the_living(db, &judgement.events).await?;
    events::insert(db, &events).await?;
    Ok(true)
}

const SILENT: &str = "
SELECT environment, provider, kind, silent_since, coalesce(users, 0) AS users
  FROM provider_silence
 WHERE silent_since IS NOT NULL
 ORDER BY environment, provider, kind";

const STALE_COUNTS: &str = "
SELECT coalesce(provider, '') AS provider, count(*) AS connections FROM connection_silence GROUP BY 1 ORDER BY 1";

pub(super) async fn silences(db: &Db) -> Result<Silences, StoreError> {
    let silent = db.rows(SILENT, &[]).await?;
    let stale = db.rows(STALE_COUNTS, &[]).await?;
    Ok(Silences {
        providers: silent
            .iter()
            .map(|row| {
                let channel = Channel {
                    environment: environment(row)?,
                    provider: get(row, "provider")?,
                    kind: get(row, "kind")?,
                };
                Ok(SilentView { channel, since: get(row, "silent_since")?, users: count(row, "users")? })
            })
            .collect::<Result<_, StoreError>>()?,
        stale: stale
            .iter()
            .map(|row| Ok((get(row, "provider")?, count(row, "connections")?)))
            .collect::<Result<_, StoreError>>()?,
    })
}

const STALE_LIST: &str = "
SELECT was.connection_id, was.environment, was.provider, was.last_at, was.bound_ms, connection.user_id,
       connection.terra_user_id
  FROM connection_silence AS was
  JOIN connection ON connection.id = was.connection_id
 WHERE $1::uuid IS NULL OR was.connection_id > $1
 ORDER BY was.connection_id
 LIMIT $2";

pub(super) async fn stale(db: &Db, page: &Page) -> Result<Listing<StaleView>, StoreError> {
    let after: Option<Uuid> = cursor(page)?;
    let rows = db.rows(STALE_LIST, &[&after, &one_more(page)]).await?;
    let views = rows
        .iter()
        .map(|row| {
            Ok(StaleView {
                connection: ConnectionId(get(row, "connection_id")?),
                environment: environment(row)?,
                user: get::<Option<String>>(row, "user_id")?.map(UserId::new),
                terra_user_id: get(row, "terra_user_id")?,
                provider: get(row, "provider")?,
                last_data_at: get(row, "last_at")?,
                expected_within_seconds: get::<i64>(row, "bound_ms")? / 1_000,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Listing::of(views, page, |view| view.connection.to_string()))
}
