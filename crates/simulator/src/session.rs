//! Widget sessions: what an app asked for, until a person acts on it.

use std::collections::VecDeque;

/// Terra's widget sessions live for a quarter of an hour.
pub(crate) const LIFETIME_SECONDS: i64 = 900;
/// The oldest sessions are forgotten beyond this.
const SESSIONS_MAX: usize = 10_000;

#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) reference_id: Option<String>,
    /// Providers to choose from, in the order in which they are shown.
    pub(crate) providers: Vec<String>,
    pub(crate) success_url: Option<String>,
    pub(crate) failure_url: Option<String>,
    /// Set when `authenticateUser` promised an id before anybody logged in.
    pub(crate) user_id: Option<String>,
    pub(crate) expires_at_unix_seconds: i64,
}

#[derive(Default)]
pub(crate) struct Sessions {
    open: VecDeque<Session>,
}

impl Sessions {
    pub(crate) fn add(&mut self, session: Session) {
        if self.open.len() == SESSIONS_MAX {
            self.open.pop_front();
        }
        self.open.push_back(session);
    }

    pub(crate) fn find(&self, id: &str, now_unix_seconds: i64) -> Option<&Session> {
        self.open.iter().find(|session| session.id == id && now_unix_seconds < session.expires_at_unix_seconds)
    }
}
