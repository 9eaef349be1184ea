//! Deleting what fetching has left behind long ago.

use jiff::{SignedDuration, Timestamp};

use super::unit::Units;
use super::upkeep::delete_old;
use crate::store::StoreError;
use crate::store::fetching::{KEEP_ACCOUNTS, KEEP_SPENDS};

const BACKFILLS: &str = "
WITH old AS (
    DELETE FROM backfill
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM backfill WHERE settled_at < $1 LIMIT $2))
    RETURNING id
)
DELETE FROM backfill_fetch WHERE backfill_id IN (SELECT id FROM old)";

const JOBS: &str = "
DELETE FROM fetch_job
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM fetch_job WHERE state <> 'queued' AND updated_at < $1 LIMIT $2))";

const CHUNKS: &str = "
DELETE FROM fetch_chunk
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM fetch_chunk WHERE received_at < $1 LIMIT $2))";

const REQUESTS: &str = "
DELETE FROM fetch_request
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM fetch_request WHERE announced_at < $1 LIMIT $2))";

const SPENDS: &str = "
DELETE FROM fetch_spend
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM fetch_spend WHERE spent_at < $1 LIMIT $2))";

const PAUSES: &str = "
DELETE FROM fetch_pause
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM fetch_pause WHERE until < $1 LIMIT $2))";

pub(super) async fn run(units: &Units, now: Timestamp) -> Result<(), StoreError> {
    let before = |age: SignedDuration| now.checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
    for (sql, age) in [
        (BACKFILLS, KEEP_ACCOUNTS),
        (JOBS, KEEP_ACCOUNTS),
        (CHUNKS, KEEP_ACCOUNTS),
        (REQUESTS, KEEP_ACCOUNTS),
        (SPENDS, KEEP_SPENDS),
        (PAUSES, KEEP_SPENDS),
    ] {
        delete_old(units, sql, before(age)).await?;
    }
    Ok(())
}
