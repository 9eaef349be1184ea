//! Leaves of a cycle.

use crate::generate::complete::Fill::{At, Is, On, Whole};
use crate::generate::complete::Leaf;

/// Those that no other kind has.
pub(super) const OWN: &[Leaf] = &[
    ("metadata.end_time", At(22)),
    ("metadata.start_time", At(7)),
    ("metadata.timestamp_localization", Whole(0, 1)),
    ("menstruation_data.period_length_days", Whole(4, 31)),
    ("menstruation_data.current_phase", Whole(1, 5)),
    ("menstruation_data.length_of_current_phase_days", Whole(2, 12)),
    ("menstruation_data.days_until_next_phase", Whole(2, 12)),
    ("menstruation_data.period_start_date", On(0)),
    ("menstruation_data.predicted_cycle_length_days", Whole(4, 31)),
    ("menstruation_data.day_in_cycle", Whole(2, 40)),
    ("menstruation_data.last_updated_time", At(8)),
    ("menstruation_data.cycle_length_days", Whole(4, 31)),
    ("menstruation_data.is_predicted_cycle", Is(false)),
    ("menstruation_data.menstruation_flow[].timestamp", At(8)),
    ("menstruation_data.menstruation_flow[].flow", Whole(0, 5)),
    ("menstruation_data.intervals[].start_timestamp", At(7)),
    ("menstruation_data.intervals[].end_timestamp", At(22)),
    ("menstruation_data.intervals[].phase", Whole(1, 5)),
    ("menstruation_data.fertility_window_start", On(0)),
    ("menstruation_data.fertility_window_end", On(0)),
    ("menstruation_data.ovulation_day", On(0)),
];
