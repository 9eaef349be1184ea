//! Backfills: wishes, what came of them, and when to look at them again.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::column::ms;
use crate::store::StoreError;

/// Something of the backfills that lean on this job has changed: they are looked at soon.
pub(super) fn touch_of_job(connection: &Connection, job: Uuid, now: Timestamp) -> Result<(), StoreError> {
    const TOUCH: &str = "
        UPDATE backfill SET look_at = ?2
        WHERE id IN (SELECT backfill_id FROM backfill_fetch WHERE fetch_job_id = ?1) AND state = 'open' AND look_at > ?2";
    connection.prepare_cached(TOUCH)?.execute(params![job.as_bytes(), ms(now)])?;
    Ok(())
}
