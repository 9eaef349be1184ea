//! Terra's users: each is one connection of one person to one provider.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub user_id: String,
    pub provider: String,
    pub reference_id: Option<String>,
    /// Joined by commas on the wire.
    pub scopes: Vec<String>,
    pub active: bool,
    pub created_at: String,
    pub last_webhook_update: Option<String>,
}

impl User {
    /// The object that Terra puts into events and answers.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "user_id": self.user_id,
            "provider": self.provider,
            "reference_id": self.reference_id,
            "scopes": self.scopes.join(","),
            "active": self.active,
            "created_at": self.created_at,
            "last_webhook_update": self.last_webhook_update,
        })
    }
}

/// Everyone connected, oldest first. Users that were removed are gone, as they are at Terra.
#[derive(Default)]
pub(crate) struct Users {
    connected: BTreeMap<u64, User>,
    places: HashMap<String, u64>,
    next: u64,
}

impl Users {
    pub(crate) fn all(&self) -> impl Iterator<Item = &User> {
        self.connected.values()
    }

    pub(crate) fn find(&self, user_id: &str) -> Option<&User> {
        self.places.get(user_id).and_then(|place| self.connected.get(place))
    }

    /// Notes when a user was sent something; one who has left meanwhile stays away.
    pub(crate) fn touch(&mut self, user_id: &str, at: &Option<String>) {
        if let Some(user) = self.places.get(user_id).and_then(|place| self.connected.get_mut(place)) {
            user.last_webhook_update.clone_from(at);
        }
    }

    pub(crate) fn of_reference(&self, reference_id: &str) -> Vec<&User> {
        self.all().filter(|user| user.reference_id.as_deref() == Some(reference_id)).collect()
    }

    /// Adds a user, or puts it in the place of the one with the same id.
    pub(crate) fn put(&mut self, user: User) {
        let place = *self.places.entry(user.user_id.clone()).or_insert(self.next);
        self.next += 1;
        self.connected.insert(place, user);
    }

    pub(crate) fn remove(&mut self, user_id: &str) -> Option<User> {
        let place = self.places.remove(user_id)?;
        self.connected.remove(&place)
    }

    /// The connection that a new one of the same person with the same provider replaces. Without a
    /// reference nobody can tell that two connections are one person's, so they pile up.
    pub(crate) fn replaced_by(&self, reference_id: Option<&str>, provider: &str) -> Option<&User> {
        let reference_id = reference_id?;
        self.all()
            .find(|user| user.active && user.provider == provider && user.reference_id.as_deref() == Some(reference_id))
    }
}
