//! What both engines' erasures share beside their statements.

use domain::delivery::Delivery;

/// Rows of records, deliveries and events that one step deletes, of each.
pub(super) const ROWS_AT_ONCE: u32 = 500;

/// What stands in the log where an event was.
pub(super) const BLANK: &str = r#"{"erased":true}"#;

/// Dead letters end with the retention like all others, but not without a word.
pub(super) fn warn_of_dead(dropped: u64) {
    if dropped > 0 {
        tracing::warn!(dropped, "dropped dead letters past their retention (LANDFALL_RETENTION_DELIVERIES)");
    }
}

/// The keys under which a delivery may have been processed.
pub(super) fn keys(delivery: &Delivery) -> Vec<String> {
    let headers = &delivery.headers;
    let trace = headers.trace_id.iter().map(|id| format!("trace:{id}"));
    let event = delivery.event_id.iter().map(|id| format!("event:{id}"));
    let plain: Vec<String> = trace.chain(event).chain([delivery.signed_key()]).collect();
    let conflicts: Vec<String> =
        plain.iter().map(|key| format!("{key}#{}", hex::encode(delivery.body_digest))).collect();
    plain.into_iter().chain(conflicts).collect()
}

/// The key that is left of a delivery that took effect: its digests stay, what names it goes.
pub(super) fn erased_key(delivery: domain::id::DeliveryId) -> String {
    format!("erased:{delivery}")
}
