//! Connect sessions: one walk of one person through Terra's widget.

use std::collections::BTreeSet;

use domain::id::{Environment, ReferenceId, SessionId, UserId};
use domain::session::{ConnectSession, SessionOutcome, SessionResult, SessionState};
use jiff::Timestamp;
use tokio_postgres::Row;

use super::row::{digest, environment, get, strange};
use super::unit::Db;
use crate::store::StoreError;

const CREATE: &str = "
INSERT INTO connect_session (id, environment, user_id, reference_id, state_digest, widget_session_id, widget_url,
                             success_url, failure_url, created_at, expires_at, state, terra_user_id, provider, reason,
                             returned_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
    ON CONFLICT (id) DO NOTHING";

pub(super) async fn create(db: &Db, session: &ConnectSession) -> Result<(), StoreError> {
    // Expired is what a pending session is found to be, never what it is.
    let state = if session.state == SessionState::Expired { SessionState::Pending } else { session.state };
    db.execute(
        CREATE,
        &[
            &session.id.0,
            &session.environment.as_str(),
            &session.user.as_str(),
            &session.reference.as_str(),
            &session.state_digest.as_slice(),
            &session.widget_session_id,
            &session.widget_url,
            &session.success_url,
            &session.failure_url,
            &session.created_at,
            &session.expires_at,
            &state.label(),
            &session.terra_user_id,
            &session.provider,
            &session.reason,
            &session.returned_at,
        ],
    )
    .await?;
    Ok(())
}

const OPENED: &str =
    "UPDATE connect_session SET widget_session_id = $2, widget_url = $3, expires_at = $4 WHERE id = $1";

pub(super) async fn opened(
    db: &Db,
    id: SessionId,
    widget_session_id: Option<&str>,
    widget_url: &str,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    db.execute(OPENED, &[&id.0, &widget_session_id, &widget_url, &expires_at]).await?;
    Ok(())
}

const FAILED: &str = "UPDATE connect_session SET state = 'failed', reason = $2 WHERE id = $1 AND state = 'pending'";

pub(super) async fn failed(db: &Db, id: SessionId, reason: &str) -> Result<(), StoreError> {
    db.execute(FAILED, &[&id.0, &reason]).await?;
    Ok(())
}

const BY_ID: &str = "
SELECT id, environment, user_id, reference_id, state_digest, widget_session_id, widget_url, success_url, failure_url,
       created_at, expires_at, state, terra_user_id, provider, reason, returned_at
  FROM connect_session
 WHERE id = $1";

pub(super) async fn by_id(db: &Db, id: SessionId) -> Result<Option<ConnectSession>, StoreError> {
    db.row(BY_ID, &[&id.0]).await?.as_ref().map(session).transpose()
}

const OF_USER: &str = "
SELECT id, environment, user_id, reference_id, state_digest, widget_session_id, widget_url, success_url, failure_url,
       created_at, expires_at, state, terra_user_id, provider, reason, returned_at
  FROM connect_session
 WHERE user_id = $1
 ORDER BY created_at, id";

pub(super) async fn of_user(db: &Db, user: &UserId) -> Result<Vec<ConnectSession>, StoreError> {
    db.rows(OF_USER, &[&user.as_str()]).await?.iter().map(session).collect()
}

const BY_STATE: &str = "
SELECT id, environment, user_id, reference_id, state_digest, widget_session_id, widget_url, success_url, failure_url,
       created_at, expires_at, state, terra_user_id, provider, reason, returned_at
  FROM connect_session
 WHERE state_digest = $1";

pub(super) async fn by_state(db: &Db, state_digest: &[u8; 32]) -> Result<Option<ConnectSession>, StoreError> {
    db.row(BY_STATE, &[&state_digest.as_slice()]).await?.as_ref().map(session).transpose()
}

const RETURNED: &str = "UPDATE connect_session SET returned_at = $2 WHERE id = $1 AND returned_at IS NULL";

pub(super) async fn returned(db: &Db, id: SessionId, now: Timestamp) -> Result<bool, StoreError> {
    Ok(db.execute(RETURNED, &[&id.0, &now]).await? == 1)
}

fn session(row: &Row) -> Result<ConnectSession, StoreError> {
    Ok(ConnectSession {
        id: SessionId(get(row, "id")?),
        environment: environment(row)?,
        user: UserId::new(get::<String>(row, "user_id")?),
        reference: ReferenceId::new(get::<String>(row, "reference_id")?),
        state_digest: digest(row, "state_digest")?,
        widget_session_id: get(row, "widget_session_id")?,
        widget_url: get(row, "widget_url")?,
        success_url: get(row, "success_url")?,
        failure_url: get(row, "failure_url")?,
        created_at: get(row, "created_at")?,
        expires_at: get(row, "expires_at")?,
        state: state(row)?,
        terra_user_id: get(row, "terra_user_id")?,
        provider: get(row, "provider")?,
        reason: get(row, "reason")?,
        returned_at: get(row, "returned_at")?,
    })
}

fn state(row: &Row) -> Result<SessionState, StoreError> {
    SessionState::parse(get(row, "state")?).ok_or_else(|| strange("state"))
}

/// The session a result belongs to, most certain first: the id itself; Terra's id of the widget session; a session that
/// already ended with this very Terra user, which is the other road of one connect; and only then the youngest that waits
/// under the same reference, because a person may have opened the next one meanwhile.
const FIND: &str = "
SELECT id, state, terra_user_id
  FROM connect_session
 WHERE environment = $1
   AND (   id = $2
        OR widget_session_id = $3
        OR ($2::uuid IS NULL AND state = 'connected' AND terra_user_id = $5 AND reference_id = $4 AND expires_at > $6)
        OR ($2::uuid IS NULL AND state = 'pending' AND reference_id = $4 AND expires_at > $6)
        OR ($2::uuid IS NULL AND state = 'connected' AND terra_user_id = $5 AND reference_id = $4))
 ORDER BY id = $2 DESC NULLS LAST,
          widget_session_id = $3 DESC NULLS LAST,
          (state = 'connected' AND expires_at > $6) DESC,
          state = 'pending' DESC,
          created_at DESC, id DESC
 LIMIT 1
   FOR UPDATE";

const DECIDE: &str =
    "UPDATE connect_session SET state = $2, terra_user_id = $3, provider = $4, reason = $5 WHERE id = $1";

/// One result at a time: two of one batch may want the same session. Connects are rare beside data.
pub(super) async fn decide(db: &Db, results: &[SessionResult], at: Timestamp) -> Result<BTreeSet<usize>, StoreError> {
    let mut ours = BTreeSet::new();
    for (index, result) in results.iter().enumerate() {
        if decide_one(db, result, at).await? {
            ours.insert(index);
        }
    }
    Ok(ours)
}

async fn decide_one(db: &Db, result: &SessionResult, at: Timestamp) -> Result<bool, StoreError> {
    let end = End::of(&result.outcome);
    let Some(found) = find(db, &result.environment, result, end.terra_user_id, at).await? else { return Ok(false) };
    let before = state(&found)?;
    if before.takes(end.state) {
        let id: uuid::Uuid = get(&found, "id")?;
        db.execute(DECIDE, &[&id, &end.state.label(), &end.terra_user_id, &end.provider, &end.reason]).await?;
        return Ok(true);
    }
    Ok(before == end.state && get::<Option<&str>>(&found, "terra_user_id")? == end.terra_user_id)
}

async fn find(
    db: &Db,
    environment: &Environment,
    result: &SessionResult,
    terra_user_id: Option<&str>,
    at: Timestamp,
) -> Result<Option<Row>, StoreError> {
    let session = result.session.map(|id| id.0);
    let reference = result.reference.as_ref().map(ReferenceId::as_str);
    db.row(FIND, &[&environment.as_str(), &session, &result.widget_session_id, &reference, &terra_user_id, &at]).await
}

/// How a session ends.
struct End<'a> {
    state: SessionState,
    terra_user_id: Option<&'a str>,
    provider: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> End<'a> {
    fn of(outcome: &'a SessionOutcome) -> Self {
        match outcome {
            SessionOutcome::Connected { alias, provider } => End {
                state: SessionState::Connected,
                terra_user_id: Some(alias.terra_user_id.as_str()),
                provider: provider.as_deref(),
                reason: None,
            },
            SessionOutcome::Failed { reason } => {
                End { state: SessionState::Failed, terra_user_id: None, provider: None, reason: Some(reason) }
            }
        }
    }
}
