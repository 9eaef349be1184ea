//! What each webhook carries. Unknown kinds are a variant, not an error.

mod connection;
mod data;
mod kind;
mod peek;
mod request;
pub(crate) mod user;
mod words;

use std::fmt;

use serde_json::value::RawValue;

pub use data::ITEMS_MAX;
pub use kind::{DataKind, Kind};
pub use peek::{Peek, peek};
pub use user::User;
pub use words::words;

use crate::json;

/// Levels of nesting in a body that we read; Terra's own specimens have up to eight. It is below serde_json's own limit
/// and far below what a database's JSON parser bears, so depth alone keeps no item from being parsed or stored.
pub const DEPTH_MAX: usize = 100;

/// One webhook, decoded. `Debug` shows the variant and no payload.
pub enum Event<'a> {
    /// `user.reference_id` is filled from the top level where the `user` object has none.
    AuthSucceeded {
        user: User,
        widget_session_id: Option<String>,
    },
    /// `auth` with an error (older) or `auth_cancelled` (newer, without user). It must not create a connection.
    AuthFailed {
        user_id: Option<String>,
        provider: Option<String>,
        reference_id: Option<String>,
        reason: Option<String>,
        widget_session_id: Option<String>,
    },
    /// The same person got a new id. An `auth` for the new id comes too, before or after.
    UserReauth {
        old: Option<User>,
        new: User,
    },
    Deauth {
        user: User,
    },
    /// The person took the permission back at the provider.
    AccessRevoked {
        user: User,
    },
    /// The provider refuses us for now; the connection and its data stay.
    ConnectionError {
        user: User,
    },
    PermissionChange {
        user: User,
        added: Vec<String>,
        removed: Vec<String>,
    },
    /// Items are valid JSON, though perhaps not for every store: strings may hold `\u0000` or half a surrogate pair,
    /// numbers may be `1e999`.
    Data {
        kind: DataKind,
        user: Option<User>,
        /// Each the text of one value, as it stands in the body.
        items: Vec<&'a str>,
        /// `data` was an object, taken as the only item of a list.
        lone: bool,
    },
    /// About a report, not about a connection: whose it is says the reference that the uploader gave.
    LabReport {
        event_id: Option<String>,
        reference_id: Option<String>,
        /// Of the report, else of the upload.
        session_id: Option<String>,
        failed: bool,
        /// The whole event.
        item: &'a str,
    },
    LargeRequestProcessing {
        user: Option<User>,
        reference: Option<String>,
    },
    LargeRequestSending {
        user: Option<User>,
        reference: Option<String>,
        expected_payloads: Option<u32>,
    },
    /// The event itself lies behind `url`, for minutes.
    S3Payload {
        url: Option<String>,
        expires_in_seconds: Option<u32>,
        user_id: Option<String>,
        reference_id: Option<String>,
    },
    Informational {
        kind: Kind,
        user: Option<User>,
    },
    Unknown {
        name: String,
        user: Option<User>,
    },
}

/// Why a body is no event. Neither text nor label holds a value of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("parse the body as JSON in UTF-8")]
    NotJson,
    #[error("read a body nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("read a body that is JSON but not an object")]
    NotAnObject,
    #[error("find the type of the event")]
    NoType,
    #[error("find the user of an event of type {}", kind.label())]
    MissingUser { kind: Kind },
    #[error("read a member of an event of type {} that has another shape than documented", kind.label())]
    WrongShape { kind: Kind },
}

impl Unreadable {
    /// A stable word for metrics and ledgers.
    pub fn reason(&self) -> &'static str {
        match self {
            Unreadable::NotJson => "not_json",
            Unreadable::TooDeep => "too_deep",
            Unreadable::NotAnObject => "not_an_object",
            Unreadable::NoType => "no_type",
            Unreadable::MissingUser { .. } => "missing_user",
            Unreadable::WrongShape { .. } => "wrong_shape",
        }
    }
}

/// Decodes the raw body of a webhook, of either platform.
///
/// - Shapes: one JSON object with a `type`; of equal keys the last counts. A data event without user is read; an event
///   about a connection without user is not.
/// - Errors: see [`Unreadable`]. Never panics, and depth costs no stack.
/// - Source: tryterra/openapi, webhooks of `v2-bundled.yaml` of 2026-07 and `v5-bundled.yaml` of 2026-05; tryterra
///   llms.txt for the older events; read 2026-11-22.
pub fn decode(body: &[u8]) -> Result<Event<'_>, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|_| Unreadable::NotJson)?;
    if json::is_deeper_than(DEPTH_MAX, text) {
        return Err(Unreadable::TooDeep);
    }
    let names = ["type", "user", "reference_id", "data", "athlete"];
    let Some([name, user, reference_id, data, athlete]) = json::members(text, names) else {
        return Err(if json::is_json(text) { Unreadable::NotAnObject } else { Unreadable::NotJson });
    };
    let name = user::label(name).ok_or(Unreadable::NoType)?;
    let kind = Kind::parse(&name);
    let envelope = Envelope { kind, text, user, data, athlete, reference_id: user::identifier(reference_id) };
    match kind {
        Kind::Auth => connection::auth(&envelope),
        Kind::AuthCancelled => Ok(connection::auth_failed(&envelope)),
        Kind::UserReauth => connection::user_reauth(&envelope),
        Kind::Deauth => Ok(Event::Deauth { user: envelope.needed_user()? }),
        Kind::AccessRevoked => Ok(Event::AccessRevoked { user: envelope.needed_user()? }),
        Kind::ConnectionError => Ok(Event::ConnectionError { user: envelope.needed_user()? }),
        Kind::PermissionChange => connection::permission_change(&envelope),
        Kind::Activity => data::data(&envelope, DataKind::Activity),
        Kind::Sleep => data::data(&envelope, DataKind::Sleep),
        Kind::Daily => data::data(&envelope, DataKind::Daily),
        Kind::Body => data::data(&envelope, DataKind::Body),
        Kind::Nutrition => data::data(&envelope, DataKind::Nutrition),
        Kind::Menstruation => data::data(&envelope, DataKind::Menstruation),
        Kind::Athlete => data::data(&envelope, DataKind::Athlete),
        Kind::PlannedWorkout => data::data(&envelope, DataKind::PlannedWorkout),
        Kind::Hormone => data::data(&envelope, DataKind::Hormone),
        Kind::HealthObservation => data::data(&envelope, DataKind::HealthObservation),
        Kind::LabReportCompleted => Ok(data::lab_report(&envelope, false)),
        Kind::LabReportFailed => Ok(data::lab_report(&envelope, true)),
        Kind::LargeRequestProcessing => Ok(request::large_request_processing(&envelope)),
        Kind::LargeRequestSending => Ok(request::large_request_sending(&envelope)),
        Kind::S3Payload => Ok(request::s3_payload(&envelope)),
        Kind::Processing | Kind::RateLimitHit | Kind::Healthcheck | Kind::GoogleNoDatasource => {
            Ok(Event::Informational { kind, user: envelope.user() })
        }
        Kind::Other => Ok(Event::Unknown { name, user: envelope.user() }),
    }
}

/// What all events share.
struct Envelope<'a> {
    kind: Kind,
    text: &'a str,
    user: Option<&'a RawValue>,
    /// These two are most of a body: it is not read again for them.
    data: Option<&'a RawValue>,
    athlete: Option<&'a RawValue>,
    /// At top level; the older platform puts it there as well.
    reference_id: Option<String>,
}

impl<'a> Envelope<'a> {
    /// Members that only some events have, and small bodies at that.
    fn members<const N: usize>(&self, names: [&str; N]) -> [Option<&'a RawValue>; N] {
        json::members(self.text, names).unwrap_or([None; N])
    }

    fn user(&self) -> Option<User> {
        self.user.and_then(|raw| self.user_of(raw))
    }

    fn user_of(&self, raw: &RawValue) -> Option<User> {
        let mut user = user::read(raw)?;
        user.reference_id = user.reference_id.or_else(|| self.reference_id.clone());
        Some(user)
    }

    fn needed_user(&self) -> Result<User, Unreadable> {
        self.needed(self.user)
    }

    fn needed(&self, raw: Option<&RawValue>) -> Result<User, Unreadable> {
        let kind = self.kind;
        let raw = raw.ok_or(Unreadable::MissingUser { kind })?;
        if !json::is_object(raw) {
            return Err(Unreadable::WrongShape { kind });
        }
        self.user_of(raw).ok_or(Unreadable::MissingUser { kind })
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::AuthSucceeded { .. } => f.write_str("AuthSucceeded"),
            Event::AuthFailed { .. } => f.write_str("AuthFailed"),
            Event::UserReauth { .. } => f.write_str("UserReauth"),
            Event::Deauth { .. } => f.write_str("Deauth"),
            Event::AccessRevoked { .. } => f.write_str("AccessRevoked"),
            Event::ConnectionError { .. } => f.write_str("ConnectionError"),
            Event::PermissionChange { .. } => f.write_str("PermissionChange"),
            Event::Data { kind, items, .. } => {
                write!(f, "Data({}, {} items)", kind.label(), items.len())
            }
            Event::LabReport { failed, .. } => write!(f, "LabReport(failed: {failed})"),
            Event::LargeRequestProcessing { .. } => f.write_str("LargeRequestProcessing"),
            Event::LargeRequestSending { .. } => f.write_str("LargeRequestSending"),
            Event::S3Payload { .. } => f.write_str("S3Payload"),
            Event::Informational { kind, .. } => write!(f, "Informational({})", kind.label()),
            Event::Unknown { .. } => f.write_str("Unknown"),
        }
    }
}

#[cfg(test)]
mod tests;
