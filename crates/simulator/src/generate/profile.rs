//! The profile of a person. It is the one kind of data without a `data` array.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::generate::day::shifted;
use crate::generate::person::Person;

const FIRST_NAMES: [&str; 8] = ["Ana", "Ben", "Chidi", "Devi", "Elif", "Finn", "Grace", "Hugo"];
const LAST_NAMES: [&str; 8] = ["Abreu", "Brook", "Costa", "Dewan", "Ellis", "Fisher", "Gupta", "Holt"];

/// Ages are drawn for this year; a birthday must not move with the date that is asked for.
const BORN_BEFORE: i64 = 2_026;

#[must_use]
pub fn athlete(seed: u64, user_id: &str, date: Date) -> Value {
    let person = Person::of(seed, user_id);
    let mut dice = Dice::of(seed, &["athlete", user_id]);
    let (first_name, last_name) = (*dice.pick(&FIRST_NAMES), *dice.pick(&LAST_NAMES));
    let born = BORN_BEFORE - person.age;
    let sex = if person.male { "male" } else { "female" };
    json!({
        "first_name": first_name,
        "last_name": last_name,
        "email": format!("{}.{}@example.com", first_name.to_lowercase(), last_name.to_lowercase()),
        "bio": null,
        "sex": sex,
        "gender": sex,
        "age": i64::from(date.year()) - born,
        "date_of_birth": format!("{born:04}-{:02}-{:02}", dice.whole(1, 12), dice.whole(1, 28)),
        "city": person.city,
        "state": person.state,
        "country": person.country,
        "account_creation_date": shifted(jiff::civil::date(2017, 1, 1), dice.whole(0, 2_000)).to_string(),
        "provider_user_id": format!("{:010x}", dice.bits() >> 24),
    })
}
