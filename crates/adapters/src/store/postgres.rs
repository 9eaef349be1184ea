//! The store on PostgreSQL: any number of processes, one schema.
//!
//! Correctness leans on unique keys, row locks taken in ascending order and conditional updates under `READ COMMITTED`,
//! and on one advisory lock for identity; not on `SERIALIZABLE`. Statements stand in the files below, one per group of
//! tables; the order of steps of a batch is in `apply.rs`, the same for every engine.

use std::time::Duration;

use domain::doctor::database::DatabaseFacts;
use jiff::Timestamp;
use secrecy::SecretString;

use self::unit::Units;
use super::{ReferencePolicy, StoreError};

mod audit;
mod backfill;
mod backfill_read;
mod backfill_upkeep;
mod connect;
mod drift;
mod enqueue;
mod erase;
mod erase_rows;
mod error;
mod events;
mod facts;
mod fetch;
mod fetch_read;
mod history;
mod hosts;
mod identity;
mod ledger;
mod migrate;
mod pause;
mod payloads;
mod people;
mod processed;
mod quarantine;
mod read;
mod read_records;
mod reconcile;
mod record_sql;
mod records;
mod recover;
mod references;
mod replay;
mod retries;
mod row;
mod selection;
mod sessions;
mod silence;
mod tx;
mod unit;
mod upkeep;
mod usage;
mod why;

/// Waiting for other processes that migrate included.
const MIGRATE_MAX: Duration = Duration::from_secs(600);

pub struct PostgresSettings {
    /// A connection string of libpq's kind. `sslmode=require` verifies the certificate and its name.
    pub url: SecretString,
    pub schema: String,
    pub policy: ReferencePolicy,
    /// Connections this process may hold.
    pub pool_max: usize,
}

pub struct PostgresStore {
    units: Units,
    schema: String,
    policy: ReferencePolicy,
}

/// Runs statements that each stand for themselves.
macro_rules! single {
    ($store:expr, |$db:ident| $work:expr) => {
        $store.units.single(move |$db| Box::pin(async move { $work.await })).await
    };
}

/// Runs statements in one transaction, which is kept.
macro_rules! keep {
    ($store:expr, |$db:ident| $work:expr) => {
        $store.units.keep(move |$db| Box::pin(async move { $work.await })).await
    };
}

// Here, because it uses the macros above.
mod ports;

impl PostgresStore {
    /// Makes the store without asking the server: it may be away, and come later.
    ///
    /// - Errors: a setting that can never work; the text names it and holds no secret.
    pub fn connect(settings: PostgresSettings) -> Result<Self, StoreError> {
        let pool = connect::pool(&settings)?;
        Ok(PostgresStore { units: Units::new(pool), schema: settings.schema, policy: settings.policy })
    }

    /// What the server says of itself, and its time.
    pub async fn facts(&self, pool_max: usize) -> Result<(DatabaseFacts, Timestamp), StoreError> {
        single!(self, |db| facts::read(db, pool_max))
    }
}
