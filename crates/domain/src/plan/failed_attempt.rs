//! A connect that failed.

use jiff::Timestamp;
use serde_json::json;

use super::speaker::Speaker;
use super::{AuthEvent, Plan};
use crate::id::{EventId, ReferenceId, UserId, derived_uuid};
use crate::outgoing::Outgoing;
use crate::session::{SessionOutcome, SessionResult};

/// What Terra says of it.
pub(super) struct FailedAttempt {
    pub(super) user_id: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) reference_id: Option<String>,
    pub(super) reason: String,
    pub(super) widget_session_id: Option<String>,
}

impl FailedAttempt {
    /// A failed attempt is history and news, never a connection.
    pub(super) fn fill(self, plan: &mut Plan, speaker: &Speaker, time: Timestamp, cause: &[u8]) {
        let reference = self.reference_id.as_deref().filter(|reference| !reference.is_empty()).map(ReferenceId::new);
        plan.notices.push(Outgoing {
            id: EventId(derived_uuid(&[b"event", cause, b"auth", b"failed"])),
            alias: None,
            environment: speaker.environment.clone(),
            connection: None,
            subject: reference.as_ref().map(|reference| UserId::new(reference.as_str())),
            entity: "auth".into(),
            verb: "failed".into(),
            provider: self.provider.clone(),
            record: None,
            time,
            data: json!({ "reason": self.reason, "reference_id": reference, "provider": self.provider }),
        });
        plan.auth_event = Some(AuthEvent {
            environment: speaker.environment.clone(),
            kind: speaker.kind.into(),
            succeeded: false,
            terra_user_id: self.user_id,
            reference: reference.clone(),
            provider: self.provider,
            order: speaker.order,
            detail: json!({ "reason": self.reason, "widget_session_id": self.widget_session_id }),
        });
        plan.session = Some(SessionResult {
            environment: speaker.environment.clone(),
            session: None,
            widget_session_id: self.widget_session_id,
            reference,
            outcome: SessionOutcome::Failed { reason: self.reason },
        });
    }
}
