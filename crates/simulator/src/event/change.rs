//! What a later delivery of the same records may look like.

use serde_json::Value;

/// `metadata.upload_type` of every record. 4 is "delete": the record is to be taken away.
pub(crate) fn set_upload_type(event: &mut Value, upload_type: i64) {
    for record in records(event) {
        record["metadata"]["upload_type"] = upload_type.into();
    }
}

/// Every score null. Terra's scores are no superset of what was sent before: a later delivery may
/// have lost them.
pub(crate) fn null_scores(event: &mut Value) {
    for record in records(event) {
        let scores = record.get_mut("data_enrichment").and_then(Value::as_object_mut);
        for score in scores.into_iter().flat_map(|scores| scores.values_mut()) {
            *score = Value::Null;
        }
    }
}

fn records(event: &mut Value) -> impl Iterator<Item = &mut Value> {
    event.get_mut("data").and_then(Value::as_array_mut).into_iter().flatten().filter(|record| record.is_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scores_are_nulled_and_nothing_else() {
        let mut event =
            json!({ "data": [{ "data_enrichment": { "a": 1, "b": { "c": 2 } }, "scores": { "d": 3 } }, {}, 7] });
        null_scores(&mut event);
        let expected =
            json!({ "data": [{ "data_enrichment": { "a": null, "b": null }, "scores": { "d": 3 } }, {}, 7] });
        assert_eq!(event, expected);
    }

    #[test]
    fn events_without_records_stay_as_they_are() {
        let mut event = json!({ "type": "auth", "data": "none" });
        let before = event.clone();
        null_scores(&mut event);
        set_upload_type(&mut event, 4);
        assert_eq!(event, before);
    }
}
