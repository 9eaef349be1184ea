//! Pauses of fetching.

use domain::fetch::{FetchJob, PauseEffect, PauseScope, Streak, grown};
use domain::id::{AliasKey, Environment};
use jiff::Timestamp;

use super::identity;
use super::row::{get, integer, small};
use super::unit::Db;
use crate::store::{StoreError, apply};

const CLEAR: &str = "
DELETE FROM fetch_pause WHERE environment = $1 AND scope = $2 AND subject = $3 AND failures > 0";

pub(super) async fn apply(db: &Db, job: &FetchJob, effects: &[PauseEffect], now: Timestamp) -> Result<(), StoreError> {
    let environment = &job.alias.environment;
    for effect in effects {
        match effect {
            PauseEffect::Set { scope, until, reason } => {
                if let Some(subject) = scope.subject(job) {
                    set(db, environment, *scope, &subject, *until, reason).await?;
                }
            }
            PauseEffect::Grow { scope, at_least, reason } => {
                if let Some(subject) = scope.subject(job) {
                    grow(db, job, (*scope, &subject), *at_least, reason, now).await?;
                }
            }
            PauseEffect::Clear { scope } => {
                if let Some(subject) = scope.subject(job) {
                    db.execute(CLEAR, &[&environment.as_str(), &scope.label(), &subject]).await?;
                }
            }
        }
    }
    Ok(())
}

const SET: &str = "
INSERT INTO fetch_pause (environment, scope, subject, until, reason)
VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (environment, scope, subject)
    DO UPDATE SET until = excluded.until, reason = excluded.reason, failures = 0
 WHERE fetch_pause.until < excluded.until";

/// Outside of a job's own transaction: nothing rests of somebody who was erased meanwhile.
pub(super) async fn set_of_living(
    db: &mut Db,
    environment: &Environment,
    scope: PauseScope,
    subject: &str,
    until: Timestamp,
    reason: &str,
) -> Result<(), StoreError> {
    identity::lock(db, false).await?;
    let alias = AliasKey::new(environment, subject);
    if scope == PauseScope::Alias && !apply::erased::erased_aliases(db, [alias].into()).await?.is_empty() {
        return Ok(());
    }
    set(db, environment, scope, subject, until, reason).await
}

/// A later end stays.
pub(super) async fn set(
    db: &Db,
    environment: &Environment,
    scope: PauseScope,
    subject: &str,
    until: Timestamp,
    reason: &str,
) -> Result<(), StoreError> {
    db.execute(SET, &[&environment.as_str(), &scope.label(), &subject, &until, &reason]).await?;
    Ok(())
}

/// The row is made first, so that two failures at once count one after the other.
const BEGIN: &str = "
INSERT INTO fetch_pause (environment, scope, subject, until, reason)
VALUES ($1, $2, $3, 'epoch', $4)
    ON CONFLICT DO NOTHING";

const STREAK: &str = "
SELECT failures, last, until
  FROM fetch_pause
 WHERE environment = $1 AND scope = $2 AND subject = $3
   FOR UPDATE";

const KEEP: &str = "
UPDATE fetch_pause
   SET until = $4, reason = $5, failures = $6, last = $7
 WHERE environment = $1 AND scope = $2 AND subject = $3";

async fn grow(
    db: &Db,
    job: &FetchJob,
    (scope, subject): (PauseScope, &str),
    at_least: Option<Timestamp>,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (environment, scope_label) = (job.alias.environment.as_str(), scope.label());
    db.execute(BEGIN, &[&environment, &scope_label, &subject, &reason]).await?;
    let Some(row) = db.row(STREAK, &[&environment, &scope_label, &subject]).await? else { return Ok(()) };
    let streak = Streak { failures: small(&row, "failures")?, last: get(&row, "last")?, until: get(&row, "until")? };
    let after = grown(Some(&streak), scope, job.alias.terra_user_id.as_str(), at_least, now);
    let failures = integer(after.failures);
    db.execute(KEEP, &[&environment, &scope_label, &subject, &after.until, &reason, &failures, &after.last]).await?;
    Ok(())
}
