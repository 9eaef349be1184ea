//! Who is behind a user id: the traits that stay the same from day to day.

use crate::dice::Dice;

/// Offsets from UTC in minutes, among them one that is no whole hour.
const OFFSETS: [i64; 7] = [-480, -300, 0, 60, 120, 330, 600];

const HOMES: [(&str, &str, &str, f64, f64); 5] = [
    ("Lisbon", "Lisboa", "Portugal", 38.7223, -9.1393),
    ("Leeds", "England", "United Kingdom", 53.8008, -1.5491),
    ("Boulder", "Colorado", "United States", 40.0150, -105.2705),
    ("Pune", "Maharashtra", "India", 18.5204, 73.8567),
    ("Hobart", "Tasmania", "Australia", -42.8821, 147.3272),
];

pub(crate) struct Person {
    pub(crate) offset_minutes: i64,
    pub(crate) city: &'static str,
    pub(crate) state: &'static str,
    pub(crate) country: &'static str,
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    pub(crate) male: bool,
    pub(crate) age: i64,
    pub(crate) height_cm: f64,
    pub(crate) weight_kg: f64,
    pub(crate) resting_bpm: f64,
    pub(crate) max_bpm: f64,
    /// 0.0 for who sits all day, 1.0 for an athlete.
    pub(crate) fitness: f64,
}

impl Person {
    pub(crate) fn of(seed: u64, user_id: &str) -> Self {
        let mut dice = Dice::of(seed, &["person", user_id]);
        let (city, state, country, latitude, longitude) = *dice.pick(&HOMES);
        let male = dice.chance(0.5);
        let age = dice.whole(19, 68);
        let fitness = dice.unit();
        let height_cm = dice.real(156.0, 178.0, 1) + if male { 12.0 } else { 0.0 };
        Self {
            offset_minutes: *dice.pick(&OFFSETS),
            city,
            state,
            country,
            latitude,
            longitude,
            male,
            age,
            height_cm,
            weight_kg: (height_cm - 100.0) * dice.real(0.82, 1.18, 2),
            resting_bpm: 74.0 - 26.0 * fitness,
            max_bpm: 208.0 - 0.7 * age as f64,
            fitness,
        }
    }

    /// Calories that the body burns in a day of lying still (Mifflin and St Jeor).
    pub(crate) fn basal_calories(&self) -> f64 {
        let sex = if self.male { 5.0 } else { -161.0 };
        10.0 * self.weight_kg + 6.25 * self.height_cm - 5.0 * self.age as f64 + sex
    }
}
