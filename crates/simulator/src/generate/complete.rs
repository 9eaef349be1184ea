//! Every leaf of Terra's schemas, filled: records as no single device makes them, but as any of them
//! may be in part.
//!
//! The tables name each leaf and what it may hold. What a generator has drawn already stays, so that
//! a complete record tells the same story as a shorter one.

mod activity;
mod body;
mod daily;
mod menstruation;
mod nutrition;
mod planned_workout;
mod shared;
mod sleep;

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use crate::dice::Dice;
use crate::generate::day::{Day, shifted};
use crate::generate::person::Person;
use crate::generate::samples::number;
use Fill::{Real, Text};

/// A path, in which `name[]` stands for the items of a list, and what its end holds.
pub(super) type Leaf = (&'static str, Fill);

#[derive(Debug, Clone, Copy)]
pub(super) enum Fill {
    /// Low, high, digits.
    Real(f64, f64, i32),
    /// Both ends included.
    Whole(i64, i64),
    Text(&'static str),
    Pick(&'static [&'static str]),
    Is(bool),
    /// An hour of the day; later items of a list are minutes later.
    At(i64),
    /// A date, so many days after that of the record.
    On(i64),
    Id,
    /// Weights by name.
    Scores,
}

/// A list that had none has this many items.
const ITEMS: usize = 2;

const ATHLETE: &[Leaf] = &[("bio", Text("Runs before breakfast."))];
const HORMONE: &[Leaf] = &[("hcg_mIU_per_ml", Real(0.5, 9.0, 1))];

fn tables(kind: &str) -> (&'static [Leaf], &'static [(&'static str, &'static [Leaf])]) {
    match kind {
        "activity" => (activity::OWN, activity::SHARED),
        "athlete" => (ATHLETE, &[]),
        "body" => (body::OWN, body::SHARED),
        "daily" => (daily::OWN, daily::SHARED),
        "hormone" => (HORMONE, &[]),
        "menstruation" => (menstruation::OWN, &[]),
        "nutrition" => (nutrition::OWN, nutrition::SHARED),
        "planned_workout" => (planned_workout::OWN, &[]),
        "sleep" => (sleep::OWN, sleep::SHARED),
        _ => (&[], &[]),
    }
}

/// Fills what is missing or null in a record of a kind.
pub(super) fn fill(kind: &str, record: &mut Value, seed: u64, user_id: &str, date: Date) {
    let person = Person::of(seed, user_id);
    let mut drawer = Drawer {
        dice: Dice::of(seed, &["complete", kind, user_id, &date.to_string()]),
        day: Day::of(date, person.offset_minutes),
        date,
    };
    let (own, shared) = tables(kind);
    for (path, fill) in own {
        drawer.put(record, path, *fill, 0);
    }
    for (prefix, leaves) in shared {
        for (path, fill) in *leaves {
            drawer.put(record, &format!("{prefix}.{path}"), *fill, 0);
        }
    }
}

struct Drawer {
    dice: Dice,
    day: Day,
    date: Date,
}

impl Drawer {
    /// `index` is that of the innermost list item on the way.
    fn put(&mut self, place: &mut Value, path: &str, fill: Fill, index: usize) {
        if path.is_empty() {
            if place.is_null() {
                *place = self.draw(fill, index);
            }
            return;
        }
        let (part, rest) = path.split_once('.').unwrap_or((path, ""));
        let Some(fields) = object(place) else { return };
        let Some(name) = part.strip_suffix("[]") else {
            return self.put(fields.entry(part).or_insert(Value::Null), rest, fill, index);
        };
        let list = fields.entry(name).or_insert(Value::Null);
        if list.is_null() {
            *list = json!([]);
        }
        let Some(items) = list.as_array_mut() else { return };
        while items.len() < ITEMS {
            items.push(Value::Null);
        }
        for (index, item) in items.iter_mut().take(ITEMS).enumerate() {
            self.put(item, rest, fill, index);
        }
    }

    fn draw(&mut self, fill: Fill, index: usize) -> Value {
        match fill {
            Fill::Real(low, high, digits) => number(self.dice.real(low, high, digits)),
            Fill::Whole(low, high) => json!(self.dice.whole(low, high)),
            Fill::Text(text) => json!(text),
            Fill::Pick(texts) => json!(self.dice.pick(texts)),
            Fill::Is(is) => json!(is),
            Fill::At(hour) => json!(self.day.at(hour * 3_600 + index as i64 * 60)),
            Fill::On(days) => json!(shifted(self.date, days).to_string()),
            Fill::Id => json!(self.dice.uuid().to_string()),
            Fill::Scores => json!({
                "duration": self.dice.real(0.0, 1.0, 2),
                "consistency": self.dice.real(0.0, 1.0, 2),
            }),
        }
    }
}

/// The fields of a place that is an object or still empty.
fn object(place: &mut Value) -> Option<&mut Map<String, Value>> {
    if place.is_null() {
        *place = json!({});
    }
    place.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_lists_get_two_items() {
        let mut drawer = Drawer {
            dice: Dice::of(1, &["test"]),
            day: Day::of(jiff::civil::date(2026, 3, 1), 60),
            date: jiff::civil::date(2026, 3, 1),
        };
        let mut record = json!({ "a": 1, "b": { "c": null }, "d": [{ "e": 5 }] });
        for (path, fill) in [
            ("a", Fill::Whole(7, 7)),
            ("b.c", Fill::Whole(7, 7)),
            ("d[].e", Fill::Whole(7, 7)),
            ("d[].at", Fill::At(8)),
            ("f[]", Fill::Is(true)),
        ] {
            drawer.put(&mut record, path, fill, 0);
        }
        let expected = json!({
            "a": 1,
            "b": { "c": 7 },
            "d": [
                { "e": 5, "at": "2026-03-01T08:00:00.000000+01:00" },
                { "e": 7, "at": "2026-03-01T08:01:00.000000+01:00" },
            ],
            "f": [true, true],
        });
        assert_eq!(record, expected);
    }
}
