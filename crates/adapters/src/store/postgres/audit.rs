//! Who decided what.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::read::{cursor, one_more};
use super::row::{get, storable};
use super::unit::Db;
use crate::store::{Audit, AuditFilter, AuditView, Listing, Page, StoreError};

const WRITE: &str = "INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)";

pub(super) async fn write(db: &Db, entry: &Audit, now: Timestamp) -> Result<(), StoreError> {
    let detail = storable(entry.detail.clone());
    db.execute(WRITE, &[&now, &entry.actor, &entry.action, &entry.subject, &detail]).await?;
    Ok(())
}

pub(super) const FORGOTTEN_AT_ONCE: i64 = 5_000;

/// Looks at the oldest alone: entries are numbered in the order of their times, but for what a clock did that was wrong.
const FORGET: &str = "
DELETE FROM audit
 WHERE id = ANY (ARRAY(SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT $2) AS oldest WHERE at < $1))";

pub(super) async fn forget(db: &Db, end: Timestamp) -> Result<u64, StoreError> {
    db.execute(FORGET, &[&end, &FORGOTTEN_AT_ONCE]).await
}

const LIST: &str = "
SELECT id, at, actor, action, subject, detail
  FROM audit
 WHERE ($1::text IS NULL OR actor = $1)
   AND ($2::text IS NULL OR action = $2)
   AND ($3::text IS NULL OR subject = $3)
   AND ($4::bigint IS NULL OR id < $4)
 ORDER BY id DESC
 LIMIT $5";

/// Newest first.
pub(super) async fn list(db: &Db, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditView>, StoreError> {
    let before: Option<i64> = cursor(page)?;
    let rows = db.rows(LIST, &[&filter.actor, &filter.action, &filter.subject, &before, &one_more(page)]).await?;
    let views = rows.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Listing::of(views, page, |view| view.id.to_string()))
}

fn view(row: &Row) -> Result<AuditView, StoreError> {
    Ok(AuditView {
        id: get(row, "id")?,
        at: get(row, "at")?,
        actor: get(row, "actor")?,
        action: get(row, "action")?,
        subject: get(row, "subject")?,
        detail: get(row, "detail")?,
    })
}
