//! Planned workouts: what a coach or a plan wants done.

use super::{AS_NAMED, BPM, Column, KCAL, METERS, SECONDS, flag, integer, number, text};

pub(super) const COLUMNS: [Column; 23] = [
    text("planned_workout_id", AS_NAMED),
    text("workout_id", "the template it was made from"),
    text("provider_workout_id", AS_NAMED),
    text("planned_date", "as delivered").or("details.metadata.planned_date"),
    flag("is_external", "made at the provider, not through Terra"),
    text("created_at", "as delivered").or("details.metadata.created_date"),
    text("last_updated_at", "as delivered"),
    text("details.metadata.name", AS_NAMED),
    text("details.metadata.description", AS_NAMED),
    integer("details.metadata.type", "Terra's open enum of activities").named("activity_type"),
    number("details.metadata.estimated_duration_seconds", SECONDS),
    number("details.metadata.estimated_distance_meters", METERS),
    number("details.metadata.estimated_calories", KCAL),
    number("details.metadata.estimated_tss", "training stress score"),
    number("details.metadata.estimated_if", "intensity factor"),
    number("details.metadata.estimated_elevation_gain_meters", METERS),
    number("details.metadata.estimated_energy_kj", "kJ"),
    number("details.metadata.estimated_speed_meters_per_second", "m/s"),
    number("athlete_metrics.pool_length_meters", METERS).or("details.metadata.pool_length_meters"),
    number("athlete_metrics.ftp", "W, functional threshold power"),
    number("athlete_metrics.max_heart_rate", BPM),
    number("athlete_metrics.threshold_heart_rate", BPM),
    number("athlete_metrics.threshold_speed", "m/s"),
];
