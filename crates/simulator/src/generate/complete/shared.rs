//! Leaves that several kinds share.

use crate::generate::complete::Fill::{At, Pick, Real, Text, Whole};
use crate::generate::complete::Leaf;

/// How active.
pub(super) const ACTIVE_DURATIONS: &[Leaf] = &[
    ("activity_levels_samples[].timestamp", At(8)),
    ("activity_levels_samples[].activity_level", Whole(0, 5)),
    ("activity_levels_samples[].timer_duration_seconds", Whole(0, 3000)),
    ("activity_seconds", Whole(30, 3600)),
    ("inactivity_seconds", Whole(30, 3600)),
    ("low_intensity_seconds", Whole(30, 3600)),
    ("moderate_intensity_seconds", Whole(30, 3600)),
    ("num_continuous_inactive_periods", Whole(2, 40)),
    ("rest_seconds", Whole(30, 3600)),
    ("vigorous_intensity_seconds", Whole(30, 3600)),
    ("standing_hours_count", Real(1.0, 90.0, 1)),
    ("standing_seconds", Whole(30, 3600)),
];

/// Energy.
pub(super) const CALORIES: &[Leaf] = &[
    ("BMR_calories", Real(20.0, 900.0, 1)),
    ("calorie_samples[].timestamp", At(8)),
    ("calorie_samples[].calories", Real(20.0, 900.0, 1)),
    ("calorie_samples[].timer_duration_seconds", Whole(0, 3000)),
    ("net_activity_calories", Real(20.0, 900.0, 1)),
    ("net_intake_calories", Real(20.0, 900.0, 1)),
    ("total_burned_calories", Real(20.0, 900.0, 1)),
];

/// What measured.
pub(super) const DEVICE: &[Leaf] = &[
    ("activation_timestamp", At(8)),
    ("data_provided[]", Pick(&["STEPS", "HEART_RATE", "DISTANCE", "CALORIES", "SPEED", "CADENCE"])),
    ("hardware_version", Text("v2.1")),
    ("last_upload_date", At(23)),
    ("manufacturer", Text("Garmin")),
    ("name", Text("Second sensor")),
    ("other_devices[].manufacturer", Text("Garmin")),
    ("other_devices[].hardware_version", Text("v2.1")),
    ("other_devices[].serial_number", Text("GR123456789")),
    ("other_devices[].name", Text("Second sensor")),
    ("other_devices[].software_version", Text("5.2.1")),
    ("other_devices[].data_provided[]", Pick(&["STEPS", "HEART_RATE", "DISTANCE", "CALORIES", "SPEED", "CADENCE"])),
    ("other_devices[].last_upload_date", At(23)),
    ("serial_number", Text("GR123456789")),
    ("software_version", Text("5.2.1")),
];

/// Series of distances.
pub(super) const DISTANCE_DETAILED: &[Leaf] = &[
    ("distance_samples[].timestamp", At(8)),
    ("distance_samples[].distance_meters", Real(5.0, 900.0, 1)),
    ("distance_samples[].timer_duration_seconds", Whole(0, 3000)),
    ("elevation_samples[].timestamp", At(8)),
    ("elevation_samples[].elev_meters", Real(5.0, 900.0, 1)),
    ("elevation_samples[].timer_duration_seconds", Whole(0, 3000)),
    ("floors_climbed_samples[].timestamp", At(8)),
    ("floors_climbed_samples[].floors_climbed", Real(1.0, 90.0, 1)),
    ("floors_climbed_samples[].timer_duration_seconds", Whole(0, 3000)),
    ("step_samples[].timestamp", At(8)),
    ("step_samples[].steps", Whole(20, 400)),
    ("step_samples[].timer_duration_seconds", Whole(0, 3000)),
];

/// Up and down.
pub(super) const ELEVATION: &[Leaf] = &[
    ("avg_meters", Real(5.0, 900.0, 1)),
    ("gain_actual_meters", Real(5.0, 900.0, 1)),
    ("gain_planned_meters", Real(5.0, 900.0, 1)),
    ("loss_actual_meters", Real(5.0, 900.0, 1)),
    ("max_meters", Real(5.0, 900.0, 1)),
    ("min_meters", Real(5.0, 900.0, 1)),
];

/// In the pool.
pub(super) const SWIMMING: &[Leaf] =
    &[("num_laps", Whole(2, 40)), ("num_strokes", Whole(2, 40)), ("pool_length_meters", Whole(25, 50))];

/// The heart, in sums and in series.
pub(super) const HEART_RATE: &[Leaf] = &[
    ("detailed.hr_samples[].timestamp", At(8)),
    ("detailed.hr_samples[].bpm", Real(1.0, 90.0, 1)),
    ("detailed.hr_samples[].timer_duration_seconds", Whole(0, 3000)),
    ("detailed.hr_samples[].context", Whole(0, 2)),
    ("detailed.hrv_samples_rmssd[].timestamp", At(8)),
    ("detailed.hrv_samples_rmssd[].hrv_rmssd", Real(22.0, 95.0, 1)),
    ("detailed.hrv_samples_sdnn[].timestamp", At(8)),
    ("detailed.hrv_samples_sdnn[].hrv_sdnn", Real(22.0, 95.0, 1)),
    ("summary.avg_hr_bpm", Whole(52, 168)),
    ("summary.avg_hrv_rmssd", Real(22.0, 95.0, 1)),
    ("summary.avg_hrv_sdnn", Real(22.0, 95.0, 1)),
    ("summary.hr_zone_data[].zone", Whole(1, 5)),
    ("summary.hr_zone_data[].start_percentage", Real(20.0, 98.0, 1)),
    ("summary.hr_zone_data[].end_percentage", Real(20.0, 98.0, 1)),
    ("summary.hr_zone_data[].name", Text("Second sensor")),
    ("summary.hr_zone_data[].duration_seconds", Whole(30, 3600)),
    ("summary.max_hr_bpm", Whole(52, 168)),
    ("summary.min_hr_bpm", Whole(52, 168)),
    ("summary.resting_hr_bpm", Whole(52, 168)),
    ("summary.user_max_hr_bpm", Whole(52, 168)),
];

/// Metabolic equivalents.
pub(super) const MET: &[Leaf] = &[
    ("MET_samples[].timestamp", At(8)),
    ("MET_samples[].level", Real(20.0, 98.0, 1)),
    ("avg_level", Real(20.0, 98.0, 1)),
    ("num_high_intensity_minutes", Whole(2, 40)),
    ("num_inactive_minutes", Whole(2, 40)),
    ("num_low_intensity_minutes", Whole(2, 40)),
    ("num_moderate_intensity_minutes", Whole(2, 40)),
];

/// Oxygen.
pub(super) const OXYGEN: &[Leaf] = &[
    ("avg_saturation_percentage", Real(92.0, 99.0, 1)),
    ("saturation_samples[].timestamp", At(8)),
    ("saturation_samples[].percentage", Real(92.0, 99.0, 1)),
    ("saturation_samples[].type", Whole(0, 1)),
    ("vo2_samples[].timestamp", At(8)),
    ("vo2_samples[].vo2max_ml_per_min_per_kg", Real(30.0, 95.0, 1)),
    ("vo2max_ml_per_min_per_kg", Real(30.0, 95.0, 1)),
    ("day_avg_vo2max_ml_per_min_per_kg", Real(30.0, 95.0, 1)),
];

/// What food is mostly made of.
pub(super) const MACROS: &[Leaf] = &[
    ("alcohol_g", Real(0.1, 60.0, 1)),
    ("calories", Real(20.0, 900.0, 1)),
    ("carbohydrates_g", Real(0.1, 60.0, 1)),
    ("cholesterol_mg", Real(0.1, 400.0, 1)),
    ("fat_g", Real(0.1, 60.0, 1)),
    ("fiber_g", Real(0.1, 60.0, 1)),
    ("net_carbohydrates_g", Real(0.1, 60.0, 1)),
    ("protein_g", Real(0.1, 60.0, 1)),
    ("saturated_fat_g", Real(0.1, 60.0, 1)),
    ("sodium_mg", Real(0.1, 400.0, 1)),
    ("sugar_g", Real(0.1, 60.0, 1)),
    ("trans_fat_g", Real(0.1, 60.0, 1)),
];

/// What else is in it.
pub(super) const MICROS: &[Leaf] = &[
    ("biotin_mg", Real(0.1, 400.0, 1)),
    ("caffeine_mg", Real(0.1, 400.0, 1)),
    ("calcium_mg", Real(0.1, 400.0, 1)),
    ("sodium_mg", Real(0.1, 400.0, 1)),
    ("chloride_mg", Real(0.1, 400.0, 1)),
    ("chromium_mg", Real(0.1, 400.0, 1)),
    ("copper_mg", Real(0.1, 400.0, 1)),
    ("folate_mg", Real(0.1, 400.0, 1)),
    ("folic_acid_mg", Real(0.1, 400.0, 1)),
    ("iodine_mg", Real(0.1, 400.0, 1)),
    ("iron_mg", Real(0.1, 400.0, 1)),
    ("magnesium_mg", Real(0.1, 400.0, 1)),
    ("manganese_mg", Real(0.1, 400.0, 1)),
    ("molybdenum_mg", Real(0.1, 400.0, 1)),
    ("niacin_mg", Real(0.1, 400.0, 1)),
    ("pantothenic_acid_mg", Real(0.1, 400.0, 1)),
    ("phosphorus_mg", Real(0.1, 400.0, 1)),
    ("potassium_mg", Real(0.1, 400.0, 1)),
    ("riboflavin_mg", Real(0.1, 400.0, 1)),
    ("selenium_mg", Real(0.1, 400.0, 1)),
    ("thiamin_mg", Real(0.1, 400.0, 1)),
    ("vitamin_A_mg", Real(0.1, 400.0, 1)),
    ("vitamin_B12_mg", Real(0.1, 400.0, 1)),
    ("vitamin_B6_mg", Real(0.1, 400.0, 1)),
    ("vitamin_C_mg", Real(0.1, 400.0, 1)),
    ("vitamin_D_mg", Real(0.1, 400.0, 1)),
    ("vitamin_D2_mg", Real(0.1, 400.0, 1)),
    ("vitamin_D3_mg", Real(0.1, 400.0, 1)),
    ("vitamin_E_mg", Real(0.1, 400.0, 1)),
    ("vitamin_K_mg", Real(0.1, 400.0, 1)),
    ("zinc_mg", Real(0.1, 400.0, 1)),
    ("cystine_g", Real(0.1, 60.0, 1)),
    ("histidine_g", Real(0.1, 60.0, 1)),
    ("isoleucine_g", Real(0.1, 60.0, 1)),
    ("leucine_g", Real(0.1, 60.0, 1)),
    ("lysine_g", Real(0.1, 60.0, 1)),
    ("methionine_g", Real(0.1, 60.0, 1)),
    ("phenylalanine_g", Real(0.1, 60.0, 1)),
    ("threonine_g", Real(0.1, 60.0, 1)),
    ("tryptophan_g", Real(0.1, 60.0, 1)),
    ("tyrosine_g", Real(0.1, 60.0, 1)),
    ("valine_g", Real(0.1, 60.0, 1)),
    ("monounsaturated_fat_g", Real(0.1, 60.0, 1)),
    ("polyunsaturated_fat_g", Real(0.1, 60.0, 1)),
    ("omega3_g", Real(0.1, 60.0, 1)),
    ("omega6_g", Real(0.1, 60.0, 1)),
    ("starch_g", Real(0.1, 60.0, 1)),
];
