//! Workouts.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::{Dice, round};
use crate::generate::Detail;
use crate::generate::day::Day;
use crate::generate::device::device;
use crate::generate::person::Person;
use crate::generate::samples::{Measure, Span, number, series};

struct Sport {
    /// Terra's number for it.
    code: u32,
    name: &'static str,
    meters_per_second: f64,
    /// Share of the heart rate reserve.
    effort: f64,
    steps_per_meter: f64,
}

const SPORTS: [Sport; 5] = [
    Sport { code: 8, name: "Run", meters_per_second: 2.9, effort: 0.72, steps_per_meter: 0.95 },
    Sport { code: 7, name: "Walk", meters_per_second: 1.4, effort: 0.32, steps_per_meter: 1.35 },
    Sport { code: 1, name: "Ride", meters_per_second: 6.7, effort: 0.58, steps_per_meter: 0.0 },
    Sport { code: 35, name: "Hike", meters_per_second: 1.1, effort: 0.45, steps_per_meter: 1.5 },
    Sport { code: 82, name: "Swim", meters_per_second: 0.8, effort: 0.55, steps_per_meter: 0.0 },
];

const RUN: &Sport = &SPORTS[0];
const MARATHON_METERS: f64 = 42_195.0;
const MARATHON_SECONDS: i64 = 13_000;
/// Samples of a usual activity, however long it was: its size stays near 60 kB.
const SAMPLES_WANTED: i64 = 155;

/// The plain facts of one workout, before they are spread over Terra's fields.
struct Workout<'a> {
    sport: &'a Sport,
    from: i64,
    seconds: i64,
    meters: f64,
    avg_bpm: f64,
    climb_meters: f64,
}

/// The workouts of a day: on some days none, on others two.
#[must_use]
pub fn activities(seed: u64, user_id: &str, date: Date, detail: Detail) -> Vec<Value> {
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["activities", user_id, &date.to_string()]);
    let count = if !dice.chance(0.35 + 0.4 * person.fitness) {
        0
    } else if dice.chance(0.15) {
        2
    } else {
        1
    };
    (0..count).map(|number| build(seed, user_id, date, detail, number)).collect()
}

/// One workout of a day, whether or not [`activities`] has one there.
#[must_use]
pub fn activity(seed: u64, user_id: &str, date: Date, detail: Detail) -> Value {
    build(seed, user_id, date, detail, 0)
}

fn build(seed: u64, user_id: &str, date: Date, detail: Detail, number: u32) -> Value {
    let person = Person::of(seed, user_id);
    let names = ["activity", user_id, &date.to_string(), &number.to_string()];
    let mut dice = Dice::of(seed, &names);
    let day = Day::of(date, person.offset_minutes);
    let summary_id = dice.uuid().to_string();
    let workout = workout(&mut dice, &person, detail, number);
    let mut record = brief(&workout, &day, &person, &summary_id);
    if detail.has_summaries() {
        record["device_data"] = device(seed, user_id);
        add_summaries(&mut record, &mut dice, &workout, &day, &person);
    }
    if detail.has_samples() {
        let every = match detail {
            Detail::PerSecond => 1,
            Detail::Brief | Detail::Summary | Detail::Samples | Detail::Complete => {
                (workout.seconds / SAMPLES_WANTED).max(1)
            }
        };
        let mut dice = Dice::of(seed, &["samples", user_id, &summary_id]);
        add_samples(&mut record, &mut dice, &workout, &day, &person, every);
    }
    record
}

fn workout<'a>(dice: &mut Dice, person: &Person, detail: Detail, number: u32) -> Workout<'a> {
    let marathon = detail == Detail::PerSecond;
    let sport = if marathon { RUN } else { dice.pick(&SPORTS) };
    let seconds = if marathon { MARATHON_SECONDS } else { dice.whole(20, 85) * 60 + dice.whole(0, 59) };
    let pace = sport.meters_per_second * (0.85 + 0.35 * person.fitness) * dice.real(0.92, 1.08, 3);
    let reserve = person.max_bpm - person.resting_bpm;
    // The second workout of a day is in the evening, so that the two never overlap.
    let earliest = if number == 0 { 6 } else { 17 };
    Workout {
        sport,
        from: (earliest * 60 + dice.whole(0, 150)) * 60 + dice.whole(0, 59),
        seconds,
        meters: round(if marathon { MARATHON_METERS } else { pace * seconds as f64 }, 2),
        avg_bpm: (person.resting_bpm + sport.effort * reserve + dice.real(-6.0, 6.0, 1)).round(),
        climb_meters: dice.real(4.0, 180.0, 1),
    }
}

fn calories(workout: &Workout<'_>, person: &Person) -> f64 {
    let minutes = workout.seconds as f64 / 60.0;
    round(minutes * (2.0 + 13.0 * workout.sport.effort) * person.weight_kg / 75.0, 1)
}

fn brief(workout: &Workout<'_>, day: &Day, person: &Person, summary_id: &str) -> Value {
    let meters_per_second = workout.meters / workout.seconds as f64;
    json!({
        "metadata": {
            "summary_id": summary_id,
            "name": format!("{} {}", if workout.from < 43_200 { "Morning" } else { "Evening" }, workout.sport.name),
            "type": workout.sport.code,
            "upload_type": 1,
            "start_time": day.at(workout.from),
            "end_time": day.at(workout.from + workout.seconds),
            "timestamp_localization": 1,
        },
        "active_durations_data": { "activity_seconds": workout.seconds },
        "calories_data": { "total_burned_calories": number(calories(workout, person)) },
        "distance_data": { "summary": { "distance_meters": number(workout.meters) } },
        "heart_rate_data": { "summary": { "avg_hr_bpm": number(workout.avg_bpm) } },
        "movement_data": {
            "avg_speed_meters_per_second": round(meters_per_second, 3),
        },
    })
}

fn add_summaries(record: &mut Value, dice: &mut Dice, workout: &Workout<'_>, day: &Day, person: &Person) {
    let seconds = workout.seconds as f64;
    let hard = (seconds * dice.real(0.1, 0.35, 2)).round();
    let speed = workout.meters / seconds;
    let burned = calories(workout, person);
    let at_rest = round(person.basal_calories() * seconds / 86_400.0, 1);
    record["metadata"]["city"] = json!(person.city);
    record["metadata"]["state"] = json!(person.state);
    record["metadata"]["country"] = json!(person.country);
    record["active_durations_data"] = json!({
        "activity_seconds": workout.seconds,
        "vigorous_intensity_seconds": number(hard),
        "moderate_intensity_seconds": number(seconds - hard),
        "low_intensity_seconds": 0,
        "rest_seconds": 0,
        "activity_levels_samples": [],
    });
    record["calories_data"] = json!({
        "total_burned_calories": number(burned),
        "net_activity_calories": number(round(burned - at_rest, 1)),
        "BMR_calories": number(at_rest),
        "calorie_samples": [],
    });
    record["distance_data"]["summary"] = json!({
        "distance_meters": number(workout.meters),
        "steps": number((workout.meters * workout.sport.steps_per_meter).round()),
        "floors_climbed": number((workout.climb_meters / 3.0).floor()),
        "elevation": {
            "gain_actual_meters": number(workout.climb_meters),
            "loss_actual_meters": number(round(workout.climb_meters * 0.97, 1)),
            "min_meters": 52.4,
            "max_meters": number(round(52.4 + workout.climb_meters * 0.6, 1)),
            "avg_meters": number(round(52.4 + workout.climb_meters * 0.3, 1)),
        },
    });
    record["heart_rate_data"]["summary"] = json!({
        "avg_hr_bpm": number(workout.avg_bpm),
        "max_hr_bpm": number((workout.avg_bpm + dice.real(12.0, 26.0, 0)).min(person.max_bpm).round()),
        "min_hr_bpm": number((workout.avg_bpm - dice.real(30.0, 48.0, 0)).max(person.resting_bpm).round()),
        "resting_hr_bpm": number(person.resting_bpm.round()),
        "user_max_hr_bpm": number(person.max_bpm.round()),
        "avg_hrv_rmssd": null,
        "hr_zone_data": zones(seconds, hard),
    });
    record["movement_data"] = json!({
        "avg_speed_meters_per_second": round(speed, 3),
        "max_speed_meters_per_second": round(speed * dice.real(1.2, 1.6, 3), 3),
        "avg_pace_minutes_per_kilometer": round(1_000.0 / 60.0 / speed, 3),
        "avg_cadence_rpm": number(dice.real(74.0, 92.0, 0)),
    });
    let (latitude, longitude) = place(person, 0.0);
    record["position_data"] = json!({
        "start_pos_lat_lng_deg": [latitude, longitude],
        "end_pos_lat_lng_deg": [latitude, longitude],
    });
    record["data_enrichment"] = json!({
        "strain_score": dice.real(20.0, 95.0, 1),
        "efficiency_score": dice.real(55.0, 98.0, 1),
        "trimp_score": dice.real(30.0, 180.0, 1),
    });
    record["lap_data"] = json!({
        "laps": [{
            "start_time": day.at(workout.from),
            "end_time": day.at(workout.from + workout.seconds),
            "distance_meters": number(workout.meters),
            "avg_hr_bpm": number(workout.avg_bpm),
            "avg_speed_meters_per_second": round(speed, 3),
        }],
    });
}

fn zones(seconds: f64, hard: f64) -> Value {
    let easy = seconds - hard;
    let shares = [(1, "Warm up", 50, 60, easy * 0.2), (2, "Easy", 60, 70, easy * 0.8)];
    let hard = [(3, "Aerobic", 70, 80, hard * 0.7), (4, "Threshold", 80, 90, hard * 0.3)];
    let zone = |(zone, name, from, to, duration): &(i32, &str, i32, i32, f64)| {
        json!({
            "zone": zone,
            "name": name,
            "start_percentage": from,
            "end_percentage": to,
            "duration_seconds": number(duration.round()),
        })
    };
    shares.iter().chain(&hard).map(zone).collect()
}

fn add_samples(record: &mut Value, dice: &mut Dice, workout: &Workout<'_>, day: &Day, person: &Person, every: i64) {
    let span = Span { from: workout.from, to: workout.from + workout.seconds, every };
    let speed = workout.meters / workout.seconds as f64;
    // The heart needs some minutes to follow the legs.
    let heart = |share: f64| workout.avg_bpm - 30.0 * (-share * 12.0).exp() + 6.0 * share;
    let bpm = Measure { field: "bpm", spread: 5.0, digits: 0, timed: true };
    record["heart_rate_data"]["detailed"] = json!({
        "hr_samples": series(dice, day, span, bpm, heart),
        "hrv_samples_rmssd": [],
        "hrv_samples_sdnn": [],
    });
    let pace = Measure { field: "speed_meters_per_second", spread: 0.4, digits: 2, timed: false };
    record["movement_data"]["speed_samples"] = series(dice, day, span, pace, |_| speed);
    let turns = Measure { field: "cadence_rpm", spread: 4.0, digits: 0, timed: false };
    record["movement_data"]["cadence_samples"] = series(dice, day, span, turns, |_| 84.0);
    let coarse = Span { every: every * 4, ..span };
    let height = Measure { field: "elev_meters", spread: 1.5, digits: 1, timed: false };
    record["distance_data"]["detailed"] = json!({
        "elevation_samples": series(dice, day, coarse, height, |share| {
            52.4 + workout.climb_meters * 0.6 * (share * std::f64::consts::PI).sin()
        }),
        "distance_samples": [],
        "floors_climbed_samples": [],
        "step_samples": [],
    });
    record["position_data"]["position_samples"] = span
        .seconds()
        .map(|second| {
            let (latitude, longitude) = place(person, span.share(second));
            json!({
                "timestamp": day.at(second),
                "coords_lat_lng_deg": [latitude, longitude],
                "timer_duration_seconds": second - span.from,
            })
        })
        .collect();
}

/// A loop that starts and ends at home.
fn place(person: &Person, share: f64) -> (f64, f64) {
    let angle = share * std::f64::consts::TAU;
    let (sine, cosine) = angle.sin_cos();
    (round(person.latitude + 0.012 * sine, 6), round(person.longitude + 0.018 * (1.0 - cosine), 6))
}
