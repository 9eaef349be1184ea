//! References, what resolvers said of them, and those that still wait for an answer.

use std::collections::BTreeMap;

use domain::id::{AliasKey, Environment, ReferenceId, UserId};
use domain::identity::Resolution;
use jiff::Timestamp;

use super::row::{alias_key, column, environment, environments, get, small};
use super::unit::Db;
use crate::store::{OpenReference, StoreError};

const OPEN_REFERENCES: &str = r#"
INSERT INTO resolution (environment, reference_id, run_at)
SELECT environment, reference_id, $3
  FROM unnest($1::text[], $2::text[]) AS asked (environment, reference_id)
 ORDER BY environment COLLATE "C", reference_id COLLATE "C"
    ON CONFLICT (environment, reference_id) DO NOTHING"#;

const RESOLUTIONS: &str = "
SELECT resolution.environment, resolution.reference_id, resolution.user_id
  FROM unnest($1::text[], $2::text[]) AS asked (environment, reference_id)
  JOIN resolution ON resolution.environment = asked.environment AND resolution.reference_id = asked.reference_id";

pub(super) async fn resolutions(
    db: &Db,
    references: &[(Environment, ReferenceId)],
    at: Timestamp,
) -> Result<BTreeMap<(Environment, ReferenceId), Resolution>, StoreError> {
    if references.is_empty() {
        return Ok(BTreeMap::new());
    }
    let environments = environments(references);
    let names = column(references, |(_, reference)| reference.as_str());
    db.execute(OPEN_REFERENCES, &[&environments, &names, &at]).await?;
    let answers = db.rows(RESOLUTIONS, &[&environments, &names]).await?;
    answers
        .iter()
        .map(|row| {
            let answer = match get::<Option<String>>(row, "user_id")? {
                Some(user) => Resolution::Found(UserId::new(user)),
                None => Resolution::Open,
            };
            Ok(((environment(row)?, ReferenceId::new(get::<String>(row, "reference_id")?)), answer))
        })
        .collect()
}

const OF_REFERENCES: &str = "
SELECT alias.environment, alias.terra_user_id
  FROM unnest($1::text[], $2::text[]) AS asked (environment, reference_id)
  JOIN alias ON alias.environment = asked.environment AND alias.reference_id = asked.reference_id";

pub(super) async fn aliases_of(
    db: &Db,
    references: &[(Environment, ReferenceId)],
) -> Result<Vec<AliasKey>, StoreError> {
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let names = column(references, |(_, reference)| reference.as_str());
    db.rows(OF_REFERENCES, &[&environments(references), &names]).await?.iter().map(alias_key).collect()
}

const LEASE: &str = r#"
WITH due AS (
    SELECT environment, reference_id
      FROM resolution
     WHERE user_id IS NULL AND run_at <= $1 AND (locked_until IS NULL OR locked_until <= $1)
     ORDER BY run_at
     LIMIT $3
       FOR UPDATE SKIP LOCKED
)
UPDATE resolution SET locked_until = $2
  FROM due
 WHERE resolution.environment = due.environment AND resolution.reference_id = due.reference_id
RETURNING resolution.environment, resolution.reference_id, resolution.attempts"#;

pub(super) async fn lease(
    db: &Db,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<OpenReference>, StoreError> {
    let leased = db.rows(LEASE, &[&now, &until, &i64::from(limit)]).await?;
    leased
        .iter()
        .map(|row| {
            let reference = ReferenceId::new(get::<String>(row, "reference_id")?);
            Ok(OpenReference { environment: environment(row)?, reference, attempts: small(row, "attempts")? })
        })
        .collect()
}
