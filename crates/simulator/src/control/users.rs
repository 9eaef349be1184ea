//! Users without a widget, and what may happen to them.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalog::scopes;
use crate::connect::{Attempt, connect};
use crate::control::{bad_request, unknown};
use crate::event::{access_revoked, connection_error, deauth, permission_change};
use crate::lock::lock;
use crate::user::User;
use crate::world::World;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    reference_id: Option<String>,
    #[serde(default = "garmin")]
    provider: String,
    user_id: Option<String>,
    scopes: Option<Vec<String>>,
    created_at: Option<String>,
    #[serde(default = "yes")]
    active: bool,
    /// Whether the webhooks of a connect are sent.
    #[serde(default = "yes")]
    announce: bool,
}

fn garmin() -> String {
    "GARMIN".to_owned()
}

fn yes() -> bool {
    true
}

pub(crate) async fn list(world: web::Data<World>) -> HttpResponse {
    let items: Vec<Value> = lock(&world.users).all().map(User::to_json).collect();
    HttpResponse::Ok().json(json!({ "items": items }))
}

pub(crate) async fn create(world: web::Data<World>, new: web::Json<NewUser>) -> HttpResponse {
    let new = new.into_inner();
    let attempt = Attempt {
        provider: &new.provider,
        reference_id: new.reference_id.as_deref(),
        session_id: None,
        user_id: new.user_id.as_deref(),
    };
    let (mut user, mut events) = connect(&world, &attempt);
    user.active = new.active;
    user.scopes = new.scopes.unwrap_or(user.scopes);
    user.created_at = new.created_at.unwrap_or(user.created_at);
    lock(&world.users).put(user.clone());
    for event in &mut events {
        for field in ["user", "new_user"] {
            if event[field]["user_id"] == user.user_id {
                event[field] = user.to_json();
            }
        }
    }
    if new.announce {
        drop(world.announce(&events, Duration::ZERO));
    }
    HttpResponse::Created().json(json!({ "user": user.to_json() }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Happening {
    scopes_added: Vec<String>,
    scopes_removed: Vec<String>,
}

/// Makes something happen to a user, and announces it as Terra would.
pub(crate) async fn happen(
    world: web::Data<World>,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let (user_id, what) = path.into_inner();
    let happening = if body.is_empty() {
        Happening::default()
    } else {
        match serde_json::from_slice(&body) {
            Ok(happening) => happening,
            Err(error) => return bad_request(&error.to_string()),
        }
    };
    let Some(user) = world.user(&user_id) else { return unknown("user") };
    let Some((user, events)) = outcome(&world, user, &what, happening) else {
        return unknown("happening");
    };
    drop(world.announce(&events, Duration::ZERO));
    HttpResponse::Ok().json(json!({ "user": user.to_json(), "events": events }))
}

/// The user afterwards, and the events; none if there is no such happening.
fn outcome(world: &World, user: User, what: &str, happening: Happening) -> Option<(User, Vec<Value>)> {
    match what {
        "deauth" => {
            lock(&world.users).remove(&user.user_id);
            let events = vec![deauth(&user)];
            Some((User { active: false, ..user }, events))
        }
        "access_revoked" => {
            let user = keep(world, User { active: false, ..user });
            let events = vec![access_revoked(&user)];
            Some((user, events))
        }
        "connection_error" => {
            let events = vec![connection_error(&user)];
            Some((user, events))
        }
        "permission_change" => Some(change_permissions(world, user, happening)),
        "reauth" => {
            let attempt = Attempt {
                provider: &user.provider,
                reference_id: user.reference_id.as_deref(),
                session_id: None,
                user_id: None,
            };
            Some(connect(world, &attempt))
        }
        _ => None,
    }
}

/// Without particulars the last permission is taken away, or all are given back when none is left
/// to take.
fn change_permissions(world: &World, mut user: User, wanted: Happening) -> (User, Vec<Value>) {
    let Happening { scopes_added: mut added, scopes_removed: mut removed } = wanted;
    if added.is_empty() && removed.is_empty() {
        match user.scopes.last() {
            Some(last) => removed.push(last.clone()),
            None => added = scopes(&user.provider),
        }
    }
    user.scopes.retain(|scope| !removed.contains(scope));
    user.scopes.extend(added.iter().cloned());
    let user = keep(world, user);
    let event = permission_change(&user, &added, &removed);
    (user, vec![event])
}

fn keep(world: &World, user: User) -> User {
    lock(&world.users).put(user.clone());
    user
}
