//! By which name a record is known, and which of its values are looked at in the end.
//!
//! Both are written from Terra's documentation alone: keys as its guides name them, values under
//! the names of Terra's leaves.

use serde_json::{Map, Value};

/// Leaf and the path to it.
type Leaf = (&'static str, &'static str);

const ACTIVITY: &[Leaf] = &[
    ("summary_id", "metadata.summary_id"),
    ("start_time", "metadata.start_time"),
    ("end_time", "metadata.end_time"),
    ("distance_meters", "distance_data.summary.distance_meters"),
    ("total_burned_calories", "calories_data.total_burned_calories"),
    ("avg_hr_bpm", "heart_rate_data.summary.avg_hr_bpm"),
    ("strain_score", "data_enrichment.strain_score"),
];
const SLEEP: &[Leaf] = &[
    ("summary_id", "metadata.summary_id"),
    ("start_time", "metadata.start_time"),
    ("end_time", "metadata.end_time"),
    ("duration_asleep_state_seconds", "sleep_durations_data.asleep.duration_asleep_state_seconds"),
    ("sleep_efficiency", "sleep_durations_data.sleep_efficiency"),
    ("sleep_score", "data_enrichment.sleep_score"),
];
const DAILY: &[Leaf] = &[
    ("start_time", "metadata.start_time"),
    ("steps", "distance_data.steps"),
    ("distance_meters", "distance_data.distance_meters"),
    ("total_burned_calories", "calories_data.total_burned_calories"),
    ("resting_hr_bpm", "heart_rate_data.summary.resting_hr_bpm"),
    ("total_stress_score", "data_enrichment.total_stress_score"),
];
const BODY: &[Leaf] = &[
    ("start_time", "metadata.start_time"),
    ("day_avg_weight_kg", "measurements_data.day_avg_weight_kg"),
    ("day_avg_systolic_bp", "blood_pressure_data.day_avg_systolic_bp"),
];
const NUTRITION: &[Leaf] =
    &[("start_time", "metadata.start_time"), ("calories", "summary.macros.calories"), ("water_ml", "summary.water_ml")];
const MENSTRUATION: &[Leaf] = &[
    ("start_time", "metadata.start_time"),
    ("day_in_cycle", "menstruation_data.day_in_cycle"),
    ("period_start_date", "menstruation_data.period_start_date"),
];
const HORMONE: &[Leaf] = &[("timestamp", "timestamp"), ("lh_mIU_per_ml", "lh_mIU_per_ml")];
const ATHLETE: &[Leaf] = &[("first_name", "first_name"), ("date_of_birth", "date_of_birth"), ("country", "country")];
const PLANNED_WORKOUT: &[Leaf] =
    &[("planned_workout_id", "planned_workout_id"), ("planned_date", "planned_date"), ("workout_id", "workout_id")];
const HEALTH_OBSERVATION: &[Leaf] = &[
    ("summary_id", "metadata.summary_id"),
    ("start_time", "metadata.start_time"),
    ("observation_type", "observation_data.observation_type"),
];
const LAB_REPORT: &[Leaf] =
    &[("session_id", "session_id"), ("report_date", "report_date"), ("results_count", "results_count")];

fn leaves(kind: &str) -> &'static [Leaf] {
    match kind {
        "activity" => ACTIVITY,
        "sleep" => SLEEP,
        "daily" => DAILY,
        "body" => BODY,
        "nutrition" => NUTRITION,
        "menstruation" => MENSTRUATION,
        "hormone" => HORMONE,
        "athlete" => ATHLETE,
        "planned_workout" => PLANNED_WORKOUT,
        "health_observation" => HEALTH_OBSERVATION,
        "lab_report" => LAB_REPORT,
        _ => &[],
    }
}

/// What a record of a kind is known by.
pub(crate) fn key(kind: &str, record: &Value) -> String {
    let text = |path: &str| at(record, path).as_str().unwrap_or_default().to_owned();
    match kind {
        "sleep" if at(record, "metadata.summary_id").is_null() => {
            format!("{}|{}", text("metadata.start_time"), text("metadata.end_time"))
        }
        "activity" | "health_observation" | "sleep" => text("metadata.summary_id"),
        // The date as it was delivered: no zone is converted.
        "daily" | "body" | "nutrition" | "menstruation" => {
            text("metadata.start_time").get(..10).unwrap_or_default().to_owned()
        }
        "hormone" => text("timestamp"),
        "planned_workout" => text("planned_workout_id"),
        "lab_report" => text("session_id"),
        _ => kind.to_owned(),
    }
}

/// The values of a record that are looked at, without those it does not have.
pub(crate) fn fields(kind: &str, record: &Value) -> Map<String, Value> {
    let present = leaves(kind).iter().map(|(leaf, path)| ((*leaf).to_owned(), at(record, path).clone()));
    present.filter(|(_, value)| !value.is_null()).collect()
}

fn at<'a>(record: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(record, |place, part| &place[part])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(kind: &str, record: Value, expected: &str) {
        assert_eq!(key(kind, &record), expected);
    }

    #[test]
    fn records_are_known_by_what_terra_calls_unique() {
        let times = json!({ "metadata": { "start_time": "2026-03-01T23:10:00+05:30", "end_time": "2026-03-02T06:00:00+05:30" } });
        check("daily", times.clone(), "2026-03-01");
        check("sleep", times, "2026-03-01T23:10:00+05:30|2026-03-02T06:00:00+05:30");
        check("sleep", json!({ "metadata": { "summary_id": "s" } }), "s");
        check("hormone", json!({ "timestamp": "t" }), "t");
        check("athlete", json!({}), "athlete");
    }

    #[test]
    fn every_kind_of_the_generators_has_a_key_and_all_its_fields() {
        let date = jiff::civil::date(2026, 3, 14);
        for kind in crate::generate::RECORD_TYPES.into_iter().chain(["athlete"]) {
            let record = crate::generate::record(kind, 1, "u", date, crate::generate::Detail::Summary).unwrap();
            assert!(!key(kind, &record).is_empty(), "{kind}");
            assert_eq!(fields(kind, &record).len(), leaves(kind).len(), "{kind}");
        }
    }
}
