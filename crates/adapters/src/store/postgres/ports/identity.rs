//! Whose data it is: references that wait for a resolver, and decisions of people.

use async_trait::async_trait;
use domain::id::{ConnectionId, UserId};
use jiff::Timestamp;

use super::super::{PostgresStore, people, references};
use crate::store::{Decided, Identity, OpenReference, ReferenceAnswer, StoreError};

#[async_trait]
impl Identity for PostgresStore {
    async fn lease_references(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OpenReference>, StoreError> {
        single!(self, |db| references::lease(db, now, until, limit))
    }

    async fn resolve(
        &self,
        reference: &OpenReference,
        answer: &ReferenceAnswer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (reference, answer, policy) = (reference.clone(), answer.clone(), self.policy);
        keep!(self, |db| people::resolve(db, &reference, &answer, policy, now))
    }

    async fn assign(
        &self,
        connection: ConnectionId,
        user: &UserId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Decided, StoreError> {
        let (user, actor, policy) = (user.clone(), actor.to_owned(), self.policy);
        self.units
            .transaction(move |db| {
                Box::pin(async move { people::assign(db, connection, &user, &actor, policy, now).await })
            })
            .await
    }

    async fn split(&self, connection: ConnectionId, actor: &str, now: Timestamp) -> Result<Decided, StoreError> {
        let (actor, policy) = (actor.to_owned(), self.policy);
        self.units
            .transaction(move |db| Box::pin(async move { people::split(db, connection, &actor, policy, now).await }))
            .await
    }
}
