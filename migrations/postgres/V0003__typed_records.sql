-- A table per kind of record, each with typed columns, and a stamp for every score of Terra's. Moves what was kept as bare
-- documents; `landfall reproject` then fills the new columns from the documents. A binary made for level 2 does not find
-- the tables it knew.

ALTER TABLE activity ADD COLUMN enrichment json;
ALTER TABLE activity ADD COLUMN "summary_id" text;
ALTER TABLE activity ADD COLUMN "city" text;
ALTER TABLE activity ADD COLUMN "state" text;
ALTER TABLE activity ADD COLUMN "country" text;
ALTER TABLE activity ADD COLUMN "num_laps" bigint;
ALTER TABLE activity ADD COLUMN "num_strokes" bigint;
ALTER TABLE activity ADD COLUMN "user_max_hr_bpm" double precision;
ALTER TABLE activity ADD COLUMN "avg_met_level" double precision;
ALTER TABLE activity ADD COLUMN "num_high_intensity_minutes" double precision;
ALTER TABLE activity ADD COLUMN "num_moderate_intensity_minutes" double precision;
ALTER TABLE activity ADD COLUMN "num_low_intensity_minutes" double precision;
ALTER TABLE activity ADD COLUMN "num_inactive_minutes" double precision;
ALTER TABLE activity ADD COLUMN "normalized_speed_meters_per_second" double precision;
ALTER TABLE activity ADD COLUMN "max_pace_minutes_per_kilometer" double precision;
ALTER TABLE activity ADD COLUMN "cheat_detection" double precision;
COMMENT ON COLUMN activity.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN activity."summary_id" IS 'unique per Terra user';
COMMENT ON COLUMN activity."city" IS 'as Terra names it';
COMMENT ON COLUMN activity."state" IS 'as Terra names it';
COMMENT ON COLUMN activity."country" IS 'as Terra names it';
COMMENT ON COLUMN activity."num_laps" IS 'count';
COMMENT ON COLUMN activity."num_strokes" IS 'count';
COMMENT ON COLUMN activity."user_max_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN activity."avg_met_level" IS 'metabolic equivalents';
COMMENT ON COLUMN activity."num_high_intensity_minutes" IS 'min';
COMMENT ON COLUMN activity."num_moderate_intensity_minutes" IS 'min';
COMMENT ON COLUMN activity."num_low_intensity_minutes" IS 'min';
COMMENT ON COLUMN activity."num_inactive_minutes" IS 'min';
COMMENT ON COLUMN activity."normalized_speed_meters_per_second" IS 'm/s';
COMMENT ON COLUMN activity."max_pace_minutes_per_kilometer" IS 'min/km';
COMMENT ON COLUMN activity."cheat_detection" IS '1 where Terra or the provider doubts the activity';
UPDATE activity SET fingerprint = '{}';

CREATE TABLE sleep (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "summary_id"                          text,
    "is_nap"                              boolean,
    "upload_type"                         bigint,
    "timestamp_localization"              bigint,
    "duration_asleep_state_seconds"       double precision,
    "duration_deep_sleep_state_seconds"   double precision,
    "duration_light_sleep_state_seconds"  double precision,
    "duration_rem_sleep_state_seconds"    double precision,
    "num_rem_events"                      bigint,
    "duration_awake_state_seconds"        double precision,
    "duration_long_interruption_seconds"  double precision,
    "duration_short_interruption_seconds" double precision,
    "num_out_of_bed_events"               bigint,
    "num_wakeup_events"                   bigint,
    "sleep_latency_seconds"               double precision,
    "wake_up_latency_seconds"             double precision,
    "duration_in_bed_seconds"             double precision,
    "duration_unmeasurable_sleep_seconds" double precision,
    "sleep_efficiency"                    double precision,
    "avg_hr_bpm"                          double precision,
    "max_hr_bpm"                          double precision,
    "min_hr_bpm"                          double precision,
    "resting_hr_bpm"                      double precision,
    "user_max_hr_bpm"                     double precision,
    "avg_hrv_rmssd"                       double precision,
    "avg_hrv_sdnn"                        double precision,
    "avg_breaths_per_min"                 double precision,
    "max_breaths_per_min"                 double precision,
    "min_breaths_per_min"                 double precision,
    "avg_saturation_percentage"           double precision,
    "num_snoring_events"                  bigint,
    "total_snoring_duration_seconds"      double precision,
    "temperature_delta"                   double precision,
    "readiness"                           double precision,
    "recovery_level"                      double precision,
    "provider_sleep_score"                double precision,
    "sleep_score"                         double precision,
    "readiness_score"                     double precision,
    "sleep_score_v2"                      double precision,
    "respiratory_score_v2"                double precision,
    "device_name"                         text,
    "device_manufacturer"                 text,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX sleep_start ON sleep (environment, terra_user_id, start_at DESC, id);
ALTER TABLE sleep ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE sleep IS 'a night or a nap';
COMMENT ON COLUMN sleep.natural_key IS 'metadata.summary_id, else start|end';
COMMENT ON COLUMN sleep.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN sleep.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN sleep.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN sleep.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN sleep.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN sleep.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN sleep.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN sleep.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN sleep."summary_id" IS 'unique per Terra user; may be absent';
COMMENT ON COLUMN sleep."is_nap" IS 'not the main sleep of the day';
COMMENT ON COLUMN sleep."upload_type" IS '0 unknown, 1 manual, 2 automatic, 3 tentative, 4 indeterminate';
COMMENT ON COLUMN sleep."timestamp_localization" IS '0 times are UTC, 1 times are local';
COMMENT ON COLUMN sleep."duration_asleep_state_seconds" IS 's';
COMMENT ON COLUMN sleep."duration_deep_sleep_state_seconds" IS 's';
COMMENT ON COLUMN sleep."duration_light_sleep_state_seconds" IS 's';
COMMENT ON COLUMN sleep."duration_rem_sleep_state_seconds" IS 's';
COMMENT ON COLUMN sleep."num_rem_events" IS 'count';
COMMENT ON COLUMN sleep."duration_awake_state_seconds" IS 's';
COMMENT ON COLUMN sleep."duration_long_interruption_seconds" IS 's';
COMMENT ON COLUMN sleep."duration_short_interruption_seconds" IS 's';
COMMENT ON COLUMN sleep."num_out_of_bed_events" IS 'count';
COMMENT ON COLUMN sleep."num_wakeup_events" IS 'count';
COMMENT ON COLUMN sleep."sleep_latency_seconds" IS 's';
COMMENT ON COLUMN sleep."wake_up_latency_seconds" IS 's';
COMMENT ON COLUMN sleep."duration_in_bed_seconds" IS 's';
COMMENT ON COLUMN sleep."duration_unmeasurable_sleep_seconds" IS 's';
COMMENT ON COLUMN sleep."sleep_efficiency" IS 'share of the time in bed, 0 to 1 or percent, as the provider has it';
COMMENT ON COLUMN sleep."avg_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN sleep."max_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN sleep."min_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN sleep."resting_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN sleep."user_max_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN sleep."avg_hrv_rmssd" IS 'ms';
COMMENT ON COLUMN sleep."avg_hrv_sdnn" IS 'ms';
COMMENT ON COLUMN sleep."avg_breaths_per_min" IS 'breaths per minute';
COMMENT ON COLUMN sleep."max_breaths_per_min" IS 'breaths per minute';
COMMENT ON COLUMN sleep."min_breaths_per_min" IS 'breaths per minute';
COMMENT ON COLUMN sleep."avg_saturation_percentage" IS 'SpO2, percent';
COMMENT ON COLUMN sleep."num_snoring_events" IS 'count';
COMMENT ON COLUMN sleep."total_snoring_duration_seconds" IS 's';
COMMENT ON COLUMN sleep."temperature_delta" IS 'degrees Celsius from the person''s usual';
COMMENT ON COLUMN sleep."readiness" IS 'the provider''s own score';
COMMENT ON COLUMN sleep."recovery_level" IS 'the provider''s own score';
COMMENT ON COLUMN sleep."provider_sleep_score" IS 'the provider''s own score';
COMMENT ON COLUMN sleep."sleep_score" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN sleep."readiness_score" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN sleep."sleep_score_v2" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN sleep."respiratory_score_v2" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN sleep."device_name" IS 'as Terra names it';
COMMENT ON COLUMN sleep."device_manufacturer" IS 'as Terra names it';
INSERT INTO sleep (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'sleep';

CREATE TABLE daily (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "upload_type"                      bigint,
    "timestamp_localization"           bigint,
    "steps"                            bigint,
    "distance_meters"                  double precision,
    "floors_climbed"                   bigint,
    "elevation_gain_meters"            double precision,
    "elevation_loss_meters"            double precision,
    "total_burned_calories"            double precision,
    "net_activity_calories"            double precision,
    "bmr_calories"                     double precision,
    "net_intake_calories"              double precision,
    "activity_seconds"                 double precision,
    "inactivity_seconds"               double precision,
    "rest_seconds"                     double precision,
    "low_intensity_seconds"            double precision,
    "moderate_intensity_seconds"       double precision,
    "vigorous_intensity_seconds"       double precision,
    "standing_seconds"                 double precision,
    "standing_hours_count"             double precision,
    "num_continuous_inactive_periods"  bigint,
    "avg_hr_bpm"                       double precision,
    "max_hr_bpm"                       double precision,
    "min_hr_bpm"                       double precision,
    "resting_hr_bpm"                   double precision,
    "user_max_hr_bpm"                  double precision,
    "avg_hrv_rmssd"                    double precision,
    "avg_hrv_sdnn"                     double precision,
    "avg_met_level"                    double precision,
    "num_high_intensity_minutes"       double precision,
    "num_moderate_intensity_minutes"   double precision,
    "num_low_intensity_minutes"        double precision,
    "num_inactive_minutes"             double precision,
    "avg_saturation_percentage"        double precision,
    "vo2max_ml_per_min_per_kg"         double precision,
    "day_avg_vo2max_ml_per_min_per_kg" double precision,
    "avg_stress_level"                 double precision,
    "max_stress_level"                 double precision,
    "stress_duration_seconds"          double precision,
    "rest_stress_duration_seconds"     double precision,
    "low_stress_duration_seconds"      double precision,
    "medium_stress_duration_seconds"   double precision,
    "high_stress_duration_seconds"     double precision,
    "activity_stress_duration_seconds" double precision,
    "stress_rating"                    bigint,
    "provider_activity_score"          double precision,
    "provider_recovery_score"          double precision,
    "provider_sleep_score"             double precision,
    "strain_level"                     double precision,
    "total_stress_score"               double precision,
    "total_stress_score_v2"            double precision,
    "respiratory_score"                double precision,
    "immune_index"                     double precision,
    "resilience_score"                 double precision,
    "strain_index"                     double precision,
    "strain_traffic_light"             text,
    "device_name"                      text,
    "device_manufacturer"              text,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX daily_start ON daily (environment, terra_user_id, start_at DESC, id);
ALTER TABLE daily ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE daily IS 'the totals of one day';
COMMENT ON COLUMN daily.natural_key IS 'day of metadata.start_time as delivered';
COMMENT ON COLUMN daily.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN daily.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN daily.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN daily.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN daily.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN daily.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN daily.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN daily.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN daily."upload_type" IS '0 unknown, 1 automatic, 2 manual, 3 update, 4 deleted, 5 pending, 6 third party';
COMMENT ON COLUMN daily."timestamp_localization" IS '0 times are UTC, 1 times are local';
COMMENT ON COLUMN daily."steps" IS 'count';
COMMENT ON COLUMN daily."distance_meters" IS 'm';
COMMENT ON COLUMN daily."floors_climbed" IS 'count';
COMMENT ON COLUMN daily."elevation_gain_meters" IS 'm';
COMMENT ON COLUMN daily."elevation_loss_meters" IS 'm';
COMMENT ON COLUMN daily."total_burned_calories" IS 'kcal';
COMMENT ON COLUMN daily."net_activity_calories" IS 'kcal';
COMMENT ON COLUMN daily."bmr_calories" IS 'kcal';
COMMENT ON COLUMN daily."net_intake_calories" IS 'kcal';
COMMENT ON COLUMN daily."activity_seconds" IS 's';
COMMENT ON COLUMN daily."inactivity_seconds" IS 's';
COMMENT ON COLUMN daily."rest_seconds" IS 's';
COMMENT ON COLUMN daily."low_intensity_seconds" IS 's';
COMMENT ON COLUMN daily."moderate_intensity_seconds" IS 's';
COMMENT ON COLUMN daily."vigorous_intensity_seconds" IS 's';
COMMENT ON COLUMN daily."standing_seconds" IS 's';
COMMENT ON COLUMN daily."standing_hours_count" IS 'hours with standing in them';
COMMENT ON COLUMN daily."num_continuous_inactive_periods" IS 'count';
COMMENT ON COLUMN daily."avg_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN daily."max_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN daily."min_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN daily."resting_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN daily."user_max_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN daily."avg_hrv_rmssd" IS 'ms';
COMMENT ON COLUMN daily."avg_hrv_sdnn" IS 'ms';
COMMENT ON COLUMN daily."avg_met_level" IS 'metabolic equivalents';
COMMENT ON COLUMN daily."num_high_intensity_minutes" IS 'min';
COMMENT ON COLUMN daily."num_moderate_intensity_minutes" IS 'min';
COMMENT ON COLUMN daily."num_low_intensity_minutes" IS 'min';
COMMENT ON COLUMN daily."num_inactive_minutes" IS 'min';
COMMENT ON COLUMN daily."avg_saturation_percentage" IS 'SpO2, percent';
COMMENT ON COLUMN daily."vo2max_ml_per_min_per_kg" IS 'ml/min/kg';
COMMENT ON COLUMN daily."day_avg_vo2max_ml_per_min_per_kg" IS 'ml/min/kg';
COMMENT ON COLUMN daily."avg_stress_level" IS 'the provider''s own score';
COMMENT ON COLUMN daily."max_stress_level" IS 'the provider''s own score';
COMMENT ON COLUMN daily."stress_duration_seconds" IS 's';
COMMENT ON COLUMN daily."rest_stress_duration_seconds" IS 's';
COMMENT ON COLUMN daily."low_stress_duration_seconds" IS 's';
COMMENT ON COLUMN daily."medium_stress_duration_seconds" IS 's';
COMMENT ON COLUMN daily."high_stress_duration_seconds" IS 's';
COMMENT ON COLUMN daily."activity_stress_duration_seconds" IS 's';
COMMENT ON COLUMN daily."stress_rating" IS '0 unknown, 1 rest, 2 low, 3 medium, 4 high';
COMMENT ON COLUMN daily."provider_activity_score" IS 'the provider''s own score';
COMMENT ON COLUMN daily."provider_recovery_score" IS 'the provider''s own score';
COMMENT ON COLUMN daily."provider_sleep_score" IS 'the provider''s own score';
COMMENT ON COLUMN daily."strain_level" IS 'the provider''s own score';
COMMENT ON COLUMN daily."total_stress_score" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN daily."total_stress_score_v2" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN daily."respiratory_score" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN daily."immune_index" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN daily."resilience_score" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN daily."strain_index" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN daily."strain_traffic_light" IS 'Terra''s enrichment score: the non-null value of greatest order';
COMMENT ON COLUMN daily."device_name" IS 'as Terra names it';
COMMENT ON COLUMN daily."device_manufacturer" IS 'as Terra names it';
INSERT INTO daily (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'daily';

CREATE TABLE body (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "timestamp_localization"                   bigint,
    "weight_kg"                                double precision,
    "height_cm"                                double precision,
    "bmi"                                      double precision,
    "bodyfat_percentage"                       double precision,
    "muscle_mass_g"                            double precision,
    "bone_mass_g"                              double precision,
    "lean_mass_g"                              double precision,
    "water_percentage"                         double precision,
    "visceral_fat_level"                       double precision,
    "estimated_fitness_age"                    bigint,
    "day_avg_weight_kg"                        double precision,
    "day_avg_height_cm"                        double precision,
    "day_avg_bmi"                              double precision,
    "day_avg_bmr"                              double precision,
    "day_avg_rmr"                              double precision,
    "day_avg_bodyfat_percentage"               double precision,
    "day_avg_muscle_mass_g"                    double precision,
    "day_avg_bone_mass_g"                      double precision,
    "day_avg_lean_mass_g"                      double precision,
    "day_avg_water_percentage"                 double precision,
    "day_avg_visceral_fat_level"               double precision,
    "day_avg_skin_fold_mm"                     double precision,
    "day_avg_insulin_units"                    double precision,
    "day_avg_estimated_fitness_age"            double precision,
    "day_avg_blood_glucose_mg_per_dl"          double precision,
    "day_avg_detailed_blood_glucose_mg_per_dl" double precision,
    "gmi"                                      double precision,
    "time_in_range"                            double precision,
    "sensor_usage"                             bigint,
    "systolic_bp"                              double precision,
    "diastolic_bp"                             double precision,
    "day_avg_systolic_bp"                      double precision,
    "day_avg_diastolic_bp"                     double precision,
    "avg_hr_bpm"                               double precision,
    "max_hr_bpm"                               double precision,
    "min_hr_bpm"                               double precision,
    "resting_hr_bpm"                           double precision,
    "user_max_hr_bpm"                          double precision,
    "avg_hrv_rmssd"                            double precision,
    "avg_hrv_sdnn"                             double precision,
    "afib_classification"                      bigint,
    "avg_saturation_percentage"                double precision,
    "vo2max_ml_per_min_per_kg"                 double precision,
    "day_avg_vo2max_ml_per_min_per_kg"         double precision,
    "day_avg_body_temperature_celsius"         double precision,
    "day_avg_skin_temperature_celsius"         double precision,
    "day_avg_ambient_temperature_celsius"      double precision,
    "day_total_water_consumption_ml"           double precision,
    "day_avg_hydration_kg"                     double precision,
    "day_avg_ketone_mg_per_dl"                 double precision,
    "device_name"                              text,
    "device_manufacturer"                      text,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX body_start ON body (environment, terra_user_id, start_at DESC, id);
ALTER TABLE body ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE body IS 'weight, composition, glucose, blood pressure of one day';
COMMENT ON COLUMN body.natural_key IS 'day of metadata.start_time as delivered';
COMMENT ON COLUMN body.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN body.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN body.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN body.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN body.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN body.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN body.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN body.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN body."timestamp_localization" IS '0 times are UTC, 1 times are local';
COMMENT ON COLUMN body."weight_kg" IS 'kg, last measurement of the day';
COMMENT ON COLUMN body."height_cm" IS 'cm, last measurement of the day';
COMMENT ON COLUMN body."bmi" IS 'kg/m2, last measurement of the day';
COMMENT ON COLUMN body."bodyfat_percentage" IS 'percent, last measurement of the day';
COMMENT ON COLUMN body."muscle_mass_g" IS 'g, last measurement of the day';
COMMENT ON COLUMN body."bone_mass_g" IS 'g, last measurement of the day';
COMMENT ON COLUMN body."lean_mass_g" IS 'g, last measurement of the day';
COMMENT ON COLUMN body."water_percentage" IS 'percent, last measurement of the day';
COMMENT ON COLUMN body."visceral_fat_level" IS 'last measurement of the day, as the scale has it';
COMMENT ON COLUMN body."estimated_fitness_age" IS 'years, last measurement of the day';
COMMENT ON COLUMN body."day_avg_weight_kg" IS 'kg';
COMMENT ON COLUMN body."day_avg_height_cm" IS 'cm';
COMMENT ON COLUMN body."day_avg_bmi" IS 'kg/m2';
COMMENT ON COLUMN body."day_avg_bmr" IS 'kcal';
COMMENT ON COLUMN body."day_avg_rmr" IS 'kcal';
COMMENT ON COLUMN body."day_avg_bodyfat_percentage" IS 'percent';
COMMENT ON COLUMN body."day_avg_muscle_mass_g" IS 'g';
COMMENT ON COLUMN body."day_avg_bone_mass_g" IS 'g';
COMMENT ON COLUMN body."day_avg_lean_mass_g" IS 'g';
COMMENT ON COLUMN body."day_avg_water_percentage" IS 'percent';
COMMENT ON COLUMN body."day_avg_visceral_fat_level" IS 'as the scale has it';
COMMENT ON COLUMN body."day_avg_skin_fold_mm" IS 'mm';
COMMENT ON COLUMN body."day_avg_insulin_units" IS 'units';
COMMENT ON COLUMN body."day_avg_estimated_fitness_age" IS 'years';
COMMENT ON COLUMN body."day_avg_blood_glucose_mg_per_dl" IS 'mg/dl';
COMMENT ON COLUMN body."day_avg_detailed_blood_glucose_mg_per_dl" IS 'mg/dl';
COMMENT ON COLUMN body."gmi" IS 'glucose management indicator, percent';
COMMENT ON COLUMN body."time_in_range" IS 'percent';
COMMENT ON COLUMN body."sensor_usage" IS 'percent';
COMMENT ON COLUMN body."systolic_bp" IS 'mmHg, last measurement of the day';
COMMENT ON COLUMN body."diastolic_bp" IS 'mmHg, last measurement of the day';
COMMENT ON COLUMN body."day_avg_systolic_bp" IS 'mmHg';
COMMENT ON COLUMN body."day_avg_diastolic_bp" IS 'mmHg';
COMMENT ON COLUMN body."avg_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN body."max_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN body."min_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN body."resting_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN body."user_max_hr_bpm" IS 'beats per minute';
COMMENT ON COLUMN body."avg_hrv_rmssd" IS 'ms';
COMMENT ON COLUMN body."avg_hrv_sdnn" IS 'ms';
COMMENT ON COLUMN body."afib_classification" IS '0 negative, 1 positive, 2 inconclusive; last of the day';
COMMENT ON COLUMN body."avg_saturation_percentage" IS 'SpO2, percent';
COMMENT ON COLUMN body."vo2max_ml_per_min_per_kg" IS 'ml/min/kg';
COMMENT ON COLUMN body."day_avg_vo2max_ml_per_min_per_kg" IS 'ml/min/kg';
COMMENT ON COLUMN body."day_avg_body_temperature_celsius" IS 'degrees Celsius';
COMMENT ON COLUMN body."day_avg_skin_temperature_celsius" IS 'degrees Celsius';
COMMENT ON COLUMN body."day_avg_ambient_temperature_celsius" IS 'degrees Celsius';
COMMENT ON COLUMN body."day_total_water_consumption_ml" IS 'ml';
COMMENT ON COLUMN body."day_avg_hydration_kg" IS 'kg';
COMMENT ON COLUMN body."day_avg_ketone_mg_per_dl" IS 'mg/dl';
COMMENT ON COLUMN body."device_name" IS 'as Terra names it';
COMMENT ON COLUMN body."device_manufacturer" IS 'as Terra names it';
INSERT INTO body (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'body';

CREATE TABLE nutrition (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "timestamp_localization" bigint,
    "calories"               double precision,
    "protein_g"              double precision,
    "carbohydrates_g"        double precision,
    "net_carbohydrates_g"    double precision,
    "sugar_g"                double precision,
    "fiber_g"                double precision,
    "fat_g"                  double precision,
    "saturated_fat_g"        double precision,
    "trans_fat_g"            double precision,
    "alcohol_g"              double precision,
    "cholesterol_mg"         double precision,
    "sodium_mg"              double precision,
    "water_ml"               double precision,
    "drink_ml"               double precision,
    "caffeine_mg"            double precision,
    "calcium_mg"             double precision,
    "iron_mg"                double precision,
    "magnesium_mg"           double precision,
    "potassium_mg"           double precision,
    "zinc_mg"                double precision,
    "folate_mg"              double precision,
    "iodine_mg"              double precision,
    "selenium_mg"            double precision,
    "vitamin_a_mg"           double precision,
    "vitamin_b6_mg"          double precision,
    "vitamin_b12_mg"         double precision,
    "vitamin_c_mg"           double precision,
    "vitamin_d_mg"           double precision,
    "vitamin_e_mg"           double precision,
    "vitamin_k_mg"           double precision,
    "omega3_g"               double precision,
    "omega6_g"               double precision,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX nutrition_start ON nutrition (environment, terra_user_id, start_at DESC, id);
ALTER TABLE nutrition ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE nutrition IS 'what was eaten and drunk on one day';
COMMENT ON COLUMN nutrition.natural_key IS 'day of metadata.start_time as delivered';
COMMENT ON COLUMN nutrition.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN nutrition.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN nutrition.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN nutrition.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN nutrition.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN nutrition.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN nutrition.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN nutrition.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN nutrition."timestamp_localization" IS '0 times are UTC, 1 times are local';
COMMENT ON COLUMN nutrition."calories" IS 'kcal';
COMMENT ON COLUMN nutrition."protein_g" IS 'g';
COMMENT ON COLUMN nutrition."carbohydrates_g" IS 'g';
COMMENT ON COLUMN nutrition."net_carbohydrates_g" IS 'g';
COMMENT ON COLUMN nutrition."sugar_g" IS 'g';
COMMENT ON COLUMN nutrition."fiber_g" IS 'g';
COMMENT ON COLUMN nutrition."fat_g" IS 'g';
COMMENT ON COLUMN nutrition."saturated_fat_g" IS 'g';
COMMENT ON COLUMN nutrition."trans_fat_g" IS 'g';
COMMENT ON COLUMN nutrition."alcohol_g" IS 'g';
COMMENT ON COLUMN nutrition."cholesterol_mg" IS 'mg';
COMMENT ON COLUMN nutrition."sodium_mg" IS 'mg';
COMMENT ON COLUMN nutrition."water_ml" IS 'ml';
COMMENT ON COLUMN nutrition."drink_ml" IS 'ml';
COMMENT ON COLUMN nutrition."caffeine_mg" IS 'mg';
COMMENT ON COLUMN nutrition."calcium_mg" IS 'mg';
COMMENT ON COLUMN nutrition."iron_mg" IS 'mg';
COMMENT ON COLUMN nutrition."magnesium_mg" IS 'mg';
COMMENT ON COLUMN nutrition."potassium_mg" IS 'mg';
COMMENT ON COLUMN nutrition."zinc_mg" IS 'mg';
COMMENT ON COLUMN nutrition."folate_mg" IS 'mg';
COMMENT ON COLUMN nutrition."iodine_mg" IS 'mg';
COMMENT ON COLUMN nutrition."selenium_mg" IS 'mg';
COMMENT ON COLUMN nutrition."vitamin_a_mg" IS 'mg';
COMMENT ON COLUMN nutrition."vitamin_b6_mg" IS 'mg';
COMMENT ON COLUMN nutrition."vitamin_b12_mg" IS 'mg';
COMMENT ON COLUMN nutrition."vitamin_c_mg" IS 'mg';
COMMENT ON COLUMN nutrition."vitamin_d_mg" IS 'mg';
COMMENT ON COLUMN nutrition."vitamin_e_mg" IS 'mg';
COMMENT ON COLUMN nutrition."vitamin_k_mg" IS 'mg';
COMMENT ON COLUMN nutrition."omega3_g" IS 'g';
COMMENT ON COLUMN nutrition."omega6_g" IS 'g';
INSERT INTO nutrition (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'nutrition';

CREATE TABLE menstruation (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "timestamp_localization"       bigint,
    "current_phase"                bigint,
    "day_in_cycle"                 bigint,
    "cycle_length_days"            bigint,
    "predicted_cycle_length_days"  bigint,
    "period_length_days"           bigint,
    "length_of_current_phase_days" bigint,
    "days_until_next_phase"        bigint,
    "is_predicted_cycle"           boolean,
    "period_start_date"            text,
    "ovulation_day"                text,
    "fertility_window_start"       text,
    "fertility_window_end"         text,
    "last_updated_time"            text,
    "flow"                         bigint,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX menstruation_start ON menstruation (environment, terra_user_id, start_at DESC, id);
ALTER TABLE menstruation ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE menstruation IS 'cycle and phase as of one day';
COMMENT ON COLUMN menstruation.natural_key IS 'day of metadata.start_time as delivered';
COMMENT ON COLUMN menstruation.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN menstruation.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN menstruation.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN menstruation.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN menstruation.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN menstruation.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN menstruation.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN menstruation.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN menstruation."timestamp_localization" IS '0 times are UTC, 1 times are local';
COMMENT ON COLUMN menstruation."current_phase" IS '0 unknown, 1 period, 2 follicular, 3 fertile window, 4 ovulation, 5 luteal, 6 PMS, 7 to 9 trimesters';
COMMENT ON COLUMN menstruation."day_in_cycle" IS 'day, the first is 1';
COMMENT ON COLUMN menstruation."cycle_length_days" IS 'days';
COMMENT ON COLUMN menstruation."predicted_cycle_length_days" IS 'days';
COMMENT ON COLUMN menstruation."period_length_days" IS 'days';
COMMENT ON COLUMN menstruation."length_of_current_phase_days" IS 'days';
COMMENT ON COLUMN menstruation."days_until_next_phase" IS 'days';
COMMENT ON COLUMN menstruation."is_predicted_cycle" IS 'predicted, not observed';
COMMENT ON COLUMN menstruation."period_start_date" IS 'date or time as delivered';
COMMENT ON COLUMN menstruation."ovulation_day" IS 'date or time as delivered';
COMMENT ON COLUMN menstruation."fertility_window_start" IS 'date or time as delivered';
COMMENT ON COLUMN menstruation."fertility_window_end" IS 'date or time as delivered';
COMMENT ON COLUMN menstruation."last_updated_time" IS 'date or time as delivered';
COMMENT ON COLUMN menstruation."flow" IS '0 unknown, 1 none, 2 light, 3 medium, 4 heavy, 5 had; last of the day';
INSERT INTO menstruation (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'menstruation';

CREATE TABLE athlete (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "first_name"            text,
    "last_name"             text,
    "sex"                   text,
    "gender"                text,
    "age"                   bigint,
    "date_of_birth"         text,
    "country"               text,
    "state"                 text,
    "city"                  text,
    "email"                 text,
    "bio"                   text,
    "account_creation_date" text,
    "provider_user_id"      text,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX athlete_start ON athlete (environment, terra_user_id, start_at DESC, id);
ALTER TABLE athlete ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE athlete IS 'the person as the provider has them';
COMMENT ON COLUMN athlete.natural_key IS 'there is one per Terra user';
COMMENT ON COLUMN athlete.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN athlete.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN athlete.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN athlete.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN athlete.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN athlete.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN athlete.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN athlete.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN athlete."first_name" IS 'as Terra names it';
COMMENT ON COLUMN athlete."last_name" IS 'as Terra names it';
COMMENT ON COLUMN athlete."sex" IS 'as Terra names it';
COMMENT ON COLUMN athlete."gender" IS 'as Terra names it';
COMMENT ON COLUMN athlete."age" IS 'years';
COMMENT ON COLUMN athlete."date_of_birth" IS 'as Terra names it';
COMMENT ON COLUMN athlete."country" IS 'as Terra names it';
COMMENT ON COLUMN athlete."state" IS 'as Terra names it';
COMMENT ON COLUMN athlete."city" IS 'as Terra names it';
COMMENT ON COLUMN athlete."email" IS 'as Terra names it';
COMMENT ON COLUMN athlete."bio" IS 'as Terra names it';
COMMENT ON COLUMN athlete."account_creation_date" IS 'as Terra names it';
COMMENT ON COLUMN athlete."provider_user_id" IS 'as Terra names it';
INSERT INTO athlete (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'athlete';

CREATE TABLE planned_workout (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "planned_workout_id"                text,
    "workout_id"                        text,
    "provider_workout_id"               text,
    "planned_date"                      text,
    "is_external"                       boolean,
    "created_at"                        text,
    "last_updated_at"                   text,
    "name"                              text,
    "description"                       text,
    "activity_type"                     bigint,
    "estimated_duration_seconds"        double precision,
    "estimated_distance_meters"         double precision,
    "estimated_calories"                double precision,
    "estimated_tss"                     double precision,
    "estimated_if"                      double precision,
    "estimated_elevation_gain_meters"   double precision,
    "estimated_energy_kj"               double precision,
    "estimated_speed_meters_per_second" double precision,
    "pool_length_meters"                double precision,
    "ftp"                               double precision,
    "max_heart_rate"                    double precision,
    "threshold_heart_rate"              double precision,
    "threshold_speed"                   double precision,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX planned_workout_start ON planned_workout (environment, terra_user_id, start_at DESC, id);
ALTER TABLE planned_workout ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE planned_workout IS 'what a coach or a plan wants done';
COMMENT ON COLUMN planned_workout.natural_key IS 'planned_workout_id, else the id in its details, else the provider''s';
COMMENT ON COLUMN planned_workout.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN planned_workout.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN planned_workout.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN planned_workout.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN planned_workout.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN planned_workout.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN planned_workout.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN planned_workout.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN planned_workout."planned_workout_id" IS 'as Terra names it';
COMMENT ON COLUMN planned_workout."workout_id" IS 'the template it was made from';
COMMENT ON COLUMN planned_workout."provider_workout_id" IS 'as Terra names it';
COMMENT ON COLUMN planned_workout."planned_date" IS 'as delivered';
COMMENT ON COLUMN planned_workout."is_external" IS 'made at the provider, not through Terra';
COMMENT ON COLUMN planned_workout."created_at" IS 'as delivered';
COMMENT ON COLUMN planned_workout."last_updated_at" IS 'as delivered';
COMMENT ON COLUMN planned_workout."name" IS 'as Terra names it';
COMMENT ON COLUMN planned_workout."description" IS 'as Terra names it';
COMMENT ON COLUMN planned_workout."activity_type" IS 'Terra''s open enum of activities';
COMMENT ON COLUMN planned_workout."estimated_duration_seconds" IS 's';
COMMENT ON COLUMN planned_workout."estimated_distance_meters" IS 'm';
COMMENT ON COLUMN planned_workout."estimated_calories" IS 'kcal';
COMMENT ON COLUMN planned_workout."estimated_tss" IS 'training stress score';
COMMENT ON COLUMN planned_workout."estimated_if" IS 'intensity factor';
COMMENT ON COLUMN planned_workout."estimated_elevation_gain_meters" IS 'm';
COMMENT ON COLUMN planned_workout."estimated_energy_kj" IS 'kJ';
COMMENT ON COLUMN planned_workout."estimated_speed_meters_per_second" IS 'm/s';
COMMENT ON COLUMN planned_workout."pool_length_meters" IS 'm';
COMMENT ON COLUMN planned_workout."ftp" IS 'W, functional threshold power';
COMMENT ON COLUMN planned_workout."max_heart_rate" IS 'beats per minute';
COMMENT ON COLUMN planned_workout."threshold_heart_rate" IS 'beats per minute';
COMMENT ON COLUMN planned_workout."threshold_speed" IS 'm/s';
INSERT INTO planned_workout (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'planned_workout';

CREATE TABLE hormone (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "lh_miu_per_ml"  double precision,
    "fsh_miu_per_ml" double precision,
    "hcg_miu_per_ml" double precision,
    "e3g_ng_per_ml"  double precision,
    "pdg_ug_per_ml"  double precision,
    "timestamp"      text,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX hormone_start ON hormone (environment, terra_user_id, start_at DESC, id);
ALTER TABLE hormone ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE hormone IS 'one measurement of hormones';
COMMENT ON COLUMN hormone.natural_key IS 'timestamp';
COMMENT ON COLUMN hormone.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN hormone.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN hormone.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN hormone.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN hormone.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN hormone.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN hormone.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN hormone.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN hormone."lh_miu_per_ml" IS 'luteinising hormone, mIU/ml';
COMMENT ON COLUMN hormone."fsh_miu_per_ml" IS 'follicle-stimulating hormone, mIU/ml';
COMMENT ON COLUMN hormone."hcg_miu_per_ml" IS 'chorionic gonadotropin, mIU/ml';
COMMENT ON COLUMN hormone."e3g_ng_per_ml" IS 'estrone-3-glucuronide, ng/ml';
COMMENT ON COLUMN hormone."pdg_ug_per_ml" IS 'pregnanediol glucuronide, ug/ml';
COMMENT ON COLUMN hormone."timestamp" IS 'as delivered';
INSERT INTO hormone (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'hormone';

CREATE TABLE health_observation (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "summary_id"             text,
    "timestamp_localization" bigint,
    "observation_type"       text,
    "category"               bigint,
    "status"                 bigint,
    "severity"               bigint,
    "value_type"             bigint,
    "quantity"               double precision,
    "unit"                   text,
    "boolean"                boolean,
    "text"                   text,
    "code"                   text,
    "notes"                  text,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX health_observation_start ON health_observation (environment, terra_user_id, start_at DESC, id);
ALTER TABLE health_observation ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE health_observation IS 'a symptom, a medication, a lab value, a state of mind';
COMMENT ON COLUMN health_observation.natural_key IS 'metadata.summary_id; an amended observation keeps it';
COMMENT ON COLUMN health_observation.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN health_observation.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN health_observation.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN health_observation.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN health_observation.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN health_observation.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN health_observation.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN health_observation.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN health_observation."summary_id" IS 'unique per Terra user; an amended observation keeps it';
COMMENT ON COLUMN health_observation."timestamp_localization" IS '0 times are UTC, 1 times are local';
COMMENT ON COLUMN health_observation."observation_type" IS 'as Terra names it';
COMMENT ON COLUMN health_observation."category" IS '0 unspecified, 1 symptom, 2 reproductive health, 3 self care, 4 medication, 5 lab and metrics, 6 state of mind, 7 device event, 8 clinical';
COMMENT ON COLUMN health_observation."status" IS '0 unspecified, 1 final, 2 amended, 3 entered in error';
COMMENT ON COLUMN health_observation."severity" IS '0 unspecified, 1 not present, 2 mild, 3 moderate, 4 severe';
COMMENT ON COLUMN health_observation."value_type" IS '0 none, 1 quantity, 2 boolean, 3 string, 4 code';
COMMENT ON COLUMN health_observation."quantity" IS 'in `unit`';
COMMENT ON COLUMN health_observation."unit" IS 'as Terra names it';
COMMENT ON COLUMN health_observation."boolean" IS 'the value of a yes-or-no observation';
COMMENT ON COLUMN health_observation."text" IS 'as Terra names it';
COMMENT ON COLUMN health_observation."code" IS 'as Terra names it';
COMMENT ON COLUMN health_observation."notes" IS 'as Terra names it';
INSERT INTO health_observation (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'health_observation';

CREATE TABLE lab_report (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    enrichment      json,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    "event_id"                  text,
    "occurred_at"               text,
    "upload_id"                 text,
    "session_id"                text,
    "reference_id"              text,
    "current_status"            text,
    "report_type"               text,
    "report_date"               text,
    "report_time"               text,
    "collection_date"           text,
    "report_locale"             text,
    "lab_name"                  text,
    "patient_age_at_collection" bigint,
    "patient_sex"               text,
    "results_count"             bigint,
    "failure_code"              text,
    "failure_retriable"         boolean,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX lab_report_start ON lab_report (environment, terra_user_id, start_at DESC, id);
ALTER TABLE lab_report ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON TABLE lab_report IS 'one report of a laboratory, or why it could not be read';
COMMENT ON COLUMN lab_report.natural_key IS 'session of the report, else its upload; failed: before one that could not be read';
COMMENT ON COLUMN lab_report.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN lab_report.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN lab_report.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN lab_report.start_at IS 'start_time as an instant; one without an offset as if it were UTC';
COMMENT ON COLUMN lab_report.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN lab_report.fingerprint IS 'digest per top-level member of the document, scores left out';
COMMENT ON COLUMN lab_report.enrichment IS 'Terra''s scores, each with the order of the delivery that said it';
COMMENT ON COLUMN lab_report.document IS 'Terra''s object, sealed';
COMMENT ON COLUMN lab_report."event_id" IS 'of the webhook';
COMMENT ON COLUMN lab_report."occurred_at" IS 'as delivered';
COMMENT ON COLUMN lab_report."upload_id" IS 'of the upload it came from';
COMMENT ON COLUMN lab_report."session_id" IS 'of the report; a string, for it is longer than a float is exact';
COMMENT ON COLUMN lab_report."reference_id" IS 'whose it is, as the uploader said';
COMMENT ON COLUMN lab_report."current_status" IS 'as Terra names it';
COMMENT ON COLUMN lab_report."report_type" IS 'as Terra names it';
COMMENT ON COLUMN lab_report."report_date" IS 'as delivered';
COMMENT ON COLUMN lab_report."report_time" IS 'as delivered';
COMMENT ON COLUMN lab_report."collection_date" IS 'as delivered';
COMMENT ON COLUMN lab_report."report_locale" IS 'as Terra names it';
COMMENT ON COLUMN lab_report."lab_name" IS 'as Terra names it';
COMMENT ON COLUMN lab_report."patient_age_at_collection" IS 'years';
COMMENT ON COLUMN lab_report."patient_sex" IS 'as Terra names it';
COMMENT ON COLUMN lab_report."results_count" IS 'count';
COMMENT ON COLUMN lab_report."failure_code" IS 'why it failed';
COMMENT ON COLUMN lab_report."failure_retriable" IS 'uploading again may help';
INSERT INTO lab_report (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'lab_report';

DROP TABLE document_record;

ALTER TABLE delivery ADD COLUMN unread jsonb;
COMMENT ON COLUMN delivery.unread IS 'what of the payload could not be read, by place and path, without values; the rest was applied';

CREATE TABLE drift (
    environment text NOT NULL,
    kind        text NOT NULL,
    provider    text NOT NULL,
    path        text NOT NULL,
    found       text NOT NULL,
    seen        bigint NOT NULL,
    first_seen  timestamptz NOT NULL,
    last_seen   timestamptz NOT NULL,
    PRIMARY KEY (environment, kind, provider, path, found)
);
COMMENT ON TABLE drift IS 'what payloads held that Terra''s schema does not have';
COMMENT ON COLUMN drift.kind IS 'Terra''s name of the event';
COMMENT ON COLUMN drift.provider IS 'empty where none was named';
COMMENT ON COLUMN drift.path IS 'members joined by dots; empty for a kind of event that is new as a whole';
COMMENT ON COLUMN drift.found IS 'the shape that was found: object, array, number, string, boolean, or event';
COMMENT ON COLUMN drift.seen IS 'deliveries that had it';

UPDATE schema_level SET readable_from = 3;
