//! Backfills: wishes, what came of them, and when to look at them again.

use jiff::Timestamp;
use uuid::Uuid;

use super::unit::Db;
use crate::store::StoreError;

const TOUCH_OF_JOBS: &str = "
UPDATE backfill
   SET look_at = $2
  FROM (SELECT backfill.id
          FROM backfill
         WHERE backfill.id IN (SELECT backfill_id FROM backfill_fetch WHERE fetch_job_id = ANY ($1))
           AND backfill.state = 'open' AND backfill.look_at > $2
         ORDER BY backfill.id
           FOR UPDATE) AS touched
 WHERE backfill.id = touched.id";

/// Something of the backfills that lean on these jobs has changed: they are looked at soon.
pub(super) async fn touch_of_jobs(db: &Db, jobs: &[Uuid], now: Timestamp) -> Result<(), StoreError> {
    if !jobs.is_empty() {
        db.execute(TOUCH_OF_JOBS, &[&jobs, &now]).await?;
    }
    Ok(())
}
