//! Records: the greatest order per key stays.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::RecordId;
use domain::order::Order;
use domain::record::{Columns, Kept, RecordKey};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use terra::event::DataKind;
use terra::record::Activity;

use super::column::{json, json_text, ms};
use crate::store::StoreError;
use crate::store::tx::RecordWrite;

pub(super) fn kept(connection: &Connection, keys: &[RecordKey]) -> Result<BTreeMap<RecordKey, Kept>, StoreError> {
    const ACTIVITY: &str = "SELECT record_order, deleted, fingerprint FROM activity WHERE id = ?1";
    const DOCUMENT: &str = "SELECT record_order, deleted, fingerprint FROM document_record WHERE id = ?1";
    let mut activity = connection.prepare_cached(ACTIVITY)?;
    let mut document = connection.prepare_cached(DOCUMENT)?;
    let row = |row: &Row<'_>| {
        let order = Order::from_bytes(row.get("record_order")?);
        Ok(Kept { order, deleted: row.get("deleted")?, fingerprint: json(row, "fingerprint")? })
    };
    let mut kept = BTreeMap::new();
    for key in keys {
        let statement = if key.kind == DataKind::Activity { &mut activity } else { &mut document };
        if let Some(found) = statement.query_row([key.id().0.as_bytes()], row).optional()? {
            kept.insert(key.clone(), found);
        }
    }
    Ok(kept)
}

pub(super) fn write(connection: &Connection, writes: &[RecordWrite<'_>]) -> Result<BTreeSet<RecordId>, StoreError> {
    let mut written = BTreeSet::new();
    for write in writes {
        let id = write.record.key.id();
        let changed = match &write.record.columns {
            Columns::Activity(columns) => write_activity(connection, id, write, columns)?,
            Columns::Document { start_time, end_time } => {
                write_document(connection, id, write, start_time.as_deref(), end_time.as_deref())?
            }
        };
        if changed > 0 {
            written.insert(id);
        }
    }
    Ok(written)
}

/// A start time as an instant; without an offset nobody knows which.
fn instant(start_time: Option<&str>) -> Option<i64> {
    start_time?.parse::<Timestamp>().ok().map(ms)
}

fn write_document(
    connection: &Connection,
    id: RecordId,
    write: &RecordWrite<'_>,
    start_time: Option<&str>,
    end_time: Option<&str>,
) -> rusqlite::Result<usize> {
    const UPSERT: &str = "
        INSERT INTO document_record (id, environment, terra_user_id, kind, natural_key, record_order, order_inferred,
                                     deleted, start_at, start_time, end_time, fingerprint, document, updated_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
        ON CONFLICT (id) DO UPDATE SET
            record_order = excluded.record_order, order_inferred = excluded.order_inferred, deleted = excluded.deleted,
            start_at = excluded.start_at, start_time = excluded.start_time, end_time = excluded.end_time,
            fingerprint = excluded.fingerprint, document = excluded.document, updated_at = excluded.updated_at
        WHERE document_record.record_order < excluded.record_order";
    let record = write.record;
    connection.prepare_cached(UPSERT)?.execute(params![
        id.0.as_bytes(),
        record.key.alias.environment.as_str(),
        record.key.alias.terra_user_id.as_str(),
        record.key.kind.label(),
        record.key.natural,
        record.order.as_bytes(),
        record.order_inferred,
        record.deleted,
        instant(start_time),
        start_time,
        end_time,
        json_text(&record.fingerprint),
        write.document.0.as_ref(),
        ms(write.at),
    ])
}

fn write_activity(
    connection: &Connection,
    id: RecordId,
    write: &RecordWrite<'_>,
    columns: &Activity,
) -> rusqlite::Result<usize> {
    const UPSERT: &str = "
        INSERT INTO activity (
            id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at,
            start_time, end_time, fingerprint, document, updated_at, activity_type, name, upload_type,
            timestamp_localization, distance_meters, steps, floors_climbed, elevation_gain_meters,
            elevation_loss_meters, avg_hr_bpm, max_hr_bpm, min_hr_bpm, resting_hr_bpm, avg_hrv_rmssd, avg_hrv_sdnn,
            total_burned_calories, net_activity_calories, bmr_calories, energy_kilojoules, work_kilojoules,
            activity_seconds, inactivity_seconds, rest_seconds, low_intensity_seconds, moderate_intensity_seconds,
            vigorous_intensity_seconds, avg_speed_meters_per_second, max_speed_meters_per_second,
            avg_pace_minutes_per_kilometer, avg_cadence_rpm, max_cadence_rpm, avg_power_watts, max_power_watts,
            avg_saturation_percentage, vo2max_ml_per_min_per_kg, strain_level, strain_score, efficiency_score,
            rcrs_score, trimp_score, device_name, device_manufacturer)
        VALUES (
            ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
            ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37, ?38, ?39, ?40, ?41, ?42, ?43,
            ?44, ?45, ?46, ?47, ?48, ?49, ?50, ?51, ?52, ?53, ?54, ?55)
        ON CONFLICT (id) DO UPDATE SET
            record_order = excluded.record_order, order_inferred = excluded.order_inferred, deleted =
            excluded.deleted, start_at = excluded.start_at, start_time = excluded.start_time, end_time =
            excluded.end_time, fingerprint = excluded.fingerprint, document = excluded.document, updated_at =
            excluded.updated_at, activity_type = excluded.activity_type, name = excluded.name, upload_type =
            excluded.upload_type, timestamp_localization = excluded.timestamp_localization, distance_meters =
            excluded.distance_meters, steps = excluded.steps, floors_climbed = excluded.floors_climbed,
            elevation_gain_meters = excluded.elevation_gain_meters, elevation_loss_meters =
            excluded.elevation_loss_meters, avg_hr_bpm = excluded.avg_hr_bpm, max_hr_bpm = excluded.max_hr_bpm,
            min_hr_bpm = excluded.min_hr_bpm, resting_hr_bpm = excluded.resting_hr_bpm, avg_hrv_rmssd =
            excluded.avg_hrv_rmssd, avg_hrv_sdnn = excluded.avg_hrv_sdnn, total_burned_calories =
            excluded.total_burned_calories, net_activity_calories = excluded.net_activity_calories, bmr_calories =
            excluded.bmr_calories, energy_kilojoules = excluded.energy_kilojoules, work_kilojoules =
            excluded.work_kilojoules, activity_seconds = excluded.activity_seconds, inactivity_seconds =
            excluded.inactivity_seconds, rest_seconds = excluded.rest_seconds, low_intensity_seconds =
            excluded.low_intensity_seconds, moderate_intensity_seconds = excluded.moderate_intensity_seconds,
            vigorous_intensity_seconds = excluded.vigorous_intensity_seconds, avg_speed_meters_per_second =
            excluded.avg_speed_meters_per_second, max_speed_meters_per_second =
            excluded.max_speed_meters_per_second, avg_pace_minutes_per_kilometer =
            excluded.avg_pace_minutes_per_kilometer, avg_cadence_rpm = excluded.avg_cadence_rpm, max_cadence_rpm =
            excluded.max_cadence_rpm, avg_power_watts = excluded.avg_power_watts, max_power_watts =
            excluded.max_power_watts, avg_saturation_percentage = excluded.avg_saturation_percentage,
            vo2max_ml_per_min_per_kg = excluded.vo2max_ml_per_min_per_kg, strain_level = excluded.strain_level,
            strain_score = excluded.strain_score, efficiency_score = excluded.efficiency_score, rcrs_score =
            excluded.rcrs_score, trimp_score = excluded.trimp_score, device_name = excluded.device_name,
            device_manufacturer = excluded.device_manufacturer
        WHERE activity.record_order < excluded.record_order";
    let record = write.record;
    connection.prepare_cached(UPSERT)?.execute(params![
        id.0.as_bytes(),
        record.key.alias.environment.as_str(),
        record.key.alias.terra_user_id.as_str(),
        record.key.natural,
        record.order.as_bytes(),
        record.order_inferred,
        record.deleted,
        instant(columns.start_time.as_deref()),
        columns.start_time,
        columns.end_time,
        json_text(&record.fingerprint),
        write.document.0.as_ref(),
        ms(write.at),
        columns.activity_type,
        columns.name,
        columns.upload_type,
        columns.timestamp_localization,
        columns.distance_meters,
        columns.steps,
        columns.floors_climbed,
        columns.elevation_gain_meters,
        columns.elevation_loss_meters,
        columns.avg_hr_bpm,
        columns.max_hr_bpm,
        columns.min_hr_bpm,
        columns.resting_hr_bpm,
        columns.avg_hrv_rmssd,
        columns.avg_hrv_sdnn,
        columns.total_burned_calories,
        columns.net_activity_calories,
        columns.bmr_calories,
        columns.energy_kilojoules,
        columns.work_kilojoules,
        columns.activity_seconds,
        columns.inactivity_seconds,
        columns.rest_seconds,
        columns.low_intensity_seconds,
        columns.moderate_intensity_seconds,
        columns.vigorous_intensity_seconds,
        columns.avg_speed_meters_per_second,
        columns.max_speed_meters_per_second,
        columns.avg_pace_minutes_per_kilometer,
        columns.avg_cadence_rpm,
        columns.max_cadence_rpm,
        columns.avg_power_watts,
        columns.max_power_watts,
        columns.avg_saturation_percentage,
        columns.vo2max_ml_per_min_per_kg,
        columns.strain_level,
        columns.strain_score,
        columns.efficiency_score,
        columns.rcrs_score,
        columns.trimp_score,
        columns.device_name,
        columns.device_manufacturer,
    ])
}
