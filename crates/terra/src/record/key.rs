//! Under which key a record is one and the same thing for its connection.

use crate::event::DataKind;
use crate::record::{lenient, times};

/// The `upload_type` that marks an activity or a day for deletion.
pub const UPLOAD_TYPE_DELETED: i64 = 4;

/// What makes a record unique within its connection and kind. It is not unique beyond: two people may share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NaturalKey(pub String);

impl NaturalKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// True of kinds whose key is a day: the first ten characters of the start as delivered.
pub fn is_by_day(kind: DataKind) -> bool {
    matches!(kind, DataKind::Daily | DataKind::Body | DataKind::Nutrition | DataKind::Menstruation)
}

/// Finds the key of an item.
///
/// - Shapes: `activity`, `health_observation`: `metadata.summary_id`. `sleep`: the same, else `start|end`. `daily`,
///   `body`, `nutrition`, `menstruation`: the day of `metadata.start_time` as delivered. `hormone`: `timestamp`.
///   `athlete`: there is one. `planned_workout`: `planned_workout_id`, else `metadata.id`, at top level or in
///   `details`, else `provider_workout_id`. `lab_report`: the session, else the upload, else the event.
/// - Errors: `None` where the part is missing, blank, no day, longer than 256 characters or holds control characters.
/// - Source: tryterra/openapi `v2-bundled.yaml` of 2026-07 (descriptions of the metadata objects) and
///   tryterra/agent-skills, rules on upserts; read 2026-11-22.
pub(super) fn natural_key<'a>(
    kind: DataKind,
    item: &str,
    mut ids: impl Iterator<Item = &'a str>,
    start_time: Option<&str>,
    end_time: Option<&str>,
) -> Option<NaturalKey> {
    let mut id = || ids.find_map(lenient::identifier);
    let key = match kind {
        DataKind::Activity
        | DataKind::HealthObservation
        | DataKind::PlannedWorkout
        | DataKind::Hormone
        | DataKind::LabReport => id(),
        DataKind::Sleep => id().or_else(|| Some(format!("{}|{}", start_time?, end_time?))),
        DataKind::Daily | DataKind::Body | DataKind::Nutrition | DataKind::Menstruation => {
            start_time.and_then(times::day).map(str::to_owned)
        }
        DataKind::Athlete => item.starts_with('{').then(|| "athlete".to_owned()),
    };
    key.map(NaturalKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::read;

    #[track_caller]
    fn check(kind: DataKind, json: &str, expected: Option<&str>) {
        let key = read(kind, json).key;
        assert_eq!(key.as_ref().map(NaturalKey::as_str), expected, "{json}");
    }

    #[test]
    fn each_kind_has_its_own_key() {
        let of_day = r#"{"metadata":{"start_time":"2026-11-22T00:00:00.000000+13:00","summary_id":"no"}}"#;
        for kind in DataKind::ALL.into_iter().filter(|kind| is_by_day(*kind)) {
            check(kind, of_day, Some("2026-11-22"));
        }
        check(DataKind::Activity, r#"{"metadata":{"summary_id":"s"}}"#, Some("s"));
        check(DataKind::Activity, r#"{"metadata":{"summary_id":77}}"#, Some("77"));
        check(DataKind::HealthObservation, r#"{"metadata":{"summary_id":"o"}}"#, Some("o"));
        check(DataKind::Hormone, r#"{"timestamp":"2026-05-07T08:00:00+02:00"}"#, Some("2026-05-07T08:00:00+02:00"));
        check(DataKind::Athlete, "{}", Some("athlete"));
    }

    #[test]
    fn a_sleep_without_summary_id_is_known_by_its_span() {
        check(DataKind::Sleep, r#"{"metadata":{"summary_id":"s","start_time":"a","end_time":"b"}}"#, Some("s"));
        check(DataKind::Sleep, r#"{"metadata":{"summary_id":null,"start_time":"a","end_time":"b"}}"#, Some("a|b"));
        check(DataKind::Sleep, r#"{"metadata":{"start_time":"a"}}"#, None);
    }

    #[test]
    fn a_planned_workout_takes_the_first_id_it_has() {
        check(DataKind::PlannedWorkout, r#"{"planned_workout_id":"p","metadata":{"id":"m"}}"#, Some("p"));
        check(DataKind::PlannedWorkout, r#"{"metadata":{"id":"m"},"provider_workout_id":"w"}"#, Some("m"));
        check(DataKind::PlannedWorkout, r#"{"details":{"metadata":{"id":"d"}},"provider_workout_id":"w"}"#, Some("d"));
        check(DataKind::PlannedWorkout, r#"{"provider_workout_id":"w"}"#, Some("w"));
    }

    #[test]
    fn a_lab_report_is_known_by_its_session_in_both_shapes() {
        check(DataKind::LabReport, r#"{"event_id":"e","data":{"session_id":"297405620317847552"}}"#, {
            Some("297405620317847552")
        });
        check(DataKind::LabReport, r#"{"type":"lab_report","session_id":"s"}"#, Some("s"));
        check(DataKind::LabReport, r#"{"event_id":"e","upload_id":"u"}"#, Some("u"));
    }

    #[test]
    fn what_has_no_usable_key_says_so() {
        for kind in DataKind::ALL {
            check(kind, "null", None);
            check(kind, "[]", None);
        }
        for start in ["", "2026", "2026/11/22T", "22 Nov 2026", "ä026-11-22", "2026-02-30T00:00:00Z"] {
            check(DataKind::Daily, &format!(r#"{{"metadata":{{"start_time":"{start}"}}}}"#), None);
        }
        check(DataKind::Activity, r#"{"metadata":{"summary_id":"a\u0000b"}}"#, None);
        check(DataKind::Activity, r#"{"metadata":{"summary_id":""}}"#, None);
    }
}
