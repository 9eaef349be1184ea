//! Series of measurements. Values wander around a course instead of jumping, as real ones do.

use serde_json::{Value, json};

use crate::dice::{Dice, round};
use crate::generate::day::Day;

/// When the measurements of a series were taken, in seconds after midnight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) every: i64,
}

impl Span {
    pub(crate) fn seconds(self) -> impl Iterator<Item = i64> {
        (self.from..self.to).step_by(usize::try_from(self.every.max(1)).unwrap_or(1))
    }

    /// How much of the span is over at a second, from 0.0 to 1.0.
    pub(crate) fn share(self, second: i64) -> f64 {
        (second - self.from) as f64 / (self.to - self.from).max(1) as f64
    }
}

/// The field that holds the value, and how far it strays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) field: &'static str,
    pub(crate) spread: f64,
    pub(crate) digits: i32,
    /// Whether each sample says for how long it stands.
    pub(crate) timed: bool,
}

/// One sample for every moment of the span; `course` is the value expected there.
pub(crate) fn series(dice: &mut Dice, day: &Day, span: Span, measure: Measure, course: impl Fn(f64) -> f64) -> Value {
    let mut stray = 0.0;
    let samples = span.seconds().map(|second| {
        stray = 0.8 * stray + measure.spread * (dice.unit() - 0.5);
        let value = round(course(span.share(second)) + stray, measure.digits);
        let mut sample = json!({ "timestamp": day.at(second), (measure.field): number(value) });
        if measure.timed {
            sample["timer_duration_seconds"] = json!(second - span.from);
        }
        sample
    });
    samples.collect()
}

/// Whole numbers without a decimal point: a heart rate arrives as `142`, not as `142.0`.
pub(crate) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
