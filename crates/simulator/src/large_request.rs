//! Answers too large for one webhook: an announcement, then chunks that share one reference.

use serde_json::Value;

use crate::event::{data_event, large_request_processing, large_request_sending};
use crate::user::User;
use crate::webhook::Parcel;
use crate::world::World;

/// A request for more days than this is a large one.
pub(crate) const DAYS_MAX: i64 = 28;
const CHUNK_OBJECTS_MAX: usize = 10;
const CHUNK_BYTES_MAX: usize = 10_000_000;

/// Everything that a large request sends: its two announcements, and its chunks in their order.
pub(crate) fn parcels(
    world: &World,
    kind: &str,
    user: &User,
    reference: &str,
    records: Vec<Value>,
) -> ([Parcel; 2], Vec<Parcel>) {
    let chunks = chunks(records);
    let of_request = |event| Parcel { reference: Some(reference.to_owned()), ..world.parcel(&event) };
    let announcements =
        [large_request_processing(user, reference), large_request_sending(user, reference, chunks.len())]
            .map(of_request);
    let numbered = |(place, chunk)| Parcel {
        trace_id: Some(format!("{reference}:chunk:{}", place + 1)),
        ..of_request(data_event(kind, user, chunk))
    };
    (announcements, chunks.into_iter().enumerate().map(numbered).collect())
}

/// At most ten objects or ten megabytes, whichever comes first. One object that is larger than that
/// still has to travel, alone.
fn chunks(records: Vec<Value>) -> Vec<Vec<Value>> {
    let mut chunks: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let size = record.to_string().len() + 1;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_OBJECTS_MAX && bytes + size <= CHUNK_BYTES_MAX => {
                bytes += size;
                chunk.push(record);
            }
            Some(_) | None => {
                bytes = size;
                chunks.push(vec![record]);
            }
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(records: Vec<Value>, expected: &[usize]) {
        let lengths: Vec<usize> = chunks(records).iter().map(Vec::len).collect();
        assert_eq!(lengths, expected);
    }

    #[test]
    fn a_chunk_holds_ten_objects() {
        check(vec![], &[]);
        check(vec![json!({}); 10], &[10]);
        check(vec![json!({}); 21], &[10, 10, 1]);
    }

    #[test]
    fn a_chunk_holds_ten_megabytes() {
        let heavy = json!("x".repeat(4_000_000));
        check(vec![heavy; 5], &[2, 2, 1]);
        check(vec![json!("x".repeat(11_000_000)); 2], &[1, 1]);
    }
}
