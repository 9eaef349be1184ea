//! Leaves of a day.

use crate::generate::complete::Fill::{At, Real, Scores, Text, Whole};
use crate::generate::complete::Leaf;
use crate::generate::complete::shared::{
    ACTIVE_DURATIONS, CALORIES, DEVICE, DISTANCE_DETAILED, ELEVATION, HEART_RATE, MET, OXYGEN, SWIMMING,
};

/// Those that no other kind has.
pub(super) const OWN: &[Leaf] = &[
    ("data_enrichment.total_stress_score", Real(20.0, 98.0, 1)),
    ("data_enrichment.stress_contributors", Scores),
    ("data_enrichment.respiratory_score", Real(20.0, 98.0, 1)),
    ("data_enrichment.respiratory_contributors", Scores),
    ("data_enrichment.immune_index", Whole(2, 40)),
    ("data_enrichment.immune_contributors", Scores),
    ("data_enrichment.resilience_score", Whole(2, 40)),
    ("data_enrichment.resilience_contributors", Scores),
    ("data_enrichment.strain_index", Real(20.0, 98.0, 1)),
    ("data_enrichment.strain_traffic_light", Text("GREEN")),
    ("data_enrichment.strain_contributors", Scores),
    ("data_enrichment.total_stress_score_v2", Real(20.0, 98.0, 1)),
    ("data_enrichment.total_stress_score_v2_contributors", Scores),
    ("distance_data.distance_meters", Real(5.0, 900.0, 1)),
    ("distance_data.floors_climbed", Whole(0, 12)),
    ("distance_data.steps", Whole(20, 400)),
    ("metadata.end_time", At(22)),
    ("metadata.start_time", At(7)),
    ("metadata.timestamp_localization", Whole(0, 1)),
    ("metadata.upload_type", Whole(1, 1)),
    ("scores.activity", Real(1.0, 90.0, 1)),
    ("scores.recovery", Real(1.0, 90.0, 1)),
    ("scores.sleep", Whole(35, 98)),
    ("strain_data.strain_level", Real(20.0, 98.0, 1)),
    ("stress_data.avg_stress_level", Real(20.0, 98.0, 1)),
    ("stress_data.activity_stress_duration_seconds", Whole(30, 3600)),
    ("stress_data.low_stress_duration_seconds", Whole(30, 3600)),
    ("stress_data.max_stress_level", Real(20.0, 98.0, 1)),
    ("stress_data.medium_stress_duration_seconds", Whole(30, 3600)),
    ("stress_data.samples[].timestamp", At(8)),
    ("stress_data.samples[].level", Real(20.0, 98.0, 1)),
    ("stress_data.rest_stress_duration_seconds", Whole(30, 3600)),
    ("stress_data.high_stress_duration_seconds", Whole(30, 3600)),
    ("stress_data.stress_duration_seconds", Whole(30, 3600)),
    ("stress_data.stress_rating", Whole(0, 4)),
    ("stress_data.body_battery_samples[].timestamp", At(8)),
    ("stress_data.body_battery_samples[].level", Real(20.0, 98.0, 1)),
    ("tag_data.tags[].timestamp", At(8)),
    ("tag_data.tags[].tag_name", Text("hot_shower")),
    ("tag_data.tags[].notes", Text("felt refreshed after it")),
];

/// Those it shares, and where.
pub(super) const SHARED: &[(&str, &[Leaf])] = &[
    ("active_durations_data", ACTIVE_DURATIONS),
    ("calories_data", CALORIES),
    ("device_data", DEVICE),
    ("distance_data.detailed", DISTANCE_DETAILED),
    ("distance_data.elevation", ELEVATION),
    ("distance_data.swimming", SWIMMING),
    ("heart_rate_data", HEART_RATE),
    ("MET_data", MET),
    ("oxygen_data", OXYGEN),
];
