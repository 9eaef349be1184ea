//! Connect sessions: how an app learns which Terra user was authenticated.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{AliasKey, Environment, ReferenceId, SessionId, UserId};

/// One walk of one person through Terra's widget, as the app asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectSession {
    pub id: SessionId,
    pub environment: Environment,
    pub user: UserId,
    pub reference: ReferenceId,
    /// SHA-256 of the one-time state: the state itself is in the redirect URLs only.
    pub state_digest: [u8; 32],
    /// Terra's own id of the widget session.
    pub widget_session_id: Option<String>,
    pub widget_url: Option<String>,
    pub success_url: String,
    pub failure_url: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub state: SessionState,
    pub terra_user_id: Option<String>,
    pub provider: Option<String>,
    pub reason: Option<String>,
    /// When the browser came back, if it did: from then on the same state only repeats its redirect.
    pub returned_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    Pending,
    Connected,
    Failed,
    Expired,
}

impl SessionState {
    pub fn label(self) -> &'static str {
        match self {
            SessionState::Pending => "pending",
            SessionState::Connected => "connected",
            SessionState::Failed => "failed",
            SessionState::Expired => "expired",
        }
    }

    /// Whether a session in this state still takes `outcome`. A person who declined and then went through the same
    /// widget after all is connected; nothing takes a connect back.
    pub fn takes(self, outcome: SessionState) -> bool {
        match self {
            SessionState::Pending | SessionState::Expired => true,
            SessionState::Failed => outcome == SessionState::Connected,
            SessionState::Connected => false,
        }
    }

    pub fn parse(label: &str) -> Option<SessionState> {
        [SessionState::Pending, SessionState::Connected, SessionState::Failed, SessionState::Expired]
            .into_iter()
            .find(|state| state.label() == label)
    }
}

impl ConnectSession {
    /// The state as of `now`: a pending session past its time has expired.
    pub fn state_at(&self, now: Timestamp) -> SessionState {
        if self.state == SessionState::Pending && self.expires_at <= now { SessionState::Expired } else { self.state }
    }
}

/// What a delivery or a confirmation says of the session it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionResult {
    pub environment: Environment,
    /// The exact session, if known: our own id (redirect) or Terra's widget session id (webhook).
    pub session: Option<SessionId>,
    pub widget_session_id: Option<String>,
    /// Else the youngest pending session of this reference.
    pub reference: Option<ReferenceId>,
    pub outcome: SessionOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOutcome {
    Connected { alias: AliasKey, provider: Option<String> },
    Failed { reason: String },
}
