//! Hormones and single observations.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::generate::Detail;
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

/// A symptom that somebody noticed; a complete one is coded, answered and commented.
#[must_use]
pub fn health_observation(seed: u64, user_id: &str, date: Date, detail: Detail) -> Value {
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["health_observation", user_id, &date.to_string()]);
    let day = Day::of(date, person.offset_minutes);
    let noticed = dice.whole(7 * 3_600, 21 * 3_600);
    let (name, code) = *dice.pick(&[("headache", "Headache"), ("fatigue", "Fatigue"), ("nausea", "Nausea")]);
    let mut record = json!({
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
    });
    if detail == Detail::Complete {
        let observation = &mut record["observation_data"];
        observation["value"] = value(&mut dice);
        observation["components"] = json!([
            { "code": "valence", "value": value(&mut dice) },
            { "code": "arousal", "value": value(&mut dice) },
        ]);
        observation["status"] = json!(dice.whole(1, 2));
        observation["notes"] = json!("came after a short night");
    }
    record
}

/// One of four types, each with the field that belongs to it.
fn value(dice: &mut Dice) -> Value {
    match dice.whole(1, 4) {
        1 => json!({ "value_type": 1, "quantity": dice.real(0.5, 9.5, 1), "unit": "count" }),
        2 => json!({ "value_type": 2, "boolean": dice.chance(0.5) }),
        3 => json!({ "value_type": 3, "text": "dull, behind the eyes" }),
        _ => json!({ "value_type": 4, "code": "moderate_pleasant" }),
    }
}
