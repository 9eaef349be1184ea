//! Events about a connection: made, failed, replaced, ended.

use serde_json::{Value, json};

use crate::event::VERSION;
use crate::settings::Dialect;
use crate::user::User;

pub(crate) fn auth_success(dialect: Dialect, user: &User, session_id: Option<&str>) -> Value {
    let mut event = json!({
        "type": "auth",
        "status": "success",
        "message": null,
        "user": user.to_json(),
        "widget_session_id": session_id,
    });
    match dialect {
        Dialect::Newer => event["flow_id"] = Value::Null,
        Dialect::Older => {
            event["reference_id"] = json!(user.reference_id);
            event["version"] = json!(VERSION);
        }
    }
    event
}

/// Somebody pressed cancel, or the provider refused. The newer platform names no user at all; the
/// older one names a user that is already deleted again.
pub(crate) fn auth_failed(dialect: Dialect, attempt: &User, session_id: Option<&str>, reason: &str) -> Value {
    match dialect {
        Dialect::Newer => json!({
            "type": "auth_cancelled",
            "status": "error",
            "flow_id": session_id,
            "reason": reason,
            "reference_id": attempt.reference_id,
        }),
        Dialect::Older => json!({
            "type": "auth",
            "status": "error",
            "message": "User failed to authenticate and has been deleted",
            "user": { "user_id": attempt.user_id, "provider": attempt.provider },
            "reason": reason,
            "reference_id": attempt.reference_id,
            "widget_session_id": session_id,
            "version": VERSION,
        }),
    }
}

pub(crate) fn deauth(user: &User) -> Value {
    let user = User { active: false, ..user.clone() };
    json!({
        "type": "deauth",
        "status": "success",
        "user": user.to_json(),
        "message": "User has been deauthenticated",
        "version": VERSION,
    })
}

/// `old_user` is null when Terra no longer knows the earlier connection.
pub(crate) fn user_reauth(old_user: Option<&User>, new_user: &User) -> Value {
    json!({
        "type": "user_reauth",
        "status": "warning",
        "old_user": old_user.map(User::to_json),
        "new_user": new_user.to_json(),
        "message": "User has authenticated again; the earlier user will be removed",
        "version": VERSION,
    })
}

/// The person ended it at the provider.
pub(crate) fn access_revoked(user: &User) -> Value {
    let user = User { active: false, ..user.clone() };
    warning("access_revoked", &user, "User revoked access")
}

/// The provider refuses at the moment; it may pass.
pub(crate) fn connection_error(user: &User) -> Value {
    warning("connection_error", user, "The provider refused the connection of this user")
}

/// `user` has the permissions as they are now.
pub(crate) fn permission_change(user: &User, added: &[String], removed: &[String]) -> Value {
    let mut event = warning("permission_change", user, "User changed their permissions");
    event["scopes_added"] = json!(added.join(","));
    event["scopes_removed"] = json!(removed.join(","));
    event
}

fn warning(kind: &str, user: &User, message: &str) -> Value {
    json!({
        "type": kind,
        "status": "warning",
        "user": user.to_json(),
        "message": message,
        "version": VERSION,
    })
}
