//! What follows when somebody has connected, failed to, or left.

use serde_json::Value;

use crate::catalog::scopes;
use crate::event::{auth_failed, auth_success, deauth, user_reauth};
use crate::lock::lock;
use crate::user::User;
use crate::world::World;

/// Somebody at the widget.
pub(crate) struct Attempt<'a> {
    pub(crate) provider: &'a str,
    pub(crate) reference_id: Option<&'a str>,
    pub(crate) session_id: Option<&'a str>,
    /// An id that was promised before; else a new one is made.
    pub(crate) user_id: Option<&'a str>,
}

/// Registers the connection and says what Terra would announce. The same person connecting the same
/// provider again gets a new user id, and the earlier user is removed.
pub(crate) fn connect(world: &World, attempt: &Attempt<'_>) -> (User, Vec<Value>) {
    let user = new_user(world, attempt);
    let mut users = lock(&world.users);
    let replaced = users.replaced_by(attempt.reference_id, attempt.provider).cloned();
    let mut events = Vec::new();
    if let Some(old) = replaced.filter(|old| old.user_id != user.user_id) {
        users.remove(&old.user_id);
        events.push(user_reauth(Some(&old), &user));
        events.push(auth_success(world.dialect(), &user, attempt.session_id));
        events.push(deauth(&old));
    } else {
        events.push(auth_success(world.dialect(), &user, attempt.session_id));
    }
    users.put(user.clone());
    (user, events)
}

/// Nothing is registered; the user returned is the attempt that Terra deleted again.
pub(crate) fn fail(world: &World, attempt: &Attempt<'_>, reason: &str) -> (User, Value) {
    let user = new_user(world, attempt);
    let event = auth_failed(world.dialect(), &user, attempt.session_id, reason);
    (user, event)
}

fn new_user(world: &World, attempt: &Attempt<'_>) -> User {
    User {
        user_id: attempt.user_id.map_or_else(|| world.new_id().to_string(), str::to_owned),
        provider: attempt.provider.to_owned(),
        reference_id: attempt.reference_id.map(str::to_owned),
        scopes: scopes(attempt.provider),
        active: true,
        created_at: world.clock.stamp(),
        last_webhook_update: None,
    }
}
