//! One activity: a workout, a commute, a walk.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::section;
use crate::record::NotAnObject;
use crate::record::lenient::{integer, number, short_text};

/// The summary of an activity; its samples stay in the raw item.
///
/// - Shapes: the names are Terra's own, only the objects around them are gone, and a word is put before those that are
///   vague without their object. Times are kept as delivered, with the offset of the place.
/// - Units: at the end of each name, where Terra gives one. `activity_type`, `upload_type` and
///   `timestamp_localization` are open enums; activity type 0 is a valid one (in a vehicle).
/// - Source: tryterra/openapi `v2-bundled.yaml` of 2026-07, `Activity`; read 2026-11-22.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Activity {
    pub summary_id: Option<String>,
    pub start_time: Option<String>,
    pub end_time: Option<String>,
    /// `metadata.type`.
    pub activity_type: Option<i64>,
    pub name: Option<String>,
    pub upload_type: Option<i64>,
    /// 0: times are UTC; 1: times are the person's own.
    pub timestamp_localization: Option<i64>,

    pub distance_meters: Option<f64>,
    pub steps: Option<i64>,
    pub floors_climbed: Option<i64>,
    /// `distance_data.summary.elevation.gain_actual_meters`.
    pub elevation_gain_meters: Option<f64>,
    /// `distance_data.summary.elevation.loss_actual_meters`.
    pub elevation_loss_meters: Option<f64>,

    pub avg_hr_bpm: Option<f64>,
    pub max_hr_bpm: Option<f64>,
    pub min_hr_bpm: Option<f64>,
    pub resting_hr_bpm: Option<f64>,
    pub avg_hrv_rmssd: Option<f64>,
    pub avg_hrv_sdnn: Option<f64>,

    pub total_burned_calories: Option<f64>,
    pub net_activity_calories: Option<f64>,
    /// `BMR_calories`.
    pub bmr_calories: Option<f64>,
    pub energy_kilojoules: Option<f64>,
    pub work_kilojoules: Option<f64>,

    pub activity_seconds: Option<f64>,
    pub inactivity_seconds: Option<f64>,
    pub rest_seconds: Option<f64>,
    pub low_intensity_seconds: Option<f64>,
    pub moderate_intensity_seconds: Option<f64>,
    pub vigorous_intensity_seconds: Option<f64>,

    pub avg_speed_meters_per_second: Option<f64>,
    pub max_speed_meters_per_second: Option<f64>,
    pub avg_pace_minutes_per_kilometer: Option<f64>,
    pub avg_cadence_rpm: Option<f64>,
    pub max_cadence_rpm: Option<f64>,
    /// `power_data.avg_watts`.
    pub avg_power_watts: Option<f64>,
    /// `power_data.max_watts`.
    pub max_power_watts: Option<f64>,
    pub avg_saturation_percentage: Option<f64>,
    pub vo2max_ml_per_min_per_kg: Option<f64>,

    /// The provider's own, `strain_data.strain_level`.
    pub strain_level: Option<f64>,
    /// Terra's, `data_enrichment.strain_score`. A later delivery may lack it; that does not take it back.
    pub strain_score: Option<f64>,
    /// Terra's, like `strain_score`.
    pub efficiency_score: Option<f64>,
    /// Terra's, like `strain_score`.
    pub rcrs_score: Option<f64>,
    /// Terra's, like `strain_score`.
    pub trimp_score: Option<f64>,

    pub device_name: Option<String>,
    pub device_manufacturer: Option<String>,
}

const SECTIONS: [&str; 13] = [
    "metadata",
    "distance_data",
    "heart_rate_data",
    "calories_data",
    "energy_data",
    "work_data",
    "active_durations_data",
    "movement_data",
    "power_data",
    "oxygen_data",
    "strain_data",
    "data_enrichment",
    "device_data",
];

impl Activity {
    /// Reads an item of an `activity` event. A member that is missing or of another shape is `None`, and takes no
    /// other down with it.
    pub fn read(item: &RawValue) -> Result<Activity, NotAnObject> {
        let sections = crate::json::members(item.get(), SECTIONS).ok_or(NotAnObject)?;
        let [
            metadata,
            distance,
            heart_rate,
            calories,
            energy,
            work,
            durations,
            movement,
            power,
            oxygen,
            strain,
            enrichment,
            device,
        ] = sections;
        let mut activity = Activity::default();
        activity.read_metadata(metadata);
        activity.read_distance(distance);
        activity.read_heart_rate(heart_rate);
        activity.read_energy(calories, energy, work);
        activity.read_durations(durations);
        activity.read_movement(movement, power, oxygen);
        activity.read_scores(strain, enrichment);
        activity.read_device(device);
        Ok(activity)
    }

    fn read_metadata(&mut self, raw: Option<&RawValue>) {
        let names = ["summary_id", "start_time", "end_time", "type", "name", "upload_type", "timestamp_localization"];
        let [summary_id, start_time, end_time, kind, name, upload_type, localization] = section(raw, names);
        self.summary_id = crate::event::user::identifier(summary_id);
        self.start_time = start_time.and_then(short_text);
        self.end_time = end_time.and_then(short_text);
        self.activity_type = kind.and_then(integer);
        self.name = name.and_then(short_text);
        self.upload_type = upload_type.and_then(integer);
        self.timestamp_localization = localization.and_then(integer);
    }

    fn read_distance(&mut self, raw: Option<&RawValue>) {
        let [summary] = section(raw, ["summary"]);
        let names = ["distance_meters", "steps", "floors_climbed", "elevation"];
        let [distance, steps, floors, elevation] = section(summary, names);
        let [gain, loss] = section(elevation, ["gain_actual_meters", "loss_actual_meters"]);
        self.distance_meters = distance.and_then(number);
        self.steps = steps.and_then(integer);
        self.floors_climbed = floors.and_then(integer);
        self.elevation_gain_meters = gain.and_then(number);
        self.elevation_loss_meters = loss.and_then(number);
    }

    fn read_heart_rate(&mut self, raw: Option<&RawValue>) {
        let [summary] = section(raw, ["summary"]);
        let names = ["avg_hr_bpm", "max_hr_bpm", "min_hr_bpm", "resting_hr_bpm", "avg_hrv_rmssd", "avg_hrv_sdnn"];
        let [avg, max, min, resting, rmssd, sdnn] = section(summary, names).map(|raw| raw.and_then(number));
        self.avg_hr_bpm = avg;
        self.max_hr_bpm = max;
        self.min_hr_bpm = min;
        self.resting_hr_bpm = resting;
        self.avg_hrv_rmssd = rmssd;
        self.avg_hrv_sdnn = sdnn;
    }

    fn read_energy(&mut self, calories: Option<&RawValue>, energy: Option<&RawValue>, work: Option<&RawValue>) {
        let names = ["total_burned_calories", "net_activity_calories", "BMR_calories"];
        let [total, net, bmr] = section(calories, names).map(|raw| raw.and_then(number));
        let [energy] = section(energy, ["energy_kilojoules"]);
        let [work] = section(work, ["work_kilojoules"]);
        self.total_burned_calories = total;
        self.net_activity_calories = net;
        self.bmr_calories = bmr;
        self.energy_kilojoules = energy.and_then(number);
        self.work_kilojoules = work.and_then(number);
    }

    fn read_durations(&mut self, raw: Option<&RawValue>) {
        let names = [
            "activity_seconds",
            "inactivity_seconds",
            "rest_seconds",
            "low_intensity_seconds",
            "moderate_intensity_seconds",
            "vigorous_intensity_seconds",
        ];
        let [active, inactive, rest, low, moderate, vigorous] = section(raw, names).map(|raw| raw.and_then(number));
        self.activity_seconds = active;
        self.inactivity_seconds = inactive;
        self.rest_seconds = rest;
        self.low_intensity_seconds = low;
        self.moderate_intensity_seconds = moderate;
        self.vigorous_intensity_seconds = vigorous;
    }

    fn read_movement(&mut self, movement: Option<&RawValue>, power: Option<&RawValue>, oxygen: Option<&RawValue>) {
        let names = [
            "avg_speed_meters_per_second",
            "max_speed_meters_per_second",
            "avg_pace_minutes_per_kilometer",
            "avg_cadence_rpm",
            "max_cadence_rpm",
        ];
        let [avg_speed, max_speed, avg_pace, avg_cadence, max_cadence] =
            section(movement, names).map(|raw| raw.and_then(number));
        let [avg_watts, max_watts] = section(power, ["avg_watts", "max_watts"]);
        let [saturation, vo2max] = section(oxygen, ["avg_saturation_percentage", "vo2max_ml_per_min_per_kg"]);
        self.avg_speed_meters_per_second = avg_speed;
        self.max_speed_meters_per_second = max_speed;
        self.avg_pace_minutes_per_kilometer = avg_pace;
        self.avg_cadence_rpm = avg_cadence;
        self.max_cadence_rpm = max_cadence;
        self.avg_power_watts = avg_watts.and_then(number);
        self.max_power_watts = max_watts.and_then(number);
        self.avg_saturation_percentage = saturation.and_then(number);
        self.vo2max_ml_per_min_per_kg = vo2max.and_then(number);
    }

    fn read_scores(&mut self, strain: Option<&RawValue>, enrichment: Option<&RawValue>) {
        let [strain_level] = section(strain, ["strain_level"]);
        let names = ["strain_score", "efficiency_score", "rcrs_score", "trimp_score"];
        let [strain_score, efficiency, rcrs, trimp] = section(enrichment, names).map(|raw| raw.and_then(number));
        self.strain_level = strain_level.and_then(number);
        self.strain_score = strain_score;
        self.efficiency_score = efficiency;
        self.rcrs_score = rcrs;
        self.trimp_score = trimp;
    }

    fn read_device(&mut self, raw: Option<&RawValue>) {
        let [name, manufacturer] = section(raw, ["name", "manufacturer"]);
        self.device_name = name.and_then(short_text);
        self.device_manufacturer = manufacturer.and_then(short_text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Activity {
        Activity::read(&RawValue::from_string(json.into()).unwrap()).unwrap()
    }

    #[test]
    fn a_full_activity_is_read_completely() {
        let activity = read(include_str!("../../fixtures/activity_item.json"));
        let expected = Activity {
            summary_id: Some("ride-0042".into()),
            start_time: Some("2026-11-20T17:05:00.000000+01:00".into()),
            end_time: Some("2026-11-20T18:20:30.000000+01:00".into()),
            activity_type: Some(1),
            name: Some("Evening ride".into()),
            upload_type: Some(1),
            timestamp_localization: Some(1),
            distance_meters: Some(31_250.5),
            steps: Some(0),
            floors_climbed: Some(12),
            elevation_gain_meters: Some(410.0),
            elevation_loss_meters: Some(395.5),
            avg_hr_bpm: Some(132.0),
            max_hr_bpm: Some(171.0),
            min_hr_bpm: Some(88.0),
            resting_hr_bpm: Some(51.0),
            avg_hrv_rmssd: Some(38.5),
            avg_hrv_sdnn: Some(44.25),
            total_burned_calories: Some(812.0),
            net_activity_calories: Some(701.5),
            bmr_calories: Some(110.5),
            energy_kilojoules: Some(980.0),
            work_kilojoules: Some(905.25),
            activity_seconds: Some(4_400.0),
            inactivity_seconds: Some(130.0),
            rest_seconds: Some(60.0),
            low_intensity_seconds: Some(900.0),
            moderate_intensity_seconds: Some(2_400.0),
            vigorous_intensity_seconds: Some(1_100.0),
            avg_speed_meters_per_second: Some(6.9),
            max_speed_meters_per_second: Some(14.2),
            avg_pace_minutes_per_kilometer: Some(2.4),
            avg_cadence_rpm: Some(84.0),
            max_cadence_rpm: Some(112.0),
            avg_power_watts: Some(204.0),
            max_power_watts: Some(655.0),
            avg_saturation_percentage: Some(97.0),
            vo2max_ml_per_min_per_kg: Some(49.5),
            strain_level: Some(11.5),
            strain_score: Some(61.0),
            efficiency_score: Some(82.0),
            rcrs_score: Some(9.0),
            trimp_score: Some(120.0),
            device_name: Some("Edge 540".into()),
            device_manufacturer: Some("Garmin".into()),
        };
        assert_eq!(activity, expected);
    }

    #[test]
    fn one_wrong_member_takes_no_other_down() {
        let activity = read(
            r#"{"metadata":{"summary_id":"s","type":0,"upload_type":"4","start_time":7},
                "distance_data":"far","heart_rate_data":{"summary":{"avg_hr_bpm":1e999,"max_hr_bpm":"181"}},
                "data_enrichment":null}"#,
        );
        let expected = Activity {
            summary_id: Some("s".into()),
            activity_type: Some(0),
            upload_type: Some(4),
            max_hr_bpm: Some(181.0),
            ..Activity::default()
        };
        assert_eq!(activity, expected);
    }

    #[test]
    fn what_is_not_an_object_is_no_activity() {
        for json in ["null", "[]", "7", r#""activity""#] {
            let raw = RawValue::from_string(json.into()).unwrap();
            assert_eq!(Activity::read(&raw), Err(NotAnObject));
        }
    }
}
