//! What becomes of a plan that names somebody who was erased.

use std::collections::BTreeSet;

use super::{ErasureId, Tombstones};
use crate::delivery::Delivery;
use crate::id::{AliasKey, Environment, ReferenceId};
use crate::identity::Said;
use crate::order::Order;
use crate::plan::{Cause, Disposition, LAB_ALIAS_PREFIX, Plan};
use crate::session::SessionOutcome;

/// Everybody a plan names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub aliases: BTreeSet<AliasKey>,
    pub references: BTreeSet<(Environment, ReferenceId)>,
}

/// The verdict on one plan, and what follows from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    pub fate: Fate,
    /// New Terra user ids of people who were erased before we learned of them: they go the same way.
    pub follow: Vec<(ErasureId, AliasKey)>,
    /// People who came back, with the order of their connect.
    pub reopened: Vec<(AliasKey, Order)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fate {
    #[default]
    Lives,
    /// Nothing of it may be kept.
    Buried,
    /// It is about somebody else too: these are left out.
    Without(BTreeSet<AliasKey>),
}

impl Named {
    pub fn is_nobody(&self) -> bool {
        self.aliases.is_empty() && self.references.is_empty()
    }
}

pub fn named(plan: &Plan) -> Named {
    let environment = plan.cause.environment();
    let mut named = Named::default();
    named.aliases.extend(plan.facts.iter().map(|fact| fact.alias.clone()));
    named.aliases.extend(plan.edges.iter().flat_map(|edge| [edge.old.clone(), edge.new.clone()]));
    named.aliases.extend(plan.records.iter().map(|record| record.key.alias.clone()));
    named.aliases.extend(plan.instead.iter().map(|job| job.alias.clone()));
    if let Cause::Delivery(delivery) = &plan.cause
        && let Some(user) = &delivery.terra_user_id
    {
        named.aliases.insert(AliasKey::new(&delivery.environment, user));
    }
    if let Some(event) = &plan.auth_event {
        named.aliases.extend(event.terra_user_id.iter().map(|user| AliasKey::new(&event.environment, user)));
        named.references.extend(event.reference.iter().map(|name| (event.environment.clone(), name.clone())));
    }
    let facts = plan.facts.iter().filter_map(|fact| fact.reference.clone());
    named.references.extend(facts.map(|reference| (environment.clone(), reference)));
    named
}

/// Decides on a plan, given the tombstones of whom it names.
pub fn judge(plan: &Plan, tombstones: &Tombstones) -> Judged {
    let order = order(plan);
    let named = named(plan);
    let mut judged = Judged::default();
    let mut buried = BTreeSet::new();
    for key in named.aliases {
        let Some(tombstone) = tombstones.aliases.get(&key) else { continue };
        if comes_back(plan, &key) && order > tombstone.erased {
            if tombstone.reopened.is_none() {
                judged.reopened.push((key, order));
            }
        } else if is_of_reference(&key) {
            // It lives as long as the reference does, which a person may come back under.
            buried.extend((order <= tombstone.erased).then_some(key));
        } else if tombstone.buries(order) {
            buried.insert(key);
        }
    }
    if named.references.iter().filter_map(|name| tombstones.references.get(name)).any(|stone| order <= stone.erased) {
        judged.fate = Fate::Buried;
    } else if buried.is_empty() {
        return judged;
    }
    // Of a re-authentication the new id counts: the old one is only where it came from.
    let only_old = !plan.edges.is_empty() && plan.edges.iter().all(|edge| !buried.contains(&edge.new));
    for edge in plan.edges.iter().filter(|edge| buried.contains(&edge.old) && !buried.contains(&edge.new)) {
        match tombstones.aliases.get(&edge.old) {
            Some(stone) if order <= stone.erased => judged.follow.push((stone.erasure, edge.new.clone())),
            Some(_) | None => {}
        }
    }
    if judged.fate != Fate::Buried {
        let is_split = only_old && judged.follow.is_empty();
        judged.fate = if is_split { Fate::Without(buried) } else { Fate::Buried };
    }
    judged
}

pub(super) fn is_of_reference(key: &AliasKey) -> bool {
    key.terra_user_id.as_str().starts_with(LAB_ALIAS_PREFIX)
}

/// Terra itself confirmed, after a walk through our own page, that this user is there.
fn comes_back(plan: &Plan, key: &AliasKey) -> bool {
    matches!(plan.cause, Cause::Confirmation { .. })
        && plan.facts.iter().any(|fact| fact.alias == *key && fact.said == Said::Authenticated)
}

fn order(plan: &Plan) -> Order {
    match &plan.cause {
        Cause::Delivery(delivery) => delivery.order(),
        Cause::Confirmation { at, .. } | Cause::Reconcile { at, .. } => {
            plan.facts.iter().map(|fact| fact.order).max().unwrap_or_else(|| Order::at(at.as_millisecond()))
        }
    }
}

impl Plan {
    /// What is left of a plan of which nothing may be kept: that something came, of which kind and size.
    pub fn buried(&self) -> Plan {
        let cause = match &self.cause {
            Cause::Delivery(delivery) => Cause::Delivery(Box::new(delivery.nameless())),
            other @ (Cause::Confirmation { .. } | Cause::Reconcile { .. }) => other.clone(),
        };
        Plan::nothing(cause, Disposition::Bury)
    }

    /// The plan as if these had not been named.
    pub fn without(&self, erased: &BTreeSet<AliasKey>) -> Plan {
        let mut plan = self.clone();
        plan.facts.retain(|fact| !erased.contains(&fact.alias));
        plan.edges.retain(|edge| !erased.contains(&edge.old) && !erased.contains(&edge.new));
        plan.records.retain(|record| !erased.contains(&record.key.alias));
        plan.instead.retain(|job| !erased.contains(&job.alias));
        plan.backfill = plan.backfill.filter(|backfill| !erased.contains(&backfill.alias));
        plan.session = plan.session.filter(|session| match &session.outcome {
            SessionOutcome::Connected { alias, .. } => !erased.contains(alias),
            SessionOutcome::Failed { .. } => true,
        });
        if let Some(detail) = plan.auth_event.as_mut().and_then(|event| event.detail.as_object_mut()) {
            detail.remove("old_user_id");
        }
        plan
    }
}

impl Delivery {
    /// The delivery without anything by which its person could be found again.
    pub fn nameless(&self) -> Delivery {
        let kind = self.kind();
        Delivery {
            headers: terra::headers::DeliveryHeaders { trace_id: None, reference: None, ordering_ms: None },
            type_name: (kind != terra::event::Kind::Other).then(|| kind.label().to_owned()),
            terra_user_id: None,
            event_id: None,
            ..self.clone()
        }
    }
}
