//! Whoever speaks of a user, and what each of their words calls for.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use terra::event::{DataKind, User};

use super::records::Source;
use super::{AuthEvent, Backfill, Context};
use crate::fetch::{self, FetchOrigin, Window, Wish};
use crate::id::{AliasKey, Environment, ReferenceId, SessionId};
use crate::identity::{Fact, Said};
use crate::order::Order;
use crate::session::{SessionOutcome, SessionResult};

/// An `auth` whose user is older than this is no connect before our eyes: it starts no backfill.
const NEW_USER_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Who says it, and when: what all facts of one delivery share.
pub(super) struct Speaker {
    pub(super) environment: Environment,
    pub(super) order: Order,
    pub(super) inferred: bool,
    pub(super) kind: &'static str,
}

impl Speaker {
    pub(super) fn alias(&self, user: &User) -> AliasKey {
        AliasKey::new(&self.environment, &user.user_id)
    }

    pub(super) fn fact(&self, user: &User, said: Said) -> Fact {
        Fact {
            alias: self.alias(user),
            order: self.order,
            said,
            provider: user.provider.clone(),
            reference: user.reference_id.as_deref().filter(|reference| !reference.is_empty()).map(ReferenceId::new),
            scopes: user.scopes.clone(),
        }
    }

    pub(super) fn source<'a>(
        &self,
        alias: AliasKey,
        provider: Option<&'a str>,
        kind: DataKind,
        body: &'a Bytes,
    ) -> Source<'a> {
        Source { alias, provider, kind, order: self.order, order_inferred: self.inferred, body }
    }

    pub(super) fn auth_event(&self, user: &User, detail: Value) -> AuthEvent {
        AuthEvent {
            environment: self.environment.clone(),
            kind: self.kind.into(),
            succeeded: true,
            terra_user_id: Some(user.user_id.clone()),
            reference: user.reference_id.as_deref().map(ReferenceId::new),
            provider: user.provider.clone(),
            order: self.order,
            detail,
        }
    }

    /// How a connect ended for the session it belongs to, if that is known.
    pub(super) fn connected(
        &self,
        user: &User,
        session: Option<SessionId>,
        widget_session_id: Option<String>,
    ) -> SessionResult {
        SessionResult {
            environment: self.environment.clone(),
            session,
            widget_session_id,
            reference: user.reference_id.as_deref().map(ReferenceId::new),
            outcome: SessionOutcome::Connected { alias: self.alias(user), provider: user.provider.clone() },
        }
    }

    /// What to ask Terra for of the time before a connect.
    ///
    /// - Shapes: `cause` is the bytes that ids are derived from.
    pub(super) fn history(&self, user: &User, time: Timestamp, cause: &[u8], context: &Context) -> Backfill {
        let alias = self.alias(user);
        let kinds = context.capabilities.history_kinds(user.provider.as_deref());
        let today = time.to_zoned(jiff::tz::TimeZone::UTC).date();
        Backfill {
            certain: user.created_at.is_some_and(|created| time.duration_since(created) < NEW_USER_AGE_MAX),
            jobs: fetch::jobs(&Wish {
                alias: &alias,
                provider: user.provider.as_deref(),
                kinds: &kinds,
                days: Window::last(context.backfill_days, today),
                origin: FetchOrigin::Connect,
                cause,
                window_days_max: context.window_days_max,
            }),
            alias,
        }
    }
}
