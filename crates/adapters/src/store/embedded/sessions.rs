//! Connect sessions, and which of them a result belongs to.

use std::collections::BTreeSet;

use domain::id::{Environment, ReferenceId, SessionId, UserId};
use domain::session::{ConnectSession, SessionOutcome, SessionResult, SessionState};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::column::{ms, time, time_option, uuid, word};
use crate::store::StoreError;

pub(super) fn create(connection: &Connection, session: &ConnectSession) -> Result<(), StoreError> {
    const INSERT: &str = "
        INSERT INTO connect_session (id, environment, user_id, reference_id, state_digest, widget_session_id,
                                     widget_url, success_url, failure_url, created_at, expires_at, state,
                                     terra_user_id, provider, reason, returned_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
    // That a session has expired follows from its time, and is not stored.
    let state = if session.state == SessionState::Expired { SessionState::Pending } else { session.state };
    connection.prepare_cached(INSERT)?.execute(params![
        session.id.0.as_bytes(),
        session.environment.as_str(),
        session.user.as_str(),
        session.reference.as_str(),
        session.state_digest,
        session.widget_session_id,
        session.widget_url,
        session.success_url,
        session.failure_url,
        ms(session.created_at),
        ms(session.expires_at),
        state.label(),
        session.terra_user_id,
        session.provider,
        session.reason,
        session.returned_at.map(ms),
    ])?;
    Ok(())
}

pub(super) fn opened(
    connection: &Connection,
    id: SessionId,
    widget_session_id: Option<&str>,
    widget_url: &str,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    const OPENED: &str =
        "UPDATE connect_session SET widget_session_id = ?2, widget_url = ?3, expires_at = ?4 WHERE id = ?1";
    let row = params![id.0.as_bytes(), widget_session_id, widget_url, ms(expires_at)];
    connection.prepare_cached(OPENED)?.execute(row)?;
    Ok(())
}

pub(super) fn failed(connection: &Connection, id: SessionId, reason: &str) -> Result<(), StoreError> {
    const FAILED: &str = "UPDATE connect_session SET state = 'failed', reason = ?2 WHERE id = ?1 AND state = 'pending'";
    connection.prepare_cached(FAILED)?.execute(params![id.0.as_bytes(), reason])?;
    Ok(())
}

pub(super) fn by_id(connection: &Connection, id: SessionId) -> Result<Option<ConnectSession>, StoreError> {
    const BY_ID: &str = "
        SELECT id, environment, user_id, reference_id, state_digest, widget_session_id, widget_url, success_url,
               failure_url, created_at, expires_at, state, terra_user_id, provider, reason, returned_at
        FROM connect_session WHERE id = ?1";
    Ok(connection.prepare_cached(BY_ID)?.query_row([id.0.as_bytes()], session).optional()?)
}

pub(super) fn of_user(connection: &Connection, user: &UserId) -> Result<Vec<ConnectSession>, StoreError> {
    const OF_USER: &str = "
        SELECT id, environment, user_id, reference_id, state_digest, widget_session_id, widget_url, success_url,
               failure_url, created_at, expires_at, state, terra_user_id, provider, reason, returned_at
        FROM connect_session WHERE user_id = ?1 ORDER BY created_at, id";
    let mut statement = connection.prepare_cached(OF_USER)?;
    let rows = statement.query_map([user.as_str()], session)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn by_state(connection: &Connection, digest: &[u8; 32]) -> Result<Option<ConnectSession>, StoreError> {
    const BY_STATE: &str = "
        SELECT id, environment, user_id, reference_id, state_digest, widget_session_id, widget_url, success_url,
               failure_url, created_at, expires_at, state, terra_user_id, provider, reason, returned_at
        FROM connect_session WHERE state_digest = ?1";
    Ok(connection.prepare_cached(BY_STATE)?.query_row([digest], session).optional()?)
}

fn session(row: &Row<'_>) -> rusqlite::Result<ConnectSession> {
    Ok(ConnectSession {
        id: SessionId(uuid(row, "id")?),
        environment: Environment::new(row.get::<_, String>("environment")?),
        user: UserId::new(row.get::<_, String>("user_id")?),
        reference: ReferenceId::new(row.get::<_, String>("reference_id")?),
        state_digest: row.get("state_digest")?,
        widget_session_id: row.get("widget_session_id")?,
        widget_url: row.get("widget_url")?,
        success_url: row.get("success_url")?,
        failure_url: row.get("failure_url")?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        state: word(row, "state", SessionState::parse)?,
        terra_user_id: row.get("terra_user_id")?,
        provider: row.get("provider")?,
        reason: row.get("reason")?,
        returned_at: time_option(row, "returned_at")?,
    })
}

pub(super) fn returned(connection: &Connection, id: SessionId, now: Timestamp) -> Result<bool, StoreError> {
    const RETURNED: &str = "UPDATE connect_session SET returned_at = ?2 WHERE id = ?1 AND returned_at IS NULL";
    Ok(connection.prepare_cached(RETURNED)?.execute(params![id.0.as_bytes(), ms(now)])? == 1)
}

/// What matching needs to know of a session.
struct Candidate {
    id: [u8; 16],
    state: SessionState,
    terra_user_id: Option<String>,
}

/// Decides pending sessions. The webhook and the redirect tell of the same connect, in either order: who comes second
/// finds the session decided, and it is theirs too if they say the same.
pub(super) fn decide(
    connection: &Connection,
    results: &[SessionResult],
    at: Timestamp,
) -> Result<BTreeSet<usize>, StoreError> {
    const DECIDE: &str = "
        UPDATE connect_session SET state = ?2, terra_user_id = ?3, provider = ?4, reason = ?5
        WHERE id = ?1";
    let mut ours = BTreeSet::new();
    for (index, result) in results.iter().enumerate() {
        let Some(candidate) = candidate(connection, result, at)? else { continue };
        let (state, terra_user_id, provider, reason) = match &result.outcome {
            SessionOutcome::Connected { alias, provider } => {
                (SessionState::Connected, Some(alias.terra_user_id.as_str()), provider.as_deref(), None)
            }
            SessionOutcome::Failed { reason } => (SessionState::Failed, None, None, Some(reason.as_str())),
        };
        if candidate.state.takes(state) {
            let row = params![candidate.id, state.label(), terra_user_id, provider, reason];
            connection.prepare_cached(DECIDE)?.execute(row)?;
            ours.insert(index);
        } else if candidate.state == state && candidate.terra_user_id.as_deref() == terra_user_id {
            ours.insert(index);
        }
    }
    Ok(ours)
}

/// The session a result belongs to, most certain first: the one it names; the one with Terra's id of the widget session;
/// one that already ended with this very Terra user, which is the other road of one connect; and only then the youngest
/// that waits under the same reference, because a person may have opened the next one meanwhile.
fn candidate(connection: &Connection, result: &SessionResult, at: Timestamp) -> Result<Option<Candidate>, StoreError> {
    const BY_ID: &str = "SELECT id, state, terra_user_id FROM connect_session WHERE id = ?1 AND environment = ?2";
    const BY_WIDGET: &str = "
        SELECT id, state, terra_user_id FROM connect_session
        WHERE environment = ?1 AND widget_session_id = ?2 ORDER BY created_at DESC, id DESC LIMIT 1";
    let environment = result.environment.as_str();
    if let Some(id) = result.session
        && let Some(named) = find(connection, BY_ID, params![id.0.as_bytes(), environment])?
    {
        return Ok(Some(named));
    }
    if let Some(widget) = &result.widget_session_id
        && let Some(named) = find(connection, BY_WIDGET, params![environment, widget])?
    {
        return Ok(Some(named));
    }
    match (&result.session, &result.reference) {
        (None, Some(reference)) => candidate_of_reference(connection, result, reference, at),
        (Some(_), _) | (None, None) => Ok(None),
    }
}

fn candidate_of_reference(
    connection: &Connection,
    result: &SessionResult,
    reference: &ReferenceId,
    at: Timestamp,
) -> Result<Option<Candidate>, StoreError> {
    const ENDED: &str = "
        SELECT id, state, terra_user_id FROM connect_session
        WHERE environment = ?1 AND reference_id = ?2 AND state = 'connected' AND terra_user_id = ?3 AND expires_at > ?4
        ORDER BY created_at DESC, id DESC LIMIT 1";
    const WAITING: &str = "
        SELECT id, state, terra_user_id FROM connect_session
        WHERE environment = ?1 AND reference_id = ?2 AND state = 'pending' AND expires_at > ?3
        ORDER BY created_at DESC, id DESC LIMIT 1";
    const ENDED_LONG_AGO: &str = "
        SELECT id, state, terra_user_id FROM connect_session
        WHERE environment = ?1 AND reference_id = ?2 AND state = 'connected' AND terra_user_id = ?3
        ORDER BY created_at DESC, id DESC LIMIT 1";
    let (environment, reference) = (result.environment.as_str(), reference.as_str());
    let waiting = || find(connection, WAITING, params![environment, reference, ms(at)]);
    let alias = match &result.outcome {
        SessionOutcome::Connected { alias, .. } => alias.terra_user_id.as_str(),
        SessionOutcome::Failed { .. } => return waiting(),
    };
    if let Some(ended) = find(connection, ENDED, params![environment, reference, alias, ms(at)])? {
        return Ok(Some(ended));
    }
    if let Some(waiting) = waiting()? {
        return Ok(Some(waiting));
    }
    find(connection, ENDED_LONG_AGO, params![environment, reference, alias])
}

fn find(connection: &Connection, sql: &str, parameters: impl Params) -> Result<Option<Candidate>, StoreError> {
    let row = |row: &Row<'_>| {
        Ok(Candidate {
            id: row.get("id")?,
            state: word(row, "state", SessionState::parse)?,
            terra_user_id: row.get("terra_user_id")?,
        })
    };
    Ok(connection.prepare_cached(sql)?.query_row(parameters, row).optional()?)
}
