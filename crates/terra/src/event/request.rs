//! Events about requests for data: progress of a large one, and payloads left in storage.

use serde_json::value::RawValue;

use crate::json;
use crate::record::lenient;

use super::{Envelope, Event, user};

/// Bytes of a link that we keep; a presigned one has a few hundred to two thousand.
const URL_BYTES_MAX: usize = 8_192;

pub(super) fn large_request_processing(envelope: &Envelope<'_>) -> Event<'static> {
    let [reference] = envelope.members(["reference"]);
    Event::LargeRequestProcessing { user: envelope.user(), reference: user::identifier(reference) }
}

pub(super) fn large_request_sending(envelope: &Envelope<'_>) -> Event<'static> {
    let [reference, expected_payloads] = envelope.members(["reference", "expected_payloads"]);
    Event::LargeRequestSending {
        user: envelope.user(),
        reference: user::identifier(reference),
        expected_payloads: expected_payloads.and_then(small_count),
    }
}

/// The webhook has no user; the form that comes out of a queue names one at top level.
pub(super) fn s3_payload(envelope: &Envelope<'_>) -> Event<'static> {
    let [url, expires_in, user_id] = envelope.members(["url", "expires_in", "user_id"]);
    let user = envelope.user();
    Event::S3Payload {
        url: url.and_then(link),
        expires_in_seconds: expires_in.and_then(small_count),
        user_id: user.as_ref().map(|user| user.user_id.clone()).or_else(|| user::identifier(user_id)),
        reference_id: user.map_or_else(|| envelope.reference_id.clone(), |user| user.reference_id),
    }
}

fn small_count(raw: &RawValue) -> Option<u32> {
    lenient::count(raw.get()).and_then(|count| u32::try_from(count).ok())
}

fn link(raw: &RawValue) -> Option<String> {
    let url = json::string(raw)?;
    let fits = !url.is_empty() && url.len() <= URL_BYTES_MAX && !url.chars().any(char::is_control);
    fits.then(|| url.into_owned())
}
