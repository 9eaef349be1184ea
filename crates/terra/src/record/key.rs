//! Under which key a record is one and the same thing for its connection, and whether it is being deleted.

use serde_json::value::RawValue;

use crate::event::DataKind;
use crate::event::user::identifier;
use crate::{json, record::lenient};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("find the natural key of a record of kind {}", kind.label())]
pub struct NoKey {
    pub kind: DataKind,
}

/// Finds the key of an item.
///
/// - Shapes: `activity`, `health_observation`: `metadata.summary_id`. `sleep`: the same, else `start|end`. `daily`,
///   `body`, `nutrition`, `menstruation`: the first 10 characters of `metadata.start_time` as delivered, never
///   converted to another zone. `hormone`: `timestamp`. `athlete`: there is one. `planned_workout`:
///   `planned_workout_id`, else `metadata.id`, at top level or in `details`, else `provider_workout_id`.
/// - Errors: `NoKey` where the part is missing, blank, longer than 256 characters or holds control characters.
/// - Source: tryterra/openapi `v2-bundled.yaml` of 2026-07 (descriptions of the metadata objects) and
///   tryterra/agent-skills, rules on upserts; read 2026-11-22.
pub fn natural_key(kind: DataKind, item: &RawValue) -> Result<NaturalKey, NoKey> {
    let [metadata] = json::section(Some(item), ["metadata"]);
    let key = match kind {
        DataKind::Activity | DataKind::HealthObservation => summary_id(metadata),
        DataKind::Sleep => summary_id(metadata).or_else(|| span(metadata)),
        DataKind::Daily | DataKind::Body | DataKind::Nutrition | DataKind::Menstruation => day(metadata),
        DataKind::Hormone => {
            let [timestamp] = json::section(Some(item), ["timestamp"]);
            identifier(timestamp)
        }
        DataKind::Athlete => json::is_object(item).then(|| "athlete".to_owned()),
        DataKind::PlannedWorkout => workout_id(item, metadata),
    };
    key.map(NaturalKey).ok_or(NoKey { kind })
}

/// True where Terra marks the record as deleted. Only activities and days are ever marked: in `sleep` the same number
/// means something else.
pub fn is_tombstone(kind: DataKind, item: &RawValue) -> bool {
    let [metadata] = json::section(Some(item), ["metadata"]);
    let [upload_type] = json::section(metadata, ["upload_type"]);
    matches!(kind, DataKind::Activity | DataKind::Daily)
        && upload_type.and_then(lenient::integer) == Some(UPLOAD_TYPE_DELETED)
}

fn summary_id(metadata: Option<&RawValue>) -> Option<String> {
    let [summary_id] = json::section(metadata, ["summary_id"]);
    identifier(summary_id)
}

fn span(metadata: Option<&RawValue>) -> Option<String> {
    let [start, end] = json::section(metadata, ["start_time", "end_time"]);
    Some(format!("{}|{}", identifier(start)?, identifier(end)?))
}

fn day(metadata: Option<&RawValue>) -> Option<String> {
    let [start] = json::section(metadata, ["start_time"]);
    let start = identifier(start)?;
    let day = start.get(..10)?;
    let is_day = day.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    is_day.then(|| day.to_owned())
}

fn workout_id(item: &RawValue, metadata: Option<&RawValue>) -> Option<String> {
    let [own, details, provider] = json::section(Some(item), ["planned_workout_id", "details", "provider_workout_id"]);
    let [details_metadata] = json::section(details, ["metadata"]);
    let [id] = json::section(metadata, ["id"]);
    let [details_id] = json::section(details_metadata, ["id"]);
    identifier(own).or_else(|| identifier(id)).or_else(|| identifier(details_id)).or_else(|| identifier(provider))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: DataKind, json: &str, expected: Option<&str>) {
        let item = RawValue::from_string(json.into()).unwrap();
        let expected = expected.map(|key| NaturalKey(key.into())).ok_or(NoKey { kind });
        assert_eq!(natural_key(kind, &item), expected, "{json}");
    }

    #[test]
    fn each_kind_has_its_own_key() {
        let of_day = r#"{"metadata":{"start_time":"2026-11-22T00:00:00.000000+13:00","summary_id":"no"}}"#;
        for kind in [DataKind::Daily, DataKind::Body, DataKind::Nutrition, DataKind::Menstruation] {
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
    fn what_has_no_usable_key_says_so() {
        for kind in DataKind::ALL {
            check(kind, "null", None);
            check(kind, "[]", None);
        }
        for start in ["", "2026", "2026/11/22T", "22 Nov 2026", "ä026-11-22"] {
            check(DataKind::Daily, &format!(r#"{{"metadata":{{"start_time":"{start}"}}}}"#), None);
        }
        check(DataKind::Activity, r#"{"metadata":{"summary_id":"a\u0000b"}}"#, None);
        check(DataKind::Activity, r#"{"metadata":{"summary_id":""}}"#, None);
    }

    #[test]
    fn only_activities_and_days_are_deleted_by_upload_type() {
        let item = |upload_type: &str| {
            RawValue::from_string(format!(r#"{{"metadata":{{"upload_type":{upload_type}}}}}"#)).unwrap()
        };
        for kind in DataKind::ALL {
            assert_eq!(
                is_tombstone(kind, &item("4")),
                matches!(kind, DataKind::Activity | DataKind::Daily),
                "{kind:?}"
            );
        }
        assert!(is_tombstone(DataKind::Daily, &item("4.0")));
        assert!(!is_tombstone(DataKind::Daily, &item("3")));
        assert!(!is_tombstone(DataKind::Daily, &item("null")));
    }
}
