//! Hormones, single observations and laboratory results.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::generate::day::Day;
use crate::generate::person::Person;

/// Flat: it has a `timestamp` and no metadata.
#[must_use]
pub fn hormone(seed: u64, user_id: &str, date: Date) -> Value {
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["hormone", user_id, &date.to_string()]);
    json!({
        "timestamp": Day::of(date, person.offset_minutes).at(dice.whole(6 * 3_600, 9 * 3_600)),
        "lh_mIU_per_ml": dice.real(1.5, 22.0, 1),
        "e3g_ng_per_ml": dice.real(40.0, 280.0, 1),
        "pdg_ug_per_ml": dice.real(0.5, 12.0, 1),
        "fsh_mIU_per_ml": dice.real(2.5, 11.0, 1),
        "hcg_mIU_per_ml": null,
    })
}

#[must_use]
pub fn health_observation(seed: u64, user_id: &str, date: Date) -> Value {
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["health_observation", user_id, &date.to_string()]);
    let day = Day::of(date, person.offset_minutes);
    let noticed = dice.whole(7 * 3_600, 21 * 3_600);
    let (name, code) = *dice.pick(&[("headache", "Headache"), ("fatigue", "Fatigue"), ("nausea", "Nausea")]);
    json!({
        "metadata": {
            "summary_id": dice.uuid().to_string(),
            "start_time": day.at(noticed),
            "end_time": day.at(noticed + 300),
            "timestamp_localization": 1,
        },
        "observation_data": {
            "category": 1,
            "observation_type": name,
            "codes": [{
                "system": "healthkit",
                "code": format!("HKCategoryTypeIdentifier{code}"),
                "display": code,
            }],
            "value": { "value_type": 0 },
            "severity": dice.whole(2, 4),
            "components": [],
            "status": 1,
            "notes": null,
        },
    })
}

/// The `data` of a `lab_report.completed` event.
#[must_use]
pub fn lab_results(seed: u64, session_id: &str, date: Date) -> Value {
    let mut dice = Dice::of(seed, &["lab", session_id]);
    let result = |name: &str, key: &str, value: f64, unit: &str| {
        json!({
            "source": { "name": name, "value": value.to_string(), "units": unit },
            "biomarker": { "key": key, "display_name": name },
            "measurement": { "type": "numeric", "numeric": value, "units": unit },
            "interpretation": { "flag": "normal", "source": "reported" },
        })
    };
    let results = [
        result("Ferritin", "ferritin", dice.real(30.0, 180.0, 1), "ug/L"),
        result("Vitamin D", "vitamin_d", dice.real(40.0, 120.0, 1), "nmol/L"),
    ];
    json!({
        "session_id": session_id,
        "report_date": date.to_string(),
        "report_locale": "en-GB",
        "results_count": results.len(),
        "results": results,
    })
}
