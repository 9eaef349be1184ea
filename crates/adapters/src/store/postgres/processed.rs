//! Which deliveries took effect: the table `processed`.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::Environment;

use super::row::{column, digest, environment, environments, get};
use super::unit::Db;
use crate::store::StoreError;
use crate::store::tx::ProcessedRow;

/// Two transactions that claim the same keys meet in the same order, so neither waits for the other in a circle. The
/// second one waits here until the first has ended, and then finds out.
const CLAIM: &str = r#"
INSERT INTO processed (environment, dedupe_key, body_digest, signed_digest, delivery_id, processed_at)
SELECT environment, dedupe_key, body_digest, signed_digest, delivery_id, processed_at
  FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::uuid[], $6::timestamptz[])
       AS claimed (environment, dedupe_key, body_digest, signed_digest, delivery_id, processed_at)
 ORDER BY environment COLLATE "C", dedupe_key COLLATE "C"
    ON CONFLICT (environment, dedupe_key) DO NOTHING
RETURNING environment, dedupe_key"#;

pub(super) async fn claim(db: &Db, rows: &[ProcessedRow]) -> Result<BTreeSet<(Environment, String)>, StoreError> {
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let new = db
        .rows(
            CLAIM,
            &[
                &column(rows, |row| row.environment.as_str()),
                &column(rows, |row| row.key.as_str()),
                &column(rows, |row| row.body_digest.as_slice()),
                &column(rows, |row| row.signed_digest.as_slice()),
                &column(rows, |row| row.delivery.0),
                &column(rows, |row| row.processed_at),
            ],
        )
        .await?;
    new.iter().map(|row| Ok((environment(row)?, get(row, "dedupe_key")?))).collect()
}

const CLAIMED: &str = "
SELECT processed.environment, processed.dedupe_key, processed.body_digest
  FROM unnest($1::text[], $2::text[]) AS asked (environment, dedupe_key)
  JOIN processed ON processed.environment = asked.environment AND processed.dedupe_key = asked.dedupe_key";

pub(super) async fn claimed(
    db: &Db,
    keys: &[(Environment, String)],
) -> Result<BTreeMap<(Environment, String), [u8; 32]>, StoreError> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found = db.rows(CLAIMED, &[&environments(keys), &column(keys, |(_, key)| key.as_str())]).await?;
    found.iter().map(|row| Ok(((environment(row)?, get(row, "dedupe_key")?), digest(row, "body_digest")?))).collect()
}

const SIGNED_SEEN: &str = "
SELECT DISTINCT asked.environment, asked.signed_digest
  FROM unnest($1::text[], $2::bytea[]) AS asked (environment, signed_digest)
  JOIN processed ON processed.signed_digest = asked.signed_digest AND processed.environment = asked.environment";

pub(super) async fn signed_seen(
    db: &Db,
    digests: &[(Environment, [u8; 32])],
) -> Result<BTreeSet<(Environment, [u8; 32])>, StoreError> {
    if digests.is_empty() {
        return Ok(BTreeSet::new());
    }
    let seen =
        db.rows(SIGNED_SEEN, &[&environments(digests), &column(digests, |(_, digest)| digest.as_slice())]).await?;
    seen.iter().map(|row| Ok((environment(row)?, digest(row, "signed_digest")?))).collect()
}
