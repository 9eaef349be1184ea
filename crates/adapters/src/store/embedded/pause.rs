//! Pauses of fetching.

use domain::fetch::{FetchJob, PauseEffect, PauseScope, Streak, grown};
use domain::id::{AliasKey, Environment};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::column::{ms, time};
use super::tx::{SqliteTx, at_once};
use crate::store::StoreError;

pub(super) fn apply(
    connection: &Connection,
    job: &FetchJob,
    effects: &[PauseEffect],
    now: Timestamp,
) -> Result<(), StoreError> {
    const CLEAR: &str =
        "DELETE FROM fetch_pause WHERE environment = ?1 AND scope = ?2 AND subject = ?3 AND failures > 0";
    let environment = &job.alias.environment;
    for effect in effects {
        match effect {
            PauseEffect::Set { scope, until, reason } => {
                if let Some(subject) = scope.subject(job) {
                    set(connection, environment, *scope, &subject, *until, reason)?;
                }
            }
            PauseEffect::Grow { scope, at_least, reason } => {
                if let Some(subject) = scope.subject(job) {
                    grow(connection, job, (*scope, &subject), *at_least, reason, now)?;
                }
            }
            PauseEffect::Clear { scope } => {
                if let Some(subject) = scope.subject(job) {
                    let key = [environment.as_str(), scope.label(), &subject];
                    connection.prepare_cached(CLEAR)?.execute(key)?;
                }
            }
        }
    }
    Ok(())
}

/// Outside of a job's own transaction: nothing rests of somebody who was erased meanwhile.
pub(super) fn set_of_living(
    connection: &mut Connection,
    environment: &Environment,
    scope: PauseScope,
    subject: &str,
    until: Timestamp,
    reason: &str,
) -> Result<(), StoreError> {
    let alias = AliasKey::new(environment, subject);
    let erased = at_once(crate::store::apply::erased::erased_aliases(&mut SqliteTx { connection }, [alias].into()))?;
    if scope == PauseScope::Alias && !erased.is_empty() {
        return Ok(());
    }
    set(connection, environment, scope, subject, until, reason)
}

/// A later end stays.
pub(super) fn set(
    connection: &Connection,
    environment: &Environment,
    scope: PauseScope,
    subject: &str,
    until: Timestamp,
    reason: &str,
) -> Result<(), StoreError> {
    const SET: &str = "
        INSERT INTO fetch_pause (environment, scope, subject, until, reason) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (environment, scope, subject)
        DO UPDATE SET until = excluded.until, reason = excluded.reason, failures = 0
        WHERE fetch_pause.until < excluded.until";
    let row = params![environment.as_str(), scope.label(), subject, ms(until), reason];
    connection.prepare_cached(SET)?.execute(row)?;
    Ok(())
}

fn grow(
    connection: &Connection,
    job: &FetchJob,
    (scope, subject): (PauseScope, &str),
    at_least: Option<Timestamp>,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    const STREAK: &str =
        "SELECT failures, last, until FROM fetch_pause WHERE environment = ?1 AND scope = ?2 AND subject = ?3";
    const KEEP: &str = "
        INSERT INTO fetch_pause (environment, scope, subject, until, reason, failures, last)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (environment, scope, subject)
        DO UPDATE SET until = excluded.until, reason = excluded.reason, failures = excluded.failures,
                      last = excluded.last";
    let environment = job.alias.environment.as_str();
    let streak = connection
        .prepare_cached(STREAK)?
        .query_row([environment, scope.label(), subject], |row| {
            Ok(Streak { failures: row.get("failures")?, last: row.get("last")?, until: time(row, "until")? })
        })
        .optional()?;
    let after = grown(streak.as_ref(), scope, job.alias.terra_user_id.as_str(), at_least, now);
    let row = params![environment, scope.label(), subject, ms(after.until), reason, after.failures, after.last];
    connection.prepare_cached(KEEP)?.execute(row)?;
    Ok(())
}
