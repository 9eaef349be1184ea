//! What a user's provider holds for some days.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use crate::catalog::provider;
use crate::generate::{Detail, activities, daily_so_far, record, shifted, sleep};
use crate::rest::Window;
use crate::settings::Amount;
use crate::user::User;
use crate::whims::{history_of, seed_of};
use crate::world::World;

/// Records of the window, oldest first: not before the user's history starts, nothing that has not
/// happened yet, and nothing that the provider does not measure.
pub(crate) fn records(world: &World, kind: &str, user: &User, window: Window, detail: Detail) -> Vec<Value> {
    if !provider(&user.provider).types.contains(&kind) {
        return Vec::new();
    }
    let today = world.clock.today();
    let (amount, days) = history_of(world, &user.user_id);
    let earliest = shifted(today, -i64::from(days));
    match amount {
        Amount::Full => {}
        Amount::Sparse => return firsts_of_months(world, kind, user, window, earliest),
        Amount::Empty => return Vec::new(),
    }
    if kind == "sleep" {
        return nights(world, user, window, detail, earliest);
    }
    let days = window.days(earliest, today);
    let of_day = |date| match kind {
        "activity" => activities(seed_of(world, &user.user_id), &user.user_id, date, detail)
            .into_iter()
            .filter(|activity| is_over(activity, world))
            .collect(),
        "daily" if date == today => vec![today_so_far(world, user, date, detail)],
        _ => record(kind, seed_of(world, &user.user_id), &user.user_id, date, detail).into_iter().collect(),
    };
    days.flat_map(of_day).collect()
}

/// A night belongs to the day on which it begins and to the one on which it ends, so it is found
/// under both.
fn nights(world: &World, user: &User, window: Window, detail: Detail, earliest: Date) -> Vec<Value> {
    let wider = Window { start: window.start, end: shifted(window.end, 1) };
    let touches = |night: &Value| {
        ["start_time", "end_time"].iter().any(|field| {
            let time = night["metadata"][field].as_str().unwrap_or_default();
            time.get(..10).and_then(|date| date.parse().ok()).is_some_and(|date| window.holds(date))
        })
    };
    wider
        .days(earliest, world.clock.today())
        .map(|date| sleep(seed_of(world, &user.user_id), &user.user_id, date, detail))
        .filter(|night| touches(night) && is_over(night, world))
        .collect()
}

fn firsts_of_months(world: &World, kind: &str, user: &User, window: Window, earliest: Date) -> Vec<Value> {
    window
        .days(earliest, shifted(world.clock.today(), -1))
        .filter(|date| date.day() == 1)
        .filter_map(|date| record(kind, seed_of(world, &user.user_id), &user.user_id, date, Detail::Brief))
        .collect()
}

fn today_so_far(world: &World, user: &User, today: Date, detail: Detail) -> Value {
    let share = world.clock.unix_seconds().rem_euclid(86_400) as f64 / 86_400.0;
    daily_so_far(seed_of(world, &user.user_id), &user.user_id, today, detail, share)
}

fn is_over(record: &Value, world: &World) -> bool {
    let end = record["metadata"]["end_time"].as_str().unwrap_or_default();
    end.parse::<Timestamp>().is_ok_and(|end| end.as_millisecond() <= world.clock.unix_ms())
}
