//! Changing one field of an event, named by a dotted path: `data.0.metadata.summary_id`.

use serde_json::{Map, Value};
use thiserror::Error;

/// Beyond this an index is a mistake, not a wish for a long array.
const ARRAY_ITEMS_MAX: usize = 100_000;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("set {path}: {part} does not fit there")]
pub struct SetPathError {
    pub path: String,
    pub part: String,
}

/// Sets a field. Missing objects on the way are made, and arrays grow by one item at most.
pub fn set_path(event: &mut Value, path: &str, value: Value) -> Result<(), SetPathError> {
    let mut place = event;
    for part in path.split('.') {
        let misfit = || SetPathError { path: path.to_owned(), part: part.to_owned() };
        if let Value::Array(items) = place {
            let index: usize = part.parse().map_err(|_| misfit())?;
            if index == items.len() && index < ARRAY_ITEMS_MAX {
                items.push(Value::Null);
            }
            place = items.get_mut(index).ok_or_else(misfit)?;
        } else {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let fields = place.as_object_mut().ok_or_else(misfit)?;
            place = fields.entry(part).or_insert(Value::Null);
        }
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<Value>) {
        let mut event = json!({ "data": [{ "a": 1 }], "user": { "id": "u" } });
        let outcome = set_path(&mut event, path, json!("x")).ok().map(|()| event);
        assert_eq!(outcome, expected);
    }

    #[test]
    fn fields_are_set_made_and_appended() {
        check("user.id", Some(json!({ "data": [{ "a": 1 }], "user": { "id": "x" } })));
        let made = json!({ "data": [{ "a": 1, "b": { "c": "x" } }], "user": { "id": "u" } });
        check("data.0.b.c", Some(made));
        check("data.1", Some(json!({ "data": [{ "a": 1 }, "x"], "user": { "id": "u" } })));
    }

    #[test]
    fn what_cannot_hold_a_field_is_refused() {
        check("user.id.deeper", None);
        check("data.first", None);
        check("data.7", None);
    }
}
