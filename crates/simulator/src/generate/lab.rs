//! Laboratory results: one value of each type, and one that nobody could match.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::Dice;

const LIPIDS: i64 = 1;
const VITAMINS: i64 = 2;

/// The `data` of a `lab_report.completed` event. Ids are strings, for they are too large for a float.
#[must_use]
pub fn lab_results(seed: u64, session_id: &str, date: Date) -> Value {
    let mut dice = Dice::of(seed, &["lab", session_id]);
    let taken = date.to_string();
    let results = [
        numeric(&taken, dice.real(30.0, 180.0, 1)),
        bounded(&taken, dice.real(0.1, 2.0, 1)),
        qualitative(&taken),
        plain(&taken),
        absent(&taken),
    ];
    json!({
        "session_id": session_id,
        "report_date": taken,
        "report_time": format!("{:02}:{:02}", dice.whole(7, 17), dice.whole(0, 59)),
        "report_locale": "en-GB",
        "results_count": results.len(),
        "results": results,
        "panels": [
            { "id": LIPIDS, "name": "Lipids", "key": "lipids" },
            { "id": VITAMINS, "name": "Vitamins", "key": "vitamins" },
        ],
        "report_notes": "Taken after a night without food.",
    })
}

fn source(name: &str, value: &str, taken: &str) -> Value {
    json!({
        "name": name,
        "panel": "Serum",
        "value": value,
        "method": "immunoassay",
        "collection_date": taken,
        "collection_time": "08:15",
    })
}

fn numeric(taken: &str, value: f64) -> Value {
    let mut source = source("Ferritin", &value.to_string(), taken);
    source["units"] = json!("ug/L");
    source["flag"] = json!("N");
    source["notes"] = json!("sample slightly haemolysed");
    source["reference_text"] = json!("30 - 400 ug/L");
    let context = json!({
        "sex": "female",
        "age_lower": 18,
        "age_upper": 50,
        "pregnancy_status": "pregnant",
        "gestational_week_lower": 1,
        "gestational_week_upper": 13,
        "cycle_phase": "luteal",
        "reference_population": "adults",
        "modifiers": ["fasting"],
    });
    json!({
        "source": source,
        "biomarker": {
            "key": "ferritin",
            "display_name": "Ferritin",
            "loinc_code": "2276-4",
            "panel_id": VITAMINS,
            "panel_key": "vitamins",
            "specimen": "serum",
        },
        "measurement": { "type": "numeric", "numeric": value, "units": "ug/L", "ucum_code": "ug/L" },
        "interpretation": {
            "flag": "normal",
            "flag_raw": "N",
            "source": "report",
            "applied_range": { "lower": 30.0, "upper": 400.0 },
        },
        "reference_ranges": [{ "lower": 30.0, "upper": 400.0, "type": "normal", "context": context }],
    })
}

fn bounded(taken: &str, value: f64) -> Value {
    json!({
        "source": source("CRP", &format!("<{value}"), taken),
        "biomarker": { "key": "crp", "display_name": "C-reactive protein", "specimen": "serum" },
        "measurement": { "type": "bounded", "bounded": { "operator": "<", "value": value }, "units": "mg/L" },
        "interpretation": { "flag": "normal", "source": "computed" },
    })
}

fn qualitative(taken: &str) -> Value {
    json!({
        "source": source("Nitrite", "negative", taken),
        "biomarker": { "key": "urine_nitrite", "display_name": "Nitrite", "specimen": "urine" },
        "measurement": { "type": "qualitative", "qualitative": { "text": "negative", "code": "260385009" } },
        "interpretation": { "flag": null, "source": "none" },
    })
}

/// Nobody knows this biomarker: its key is null, and the result is kept all the same.
fn plain(taken: &str) -> Value {
    json!({
        "source": source("Aura index", "radiant", taken),
        "biomarker": { "key": null, "display_name": "Aura index" },
        "measurement": { "type": "text", "text": "radiant" },
        "interpretation": { "flag": null, "source": "none" },
    })
}

fn absent(taken: &str) -> Value {
    json!({
        "source": source("Triglycerides", "-", taken),
        "biomarker": { "key": "triglycerides", "display_name": "Triglycerides", "panel_id": LIPIDS, "panel_key": "lipids" },
        "measurement": { "type": "absent", "absent_reason": "insufficient sample" },
        "interpretation": { "flag": null, "source": "none" },
    })
}
