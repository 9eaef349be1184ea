//! Events that change who is connected.

use crate::json;

use super::{Envelope, Event, Unreadable, user};

/// `auth` ends well only by its word or, where it gives none, by having a user: every other status is a failed
/// attempt, because a failed attempt must never become a connection.
pub(super) fn auth(envelope: &Envelope<'_>) -> Result<Event<'static>, Unreadable> {
    let [status, widget_session_id] = envelope.members(["status", "widget_session_id"]);
    let succeeded = match status.map(json::string) {
        None => true,
        Some(Some(status)) => status.trim().eq_ignore_ascii_case("success"),
        Some(None) => {
            return Err(Unreadable::WrongShape { kind: envelope.kind });
        }
    };
    if !succeeded {
        return Ok(auth_failed(envelope));
    }
    Ok(Event::AuthSucceeded { user: envelope.needed_user()?, widget_session_id: user::identifier(widget_session_id) })
}

pub(super) fn auth_failed(envelope: &Envelope<'_>) -> Event<'static> {
    let [reason, widget_session_id] = envelope.members(["reason", "widget_session_id"]);
    let [user_id, provider, reference_id] = json::section(envelope.user, ["user_id", "provider", "reference_id"]);
    Event::AuthFailed {
        user_id: user::identifier(user_id),
        provider: user::label(provider),
        reference_id: user::identifier(reference_id).or_else(|| envelope.reference_id.clone()),
        reason: user::label(reason),
        widget_session_id: user::identifier(widget_session_id),
    }
}

/// An `old_user` that is absent, null or without id is none; the new one is needed. A reference id at top level
/// speaks of the new user.
pub(super) fn user_reauth(envelope: &Envelope<'_>) -> Result<Event<'static>, Unreadable> {
    let [old, new] = envelope.members(["old_user", "new_user"]);
    let new = envelope.needed(new.or(envelope.user))?;
    Ok(Event::UserReauth { old: old.and_then(user::read), new })
}

pub(super) fn permission_change(envelope: &Envelope<'_>) -> Result<Event<'static>, Unreadable> {
    let [added, removed] = envelope.members(["scopes_added", "scopes_removed"]);
    Ok(Event::PermissionChange {
        user: envelope.needed_user()?,
        added: added.and_then(user::scopes).unwrap_or_default(),
        removed: removed.and_then(user::scopes).unwrap_or_default(),
    })
}
