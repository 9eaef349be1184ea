//! Records as people read them: per connection and key the greatest order, whatever alias it came under.

use bytes::Bytes;
use domain::id::{ConnectionId, Environment, RecordId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use terra::event::DataKind;
use terra::record::Activity;
use uuid::Uuid;

use super::column::{ms, time, time_option, uuid, word};
use crate::payloads::Sealed;
use crate::store::{ActivityView, Listing, Page, RecordView, Span, StoreError};

/// The last row of the page before: rows go from the newest start to the oldest, then those without one, and by id
/// where starts are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    start_ms: Option<i64>,
    id: Uuid,
}

impl Cursor {
    /// - Shapes: `<milliseconds>:<uuid>`, or `null:<uuid>`.
    fn parse(text: &str) -> Result<Cursor, StoreError> {
        let (start, id) = text.split_once(':').ok_or(StoreError::BadCursor)?;
        let start_ms = if start == "null" { None } else { Some(start.parse().map_err(|_| StoreError::BadCursor)?) };
        Ok(Cursor { start_ms, id: id.parse().map_err(|_| StoreError::BadCursor)? })
    }

    fn of(record: &RecordView) -> String {
        let start = record.start_at.map_or_else(|| "null".to_owned(), |at| ms(at).to_string());
        format!("{start}:{}", record.id)
    }
}

/// What a page asks for, as parameters: the span, whether there is a cursor, the cursor, and one row more than fits.
struct Window {
    from: Option<i64>,
    to: Option<i64>,
    has_cursor: bool,
    start_ms: Option<i64>,
    id: Option<[u8; 16]>,
    limit: i64,
}

impl Window {
    fn new(span: Span, page: &Page) -> Result<Window, StoreError> {
        let cursor = page.after.as_deref().map(Cursor::parse).transpose()?;
        Ok(Window {
            from: span.from.map(ms),
            to: span.to.map(ms),
            has_cursor: cursor.is_some(),
            start_ms: cursor.and_then(|cursor| cursor.start_ms),
            id: cursor.map(|cursor| *cursor.id.as_bytes()),
            limit: i64::from(page.limit) + 1,
        })
    }
}

pub(super) fn activities(
    connection: &Connection,
    user: &UserId,
    span: Span,
    page: &Page,
) -> Result<Listing<ActivityView>, StoreError> {
    const PAGE: &str = "
        WITH placed AS (
            SELECT activity.id, activity.start_at, activity.deleted, alias.connection_id, alias.provider,
                   row_number() OVER (PARTITION BY alias.connection_id, activity.natural_key
                                      ORDER BY activity.record_order DESC, activity.id DESC) AS place
            FROM alias JOIN activity ON activity.environment = alias.environment
                                    AND activity.terra_user_id = alias.terra_user_id
            WHERE alias.user_id = ?1
        ), page AS (
            SELECT id, start_at, connection_id, provider FROM placed
            WHERE place = 1 AND deleted = 0
              AND (?2 IS NULL OR start_at >= ?2) AND (?3 IS NULL OR start_at < ?3)
              AND (NOT ?4 OR (start_at = ?5 AND id > ?6) OR start_at < ?5
                   OR (start_at IS NULL AND (?5 IS NOT NULL OR id > ?6)))
            ORDER BY start_at DESC NULLS LAST, id LIMIT ?7
        )
        SELECT 'activity' AS kind, activity.id, activity.natural_key, page.connection_id, activity.environment,
               activity.terra_user_id, page.provider, activity.start_time, activity.end_time, activity.deleted,
               activity.order_inferred, activity.updated_at, activity.start_at,
               activity.activity_type, activity.name, activity.upload_type, activity.timestamp_localization,
               activity.distance_meters, activity.steps, activity.floors_climbed, activity.elevation_gain_meters,
               activity.elevation_loss_meters, activity.avg_hr_bpm, activity.max_hr_bpm, activity.min_hr_bpm,
               activity.resting_hr_bpm, activity.avg_hrv_rmssd, activity.avg_hrv_sdnn,
               activity.total_burned_calories, activity.net_activity_calories, activity.bmr_calories,
               activity.energy_kilojoules, activity.work_kilojoules, activity.activity_seconds,
               activity.inactivity_seconds, activity.rest_seconds, activity.low_intensity_seconds,
               activity.moderate_intensity_seconds, activity.vigorous_intensity_seconds,
               activity.avg_speed_meters_per_second, activity.max_speed_meters_per_second,
               activity.avg_pace_minutes_per_kilometer, activity.avg_cadence_rpm, activity.max_cadence_rpm,
               activity.avg_power_watts, activity.max_power_watts, activity.avg_saturation_percentage,
               activity.vo2max_ml_per_min_per_kg, activity.strain_level, activity.strain_score,
               activity.efficiency_score, activity.rcrs_score, activity.trimp_score, activity.device_name,
               activity.device_manufacturer
        FROM page JOIN activity ON activity.id = page.id
        ORDER BY page.start_at DESC NULLS LAST, page.id";
    let window = Window::new(span, page)?;
    let mut statement = connection.prepare_cached(PAGE)?;
    let parameters =
        params![user.as_str(), window.from, window.to, window.has_cursor, window.start_ms, window.id, window.limit];
    let rows = statement
        .query_map(parameters, |row| Ok(ActivityView { record: record_row(row)?, columns: activity(row)? }))?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, |view| Cursor::of(&view.record)))
}

/// Records of any kind, without what is particular to it.
pub(super) fn records(
    connection: &Connection,
    user: &UserId,
    kind: DataKind,
    span: Span,
    page: &Page,
) -> Result<Listing<RecordView>, StoreError> {
    const PAGE: &str = "
        WITH placed AS (
            SELECT document_record.id, document_record.start_at, document_record.deleted, alias.connection_id,
                   alias.provider,
                   row_number() OVER (PARTITION BY alias.connection_id, document_record.natural_key
                                      ORDER BY document_record.record_order DESC, document_record.id DESC) AS place
            FROM alias JOIN document_record ON document_record.environment = alias.environment
                                           AND document_record.terra_user_id = alias.terra_user_id
            WHERE alias.user_id = ?1 AND document_record.kind = ?8
        ), page AS (
            SELECT id, start_at, connection_id, provider FROM placed
            WHERE place = 1 AND deleted = 0
              AND (?2 IS NULL OR start_at >= ?2) AND (?3 IS NULL OR start_at < ?3)
              AND (NOT ?4 OR (start_at = ?5 AND id > ?6) OR start_at < ?5
                   OR (start_at IS NULL AND (?5 IS NOT NULL OR id > ?6)))
            ORDER BY start_at DESC NULLS LAST, id LIMIT ?7
        )
        SELECT record.kind, record.id, record.natural_key, page.connection_id, record.environment,
               record.terra_user_id, page.provider, record.start_time, record.end_time, record.deleted,
               record.order_inferred, record.updated_at, record.start_at
        FROM page JOIN document_record AS record ON record.id = page.id
        ORDER BY page.start_at DESC NULLS LAST, page.id";
    if kind == DataKind::Activity {
        let activities = activities(connection, user, span, page)?;
        let items = activities.items.into_iter().map(|view| view.record).collect();
        return Ok(Listing { items, next: activities.next });
    }
    let window = Window::new(span, page)?;
    let mut statement = connection.prepare_cached(PAGE)?;
    let parameters = params![
        user.as_str(),
        window.from,
        window.to,
        window.has_cursor,
        window.start_ms,
        window.id,
        window.limit,
        kind.label()
    ];
    let rows = statement.query_map(parameters, record_row)?;
    Ok(Listing::of(rows.collect::<rusqlite::Result<_>>()?, page, Cursor::of))
}

pub(super) fn record(connection: &Connection, id: RecordId) -> Result<Option<RecordView>, StoreError> {
    const RECORD: &str = "
        SELECT 'activity' AS kind, record.id, record.natural_key, alias.connection_id, record.environment,
               record.terra_user_id, alias.provider, record.start_time, record.end_time, record.deleted,
               record.order_inferred, record.updated_at, record.start_at
        FROM activity AS record JOIN alias ON alias.environment = record.environment
                                          AND alias.terra_user_id = record.terra_user_id
        WHERE record.id = ?1
        UNION ALL
        SELECT record.kind, record.id, record.natural_key, alias.connection_id, record.environment,
               record.terra_user_id, alias.provider, record.start_time, record.end_time, record.deleted,
               record.order_inferred, record.updated_at, record.start_at
        FROM document_record AS record JOIN alias ON alias.environment = record.environment
                                                 AND alias.terra_user_id = record.terra_user_id
        WHERE record.id = ?1";
    Ok(connection.prepare_cached(RECORD)?.query_row([id.0.as_bytes()], record_row).optional()?)
}

pub(super) fn document(connection: &Connection, id: RecordId) -> Result<Option<Sealed>, StoreError> {
    const DOCUMENT: &str = "
        SELECT document FROM activity WHERE id = ?1
        UNION ALL
        SELECT document FROM document_record WHERE id = ?1";
    let mut statement = connection.prepare_cached(DOCUMENT)?;
    let found: Option<Vec<u8>> = statement.query_row([id.0.as_bytes()], |row| row.get(0)).optional()?;
    Ok(found.map(|document| Sealed(Bytes::from(document))))
}

fn record_row(row: &Row<'_>) -> rusqlite::Result<RecordView> {
    Ok(RecordView {
        id: RecordId(uuid(row, "id")?),
        kind: word(row, "kind", DataKind::parse)?.label(),
        key: row.get("natural_key")?,
        connection: ConnectionId(uuid(row, "connection_id")?),
        environment: Environment::new(row.get::<_, String>("environment")?),
        terra_user_id: row.get("terra_user_id")?,
        provider: row.get("provider")?,
        start_time: row.get("start_time")?,
        end_time: row.get("end_time")?,
        deleted: row.get("deleted")?,
        order_inferred: row.get("order_inferred")?,
        updated_at: time(row, "updated_at")?,
        start_at: time_option(row, "start_at")?,
    })
}

/// The columns; key and times are those of the record beside them, under the names that Terra gives them.
fn activity(row: &Row<'_>) -> rusqlite::Result<Activity> {
    Ok(Activity {
        summary_id: row.get("natural_key")?,
        start_time: row.get("start_time")?,
        end_time: row.get("end_time")?,
        activity_type: row.get("activity_type")?,
        name: row.get("name")?,
        upload_type: row.get("upload_type")?,
        timestamp_localization: row.get("timestamp_localization")?,
        distance_meters: row.get("distance_meters")?,
        steps: row.get("steps")?,
        floors_climbed: row.get("floors_climbed")?,
        elevation_gain_meters: row.get("elevation_gain_meters")?,
        elevation_loss_meters: row.get("elevation_loss_meters")?,
        avg_hr_bpm: row.get("avg_hr_bpm")?,
        max_hr_bpm: row.get("max_hr_bpm")?,
        min_hr_bpm: row.get("min_hr_bpm")?,
        resting_hr_bpm: row.get("resting_hr_bpm")?,
        avg_hrv_rmssd: row.get("avg_hrv_rmssd")?,
        avg_hrv_sdnn: row.get("avg_hrv_sdnn")?,
        total_burned_calories: row.get("total_burned_calories")?,
        net_activity_calories: row.get("net_activity_calories")?,
        bmr_calories: row.get("bmr_calories")?,
        energy_kilojoules: row.get("energy_kilojoules")?,
        work_kilojoules: row.get("work_kilojoules")?,
        activity_seconds: row.get("activity_seconds")?,
        inactivity_seconds: row.get("inactivity_seconds")?,
        rest_seconds: row.get("rest_seconds")?,
        low_intensity_seconds: row.get("low_intensity_seconds")?,
        moderate_intensity_seconds: row.get("moderate_intensity_seconds")?,
        vigorous_intensity_seconds: row.get("vigorous_intensity_seconds")?,
        avg_speed_meters_per_second: row.get("avg_speed_meters_per_second")?,
        max_speed_meters_per_second: row.get("max_speed_meters_per_second")?,
        avg_pace_minutes_per_kilometer: row.get("avg_pace_minutes_per_kilometer")?,
        avg_cadence_rpm: row.get("avg_cadence_rpm")?,
        max_cadence_rpm: row.get("max_cadence_rpm")?,
        avg_power_watts: row.get("avg_power_watts")?,
        max_power_watts: row.get("max_power_watts")?,
        avg_saturation_percentage: row.get("avg_saturation_percentage")?,
        vo2max_ml_per_min_per_kg: row.get("vo2max_ml_per_min_per_kg")?,
        strain_level: row.get("strain_level")?,
        strain_score: row.get("strain_score")?,
        efficiency_score: row.get("efficiency_score")?,
        rcrs_score: row.get("rcrs_score")?,
        trimp_score: row.get("trimp_score")?,
        device_name: row.get("device_name")?,
        device_manufacturer: row.get("device_manufacturer")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Cursor>) {
        assert_eq!(Cursor::parse(text).ok(), expected, "{text}");
    }

    #[test]
    fn a_cursor_is_a_start_and_an_id() {
        let id = Uuid::from_u128(7);
        check(&format!("-12:{id}"), Some(Cursor { start_ms: Some(-12), id }));
        check(&format!("null:{id}"), Some(Cursor { start_ms: None, id }));
        check("", None);
        check("12", None);
        check("12:x", None);
        check(&format!("x:{id}"), None);
    }
}
