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
pub(super) fn data<'a>(envelope: &Envelope<'a>, kind: DataKind) -> Result<Event<'a>, Unreadable> {
    let payload = if kind == DataKind::Athlete { envelope.athlete.or(envelope.data) } else { envelope.data };
    let items = payload.map_or(Some(Vec::new()), items).ok_or(Unreadable::WrongShape { kind: envelope.kind })?;
    let lone = kind != DataKind::Athlete && payload.is_some_and(json::is_object);
    Ok(Event::Data { kind, user: envelope.user(), items, lone })
}

fn items(payload: &RawValue) -> Option<Vec<&str>> {
    if json::is_object(payload) {
        return Some(vec![payload.get()]);
    }
    let elements = json::elements(payload, ITEMS_MAX)?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The newer form has its members in `data` and a type per outcome; the older one has them at top level, one type, and a
/// status.
pub(super) fn lab_report<'a>(envelope: &Envelope<'a>, failed: bool) -> Event<'a> {
    let names = ["event_id", "status", "current_status", "session_id", "upload_id"];
    let [event_id, status, current_status, session_id, upload_id] = envelope.members(names);
    let [own_session_id, own_reference_id] = json::section(envelope.data, ["session_id", "reference_id"]);
    let status = status.or(current_status).and_then(json::string);
    let id = |raw| user::identifier(raw);
    Event::LabReport {
        event_id: id(event_id),
        reference_id: id(own_reference_id).or_else(|| envelope.reference_id.clone()),
        session_id: id(own_session_id).or_else(|| id(session_id)).or_else(|| id(upload_id)),
        failed: failed || status.is_some_and(|status| status == "failed"),
        item: envelope.text,
    }
}
