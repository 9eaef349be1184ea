//! What scales, cuffs and sensors measure in a day.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::{Dice, round};
use crate::generate::Detail;
use crate::generate::day::{Day, SECONDS_PER_DAY};
use crate::generate::device::device;
use crate::generate::person::Person;
use crate::generate::samples::{Measure, Span, number, series};

#[must_use]
pub fn body(seed: u64, user_id: &str, date: Date, detail: Detail) -> Value {
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["body", user_id, &date.to_string()]);
    let day = Day::of(date, person.offset_minutes);
    let (start_time, end_time) = day.whole();
    let weight_kg = round(person.weight_kg + dice.real(-0.9, 0.9, 2), 2);
    let weighed_at = day.at(dice.whole(6 * 3_600, 9 * 3_600));
    let meters = person.height_cm / 100.0;
    let bmi = round(weight_kg / meters / meters, 1);
    let mut record = json!({
        "metadata": {
            "start_time": start_time,
            "end_time": end_time,
            "timestamp_localization": 1,
        },
        "measurements_data": {
            "measurements": [{
                "measurement_time": weighed_at,
                "weight_kg": weight_kg,
                "height_cm": person.height_cm,
                "BMI": bmi,
            }],
            "day_avg_weight_kg": weight_kg,
            "day_avg_bmi": bmi,
        },
    });
    if detail.has_summaries() {
        record["device_data"] = device(seed, user_id);
        add_summaries(&mut record, &mut dice, &day, &person, weight_kg);
    }
    if detail.has_samples() {
        add_samples(&mut record, &mut dice, &day);
    }
    record
}

fn add_summaries(record: &mut Value, dice: &mut Dice, day: &Day, person: &Person, weight_kg: f64) {
    let fat = dice.real(14.0, 30.0, 1);
    let lean_mass_g = (weight_kg * (100.0 - fat) * 10.0).round();
    let measurement = &mut record["measurements_data"]["measurements"][0];
    measurement["bodyfat_percentage"] = json!(fat);
    measurement["lean_mass_g"] = number(lean_mass_g);
    measurement["muscle_mass_g"] = number((lean_mass_g * 0.94).round());
    measurement["bone_mass_g"] = number((lean_mass_g * 0.05).round());
    measurement["water_percentage"] = json!(dice.real(48.0, 62.0, 1));
    measurement["BMR"] = number(person.basal_calories().round());
    record["measurements_data"]["day_avg_bodyfat_percentage"] = json!(fat);
    let (systolic, diastolic) = (dice.whole(104, 138), dice.whole(64, 88));
    record["blood_pressure_data"] = json!({
        "blood_pressure_samples": [{
            "timestamp": day.at(dice.whole(6 * 3_600, 20 * 3_600)),
            "systolic_bp": systolic,
            "diastolic_bp": diastolic,
        }],
        "day_avg_systolic_bp": systolic,
        "day_avg_diastolic_bp": diastolic,
    });
    record["heart_data"] = json!({
        "heart_rate_data": {
            "summary": {
                "resting_hr_bpm": number(person.resting_bpm.round()),
                "avg_hrv_rmssd": dice.real(24.0, 92.0, 1),
            },
        },
        "afib_classification_samples": [],
        "ecg_signal": [],
        "pulse_wave_velocity_samples": [],
        "rr_interval_samples": [],
    });
    record["oxygen_data"] = json!({
        "avg_saturation_percentage": dice.real(94.0, 98.5, 1),
        "saturation_samples": [],
        "vo2_samples": [],
    });
    record["hydration_data"] = json!({
        "day_total_water_consumption_ml": dice.whole(900, 3_200),
        "hydration_amount_samples": [],
    });
    record["temperature_data"] = json!({
        "day_avg_body_temperature_celsius": dice.real(36.2, 37.1, 2),
        "body_temperature_samples": [],
        "skin_temperature_samples": [],
        "ambient_temperature_samples": [],
    });
    record["glucose_data"] = json!({
        "day_avg_blood_glucose_mg_per_dL": dice.real(84.0, 112.0, 1),
        "blood_glucose_samples": [],
        "detailed_blood_glucose_samples": [],
    });
}

fn add_samples(record: &mut Value, dice: &mut Dice, day: &Day) {
    let span = Span { from: 0, to: SECONDS_PER_DAY, every: 300 };
    let glucose = Measure { field: "blood_glucose_mg_per_dL", spread: 9.0, digits: 0, timed: false };
    // Up after breakfast, lunch and dinner.
    record["glucose_data"]["blood_glucose_samples"] =
        series(dice, day, span, glucose, |share| 94.0 + 22.0 * (share * 3.0 * std::f64::consts::PI).sin().powi(2));
    let skin = Measure { field: "temperature_celsius", spread: 0.3, digits: 2, timed: false };
    record["temperature_data"]["skin_temperature_samples"] = series(dice, day, span, skin, |_| 33.4);
}
