//! Events that carry records or reports.

use serde_json::value::RawValue;

use crate::json;

use super::{DataKind, Envelope, Event, Unreadable, user};

/// Records of one event that we take; Terra's chunks hold ten, a year of days in one answer some hundred.
pub const ITEMS_MAX: usize = 100_000;

/// Items stay the text they came as: which of their members we understand is for `record` to say.
///
/// `data` may be absent, `null`, a list or a single object. `athlete` has an `athlete` object instead; Terra's prose
/// once says `data`, so that is taken too.
pub(super) fn data(envelope: &Envelope<'_>, kind: DataKind) -> Result<Event, Unreadable> {
    let [athlete, data] = envelope.members(["athlete", "data"]);
    let payload = if kind == DataKind::Athlete { athlete.or(data) } else { data };
    let items = payload.map_or(Some(Vec::new()), items).ok_or(Unreadable::WrongShape { kind: envelope.kind })?;
    Ok(Event::Data { kind, user: envelope.user(), items })
}

fn items(payload: &RawValue) -> Option<Vec<Box<RawValue>>> {
    if json::is_object(payload) {
        return Some(vec![payload.to_owned()]);
    }
    let elements = json::elements(payload, ITEMS_MAX)?;
    Some(elements.into_iter().map(RawValue::to_owned).collect())
}

/// The older form has one type for both outcomes and tells them apart by its status.
pub(super) fn lab_report(envelope: &Envelope<'_>, failed: bool) -> Result<Event, Unreadable> {
    let [event_id, status, current_status] = envelope.members(["event_id", "status", "current_status"]);
    let status = status.or(current_status).and_then(json::string);
    let body = RawValue::from_string(envelope.text.to_owned()).map_err(|_| Unreadable::NotJson)?;
    Ok(Event::LabReport {
        event_id: user::identifier(event_id),
        failed: failed || status.is_some_and(|status| status == "failed"),
        body,
    })
}
