-- A table per kind of record, each with typed columns, and a stamp for every score of Terra's. Moves what was kept as bare
-- documents; `landfall reproject` then fills the new columns from the documents. A binary made for level 2 does not find
-- the tables it knew.

ALTER TABLE activity ADD COLUMN enrichment TEXT; -- JSON: Terra's scores, each with the order of the delivery that said it
ALTER TABLE activity ADD COLUMN "summary_id" TEXT; -- unique per Terra user
ALTER TABLE activity ADD COLUMN "city" TEXT; -- as Terra names it
ALTER TABLE activity ADD COLUMN "state" TEXT; -- as Terra names it
ALTER TABLE activity ADD COLUMN "country" TEXT; -- as Terra names it
ALTER TABLE activity ADD COLUMN "num_laps" INTEGER; -- count
ALTER TABLE activity ADD COLUMN "num_strokes" INTEGER; -- count
ALTER TABLE activity ADD COLUMN "user_max_hr_bpm" REAL; -- beats per minute
ALTER TABLE activity ADD COLUMN "avg_met_level" REAL; -- metabolic equivalents
ALTER TABLE activity ADD COLUMN "num_high_intensity_minutes" REAL; -- min
ALTER TABLE activity ADD COLUMN "num_moderate_intensity_minutes" REAL; -- min
ALTER TABLE activity ADD COLUMN "num_low_intensity_minutes" REAL; -- min
ALTER TABLE activity ADD COLUMN "num_inactive_minutes" REAL; -- min
ALTER TABLE activity ADD COLUMN "normalized_speed_meters_per_second" REAL; -- m/s
ALTER TABLE activity ADD COLUMN "max_pace_minutes_per_kilometer" REAL; -- min/km
ALTER TABLE activity ADD COLUMN "cheat_detection" REAL; -- 1 where Terra or the provider doubts the activity
UPDATE activity SET fingerprint = '{}';

CREATE TABLE sleep ( -- a night or a nap
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- metadata.summary_id, else start|end
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "summary_id"                          TEXT, -- unique per Terra user; may be absent
    "is_nap"                              INTEGER, -- not the main sleep of the day
    "upload_type"                         INTEGER, -- 0 unknown, 1 manual, 2 automatic, 3 tentative, 4 indeterminate
    "timestamp_localization"              INTEGER, -- 0 times are UTC, 1 times are local
    "duration_asleep_state_seconds"       REAL, -- s
    "duration_deep_sleep_state_seconds"   REAL, -- s
    "duration_light_sleep_state_seconds"  REAL, -- s
    "duration_rem_sleep_state_seconds"    REAL, -- s
    "num_rem_events"                      INTEGER, -- count
    "duration_awake_state_seconds"        REAL, -- s
    "duration_long_interruption_seconds"  REAL, -- s
    "duration_short_interruption_seconds" REAL, -- s
    "num_out_of_bed_events"               INTEGER, -- count
    "num_wakeup_events"                   INTEGER, -- count
    "sleep_latency_seconds"               REAL, -- s
    "wake_up_latency_seconds"             REAL, -- s
    "duration_in_bed_seconds"             REAL, -- s
    "duration_unmeasurable_sleep_seconds" REAL, -- s
    "sleep_efficiency"                    REAL, -- share of the time in bed, 0 to 1 or percent, as the provider has it
    "avg_hr_bpm"                          REAL, -- beats per minute
    "max_hr_bpm"                          REAL, -- beats per minute
    "min_hr_bpm"                          REAL, -- beats per minute
    "resting_hr_bpm"                      REAL, -- beats per minute
    "user_max_hr_bpm"                     REAL, -- beats per minute
    "avg_hrv_rmssd"                       REAL, -- ms
    "avg_hrv_sdnn"                        REAL, -- ms
    "avg_breaths_per_min"                 REAL, -- breaths per minute
    "max_breaths_per_min"                 REAL, -- breaths per minute
    "min_breaths_per_min"                 REAL, -- breaths per minute
    "avg_saturation_percentage"           REAL, -- SpO2, percent
    "num_snoring_events"                  INTEGER, -- count
    "total_snoring_duration_seconds"      REAL, -- s
    "temperature_delta"                   REAL, -- degrees Celsius from the person's usual
    "readiness"                           REAL, -- the provider's own score
    "recovery_level"                      REAL, -- the provider's own score
    "provider_sleep_score"                REAL, -- the provider's own score
    "sleep_score"                         REAL, -- Terra's enrichment score: the non-null value of greatest order
    "readiness_score"                     REAL, -- Terra's enrichment score: the non-null value of greatest order
    "sleep_score_v2"                      REAL, -- Terra's enrichment score: the non-null value of greatest order
    "respiratory_score_v2"                REAL, -- Terra's enrichment score: the non-null value of greatest order
    "device_name"                         TEXT, -- as Terra names it
    "device_manufacturer"                 TEXT -- as Terra names it
) STRICT;
CREATE INDEX sleep_start ON sleep (environment, terra_user_id, start_at DESC, id);
CREATE INDEX sleep_key ON sleep (environment, terra_user_id, natural_key);
INSERT INTO sleep (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'sleep';

CREATE TABLE daily ( -- the totals of one day
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- day of metadata.start_time as delivered
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "upload_type"                      INTEGER, -- 0 unknown, 1 automatic, 2 manual, 3 update, 4 deleted, 5 pending, 6 third party
    "timestamp_localization"           INTEGER, -- 0 times are UTC, 1 times are local
    "steps"                            INTEGER, -- count
    "distance_meters"                  REAL, -- m
    "floors_climbed"                   INTEGER, -- count
    "elevation_gain_meters"            REAL, -- m
    "elevation_loss_meters"            REAL, -- m
    "total_burned_calories"            REAL, -- kcal
    "net_activity_calories"            REAL, -- kcal
    "bmr_calories"                     REAL, -- kcal
    "net_intake_calories"              REAL, -- kcal
    "activity_seconds"                 REAL, -- s
    "inactivity_seconds"               REAL, -- s
    "rest_seconds"                     REAL, -- s
    "low_intensity_seconds"            REAL, -- s
    "moderate_intensity_seconds"       REAL, -- s
    "vigorous_intensity_seconds"       REAL, -- s
    "standing_seconds"                 REAL, -- s
    "standing_hours_count"             REAL, -- hours with standing in them
    "num_continuous_inactive_periods"  INTEGER, -- count
    "avg_hr_bpm"                       REAL, -- beats per minute
    "max_hr_bpm"                       REAL, -- beats per minute
    "min_hr_bpm"                       REAL, -- beats per minute
    "resting_hr_bpm"                   REAL, -- beats per minute
    "user_max_hr_bpm"                  REAL, -- beats per minute
    "avg_hrv_rmssd"                    REAL, -- ms
    "avg_hrv_sdnn"                     REAL, -- ms
    "avg_met_level"                    REAL, -- metabolic equivalents
    "num_high_intensity_minutes"       REAL, -- min
    "num_moderate_intensity_minutes"   REAL, -- min
    "num_low_intensity_minutes"        REAL, -- min
    "num_inactive_minutes"             REAL, -- min
    "avg_saturation_percentage"        REAL, -- SpO2, percent
    "vo2max_ml_per_min_per_kg"         REAL, -- ml/min/kg
    "day_avg_vo2max_ml_per_min_per_kg" REAL, -- ml/min/kg
    "avg_stress_level"                 REAL, -- the provider's own score
    "max_stress_level"                 REAL, -- the provider's own score
    "stress_duration_seconds"          REAL, -- s
    "rest_stress_duration_seconds"     REAL, -- s
    "low_stress_duration_seconds"      REAL, -- s
    "medium_stress_duration_seconds"   REAL, -- s
    "high_stress_duration_seconds"     REAL, -- s
    "activity_stress_duration_seconds" REAL, -- s
    "stress_rating"                    INTEGER, -- 0 unknown, 1 rest, 2 low, 3 medium, 4 high
    "provider_activity_score"          REAL, -- the provider's own score
    "provider_recovery_score"          REAL, -- the provider's own score
    "provider_sleep_score"             REAL, -- the provider's own score
    "strain_level"                     REAL, -- the provider's own score
    "total_stress_score"               REAL, -- Terra's enrichment score: the non-null value of greatest order
    "total_stress_score_v2"            REAL, -- Terra's enrichment score: the non-null value of greatest order
    "respiratory_score"                REAL, -- Terra's enrichment score: the non-null value of greatest order
    "immune_index"                     REAL, -- Terra's enrichment score: the non-null value of greatest order
    "resilience_score"                 REAL, -- Terra's enrichment score: the non-null value of greatest order
    "strain_index"                     REAL, -- Terra's enrichment score: the non-null value of greatest order
    "strain_traffic_light"             TEXT, -- Terra's enrichment score: the non-null value of greatest order
    "device_name"                      TEXT, -- as Terra names it
    "device_manufacturer"              TEXT -- as Terra names it
) STRICT;
CREATE INDEX daily_start ON daily (environment, terra_user_id, start_at DESC, id);
CREATE INDEX daily_key ON daily (environment, terra_user_id, natural_key);
INSERT INTO daily (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'daily';

CREATE TABLE body ( -- weight, composition, glucose, blood pressure of one day
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- day of metadata.start_time as delivered
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "timestamp_localization"                   INTEGER, -- 0 times are UTC, 1 times are local
    "weight_kg"                                REAL, -- kg, last measurement of the day
    "height_cm"                                REAL, -- cm, last measurement of the day
    "bmi"                                      REAL, -- kg/m2, last measurement of the day
    "bodyfat_percentage"                       REAL, -- percent, last measurement of the day
    "muscle_mass_g"                            REAL, -- g, last measurement of the day
    "bone_mass_g"                              REAL, -- g, last measurement of the day
    "lean_mass_g"                              REAL, -- g, last measurement of the day
    "water_percentage"                         REAL, -- percent, last measurement of the day
    "visceral_fat_level"                       REAL, -- last measurement of the day, as the scale has it
    "estimated_fitness_age"                    INTEGER, -- years, last measurement of the day
    "day_avg_weight_kg"                        REAL, -- kg
    "day_avg_height_cm"                        REAL, -- cm
    "day_avg_bmi"                              REAL, -- kg/m2
    "day_avg_bmr"                              REAL, -- kcal
    "day_avg_rmr"                              REAL, -- kcal
    "day_avg_bodyfat_percentage"               REAL, -- percent
    "day_avg_muscle_mass_g"                    REAL, -- g
    "day_avg_bone_mass_g"                      REAL, -- g
    "day_avg_lean_mass_g"                      REAL, -- g
    "day_avg_water_percentage"                 REAL, -- percent
    "day_avg_visceral_fat_level"               REAL, -- as the scale has it
    "day_avg_skin_fold_mm"                     REAL, -- mm
    "day_avg_insulin_units"                    REAL, -- units
    "day_avg_estimated_fitness_age"            REAL, -- years
    "day_avg_blood_glucose_mg_per_dl"          REAL, -- mg/dl
    "day_avg_detailed_blood_glucose_mg_per_dl" REAL, -- mg/dl
    "gmi"                                      REAL, -- glucose management indicator, percent
    "time_in_range"                            REAL, -- percent
    "sensor_usage"                             INTEGER, -- percent
    "systolic_bp"                              REAL, -- mmHg, last measurement of the day
    "diastolic_bp"                             REAL, -- mmHg, last measurement of the day
    "day_avg_systolic_bp"                      REAL, -- mmHg
    "day_avg_diastolic_bp"                     REAL, -- mmHg
    "avg_hr_bpm"                               REAL, -- beats per minute
    "max_hr_bpm"                               REAL, -- beats per minute
    "min_hr_bpm"                               REAL, -- beats per minute
    "resting_hr_bpm"                           REAL, -- beats per minute
    "user_max_hr_bpm"                          REAL, -- beats per minute
    "avg_hrv_rmssd"                            REAL, -- ms
    "avg_hrv_sdnn"                             REAL, -- ms
    "afib_classification"                      INTEGER, -- 0 negative, 1 positive, 2 inconclusive; last of the day
    "avg_saturation_percentage"                REAL, -- SpO2, percent
    "vo2max_ml_per_min_per_kg"                 REAL, -- ml/min/kg
    "day_avg_vo2max_ml_per_min_per_kg"         REAL, -- ml/min/kg
    "day_avg_body_temperature_celsius"         REAL, -- degrees Celsius
    "day_avg_skin_temperature_celsius"         REAL, -- degrees Celsius
    "day_avg_ambient_temperature_celsius"      REAL, -- degrees Celsius
    "day_total_water_consumption_ml"           REAL, -- ml
    "day_avg_hydration_kg"                     REAL, -- kg
    "day_avg_ketone_mg_per_dl"                 REAL, -- mg/dl
    "device_name"                              TEXT, -- as Terra names it
    "device_manufacturer"                      TEXT -- as Terra names it
) STRICT;
CREATE INDEX body_start ON body (environment, terra_user_id, start_at DESC, id);
CREATE INDEX body_key ON body (environment, terra_user_id, natural_key);
INSERT INTO body (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'body';

CREATE TABLE nutrition ( -- what was eaten and drunk on one day
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- day of metadata.start_time as delivered
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "timestamp_localization" INTEGER, -- 0 times are UTC, 1 times are local
    "calories"               REAL, -- kcal
    "protein_g"              REAL, -- g
    "carbohydrates_g"        REAL, -- g
    "net_carbohydrates_g"    REAL, -- g
    "sugar_g"                REAL, -- g
    "fiber_g"                REAL, -- g
    "fat_g"                  REAL, -- g
    "saturated_fat_g"        REAL, -- g
    "trans_fat_g"            REAL, -- g
    "alcohol_g"              REAL, -- g
    "cholesterol_mg"         REAL, -- mg
    "sodium_mg"              REAL, -- mg
    "water_ml"               REAL, -- ml
    "drink_ml"               REAL, -- ml
    "caffeine_mg"            REAL, -- mg
    "calcium_mg"             REAL, -- mg
    "iron_mg"                REAL, -- mg
    "magnesium_mg"           REAL, -- mg
    "potassium_mg"           REAL, -- mg
    "zinc_mg"                REAL, -- mg
    "folate_mg"              REAL, -- mg
    "iodine_mg"              REAL, -- mg
    "selenium_mg"            REAL, -- mg
    "vitamin_a_mg"           REAL, -- mg
    "vitamin_b6_mg"          REAL, -- mg
    "vitamin_b12_mg"         REAL, -- mg
    "vitamin_c_mg"           REAL, -- mg
    "vitamin_d_mg"           REAL, -- mg
    "vitamin_e_mg"           REAL, -- mg
    "vitamin_k_mg"           REAL, -- mg
    "omega3_g"               REAL, -- g
    "omega6_g"               REAL -- g
) STRICT;
CREATE INDEX nutrition_start ON nutrition (environment, terra_user_id, start_at DESC, id);
CREATE INDEX nutrition_key ON nutrition (environment, terra_user_id, natural_key);
INSERT INTO nutrition (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'nutrition';

CREATE TABLE menstruation ( -- cycle and phase as of one day
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- day of metadata.start_time as delivered
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "timestamp_localization"       INTEGER, -- 0 times are UTC, 1 times are local
    "current_phase"                INTEGER, -- 0 unknown, 1 period, 2 follicular, 3 fertile window, 4 ovulation, 5 luteal, 6 PMS, 7 to 9 trimesters
    "day_in_cycle"                 INTEGER, -- day, the first is 1
    "cycle_length_days"            INTEGER, -- days
    "predicted_cycle_length_days"  INTEGER, -- days
    "period_length_days"           INTEGER, -- days
    "length_of_current_phase_days" INTEGER, -- days
    "days_until_next_phase"        INTEGER, -- days
    "is_predicted_cycle"           INTEGER, -- predicted, not observed
    "period_start_date"            TEXT, -- date or time as delivered
    "ovulation_day"                TEXT, -- date or time as delivered
    "fertility_window_start"       TEXT, -- date or time as delivered
    "fertility_window_end"         TEXT, -- date or time as delivered
    "last_updated_time"            TEXT, -- date or time as delivered
    "flow"                         INTEGER -- 0 unknown, 1 none, 2 light, 3 medium, 4 heavy, 5 had; last of the day
) STRICT;
CREATE INDEX menstruation_start ON menstruation (environment, terra_user_id, start_at DESC, id);
CREATE INDEX menstruation_key ON menstruation (environment, terra_user_id, natural_key);
INSERT INTO menstruation (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'menstruation';

CREATE TABLE athlete ( -- the person as the provider has them
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- there is one per Terra user
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "first_name"            TEXT, -- as Terra names it
    "last_name"             TEXT, -- as Terra names it
    "sex"                   TEXT, -- as Terra names it
    "gender"                TEXT, -- as Terra names it
    "age"                   INTEGER, -- years
    "date_of_birth"         TEXT, -- as Terra names it
    "country"               TEXT, -- as Terra names it
    "state"                 TEXT, -- as Terra names it
    "city"                  TEXT, -- as Terra names it
    "email"                 TEXT, -- as Terra names it
    "bio"                   TEXT, -- as Terra names it
    "account_creation_date" TEXT, -- as Terra names it
    "provider_user_id"      TEXT -- as Terra names it
) STRICT;
CREATE INDEX athlete_start ON athlete (environment, terra_user_id, start_at DESC, id);
CREATE INDEX athlete_key ON athlete (environment, terra_user_id, natural_key);
INSERT INTO athlete (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'athlete';

CREATE TABLE planned_workout ( -- what a coach or a plan wants done
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- planned_workout_id, else the id in its details, else the provider's
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "planned_workout_id"                TEXT, -- as Terra names it
    "workout_id"                        TEXT, -- the template it was made from
    "provider_workout_id"               TEXT, -- as Terra names it
    "planned_date"                      TEXT, -- as delivered
    "is_external"                       INTEGER, -- made at the provider, not through Terra
    "created_at"                        TEXT, -- as delivered
    "last_updated_at"                   TEXT, -- as delivered
    "name"                              TEXT, -- as Terra names it
    "description"                       TEXT, -- as Terra names it
    "activity_type"                     INTEGER, -- Terra's open enum of activities
    "estimated_duration_seconds"        REAL, -- s
    "estimated_distance_meters"         REAL, -- m
    "estimated_calories"                REAL, -- kcal
    "estimated_tss"                     REAL, -- training stress score
    "estimated_if"                      REAL, -- intensity factor
    "estimated_elevation_gain_meters"   REAL, -- m
    "estimated_energy_kj"               REAL, -- kJ
    "estimated_speed_meters_per_second" REAL, -- m/s
    "pool_length_meters"                REAL, -- m
    "ftp"                               REAL, -- W, functional threshold power
    "max_heart_rate"                    REAL, -- beats per minute
    "threshold_heart_rate"              REAL, -- beats per minute
    "threshold_speed"                   REAL -- m/s
) STRICT;
CREATE INDEX planned_workout_start ON planned_workout (environment, terra_user_id, start_at DESC, id);
CREATE INDEX planned_workout_key ON planned_workout (environment, terra_user_id, natural_key);
INSERT INTO planned_workout (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'planned_workout';

CREATE TABLE hormone ( -- one measurement of hormones
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- timestamp
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "lh_miu_per_ml"  REAL, -- luteinising hormone, mIU/ml
    "fsh_miu_per_ml" REAL, -- follicle-stimulating hormone, mIU/ml
    "hcg_miu_per_ml" REAL, -- chorionic gonadotropin, mIU/ml
    "e3g_ng_per_ml"  REAL, -- estrone-3-glucuronide, ng/ml
    "pdg_ug_per_ml"  REAL, -- pregnanediol glucuronide, ug/ml
    "timestamp"      TEXT -- as delivered
) STRICT;
CREATE INDEX hormone_start ON hormone (environment, terra_user_id, start_at DESC, id);
CREATE INDEX hormone_key ON hormone (environment, terra_user_id, natural_key);
INSERT INTO hormone (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'hormone';

CREATE TABLE health_observation ( -- a symptom, a medication, a lab value, a state of mind
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- metadata.summary_id; an amended observation keeps it
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "summary_id"             TEXT, -- unique per Terra user; an amended observation keeps it
    "timestamp_localization" INTEGER, -- 0 times are UTC, 1 times are local
    "observation_type"       TEXT, -- as Terra names it
    "category"               INTEGER, -- 0 unspecified, 1 symptom, 2 reproductive health, 3 self care, 4 medication, 5 lab and metrics, 6 state of mind, 7 device event, 8 clinical
    "status"                 INTEGER, -- 0 unspecified, 1 final, 2 amended, 3 entered in error
    "severity"               INTEGER, -- 0 unspecified, 1 not present, 2 mild, 3 moderate, 4 severe
    "value_type"             INTEGER, -- 0 none, 1 quantity, 2 boolean, 3 string, 4 code
    "quantity"               REAL, -- in `unit`
    "unit"                   TEXT, -- as Terra names it
    "boolean"                INTEGER, -- the value of a yes-or-no observation
    "text"                   TEXT, -- as Terra names it
    "code"                   TEXT, -- as Terra names it
    "notes"                  TEXT -- as Terra names it
) STRICT;
CREATE INDEX health_observation_start ON health_observation (environment, terra_user_id, start_at DESC, id);
CREATE INDEX health_observation_key ON health_observation (environment, terra_user_id, natural_key);
INSERT INTO health_observation (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'health_observation';

CREATE TABLE lab_report ( -- one report of a laboratory, or why it could not be read
    id              BLOB PRIMARY KEY CHECK (length(id) = 16), -- version 5 of what makes it the same record
    environment     TEXT NOT NULL, -- Terra environment
    terra_user_id   TEXT NOT NULL, -- the alias it came under
    natural_key     TEXT NOT NULL, -- session of the report, else its upload; failed: before one that could not be read
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at        INTEGER, -- start_time as an instant, ms; one without an offset as if it were UTC
    start_time      TEXT, -- as delivered, with offset
    end_time        TEXT, -- as delivered, with offset
    fingerprint     TEXT NOT NULL, -- JSON: digest per top-level member of the document, scores left out
    enrichment      TEXT, -- JSON: Terra's scores, each with the order of the delivery that said it
    document        BLOB NOT NULL, -- Terra's object, sealed
    updated_at      INTEGER NOT NULL, -- ms
    "event_id"                  TEXT, -- of the webhook
    "occurred_at"               TEXT, -- as delivered
    "upload_id"                 TEXT, -- of the upload it came from
    "session_id"                TEXT, -- of the report; a string, for it is longer than a float is exact
    "reference_id"              TEXT, -- whose it is, as the uploader said
    "current_status"            TEXT, -- as Terra names it
    "report_type"               TEXT, -- as Terra names it
    "report_date"               TEXT, -- as delivered
    "report_time"               TEXT, -- as delivered
    "collection_date"           TEXT, -- as delivered
    "report_locale"             TEXT, -- as Terra names it
    "lab_name"                  TEXT, -- as Terra names it
    "patient_age_at_collection" INTEGER, -- years
    "patient_sex"               TEXT, -- as Terra names it
    "results_count"             INTEGER, -- count
    "failure_code"              TEXT, -- why it failed
    "failure_retriable"         INTEGER -- uploading again may help
) STRICT;
CREATE INDEX lab_report_start ON lab_report (environment, terra_user_id, start_at DESC, id);
CREATE INDEX lab_report_key ON lab_report (environment, terra_user_id, natural_key);
INSERT INTO lab_report (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, document,
                   updated_at)
SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, '{}', document, updated_at
  FROM document_record WHERE kind = 'lab_report';

CREATE INDEX activity_key ON activity (environment, terra_user_id, natural_key);
DROP TABLE document_record;

ALTER TABLE delivery ADD COLUMN unread TEXT; -- JSON: what of the payload could not be read, by place and path, without values; the rest was applied

CREATE TABLE drift ( -- what payloads held that Terra's schema does not have
    environment TEXT NOT NULL, -- Terra environment
    kind        TEXT NOT NULL, -- Terra's name of the event
    provider    TEXT NOT NULL, -- empty where none was named
    path        TEXT NOT NULL, -- members joined by dots; empty for a kind of event that is new as a whole
    found       TEXT NOT NULL, -- the shape that was found: object, array, number, string, boolean, or event
    seen        INTEGER NOT NULL, -- deliveries that had it
    first_seen  INTEGER NOT NULL, -- ms
    last_seen   INTEGER NOT NULL, -- ms
    PRIMARY KEY (environment, kind, provider, path, found)
) STRICT;

UPDATE schema_level SET readable_from = 3;
