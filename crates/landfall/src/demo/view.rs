//! Numbers as people read them.

use jiff::fmt::strtime;
use jiff::{Timestamp, Zoned};
use serde::Deserialize;

/// What this app takes of an activity; Landfall's answer has more.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Activity {
    name: Option<String>,
    provider: Option<String>,
    start_time: Option<String>,
    distance_meters: Option<f64>,
    activity_seconds: Option<f64>,
    avg_hr_bpm: Option<f64>,
    total_burned_calories: Option<f64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ActivityRow {
    pub(super) start: String,
    pub(super) name: String,
    pub(super) provider: String,
    pub(super) distance: String,
    pub(super) duration: String,
    pub(super) heart_rate: String,
    pub(super) calories: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ConnectionRow {
    pub(super) provider: Option<String>,
    pub(super) status: String,
    pub(super) terra_user_id: String,
    pub(super) last_data_at: Option<String>,
}

impl ConnectionRow {
    pub(super) fn last_data(&self) -> String {
        self.last_data_at.as_deref().map_or_else(missing, moment)
    }
}

impl From<Activity> for ActivityRow {
    fn from(activity: Activity) -> ActivityRow {
        ActivityRow {
            start: activity.start_time.as_deref().map_or_else(missing, moment),
            name: activity.name.unwrap_or_else(|| "Activity".into()),
            provider: activity.provider.unwrap_or_else(missing),
            distance: shown(activity.distance_meters, |meters| format!("{:.1} km", meters / 1_000.0)),
            duration: shown(activity.activity_seconds, duration),
            heart_rate: shown(activity.avg_hr_bpm, |bpm| format!("{bpm:.0} bpm")),
            calories: shown(activity.total_burned_calories, |calories| format!("{calories:.0} kcal")),
        }
    }
}

fn missing() -> String {
    "–".into()
}

fn shown(value: Option<f64>, format: impl Fn(f64) -> String) -> String {
    value.filter(|value| value.is_finite()).map_or_else(missing, format)
}

fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    if minutes < 60 { format!("{minutes} min") } else { format!("{} h {:02} min", minutes / 60, minutes % 60) }
}

/// The wall clock of the place where it happened, as the offset in the text says. What is no time is shown as it is.
fn moment(text: &str) -> String {
    const AS_READ: &str = "%-d %b %Y, %H:%M";
    let at_place = strtime::parse("%Y-%m-%dT%H:%M:%S%.f%:z", text).ok().and_then(|time| time.to_datetime().ok());
    let local = || text.parse::<Zoned>().ok().map(|zoned| zoned.datetime());
    let utc = || text.parse::<Timestamp>().ok().map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).datetime());
    at_place.or_else(local).or_else(utc).map_or_else(|| text.to_owned(), |time| time.strftime(AS_READ).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn at(text: &str, expected: &str) {
        assert_eq!(moment(text), expected);
    }

    #[test]
    fn a_time_is_shown_as_the_clock_on_the_wall_showed_it() {
        at("2026-03-01T08:05:00.000000+02:00", "1 Mar 2026, 08:05");
        at("2026-03-01T08:05:00+02:00", "1 Mar 2026, 08:05");
        at("2026-03-01T08:05:00Z", "1 Mar 2026, 08:05");
        at("some day", "some day");
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        let row = ActivityRow::from(Activity::default());
        assert_eq!((row.distance.as_str(), row.name.as_str(), row.start.as_str()), ("–", "Activity", "–"));
    }

    #[test]
    fn numbers_have_units_and_no_noise() {
        let activity = Activity {
            distance_meters: Some(10_432.7),
            activity_seconds: Some(3_725.0),
            avg_hr_bpm: Some(142.4),
            total_burned_calories: Some(612.9),
            ..Activity::default()
        };
        let row = ActivityRow::from(activity);
        assert_eq!(
            [row.distance, row.duration, row.heart_rate, row.calories],
            ["10.4 km", "1 h 02 min", "142 bpm", "613 kcal"]
        );
    }
}
