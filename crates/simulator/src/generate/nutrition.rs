//! What was eaten and drunk.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::{Dice, round};
use crate::generate::Detail;
use crate::generate::day::Day;
use crate::generate::person::Person;
use crate::generate::samples::number;

/// Terra's meal type, hour, and what there was.
const MEALS: [(u32, i64, &[&str]); 4] = [
    (1, 8, &["Porridge with berries", "Eggs on toast", "Yoghurt and granola"]),
    (3, 13, &["Lentil soup", "Chicken salad", "Cheese sandwich"]),
    (4, 16, &["Apple", "Handful of almonds", "Protein bar"]),
    (5, 19, &["Pasta with tomatoes", "Rice and vegetables", "Baked salmon"]),
];

const GRAM: u32 = 1;
const MILLILITER: u32 = 8;

#[must_use]
pub fn nutrition(seed: u64, user_id: &str, date: Date, detail: Detail) -> Value {
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["nutrition", user_id, &date.to_string()]);
    let day = Day::of(date, person.offset_minutes);
    let (start_time, end_time) = day.whole();
    let calories = (person.basal_calories() * dice.real(1.1, 1.6, 3)).round();
    let water_ml = dice.whole(6, 14) * 200;
    let mut record = json!({
        "metadata": {
            "start_time": start_time,
            "end_time": end_time,
            "timestamp_localization": 1,
        },
        "summary": { "macros": macros(calories), "micros": micros(calories), "water_ml": water_ml },
    });
    if detail.has_summaries() {
        record["meals"] = meals(&mut dice, &day, calories);
        record["drink_samples"] = json!([{
            "timestamp": day.at(10 * 3_600),
            "drink_name": "Water",
            "drink_volume": water_ml,
            "drink_unit": MILLILITER,
        }]);
    }
    record
}

fn meals(dice: &mut Dice, day: &Day, calories: f64) -> Value {
    let shares = [0.25, 0.35, 0.1, 0.3];
    let meals = MEALS.iter().zip(shares).map(|((kind, hour, dishes), share)| {
        json!({
            "id": dice.uuid().to_string(),
            "name": dice.pick(dishes),
            "type": kind,
            "timestamp": day.at(hour * 3_600 + dice.whole(0, 45) * 60),
            "quantity": { "unit": GRAM, "amount": dice.whole(80, 520) },
            "macros": macros((calories * share).round()),
            "micros": micros((calories * share).round()),
        })
    });
    meals.collect()
}

/// Half of the energy from carbohydrates, a third from fat, the rest from protein.
fn macros(calories: f64) -> Value {
    json!({
        "calories": number(calories),
        "carbohydrates_g": number(round(calories * 0.50 / 4.0, 1)),
        "fat_g": number(round(calories * 0.33 / 9.0, 1)),
        "protein_g": number(round(calories * 0.17 / 4.0, 1)),
        "fiber_g": number(round(calories / 80.0, 1)),
        "sugar_g": number(round(calories / 40.0, 1)),
        "sodium_mg": number((calories * 1.1).round()),
    })
}

/// A few of the many that Terra knows; the others are left out, as most apps do.
fn micros(calories: f64) -> Value {
    json!({
        "calcium_mg": number((calories * 0.45).round()),
        "iron_mg": number(round(calories * 0.006, 1)),
        "magnesium_mg": number((calories * 0.17).round()),
        "potassium_mg": number((calories * 1.5).round()),
        "vitamin_C_mg": number(round(calories * 0.045, 1)),
    })
}
