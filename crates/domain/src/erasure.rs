//! A person's data ends: what an erasure is, and what may still be made of what comes afterwards.
//!
//! An erasure leaves tombstones, digests of who was erased. A delivery that names one is dropped in the transaction
//! that would have stored it. An erased Terra user id stays erased whatever order its deliveries have; only a connect
//! that the person walked through afterwards, confirmed by Terra, opens it anew. A reference buries what was sent before
//! the erasure: a person may come back under it, with another Terra user id.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::id::{AliasKey, ConnectionId, Environment, EventId, ReferenceId, UserId, derived_uuid};
use crate::order::Order;
use crate::outgoing::Outgoing;

mod fate;
mod reach;
mod sought;
pub mod words;

pub use fate::{Fate, Judged, Named, judge, named};
pub use reach::reach;
pub use sought::Sought;

/// How long the event that tells of an erasure keeps its subject: a service that was away as long has to compare.
pub const SUBJECT_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErasureId(pub Uuid);

impl std::fmt::Display for ErasureId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Whom to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A person, with everything; the environments whose references name users as they are.
    User { user: UserId, environments: Vec<Environment> },
    /// One connection. What else is known of its person stays.
    Connection(ConnectionId),
}

/// An erasure that somebody wishes for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub id: ErasureId,
    pub whom: Whom,
    pub cause: Cause,
    pub actor: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Request,
    /// The settings have connections erased that were closed.
    Deauth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    User,
    Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Rows are being deleted. Whoever takes over goes on.
    Erasing,
    /// Nothing is left here; Terra has not agreed yet.
    Telling,
    Done,
}

macro_rules! labels {
    ($name:ident: $($variant:ident = $label:literal),+) => {
        impl $name {
            pub fn label(self) -> &'static str {
                match self { $($name::$variant => $label),+ }
            }

            pub fn parse(label: &str) -> Option<$name> {
                match label { $($label => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

labels!(Cause: Request = "request", Deauth = "deauth");
labels!(Scope: User = "user", Connection = "connection");
labels!(State: Erasing = "erasing", Telling = "telling", Done = "done");

/// An erasure as it is kept: it proves that it took place, and names nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub id: ErasureId,
    pub scope: Scope,
    pub cause: Cause,
    pub actor: String,
    pub requested_at: Timestamp,
    pub erased_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub look_at: Timestamp,
    pub state: State,
    pub progress: Progress,
    /// Why Terra has not agreed yet.
    pub reason: Option<String>,
    pub event: EventId,
}

impl Erasure {
    /// The erasure as it may be kept: whoever was added meanwhile has to be erased, and Terra told of them.
    pub fn as_far_as(mut self, all_erased: bool, all_told: bool) -> Erasure {
        if !all_erased && self.state != State::Erasing {
            (self.state, self.erased_at) = (State::Erasing, None);
        } else if !all_told && self.state == State::Done {
            self.state = State::Telling;
        }
        if self.state != State::Done {
            self.finished_at = None;
        }
        self
    }
}

/// What was erased, as numbers, and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub connections: u64,
    pub terra_users: u64,
    pub records: u64,
    pub deliveries: u64,
    pub events: u64,
    /// Rows of all other kinds.
    pub other: u64,
    /// The last delivery without a name that was searched; after that one the search goes on.
    pub searched: Option<Uuid>,
    pub is_searched: bool,
    /// How many names it was searched for: with more of them it begins anew.
    pub names: u64,
    /// Times Terra was asked in vain.
    pub attempts: u32,
}

impl Progress {
    /// Adds what one step erased.
    pub fn add(&mut self, gone: &Progress) {
        self.records += gone.records;
        self.deliveries += gone.deliveries;
        self.events += gone.events;
        self.other += gone.other;
    }
}

/// What is there of a person before anything is erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    pub connections: u64,
    pub terra_users: u64,
    pub records: u64,
    pub deliveries: u64,
    pub events: u64,
}

/// What an erasure under way still knows of whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub kind: TargetKind,
    /// Empty for users and connections.
    pub environment: Environment,
    pub name: String,
    pub is_erased: bool,
    pub is_told: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    Alias,
    Reference,
    User,
    Connection,
    /// The Terra user id of somebody else whose history names an erased one.
    Partner,
}

labels!(TargetKind: Alias = "alias", Reference = "reference", User = "user", Connection = "connection", Partner = "partner");

impl Target {
    pub fn alias(key: &AliasKey, is_told: bool) -> Target {
        Target {
            kind: TargetKind::Alias,
            environment: key.environment.clone(),
            name: key.terra_user_id.to_string(),
            is_erased: false,
            is_told,
        }
    }

    pub fn key(&self) -> AliasKey {
        AliasKey::new(&self.environment, &self.name)
    }
}

/// What an erasure leaves of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    pub erasure: ErasureId,
    pub erased: Order,
    pub reopened: Option<Order>,
}

impl Tombstone {
    /// Whether it buries what a Terra user id says with this order.
    pub fn buries(&self, order: Order) -> bool {
        order <= self.erased || self.reopened.is_none_or(|reopened| order < reopened)
    }

    /// Whether somebody came back since.
    pub fn is_reopened(&self) -> bool {
        self.reopened.is_some()
    }
}

/// The greatest order of a moment: everything that was made before it, or in it, is smaller.
pub fn order_of(at: Timestamp) -> Order {
    Order::new(at.as_millisecond(), &[0xff; 32])
}

/// The digest under which a Terra user id has its tombstone.
pub fn alias_digest(key: &AliasKey) -> [u8; 32] {
    digest(&[b"alias", key.environment.as_str().as_bytes(), key.terra_user_id.as_str().as_bytes()])
}

/// The digest under which a reference has its tombstone.
pub fn reference_digest(environment: &Environment, reference: &ReferenceId) -> [u8; 32] {
    digest(&[b"reference", environment.as_str().as_bytes(), reference.as_str().as_bytes()])
}

/// A length before each part keeps ("a", "bc") and ("ab", "c") apart.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The event that has the company's services erase too.
pub fn event(
    wish: &Wish,
    environment: Environment,
    subject: Option<UserId>,
    connections: &BTreeSet<ConnectionId>,
    now: Timestamp,
) -> Outgoing {
    Outgoing {
        id: event_id(wish.id),
        alias: None,
        environment,
        connection: None,
        subject,
        entity: "user".into(),
        verb: "erased".into(),
        provider: None,
        record: None,
        time: now,
        data: serde_json::json!({
            "erasure": wish.id,
            "scope": wish.scope(),
            "cause": wish.cause,
            "connections": connections,
        }),
    }
}

pub fn event_id(id: ErasureId) -> EventId {
    EventId(derived_uuid(&[b"event", id.0.as_bytes(), b"user", b"erased"]))
}

impl Wish {
    pub fn scope(&self) -> Scope {
        match self.whom {
            Whom::User { .. } => Scope::User,
            Whom::Connection(_) => Scope::Connection,
        }
    }

    /// The erasure at its beginning.
    pub fn begun(&self, now: Timestamp) -> Erasure {
        Erasure {
            id: self.id,
            scope: self.scope(),
            cause: self.cause,
            actor: self.actor.clone(),
            requested_at: now,
            erased_at: None,
            finished_at: None,
            look_at: now,
            state: State::Erasing,
            progress: Progress::default(),
            reason: None,
            event: event_id(self.id),
        }
    }
}

/// The tombstones of what one batch names.
#[derive(Debug, Clone, Default)]
pub struct Tombstones {
    pub aliases: BTreeMap<AliasKey, Tombstone>,
    pub references: BTreeMap<(Environment, ReferenceId), Tombstone>,
}

#[cfg(test)]
mod tests;
