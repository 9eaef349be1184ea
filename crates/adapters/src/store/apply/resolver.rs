//! What references mean while one transaction runs.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{AliasKey, Environment, ReferenceId, UserId};
use domain::identity::{self, Alias, Connection, Edge, Resolution};
use jiff::Timestamp;

use crate::store::tx::Tx;
use crate::store::{ReferencePolicy, StoreError};

/// What references mean, as of this transaction.
pub(super) struct Resolver {
    policy: ReferencePolicy,
    answers: BTreeMap<(Environment, ReferenceId), Resolution>,
}

impl Resolver {
    pub(super) async fn read<T: Tx + ?Sized>(
        tx: &mut T,
        policy: ReferencePolicy,
        references: BTreeSet<(Environment, ReferenceId)>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let answers = match policy {
            ReferencePolicy::IsTheUser => BTreeMap::new(),
            ReferencePolicy::Resolved => tx.resolutions(&references.into_iter().collect::<Vec<_>>(), now).await?,
        };
        Ok(Resolver { policy, answers })
    }

    pub(super) fn set(&mut self, environment: Environment, reference: ReferenceId, resolution: Resolution) {
        self.answers.insert((environment, reference), resolution);
    }

    pub(super) fn conclude_some(
        &self,
        aliases: &BTreeMap<AliasKey, Alias>,
        edges: &BTreeMap<(AliasKey, AliasKey), Edge>,
        group: &BTreeSet<AliasKey>,
    ) -> Vec<Connection> {
        let aliases: Vec<Alias> = group.iter().filter_map(|key| aliases.get(key)).cloned().collect();
        let edges: Vec<Edge> = edges.values().filter(|edge| group.contains(&edge.old)).cloned().collect();
        self.conclude_over(&aliases, &edges)
    }

    pub(super) fn conclude(
        &self,
        aliases: &BTreeMap<AliasKey, Alias>,
        edges: &BTreeMap<(AliasKey, AliasKey), Edge>,
    ) -> Vec<Connection> {
        let aliases: Vec<Alias> = aliases.values().cloned().collect();
        let edges: Vec<Edge> = edges.values().cloned().collect();
        self.conclude_over(&aliases, &edges)
    }

    fn conclude_over(&self, aliases: &[Alias], edges: &[Edge]) -> Vec<Connection> {
        identity::conclude(aliases, edges, |key, reference| match self.policy {
            ReferencePolicy::IsTheUser => Resolution::Found(UserId::new(reference.as_str())),
            ReferencePolicy::Resolved => {
                self.answers.get(&(key.environment.clone(), reference.clone())).cloned().unwrap_or(Resolution::Open)
            }
        })
    }
}
