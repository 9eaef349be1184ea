//! Whose data it is: references that wait for a resolver, and decisions of people.

use async_trait::async_trait;
use domain::id::{ConnectionId, UserId};
use jiff::Timestamp;

use super::super::{EmbeddedStore, decide};
use crate::store::{Decided, Identity, OpenReference, ReferenceAnswer, StoreError};

#[async_trait]
impl Identity for EmbeddedStore {
    async fn lease_references(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OpenReference>, StoreError> {
        self.write(move |connection| decide::lease_references(connection, now, until, limit)).await
    }

    async fn resolve(
        &self,
        reference: &OpenReference,
        answer: &ReferenceAnswer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (reference, answer, policy) = (reference.clone(), answer.clone(), self.policy);
        self.write(move |connection| decide::resolve(connection, &reference, &answer, policy, now)).await
    }

    async fn assign(
        &self,
        connection: ConnectionId,
        user: &UserId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Decided, StoreError> {
        let (user, actor, policy) = (user.clone(), actor.to_owned(), self.policy);
        self.write(move |open| decide::assign(open, connection, &user, &actor, policy, now)).await
    }

    async fn split(&self, connection: ConnectionId, actor: &str, now: Timestamp) -> Result<Decided, StoreError> {
        let (actor, policy) = (actor.to_owned(), self.policy);
        self.write(move |open| decide::split(open, connection, &actor, policy, now)).await
    }
}
