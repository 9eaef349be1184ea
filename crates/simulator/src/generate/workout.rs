//! Training that is still to be done.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::Dice;

#[must_use]
pub fn planned_workout(seed: u64, user_id: &str, date: Date) -> Value {
    let mut dice = Dice::of(seed, &["planned_workout", user_id, &date.to_string()]);
    let minutes = dice.whole(30, 90);
    let id = dice.uuid().to_string();
    json!({
        "planned_workout_id": id,
        "workout_id": dice.uuid().to_string(),
        "provider_workout_id": dice.whole(1_000_000, 9_999_999).to_string(),
        "planned_date": date.to_string(),
        "coercion_warnings": null,
        "created_at": format!("{date}T06:00:00.000000+00:00"),
        "last_updated_at": format!("{date}T06:00:00.000000+00:00"),
        "is_external": false,
        "athlete_metrics": { "max_heart_rate": dice.whole(172, 198) },
        "details": {
            "metadata": {
                "id": id,
                "name": "Steady run",
                "type": 8,
                "planned_date": date.to_string(),
                "estimated_duration_seconds": minutes * 60,
            },
            "steps": [{
                "order": 0,
                "name": "Run",
                "intensity": 1,
                "type": 0,
                "durations": [{ "duration_type": 0, "seconds": minutes * 60 }],
                "targets": [],
                "steps": [],
            }],
        },
    })
}
