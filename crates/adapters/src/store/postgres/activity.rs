//! The table `activity`: one typed column per leaf of Terra's object.

use jiff::Timestamp;
use terra::record::Activity;
use tokio_postgres::Row;

use super::records::Written;
use super::row::{column, get};
use super::unit::Db;
use crate::store::StoreError;

/// `xmax` is 0 in a row that is new, and names the writer in a row that was there.
const WRITE: &str = "
INSERT INTO activity (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time,
                      fingerprint, document, updated_at, activity_type, name, upload_type, timestamp_localization,
                      distance_meters, steps, floors_climbed, elevation_gain_meters, elevation_loss_meters,
                      avg_hr_bpm, max_hr_bpm, min_hr_bpm, resting_hr_bpm, avg_hrv_rmssd, avg_hrv_sdnn,
                      total_burned_calories, net_activity_calories, bmr_calories, energy_kilojoules, work_kilojoules,
                      activity_seconds, inactivity_seconds, rest_seconds, low_intensity_seconds,
                      moderate_intensity_seconds, vigorous_intensity_seconds, avg_speed_meters_per_second,
                      max_speed_meters_per_second, avg_pace_minutes_per_kilometer, avg_cadence_rpm, max_cadence_rpm,
                      avg_power_watts, max_power_watts, avg_saturation_percentage, vo2max_ml_per_min_per_kg,
                      strain_level, strain_score, efficiency_score, rcrs_score, trimp_score, device_name,
                      device_manufacturer)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time,
       fingerprint, document, updated_at, activity_type, name, upload_type, timestamp_localization, distance_meters,
       steps, floors_climbed, elevation_gain_meters, elevation_loss_meters, avg_hr_bpm, max_hr_bpm, min_hr_bpm,
       resting_hr_bpm, avg_hrv_rmssd, avg_hrv_sdnn, total_burned_calories, net_activity_calories, bmr_calories,
       energy_kilojoules, work_kilojoules, activity_seconds, inactivity_seconds, rest_seconds, low_intensity_seconds,
       moderate_intensity_seconds, vigorous_intensity_seconds, avg_speed_meters_per_second,
       max_speed_meters_per_second, avg_pace_minutes_per_kilometer, avg_cadence_rpm, max_cadence_rpm, avg_power_watts,
       max_power_watts, avg_saturation_percentage, vo2max_ml_per_min_per_kg, strain_level, strain_score,
       efficiency_score, rcrs_score, trimp_score, device_name, device_manufacturer
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::boolean[], $7::boolean[], $8::timestamptz[],
              $9::text[], $10::text[], $11::json[], $12::bytea[], $13::timestamptz[], $14::bigint[], $15::text[],
              $16::bigint[], $17::bigint[], $18::float8[], $19::bigint[], $20::bigint[], $21::float8[], $22::float8[],
              $23::float8[], $24::float8[], $25::float8[], $26::float8[], $27::float8[], $28::float8[], $29::float8[],
              $30::float8[], $31::float8[], $32::float8[], $33::float8[], $34::float8[], $35::float8[], $36::float8[],
              $37::float8[], $38::float8[], $39::float8[], $40::float8[], $41::float8[], $42::float8[], $43::float8[],
              $44::float8[], $45::float8[], $46::float8[], $47::float8[], $48::float8[], $49::float8[], $50::float8[],
              $51::float8[], $52::float8[], $53::float8[], $54::text[], $55::text[])
       AS written (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time,
                fingerprint, document, updated_at, activity_type, name, upload_type, timestamp_localization,
                distance_meters, steps, floors_climbed, elevation_gain_meters, elevation_loss_meters, avg_hr_bpm,
                max_hr_bpm, min_hr_bpm, resting_hr_bpm, avg_hrv_rmssd, avg_hrv_sdnn, total_burned_calories,
                net_activity_calories, bmr_calories, energy_kilojoules, work_kilojoules, activity_seconds,
                inactivity_seconds, rest_seconds, low_intensity_seconds, moderate_intensity_seconds,
                vigorous_intensity_seconds, avg_speed_meters_per_second, max_speed_meters_per_second,
                avg_pace_minutes_per_kilometer, avg_cadence_rpm, max_cadence_rpm, avg_power_watts, max_power_watts,
                avg_saturation_percentage, vo2max_ml_per_min_per_kg, strain_level, strain_score, efficiency_score,
                rcrs_score, trimp_score, device_name, device_manufacturer)
 ORDER BY id
    ON CONFLICT (id) DO UPDATE
   SET record_order = excluded.record_order, order_inferred = excluded.order_inferred, deleted = excluded.deleted, start_at =
       excluded.start_at, start_time = excluded.start_time, end_time = excluded.end_time, fingerprint =
       excluded.fingerprint, document = excluded.document, updated_at = excluded.updated_at, activity_type =
       excluded.activity_type, name = excluded.name, upload_type = excluded.upload_type, timestamp_localization =
       excluded.timestamp_localization, distance_meters = excluded.distance_meters, steps = excluded.steps,
       floors_climbed = excluded.floors_climbed, elevation_gain_meters = excluded.elevation_gain_meters,
       elevation_loss_meters = excluded.elevation_loss_meters, avg_hr_bpm = excluded.avg_hr_bpm, max_hr_bpm =
       excluded.max_hr_bpm, min_hr_bpm = excluded.min_hr_bpm, resting_hr_bpm = excluded.resting_hr_bpm, avg_hrv_rmssd
       = excluded.avg_hrv_rmssd, avg_hrv_sdnn = excluded.avg_hrv_sdnn, total_burned_calories =
       excluded.total_burned_calories, net_activity_calories = excluded.net_activity_calories, bmr_calories =
       excluded.bmr_calories, energy_kilojoules = excluded.energy_kilojoules, work_kilojoules =
       excluded.work_kilojoules, activity_seconds = excluded.activity_seconds, inactivity_seconds =
       excluded.inactivity_seconds, rest_seconds = excluded.rest_seconds, low_intensity_seconds =
       excluded.low_intensity_seconds, moderate_intensity_seconds = excluded.moderate_intensity_seconds,
       vigorous_intensity_seconds = excluded.vigorous_intensity_seconds, avg_speed_meters_per_second =
       excluded.avg_speed_meters_per_second, max_speed_meters_per_second = excluded.max_speed_meters_per_second,
       avg_pace_minutes_per_kilometer = excluded.avg_pace_minutes_per_kilometer, avg_cadence_rpm =
       excluded.avg_cadence_rpm, max_cadence_rpm = excluded.max_cadence_rpm, avg_power_watts =
       excluded.avg_power_watts, max_power_watts = excluded.max_power_watts, avg_saturation_percentage =
       excluded.avg_saturation_percentage, vo2max_ml_per_min_per_kg = excluded.vo2max_ml_per_min_per_kg, strain_level
       = excluded.strain_level, strain_score = excluded.strain_score, efficiency_score = excluded.efficiency_score,
       rcrs_score = excluded.rcrs_score, trimp_score = excluded.trimp_score, device_name = excluded.device_name,
       device_manufacturer = excluded.device_manufacturer
 WHERE activity.record_order < excluded.record_order
RETURNING id, xmax = 0 AS is_new";

pub(super) async fn write(db: &Db, writes: &[Written<'_>], activities: &[&Activity]) -> Result<Vec<Row>, StoreError> {
    let number = |pick: fn(&Activity) -> Option<f64>| column(activities, |activity| pick(activity));
    let whole = |pick: fn(&Activity) -> Option<i64>| column(activities, |activity| pick(activity));
    let text = |pick: fn(&Activity) -> Option<&str>| column(activities, |activity| pick(activity));
    db.rows(
        WRITE,
        &[
            &column(writes, |write| write.id.0),
            &column(writes, |write| write.environment),
            &column(writes, |write| write.terra_user_id),
            &column(writes, |write| write.natural_key),
            &column(writes, |write| write.order),
            &column(writes, |write| write.order_inferred),
            &column(writes, |write| write.deleted),
            &column(writes, |write| write.start_at),
            &column(writes, |write| write.start_time),
            &column(writes, |write| write.end_time),
            &column(writes, |write| &write.fingerprint),
            &column(writes, |write| write.document),
            &column(writes, |write| write.updated_at),
            &whole(|activity| activity.activity_type),
            &text(|activity| activity.name.as_deref()),
            &whole(|activity| activity.upload_type),
            &whole(|activity| activity.timestamp_localization),
            &number(|activity| activity.distance_meters),
            &whole(|activity| activity.steps),
            &whole(|activity| activity.floors_climbed),
            &number(|activity| activity.elevation_gain_meters),
            &number(|activity| activity.elevation_loss_meters),
            &number(|activity| activity.avg_hr_bpm),
            &number(|activity| activity.max_hr_bpm),
            &number(|activity| activity.min_hr_bpm),
            &number(|activity| activity.resting_hr_bpm),
            &number(|activity| activity.avg_hrv_rmssd),
            &number(|activity| activity.avg_hrv_sdnn),
            &number(|activity| activity.total_burned_calories),
            &number(|activity| activity.net_activity_calories),
            &number(|activity| activity.bmr_calories),
            &number(|activity| activity.energy_kilojoules),
            &number(|activity| activity.work_kilojoules),
            &number(|activity| activity.activity_seconds),
            &number(|activity| activity.inactivity_seconds),
            &number(|activity| activity.rest_seconds),
            &number(|activity| activity.low_intensity_seconds),
            &number(|activity| activity.moderate_intensity_seconds),
            &number(|activity| activity.vigorous_intensity_seconds),
            &number(|activity| activity.avg_speed_meters_per_second),
            &number(|activity| activity.max_speed_meters_per_second),
            &number(|activity| activity.avg_pace_minutes_per_kilometer),
            &number(|activity| activity.avg_cadence_rpm),
            &number(|activity| activity.max_cadence_rpm),
            &number(|activity| activity.avg_power_watts),
            &number(|activity| activity.max_power_watts),
            &number(|activity| activity.avg_saturation_percentage),
            &number(|activity| activity.vo2max_ml_per_min_per_kg),
            &number(|activity| activity.strain_level),
            &number(|activity| activity.strain_score),
            &number(|activity| activity.efficiency_score),
            &number(|activity| activity.rcrs_score),
            &number(|activity| activity.trimp_score),
            &text(|activity| activity.device_name.as_deref()),
            &text(|activity| activity.device_manufacturer.as_deref()),
        ],
    )
    .await
}

/// Of every key within a connection the greatest order; a tombstone of greatest order hides what is older. The filters
/// come after that choice: an older version never stands in for a newer one.
const OF_USER: &str = "
WITH mine AS MATERIALIZED (
    SELECT environment, terra_user_id, connection_id, provider FROM alias WHERE user_id = $1
)
SELECT activity.id, mine.connection_id, mine.provider, activity.environment, activity.terra_user_id, activity.natural_key, activity.order_inferred, activity.deleted,
       activity.start_at, activity.start_time, activity.end_time, activity.updated_at, activity.activity_type,
       activity.name, activity.upload_type, activity.timestamp_localization, activity.distance_meters, activity.steps,
       activity.floors_climbed, activity.elevation_gain_meters, activity.elevation_loss_meters, activity.avg_hr_bpm,
       activity.max_hr_bpm, activity.min_hr_bpm, activity.resting_hr_bpm, activity.avg_hrv_rmssd,
       activity.avg_hrv_sdnn, activity.total_burned_calories, activity.net_activity_calories, activity.bmr_calories,
       activity.energy_kilojoules, activity.work_kilojoules, activity.activity_seconds, activity.inactivity_seconds,
       activity.rest_seconds, activity.low_intensity_seconds, activity.moderate_intensity_seconds,
       activity.vigorous_intensity_seconds, activity.avg_speed_meters_per_second,
       activity.max_speed_meters_per_second, activity.avg_pace_minutes_per_kilometer, activity.avg_cadence_rpm,
       activity.max_cadence_rpm, activity.avg_power_watts, activity.max_power_watts,
       activity.avg_saturation_percentage, activity.vo2max_ml_per_min_per_kg, activity.strain_level,
       activity.strain_score, activity.efficiency_score, activity.rcrs_score, activity.trimp_score,
       activity.device_name, activity.device_manufacturer
  FROM mine
  JOIN activity ON activity.environment = mine.environment AND activity.terra_user_id = mine.terra_user_id
 WHERE NOT activity.deleted
   AND ($2::timestamptz IS NULL OR activity.start_at >= $2)
   AND ($3::timestamptz IS NULL OR activity.start_at < $3)
   AND ($5::uuid IS NULL
        OR CASE WHEN $4::timestamptz IS NULL THEN activity.start_at IS NULL AND activity.id > $5
                ELSE activity.start_at < $4 OR (activity.start_at = $4 AND activity.id > $5)
                     OR activity.start_at IS NULL
           END)
   AND NOT EXISTS (
       SELECT FROM mine AS other
         JOIN activity AS newer
           ON newer.environment = other.environment AND newer.terra_user_id = other.terra_user_id
          AND newer.natural_key = activity.natural_key
        WHERE other.connection_id = mine.connection_id
          AND (newer.record_order, newer.id) > (activity.record_order, activity.id))
 ORDER BY activity.start_at DESC NULLS LAST, activity.id
 LIMIT $6";

/// Where a listing goes on: after this start (`None`: among those without one) and id.
pub(super) struct After {
    pub(super) start_at: Option<Timestamp>,
    pub(super) id: Option<uuid::Uuid>,
}

pub(super) async fn of_user(
    db: &Db,
    user: &str,
    span: crate::store::Span,
    after: &After,
    limit: i64,
) -> Result<Vec<Row>, StoreError> {
    db.rows(OF_USER, &[&user, &span.from, &span.to, &after.start_at, &after.id, &limit]).await
}

pub(super) fn columns(row: &Row) -> Result<Activity, StoreError> {
    Ok(Activity {
        // Without an id of Terra the digest of the content stands in for the key.
        summary_id: get::<Option<String>>(row, "natural_key")?.filter(|key| !key.starts_with("sha256:")),
        start_time: get(row, "start_time")?,
        end_time: get(row, "end_time")?,
        activity_type: get(row, "activity_type")?,
        name: get(row, "name")?,
        upload_type: get(row, "upload_type")?,
        timestamp_localization: get(row, "timestamp_localization")?,
        distance_meters: get(row, "distance_meters")?,
        steps: get(row, "steps")?,
        floors_climbed: get(row, "floors_climbed")?,
        elevation_gain_meters: get(row, "elevation_gain_meters")?,
        elevation_loss_meters: get(row, "elevation_loss_meters")?,
        avg_hr_bpm: get(row, "avg_hr_bpm")?,
        max_hr_bpm: get(row, "max_hr_bpm")?,
        min_hr_bpm: get(row, "min_hr_bpm")?,
        resting_hr_bpm: get(row, "resting_hr_bpm")?,
        avg_hrv_rmssd: get(row, "avg_hrv_rmssd")?,
        avg_hrv_sdnn: get(row, "avg_hrv_sdnn")?,
        total_burned_calories: get(row, "total_burned_calories")?,
        net_activity_calories: get(row, "net_activity_calories")?,
        bmr_calories: get(row, "bmr_calories")?,
        energy_kilojoules: get(row, "energy_kilojoules")?,
        work_kilojoules: get(row, "work_kilojoules")?,
        activity_seconds: get(row, "activity_seconds")?,
        inactivity_seconds: get(row, "inactivity_seconds")?,
        rest_seconds: get(row, "rest_seconds")?,
        low_intensity_seconds: get(row, "low_intensity_seconds")?,
        moderate_intensity_seconds: get(row, "moderate_intensity_seconds")?,
        vigorous_intensity_seconds: get(row, "vigorous_intensity_seconds")?,
        avg_speed_meters_per_second: get(row, "avg_speed_meters_per_second")?,
        max_speed_meters_per_second: get(row, "max_speed_meters_per_second")?,
        avg_pace_minutes_per_kilometer: get(row, "avg_pace_minutes_per_kilometer")?,
        avg_cadence_rpm: get(row, "avg_cadence_rpm")?,
        max_cadence_rpm: get(row, "max_cadence_rpm")?,
        avg_power_watts: get(row, "avg_power_watts")?,
        max_power_watts: get(row, "max_power_watts")?,
        avg_saturation_percentage: get(row, "avg_saturation_percentage")?,
        vo2max_ml_per_min_per_kg: get(row, "vo2max_ml_per_min_per_kg")?,
        strain_level: get(row, "strain_level")?,
        strain_score: get(row, "strain_score")?,
        efficiency_score: get(row, "efficiency_score")?,
        rcrs_score: get(row, "rcrs_score")?,
        trimp_score: get(row, "trimp_score")?,
        device_name: get(row, "device_name")?,
        device_manufacturer: get(row, "device_manufacturer")?,
    })
}
