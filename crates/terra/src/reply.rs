//! What Terra's REST API answers, of either platform, as data.

mod account;
mod admin;
mod error;

use serde_json::value::RawValue;

pub use account::{
    AuthToken, Integration, UserInfo, UserPage, WidgetSession, auth_token, integrations_detailed, subscriptions,
    user_info, users_by_reference, widget_session,
};
pub use admin::{Destination, LogPage, LoggedEvent, destinations, event_log, logged_event};
pub use error::{ErrorReply, RateLimit, error_reply};

use crate::event::DataKind;
use crate::event::user::{identifier, label};
use crate::json;
use crate::record::lenient;

/// The 2xx answer to a request for data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataReply {
    /// The data will come as webhooks; they carry `reference` in a header.
    Accepted {
        reference: Option<String>,
        trace_id: Option<String>,
    },
    /// The body is itself shaped like a data event.
    Inline,
    /// There is nothing in the window: the older platform says so, the newer sends an empty list.
    NoData,
    /// Terra is still fetching: ask again.
    Processing {
        retry_after_seconds: Option<u64>,
    },
    /// The provider's quota is used up, though Terra answers 200.
    ProviderRateLimited,
    Unreadable,
}

/// Reads the body of a 2xx answer to a request for data.
///
/// - Errors: none; what cannot be understood is `Unreadable`. Never panics.
/// - Source: tryterra/openapi, responses of `v2-bundled.yaml` of 2026-07 and `v5-bundled.yaml` of 2026-05; read
///   2026-11-22.
pub fn data_reply(body: &[u8]) -> DataReply {
    let names = ["type", "status", "reference", "trace_id", "retry_after_seconds", "data", "athlete"];
    let Some(found) = std::str::from_utf8(body).ok().and_then(|text| json::members(text, names)) else {
        return DataReply::Unreadable;
    };
    let [name, status, reference, trace_id, retry_after, data, athlete] = found;
    let name = label(name).unwrap_or_default();
    match name.as_str() {
        "no_data" => return DataReply::NoData,
        "processing" => {
            return DataReply::Processing {
                retry_after_seconds: retry_after.map(RawValue::get).and_then(lenient::count),
            };
        }
        "rate_limit" | "rate_limit_hit" => return DataReply::ProviderRateLimited,
        _ => {}
    }
    if let Some(payload) = data.or(athlete) {
        return inline(payload);
    }
    let (reference, trace_id) = (identifier(reference), identifier(trace_id));
    let succeeded = status.and_then(json::string).is_some_and(|status| status == "success");
    let is_acknowledged = name == "webhook"
        || name.starts_with("large_request_")
        || (succeeded && DataKind::parse(&name).is_some())
        || reference.is_some()
        || trace_id.is_some();
    if is_acknowledged { DataReply::Accepted { reference, trace_id } } else { DataReply::Unreadable }
}

fn inline(payload: &RawValue) -> DataReply {
    if json::is_object(payload) {
        return DataReply::Inline;
    }
    match json::elements(payload, crate::event::ITEMS_MAX) {
        Some(items) if items.is_empty() => DataReply::NoData,
        Some(_) => DataReply::Inline,
        None => DataReply::Unreadable,
    }
}

#[cfg(test)]
mod tests;
