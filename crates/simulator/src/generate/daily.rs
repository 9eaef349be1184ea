//! Days as a whole. They are sent again and again while they grow.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::{Dice, round};
use crate::generate::Detail;
use crate::generate::day::{Day, SECONDS_PER_DAY};
use crate::generate::device::device;
use crate::generate::person::Person;
use crate::generate::samples::{Measure, Span, number, series};

/// A day that is over.
#[must_use]
pub fn daily(seed: u64, user_id: &str, date: Date, detail: Detail) -> Value {
    daily_so_far(seed, user_id, date, detail, 1.0)
}

/// A day of which only a part is over, from 0.0 to 1.0: every total is at most that of the later
/// record, which replaces this one.
#[must_use]
pub fn daily_so_far(seed: u64, user_id: &str, date: Date, detail: Detail, share: f64) -> Value {
    let share = share.clamp(0.0, 1.0);
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["daily", user_id, &date.to_string()]);
    let day = Day::of(date, person.offset_minutes);
    let (start_time, end_time) = day.whole();
    let steps = (dice.real(2_500.0, 9_000.0, 0) * (1.0 + person.fitness) * share).round();
    let basal = person.basal_calories() * share;
    let active = steps * 0.042;
    let mut record = json!({
        "metadata": {
            "start_time": start_time,
            "end_time": end_time,
            "upload_type": 1,
            "timestamp_localization": 1,
        },
        "distance_data": {
            "steps": number(steps),
            "distance_meters": number(round(steps * 0.74, 1)),
        },
        "calories_data": { "total_burned_calories": number(round(basal + active, 1)) },
        "heart_rate_data": {
            "summary": { "resting_hr_bpm": number((person.resting_bpm + dice.real(-3.0, 3.0, 0)).round()) },
        },
    });
    if detail.has_summaries() {
        record["device_data"] = device(seed, user_id);
        add_summaries(&mut record, &mut dice, &person, share);
    }
    if detail.has_samples() {
        let to = (SECONDS_PER_DAY as f64 * share) as i64;
        add_samples(&mut record, &mut dice, &day, &person, Span { from: 0, to, every: 600 });
    }
    record
}

fn add_summaries(record: &mut Value, dice: &mut Dice, person: &Person, share: f64) {
    let active = (dice.whole(25, 110) * 60) as f64 * share;
    let hard = active * dice.real(0.1, 0.4, 2);
    record["active_durations_data"] = json!({
        "activity_seconds": number(active.round()),
        "vigorous_intensity_seconds": number(hard.round()),
        "moderate_intensity_seconds": number((active - hard).round()),
        "low_intensity_seconds": number((share * dice.real(6_000.0, 14_000.0, 0)).round()),
        "inactivity_seconds": number((share * dice.real(26_000.0, 40_000.0, 0)).round()),
        "standing_hours_count": number((share * dice.real(6.0, 14.0, 0)).round()),
        "activity_levels_samples": [],
    });
    let total = record["calories_data"]["total_burned_calories"].clone();
    let basal = round(person.basal_calories() * share, 1);
    record["calories_data"] = json!({
        "net_activity_calories": number(round(total.as_f64().unwrap_or(basal) - basal, 1)),
        "BMR_calories": number(basal),
        "total_burned_calories": total,
        "calorie_samples": [],
    });
    let floors = (share * dice.real(0.0, 22.0, 0)).round();
    record["distance_data"]["floors_climbed"] = number(floors);
    record["distance_data"]["elevation"] = json!({ "gain_actual_meters": number(round(floors * 3.0, 1)) });
    let summary = &mut record["heart_rate_data"]["summary"];
    summary["avg_hr_bpm"] = number((person.resting_bpm + dice.real(8.0, 18.0, 0)).round());
    summary["max_hr_bpm"] = number((person.max_bpm - dice.real(10.0, 60.0, 0)).round());
    summary["min_hr_bpm"] = number((person.resting_bpm - dice.real(1.0, 5.0, 0)).round());
    summary["avg_hrv_rmssd"] = json!(dice.real(24.0, 92.0, 1));
    record["oxygen_data"] = json!({
        "avg_saturation_percentage": dice.real(94.0, 98.5, 1),
        "vo2max_ml_per_min_per_kg": round(32.0 + 26.0 * person.fitness, 1),
        "saturation_samples": [],
        "vo2_samples": [],
    });
    let stress = dice.real(18.0, 62.0, 1);
    record["stress_data"] = json!({
        "avg_stress_level": stress,
        "max_stress_level": dice.whole(70, 98),
        "rest_stress_duration_seconds": number((share * dice.real(15_000.0, 30_000.0, 0)).round()),
        "low_stress_duration_seconds": number((share * dice.real(9_000.0, 20_000.0, 0)).round()),
        "medium_stress_duration_seconds": number((share * dice.real(3_000.0, 9_000.0, 0)).round()),
        "high_stress_duration_seconds": number((share * dice.real(0.0, 4_000.0, 0)).round()),
        "stress_rating": if stress < 25.0 { 1 } else if stress < 50.0 { 2 } else { 3 },
        "samples": [],
        "body_battery_samples": [],
    });
    record["MET_data"] = json!({ "avg_level": dice.real(1.2, 2.1, 2), "MET_samples": [] });
    record["scores"] = json!({
        "activity": dice.whole(40, 99),
        "recovery": dice.whole(35, 98),
        "sleep": dice.whole(45, 97),
    });
    record["data_enrichment"] = json!({
        "total_stress_score": stress,
        "respiratory_score": dice.real(60.0, 99.0, 1),
        "immune_index": dice.whole(0, 5),
        "resilience_score": dice.whole(40, 95),
        "strain_index": dice.real(5.0, 18.0, 1),
        "strain_traffic_light": dice.pick(&["GREEN", "AMBER", "RED"]),
    });
}

fn add_samples(record: &mut Value, dice: &mut Dice, day: &Day, person: &Person, span: Span) {
    let bpm = Measure { field: "bpm", spread: 8.0, digits: 0, timed: false };
    record["heart_rate_data"]["detailed"] = json!({
        "hr_samples": series(dice, day, span, bpm, |share| {
            person.resting_bpm + 18.0 * (share * std::f64::consts::PI).sin()
        }),
        "hrv_samples_rmssd": [],
        "hrv_samples_sdnn": [],
    });
    let steps = Measure { field: "steps", spread: 60.0, digits: 0, timed: false };
    record["distance_data"]["detailed"] = json!({
        "step_samples": series(dice, day, span, steps, |_| 70.0),
        "distance_samples": [],
        "elevation_samples": [],
        "floors_climbed_samples": [],
    });
    let level = Measure { field: "level", spread: 14.0, digits: 0, timed: false };
    record["stress_data"]["samples"] = series(dice, day, span, level, |_| 35.0);
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_day_only_grows() {
        let steps = |share| {
            let record = daily_so_far(3, "user-1", date(2026, 5, 2), Detail::Summary, share);
            record["distance_data"]["steps"].as_i64().unwrap()
        };
        assert!(steps(0.3) < steps(0.6));
        assert!(steps(0.6) < steps(1.0));
    }
}
