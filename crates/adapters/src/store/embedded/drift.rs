//! What payloads held that Terra's schema does not have.

use domain::id::Environment;
use rusqlite::{Connection, Row, params};

use super::column::{count as number, ms, time};
use crate::store::{DriftCount, DriftFilter, DriftView, StoreError};

pub(super) fn count(connection: &Connection, counts: &[DriftCount]) -> Result<(), StoreError> {
    const COUNT: &str = "
        INSERT INTO drift (environment, kind, provider, path, found, seen, first_seen, last_seen)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (environment, kind, provider, path, found) DO UPDATE SET
            seen = seen + excluded.seen, first_seen = min(first_seen, excluded.first_seen),
            last_seen = max(last_seen, excluded.last_seen)";
    let mut statement = connection.prepare_cached(COUNT)?;
    for count in counts {
        let sighting = &count.sighting;
        statement.execute(params![
            count.environment.as_str(),
            sighting.kind,
            sighting.provider.as_deref().unwrap_or_default(),
            sighting.path,
            sighting.found,
            i64::try_from(count.seen).unwrap_or(i64::MAX),
            ms(count.first_seen),
            ms(count.last_seen),
        ])?;
    }
    Ok(())
}

pub(super) fn list(connection: &Connection, filter: &DriftFilter) -> Result<Vec<DriftView>, StoreError> {
    const LIST: &str = "
        SELECT environment, kind, provider, path, found, seen, first_seen, last_seen FROM drift
        WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR provider = ?2)
        ORDER BY first_seen DESC, kind, provider, path, found LIMIT 1000";
    let mut statement = connection.prepare_cached(LIST)?;
    let rows = statement.query_map(params![filter.kind, filter.provider], view)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn view(row: &Row<'_>) -> rusqlite::Result<DriftView> {
    Ok(DriftView {
        environment: Environment::new(row.get::<_, String>("environment")?),
        kind: row.get("kind")?,
        provider: Some(row.get::<_, String>("provider")?).filter(|provider| !provider.is_empty()),
        path: row.get("path")?,
        found: row.get("found")?,
        seen: number(row, "seen")?,
        first_seen: time(row, "first_seen")?,
        last_seen: time(row, "last_seen")?,
    })
}
