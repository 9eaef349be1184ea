//! What a delivery says of a request for data.

use jiff::civil::Date;
use terra::event::Event;
use terra::record as terra_record;

use super::Chunk;
use crate::delivery::Delivery;

/// Kept in the transaction of the delivery, whether or not the request is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// Data under a reference.
    Chunk { reference: String, chunk: Chunk },
    /// A large request: `expected` payloads are going to come.
    Announced { reference: String, terra_user_id: Option<String>, provider: Option<String>, expected: Option<u32> },
}

impl Noted {
    pub fn reference(&self) -> &str {
        match self {
            Noted::Chunk { reference, .. } | Noted::Announced { reference, .. } => reference,
        }
    }
}

pub fn note(delivery: &Delivery, event: &Event) -> Option<Noted> {
    let of_header = delivery.headers.reference.clone();
    match event {
        Event::Data { items, .. } => {
            let starts = || items.iter().filter_map(|item| day(terra_record::times(item).start_time.as_deref()?));
            let chunk = Chunk {
                number: delivery.headers.trace_id.as_deref().and_then(number),
                items: u32::try_from(items.len()).unwrap_or(u32::MAX),
                bytes: delivery.size_bytes,
                days: starts().min().zip(starts().max()),
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

/// The day as Terra wrote it, never moved to another time zone.
fn day(start_time: &str) -> Option<Date> {
    start_time.get(..10)?.parse().ok()
}

/// The `n` of `<id>:chunk:<n>`.
fn number(trace_id: &str) -> Option<u32> {
    trace_id.rsplit_once(":chunk:")?.1.parse().ok()
}
