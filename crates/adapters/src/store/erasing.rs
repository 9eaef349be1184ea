//! What both engines' erasures share beside their statements.

use domain::delivery::Delivery;
use domain::id::DeliveryId;
use jiff::Timestamp;

use super::tx::{LedgerOutcome, Unneeded};
use crate::payloads::Sealed;

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
pub(super) fn erased_key(delivery: DeliveryId) -> String {
    format!("erased:{delivery}")
}

/// What a delivery whose row goes leaves in the payload store. A try that was refused, or whose process ended, told nobody
/// of its documents: they are named by their folder. Where a delivery was settled and its body is small, no try had any.
pub(super) fn left_by(
    id: DeliveryId,
    received_at: Timestamp,
    outcome: &str,
    body: Sealed,
) -> impl Iterator<Item = Unneeded> + use<> {
    let without_effect = [LedgerOutcome::Retry, LedgerOutcome::Dead, LedgerOutcome::Discarded];
    let is_unsettled = without_effect.iter().any(|one| one.label() == outcome);
    let documents = (is_unsettled || body.is_stored()).then(|| Sealed::documents_of(id, received_at));
    let all = std::iter::once(body).chain(documents);
    all.map(|payload| Unneeded { payload, record: None })
}
