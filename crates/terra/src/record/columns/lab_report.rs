//! Lab reports: one report of a laboratory, or why it could not be read.

use super::{AS_NAMED, COUNT, Column, flag, integer, text};

pub(super) const COLUMNS: [Column; 17] = [
    text("event_id", "of the webhook"),
    text("occurred_at", "as delivered"),
    text("upload_id", "of the upload it came from").or("data.upload_id"),
    text("data.session_id", "of the report; a string, for it is longer than a float is exact").or("session_id"),
    text("data.reference_id", "whose it is, as the uploader said").or("reference_id"),
    text("data.current_status", AS_NAMED).or("current_status"),
    text("data.report_type", AS_NAMED).or("report_type"),
    text("data.report_date", "as delivered").or("report_date"),
    text("data.report_time", "as delivered").or("report_time"),
    text("data.collection_date", "as delivered").or("collection_date"),
    text("data.report_locale", AS_NAMED).or("report_locale"),
    text("data.lab_name", AS_NAMED).or("lab_name"),
    integer("data.patient_age_at_collection", "years").or("patient_age_at_collection"),
    text("data.patient_sex", AS_NAMED).or("patient_sex"),
    integer("data.results_count", COUNT).or("results_count"),
    text("data.error.code", "why it failed").named("failure_code").or("error.code"),
    flag("data.error.retriable", "uploading again may help").named("failure_retriable").or("error.retriable"),
];
