//! Cycles.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::generate::day::{Day, shifted};
use crate::generate::person::Person;

/// Terra's flow levels over a period: medium, heavy, medium, light, light.
const FLOW: [u32; 5] = [3, 4, 3, 2, 2];

/// First day and number of the phases that follow the period, as Terra numbers them: follicular,
/// fertile window, ovulation, luteal.
const PHASES: [(i64, u32); 4] = [(6, 2), (11, 3), (14, 4), (16, 5)];

#[must_use]
pub fn menstruation(seed: u64, user_id: &str, date: Date) -> Value {
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["cycle", user_id]);
    let cycle_days = dice.whole(26, 32);
    let shift = dice.whole(0, cycle_days - 1);
    let epoch = jiff::civil::date(2020, 1, 1);
    let since = i64::from((date - epoch).get_days());
    let day_in_cycle = (since + shift).rem_euclid(cycle_days) + 1;
    let period_days = FLOW.len() as i64;
    let phase = PHASES.iter().rev().find(|(first, _)| day_in_cycle >= *first).map_or(1, |(_, number)| *number);
    let period_start = shifted(date, 1 - day_in_cycle);
    let day = Day::of(date, person.offset_minutes);
    let (start_time, end_time) = day.whole();
    let flow: Vec<Value> = usize::try_from(day_in_cycle - 1)
        .ok()
        .and_then(|place| FLOW.get(place))
        .map(|flow| json!({ "timestamp": day.at(8 * 3_600), "flow": flow }))
        .into_iter()
        .collect();
    json!({
        "metadata": {
            "start_time": start_time,
            "end_time": end_time,
            "timestamp_localization": 1,
        },
        "menstruation_data": {
            "period_start_date": period_start.to_string(),
            "period_length_days": period_days,
            "day_in_cycle": day_in_cycle,
            "cycle_length_days": cycle_days,
            "predicted_cycle_length_days": cycle_days,
            "is_predicted_cycle": false,
            "current_phase": phase,
            "ovulation_day": shifted(period_start, 13).to_string(),
            "fertility_window_start": shifted(period_start, 10).to_string(),
            "fertility_window_end": shifted(period_start, 14).to_string(),
            "last_updated_time": day.at(9 * 3_600),
            "menstruation_flow": flow,
        },
    })
}
