//! Observations: a symptom, a medication, a lab value, a state of mind.

use super::{AS_NAMED, Column, LOCALIZATION, flag, integer, number, text};

pub(super) const COLUMNS: [Column; 13] = [
    text("metadata.summary_id", "unique per Terra user; an amended observation keeps it"),
    integer("metadata.timestamp_localization", LOCALIZATION),
    text("observation_data.observation_type", AS_NAMED),
    integer(
        "observation_data.category",
        "0 unspecified, 1 symptom, 2 reproductive health, 3 self care, 4 medication, 5 lab and metrics, 6 state of mind, 7 device event, 8 clinical",
    ),
    integer("observation_data.status", "0 unspecified, 1 final, 2 amended, 3 entered in error"),
    integer("observation_data.severity", "0 unspecified, 1 not present, 2 mild, 3 moderate, 4 severe"),
    integer("observation_data.value.value_type", "0 none, 1 quantity, 2 boolean, 3 string, 4 code"),
    number("observation_data.value.quantity", "in `unit`"),
    text("observation_data.value.unit", AS_NAMED),
    flag("observation_data.value.boolean", "the value of a yes-or-no observation"),
    text("observation_data.value.text", AS_NAMED),
    text("observation_data.value.code", AS_NAMED),
    text("observation_data.notes", AS_NAMED),
];
