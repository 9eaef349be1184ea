//! The schema: what there is, and how it comes up to date.

use jiff::civil::Date;

use super::row::{get, small};
use super::unit::Db;
use super::{error, upkeep};
use crate::store::{Schema, StoreError, judge_schema};

mod embedded {
    refinery::embed_migrations!("../../migrations/postgres");
}

/// First key of the advisory lock of migrations; the second is made of the schema's name.
const LOCK_MIGRATIONS: i32 = 0x6c66_0002;

const IS_THERE: &str = "
SELECT to_regclass('refinery_schema_history') IS NOT NULL AND to_regclass('schema_level') IS NOT NULL AS there";

const LEVEL: &str = "
SELECT coalesce((SELECT max(version) FROM refinery_schema_history), 0) AS version,
       coalesce((SELECT readable_from FROM schema_level), 0) AS readable_from";

pub(super) async fn schema(db: &Db) -> Result<Schema, StoreError> {
    let there = db.row(IS_THERE, &[]).await?;
    if !there.is_some_and(|row| get(&row, "there").unwrap_or(false)) {
        return Ok(judge_schema(0, 0));
    }
    match db.row(LEVEL, &[]).await? {
        Some(row) => Ok(judge_schema(small(&row, "version")?, small(&row, "readable_from")?)),
        None => Ok(judge_schema(0, 0)),
    }
}

/// Works on a connection of its own, which is closed afterwards: the lock and the time limits belong to the session.
/// refinery itself takes no lock.
pub(super) async fn migrate(db: &mut Db, schema: &str) -> Result<Vec<u32>, StoreError> {
    db.command("SET statement_timeout = 0; SET lock_timeout = '2min'").await?;
    db.rows("SELECT pg_advisory_lock($1, hashtext($2))", &[&LOCK_MIGRATIONS, &schema]).await?;
    // Creating what exists needs a right that creating nothing does not.
    if db.row("SELECT FROM pg_namespace WHERE nspname = $1", &[&schema]).await?.is_none() {
        // The name was checked when the store was made: letters, digits and underscores.
        db.command(&format!("CREATE SCHEMA {schema}")).await?;
    }
    // A database that a newer binary has migrated is judged by `schema`, not refused here.
    let runner = embedded::migrations::runner().set_abort_missing(false);
    let report = runner.run_async(&mut **db.client).await.map_err(|cause| of_refinery(&cause))?;
    let applied =
        report.applied_migrations().iter().map(|migration| u32::try_from(migration.version()).unwrap_or(0)).collect();
    if let Some(row) = db.row("SELECT (now() AT TIME ZONE 'utc')::date AS today", &[]).await? {
        let today: Date = get(&row, "today")?;
        db.command("BEGIN").await?;
        upkeep::create_partitions(db, today).await?;
        db.command("COMMIT").await?;
    }
    Ok(applied)
}

fn of_refinery(cause: &refinery::Error) -> StoreError {
    let of_database =
        std::error::Error::source(cause).and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    match of_database {
        Some(cause) => error::of_postgres(cause),
        None => StoreError::Incompatible(cause.to_string()),
    }
}
