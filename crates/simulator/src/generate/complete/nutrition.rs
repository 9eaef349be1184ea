//! Leaves of food and drink.

use crate::generate::complete::Fill::{At, Id, Real, Text, Whole};
use crate::generate::complete::Leaf;
use crate::generate::complete::shared::{MACROS, MICROS};

/// Those that no other kind has.
pub(super) const OWN: &[Leaf] = &[
    ("drink_samples[].timestamp", At(8)),
    ("drink_samples[].drink_volume", Real(150.0, 2600.0, 0)),
    ("drink_samples[].drink_unit", Whole(0, 12)),
    ("drink_samples[].drink_name", Text("Water")),
    ("meals[].type", Whole(1, 1)),
    ("meals[].id", Id),
    ("meals[].timestamp", At(8)),
    ("meals[].quantity.unit", Whole(0, 12)),
    ("meals[].quantity.amount", Real(1.0, 90.0, 1)),
    ("meals[].name", Text("Second sensor")),
    ("metadata.end_time", At(22)),
    ("metadata.start_time", At(7)),
    ("metadata.timestamp_localization", Whole(0, 1)),
    ("summary.water_ml", Real(150.0, 2600.0, 0)),
    ("summary.drink_ml", Real(150.0, 2600.0, 0)),
];

/// Those it shares, and where.
pub(super) const SHARED: &[(&str, &[Leaf])] =
    &[("meals[].macros", MACROS), ("meals[].micros", MICROS), ("summary.macros", MACROS), ("summary.micros", MICROS)];
