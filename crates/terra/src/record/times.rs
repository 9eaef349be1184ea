//! When a record of any kind began and ended.

use serde_json::value::RawValue;

use crate::json::{members, section};
use crate::record::lenient::short_text;

/// Times as delivered, with the offset of the place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    pub start_time: Option<String>,
    pub end_time: Option<String>,
}

/// Reads `metadata.start_time` and `metadata.end_time`; a hormone sample has a `timestamp` of its own instead.
pub fn times(item: &RawValue) -> Times {
    let Some([metadata, timestamp]) = members(item.get(), ["metadata", "timestamp"]) else {
        return Times::default();
    };
    let [start, end] = section(metadata, ["start_time", "end_time"]);
    Times { start_time: start.or(timestamp).and_then(short_text), end_time: end.and_then(short_text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(item: &str, start: Option<&str>, end: Option<&str>) {
        let item: Box<RawValue> = serde_json::from_str(item).unwrap();
        assert_eq!(times(&item), Times { start_time: start.map(Into::into), end_time: end.map(Into::into) });
    }

    #[test]
    fn times_come_as_delivered() {
        check(
            r#"{"metadata":{"start_time":"2026-01-01T00:00:00+02:00","end_time":"x"}}"#,
            Some("2026-01-01T00:00:00+02:00"),
            Some("x"),
        );
        check(r#"{"timestamp":"2026-01-01T00:00:00Z"}"#, Some("2026-01-01T00:00:00Z"), None);
        check("[]", None, None);
        check(r#"{"metadata":7}"#, None, None);
    }
}
