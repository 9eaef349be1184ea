//! What the server says of itself: whether commits survive, how many connections there are.

use domain::doctor::database::DatabaseFacts;
use jiff::Timestamp;

use super::row::{get, small};
use super::unit::Db;
use crate::store::StoreError;

const FACTS: &str = "
SELECT current_setting('server_version_num')::integer AS version,
       current_setting('fsync')::boolean AS fsync,
       current_setting('full_page_writes')::boolean AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('synchronous_standby_names') <> '' AS synchronous_standbys,
       (SELECT count(*) FROM pg_stat_replication)::integer AS standbys,
       pg_is_in_recovery() AS is_standby,
       current_setting('max_connections')::integer AS max_connections,
       current_setting('superuser_reserved_connections')::integer AS reserved,
       clock_timestamp() AS now";

/// `pool_max`: connections that one process of ours may hold.
pub(super) async fn read(db: &Db, pool_max: usize) -> Result<(DatabaseFacts, Timestamp), StoreError> {
    let row = db.row(FACTS, &[]).await?.ok_or_else(|| StoreError::Unavailable("it answered nothing".into()))?;
    let facts = DatabaseFacts {
        version: small(&row, "version")?,
        fsync: get(&row, "fsync")?,
        full_page_writes: get(&row, "full_page_writes")?,
        synchronous_commit: get(&row, "synchronous_commit")?,
        synchronous_standbys: get(&row, "synchronous_standbys")?,
        standbys: small(&row, "standbys")?,
        is_standby: get(&row, "is_standby")?,
        max_connections: small(&row, "max_connections")?,
        reserved: small(&row, "reserved")?,
        pool: u32::try_from(pool_max).unwrap_or(u32::MAX),
    };
    Ok((facts, get(&row, "now")?))
}

const CLOCK: &str = "SELECT clock_timestamp() AS now";

pub(super) async fn clock(db: &Db) -> Result<Option<Timestamp>, StoreError> {
    db.row(CLOCK, &[]).await?.map(|row| get(&row, "now")).transpose()
}
