//! What a delivery says of a request for data.

use jiff::civil::Date;
use terra::event::Event;
use terra::record::times;

use super::Chunk;
use crate::delivery::Delivery;
use crate::record::Record;

/// Kept in the transaction of the delivery, whether or not the request is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// Data under a reference.
    Chunk { reference: String, chunk: Chunk },
    /// A large request: `expected` payloads are going to come.
    Announced { reference: String, terra_user_id: Option<String>, provider: Option<String>, expected: Option<u32> },
}

impl Noted {
    /// Adds which days a chunk is about: those of its records, as Terra wrote them, never moved to another time zone.
    pub fn with_days<'r>(self, records: impl Iterator<Item = &'r Record>) -> Noted {
        match self {
            Noted::Chunk { reference, chunk } => {
                let of = |record: &Record| times::day(record.reading.start_time.as_deref()?)?.parse::<Date>().ok();
                let days: Vec<Date> = records.filter_map(of).collect();
                let days = days.iter().min().copied().zip(days.iter().max().copied());
                Noted::Chunk { reference, chunk: Chunk { days, ..chunk } }
            }
            announced @ Noted::Announced { .. } => announced,
        }
    }

    pub fn reference(&self) -> &str {
        match self {
            Noted::Chunk { reference, .. } | Noted::Announced { reference, .. } => reference,
        }
    }
}

pub fn note(delivery: &Delivery, event: &Event<'_>) -> Option<Noted> {
    let of_header = delivery.headers.reference.clone();
    match event {
        Event::Data { items, .. } => {
            let chunk = Chunk {
                number: delivery.headers.trace_id.as_deref().and_then(number),
                items: u32::try_from(items.len()).unwrap_or(u32::MAX),
                bytes: delivery.size_bytes,
                days: None,
                received_at: delivery.received_at,
            };
            Some(Noted::Chunk { reference: of_header?, chunk })
        }
        Event::LargeRequestProcessing { user, reference } => Some(Noted::Announced {
            reference: of_header.or_else(|| reference.clone())?,
            terra_user_id: user.as_ref().map(|user| user.user_id.clone()),
            provider: user.as_ref().and_then(|user| user.provider.clone()),
            expected: None,
        }),
        Event::LargeRequestSending { user, reference, expected_payloads } => Some(Noted::Announced {
            reference: of_header.or_else(|| reference.clone())?,
            terra_user_id: user.as_ref().map(|user| user.user_id.clone()),
            provider: user.as_ref().and_then(|user| user.provider.clone()),
            expected: *expected_payloads,
        }),
        Event::AuthSucceeded { .. }
        | Event::AuthFailed { .. }
        | Event::UserReauth { .. }
        | Event::Deauth { .. }
        | Event::AccessRevoked { .. }
        | Event::ConnectionError { .. }
        | Event::PermissionChange { .. }
        | Event::LabReport { .. }
        | Event::S3Payload { .. }
        | Event::Informational { .. }
        | Event::Unknown { .. } => None,
    }
}

/// The `n` of `<id>:chunk:<n>`.
fn number(trace_id: &str) -> Option<u32> {
    trace_id.rsplit_once(":chunk:")?.1.parse().ok()
}
