//! Whose data it is: references that wait for a resolver, and decisions of people.

use async_trait::async_trait;
use domain::id::{ConnectionId, Environment, ReferenceId, UserId};
use jiff::Timestamp;

use crate::store::StoreError;

/// A reference that waits for a resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReference {
    pub environment: Environment,
    pub reference: ReferenceId,
    /// Answers of "unknown" so far.
    pub attempts: u32,
}

/// A resolver's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceAnswer {
    Found(UserId),
    /// Nobody knows it; asked again at `again_at`.
    Unknown {
        again_at: Timestamp,
    },
    /// The resolver is away; not an answer.
    Unavailable {
        again_at: Timestamp,
    },
}

/// What a `reference_id` is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferencePolicy {
    /// It *is* the internal user.
    IsTheUser,
    /// A resolver says whose it is; its answers are rows.
    Resolved,
}

/// A person's decision about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Done {
        connection: ConnectionId,
    },
    UnknownConnection,
    /// Nothing to split: it has one alias.
    Indivisible,
}

#[async_trait]
pub trait Identity: Send + Sync {
    /// Takes references that wait for a resolver, hidden from others until `until`.
    async fn lease_references(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OpenReference>, StoreError>;

    /// Keeps a resolver's answer and concludes anew whom it concerns.
    async fn resolve(
        &self,
        reference: &OpenReference,
        answer: &ReferenceAnswer,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// A person decides whose connection this is: every alias of it belongs to `user` from now on.
    async fn assign(
        &self,
        connection: ConnectionId,
        user: &UserId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Decided, StoreError>;

    /// A person decides that the aliases of this connection are not one: each stands for itself again.
    async fn split(&self, connection: ConnectionId, actor: &str, now: Timestamp) -> Result<Decided, StoreError>;
}
