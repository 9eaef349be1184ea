//! What payloads held that Terra's schema does not have.

use domain::plan::Sighting;
use tokio_postgres::Row;

use super::row::{column, count as number, environment, get};
use super::unit::Db;
use crate::store::{DriftCount, DriftFilter, DriftView, StoreError};

const COUNT: &str = "
INSERT INTO drift (environment, kind, provider, path, found, seen, first_seen, last_seen)
SELECT environment, kind, provider, path, found, seen, first_seen, last_seen
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[],
              $8::timestamptz[])
       AS sighted (environment, kind, provider, path, found, seen, first_seen, last_seen)
 ORDER BY environment, kind, provider, path, found
    ON CONFLICT (environment, kind, provider, path, found) DO UPDATE
   SET seen = drift.seen + excluded.seen, first_seen = least(drift.first_seen, excluded.first_seen),
       last_seen = greatest(drift.last_seen, excluded.last_seen)";

pub(super) async fn count(db: &Db, counts: &[DriftCount]) -> Result<(), StoreError> {
    let of = |pick: fn(&Sighting) -> &str| column(counts, move |count| pick(&count.sighting));
    db.execute(
        COUNT,
        &[
            &column(counts, |count| count.environment.as_str()),
            &of(|sighting| &sighting.kind),
            &of(|sighting| sighting.provider.as_deref().unwrap_or_default()),
            &of(|sighting| &sighting.path),
            &of(|sighting| &sighting.found),
            &column(counts, |count| i64::try_from(count.seen).unwrap_or(i64::MAX)),
            &column(counts, |count| count.first_seen),
            &column(counts, |count| count.last_seen),
        ],
    )
    .await?;
    Ok(())
}

const LIST: &str = "
SELECT environment, kind, provider, path, found, seen, first_seen, last_seen
  FROM drift
 WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR provider = $2)
 ORDER BY first_seen DESC, kind, provider, path, found
 LIMIT 1000";

pub(super) async fn list(db: &Db, filter: &DriftFilter) -> Result<Vec<DriftView>, StoreError> {
    db.rows(LIST, &[&filter.kind, &filter.provider]).await?.iter().map(view).collect()
}

fn view(row: &Row) -> Result<DriftView, StoreError> {
    Ok(DriftView {
        environment: environment(row)?,
        kind: get(row, "kind")?,
        provider: Some(get::<String>(row, "provider")?).filter(|provider| !provider.is_empty()),
        path: get(row, "path")?,
        found: get(row, "found")?,
        seen: number(row, "seen")?,
        first_seen: get(row, "first_seen")?,
        last_seen: get(row, "last_seen")?,
    })
}
