//! Menstruation: cycle and phase as of one day.

use super::{Column, LOCALIZATION, flag, integer, text};

pub(super) const COLUMNS: [Column; 15] = [
    integer("metadata.timestamp_localization", LOCALIZATION),
    integer(
        "menstruation_data.current_phase",
        "0 unknown, 1 period, 2 follicular, 3 fertile window, 4 ovulation, 5 luteal, 6 PMS, 7 to 9 trimesters",
    ),
    integer("menstruation_data.day_in_cycle", "day, the first is 1"),
    integer("menstruation_data.cycle_length_days", "days"),
    integer("menstruation_data.predicted_cycle_length_days", "days"),
    integer("menstruation_data.period_length_days", "days"),
    integer("menstruation_data.length_of_current_phase_days", "days"),
    integer("menstruation_data.days_until_next_phase", "days"),
    flag("menstruation_data.is_predicted_cycle", "predicted, not observed"),
    text("menstruation_data.period_start_date", "date or time as delivered"),
    text("menstruation_data.ovulation_day", "date or time as delivered"),
    text("menstruation_data.fertility_window_start", "date or time as delivered"),
    text("menstruation_data.fertility_window_end", "date or time as delivered"),
    text("menstruation_data.last_updated_time", "date or time as delivered"),
    integer(
        "menstruation_data.menstruation_flow[].flow",
        "0 unknown, 1 none, 2 light, 3 medium, 4 heavy, 5 had; last of the day",
    ),
];
