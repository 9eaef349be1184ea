//! Nights.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::{Dice, round};
use crate::generate::Detail;
use crate::generate::day::Day;
use crate::generate::device::device;
use crate::generate::person::Person;
use crate::generate::samples::{Measure, Span, number, series};

/// Terra's sleep levels, in the order of one cycle.
const CYCLE: [(u32, i64); 5] = [(4, 24), (5, 22), (4, 14), (6, 20), (1, 2)];

/// The night that ends on a date. Most begin the evening before, so that their record belongs to
/// two dates.
#[must_use]
pub fn sleep(seed: u64, user_id: &str, date: Date, detail: Detail) -> Value {
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["sleep", user_id, &date.to_string()]);
    let day = Day::of(date, person.offset_minutes);
    let summary_id = dice.uuid().to_string();
    let from = dice.whole(-120, 60) * 60;
    let in_bed = dice.whole(380, 540) * 60;
    let span = Span { from, to: from + in_bed, every: 300 };
    let awake = dice.whole(8, 45) * 60;
    let asleep = in_bed - awake;
    let efficiency = round(asleep as f64 * 100.0 / in_bed as f64, 1);
    let lowest = person.resting_bpm + dice.real(-3.0, 3.0, 1);
    let mut record = json!({
        "metadata": {
            "summary_id": summary_id,
            "start_time": day.at(span.from),
            "end_time": day.at(span.to),
            "is_nap": false,
            "upload_type": 2,
            "timestamp_localization": 1,
        },
        "sleep_durations_data": {
            "asleep": { "duration_asleep_state_seconds": asleep },
            "awake": { "duration_awake_state_seconds": awake },
            "other": { "duration_in_bed_seconds": in_bed },
            "sleep_efficiency": efficiency,
        },
    });
    if detail.has_summaries() {
        record["device_data"] = device(seed, user_id);
        add_summaries(&mut record, &mut dice, asleep, lowest, efficiency);
    }
    if detail.has_samples() {
        add_samples(&mut record, &mut dice, &day, span, lowest);
    }
    record
}

fn add_summaries(record: &mut Value, dice: &mut Dice, asleep: i64, lowest: f64, efficiency: f64) {
    let deep = asleep * dice.whole(14, 24) / 100;
    let rem = asleep * dice.whole(17, 26) / 100;
    record["sleep_durations_data"]["asleep"] = json!({
        "duration_asleep_state_seconds": asleep,
        "duration_deep_sleep_state_seconds": deep,
        "duration_REM_sleep_state_seconds": rem,
        "duration_light_sleep_state_seconds": asleep - deep - rem,
        "num_REM_events": dice.whole(3, 6),
    });
    let awake = &mut record["sleep_durations_data"]["awake"];
    awake["num_wakeup_events"] = json!(dice.whole(1, 6));
    awake["num_out_of_bed_events"] = json!(dice.whole(0, 2));
    awake["sleep_latency_seconds"] = json!(dice.whole(3, 25) * 60);
    awake["wake_up_latency_seconds"] = json!(dice.whole(1, 12) * 60);
    record["heart_rate_data"] = json!({
        "summary": {
            "avg_hr_bpm": number((lowest + 5.0).round()),
            "min_hr_bpm": number(lowest.round()),
            "max_hr_bpm": number((lowest + dice.real(18.0, 34.0, 0)).round()),
            "resting_hr_bpm": number(lowest.round()),
            "avg_hrv_rmssd": dice.real(24.0, 92.0, 1),
            "avg_hrv_sdnn": null,
            "hr_zone_data": [],
        },
    });
    record["respiration_data"] = json!({
        "breaths_data": {
            "avg_breaths_per_min": dice.real(12.5, 16.5, 1),
            "min_breaths_per_min": dice.real(10.0, 12.0, 1),
            "max_breaths_per_min": dice.real(17.0, 20.0, 1),
            "on_demand_reading": false,
            "samples": [],
        },
        "oxygen_saturation_data": {
            "avg_saturation_percentage": dice.real(94.0, 98.5, 1),
            "samples": [],
        },
    });
    record["temperature_data"] = json!({ "delta": dice.real(-0.6, 0.7, 2) });
    record["readiness_data"] = json!({
        "readiness": dice.whole(40, 98),
        "recovery_level": dice.whole(2, 6),
    });
    record["scores"] = json!({ "sleep": (efficiency - dice.real(0.0, 18.0, 0)).round() });
    record["data_enrichment"] = json!({
        "sleep_score": dice.real(48.0, 97.0, 1),
        "readiness_score": dice.real(45.0, 96.0, 1),
        "respiratory_score_v2": dice.real(60.0, 99.0, 1),
    });
}

fn add_samples(record: &mut Value, dice: &mut Dice, day: &Day, span: Span, lowest: f64) {
    let bpm = Measure { field: "bpm", spread: 3.0, digits: 0, timed: false };
    let rmssd = Measure { field: "hrv_rmssd", spread: 12.0, digits: 1, timed: false };
    record["heart_rate_data"]["detailed"] = json!({
        "hr_samples": series(dice, day, span, bpm, |share| {
            lowest + 10.0 * (share - 0.6).powi(2) * 3.0
        }),
        "hrv_samples_rmssd": series(dice, day, span, rmssd, |_| 55.0),
        "hrv_samples_sdnn": [],
    });
    let breaths = Measure { field: "breaths_per_min", spread: 1.2, digits: 1, timed: false };
    record["respiration_data"]["breaths_data"]["samples"] = series(dice, day, span, breaths, |_| 14.2);
    record["sleep_durations_data"]["hypnogram_samples"] = hypnogram(day, span);
}

/// Cycles of an hour and a half until morning.
fn hypnogram(day: &Day, span: Span) -> Value {
    let mut samples = vec![json!({ "timestamp": day.at(span.from), "level": 1 })];
    let mut second = span.from + 10 * 60;
    for (level, minutes) in CYCLE.iter().cycle() {
        if second >= span.to {
            break;
        }
        samples.push(json!({ "timestamp": day.at(second), "level": level }));
        second += minutes * 60;
    }
    samples.into()
}
