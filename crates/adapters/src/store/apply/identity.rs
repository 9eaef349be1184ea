//! Facts taken in, and what is concluded from them: side by side where nothing changes, alone where something may.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::delivery::Origin;
use domain::id::{AliasKey, ConnectionId, Environment, ReferenceId, UserId, derived_uuid};
use domain::identity::changes::{changes, newly_owned};
use domain::identity::{self, Alias, AliasStatus, Connection, Edge, Fact, Resolution};
use domain::outgoing::{self, Happening, Outgoing};
use domain::plan::Plan;
use jiff::Timestamp;

use super::resolver::Resolver;
use crate::store::tx::{AliasRow, Placement, Tx};
use crate::store::{ReferencePolicy, StoreError};

/// The aliases of a batch with their facts taken in, and what follows from it.
pub(super) struct Identity {
    pub(super) rows: Vec<AliasRow>,
    pub(super) events: Vec<Outgoing>,
    /// Empty on the shared way, where conclusions stand as they are.
    pub(super) connections: Vec<Connection>,
}

/// The shared way: takes in facts that change no conclusion. `None` where one would change.
pub(super) async fn touch<T: Tx + ?Sized>(tx: &mut T, plans: &[&Plan]) -> Result<Option<Identity>, StoreError> {
    let facts: Vec<&Fact> = plans.iter().flat_map(|plan| &plan.facts).collect();
    let keys: BTreeSet<AliasKey> = facts.iter().map(|fact| fact.alias.clone()).collect();
    let mut rows = tx.aliases(&keys.iter().cloned().collect::<Vec<_>>()).await?;
    if rows.len() != keys.len() {
        return Ok(None);
    }
    for row in &mut rows {
        let before = conclusive(&row.alias);
        let key = row.alias.key.clone();
        for fact in facts.iter().filter(|fact| fact.alias == key) {
            row.alias.absorb(fact);
        }
        if conclusive(&row.alias) != before {
            return Ok(None);
        }
    }
    Ok(Some(Identity { rows, events: Vec::new(), connections: Vec::new() }))
}

/// What of an alias conclusions are drawn from: `seen` counts only through the status.
fn conclusive(alias: &Alias) -> (AliasStatus, bool, Option<ReferenceId>, Option<String>, Option<Vec<String>>) {
    (
        alias.status(),
        alias.authenticated,
        alias.reference.as_ref().map(|stated| stated.value.clone()),
        alias.provider.as_ref().map(|stated| stated.value.clone()),
        alias.scopes.as_ref().map(|stated| stated.value.clone()),
    )
}

/// The exclusive way: whole components, concluded before and after, one plan at a time so that every real change has
/// its own event.
pub(super) async fn reconclude<T: Tx + ?Sized>(
    tx: &mut T,
    plans: &[&Plan],
    happenings: &[Happening<'_>],
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Identity, StoreError> {
    let named: BTreeSet<AliasKey> = plans
        .iter()
        .flat_map(|plan| {
            plan.facts.iter().map(|fact| &fact.alias).chain(plan.edges.iter().flat_map(|edge| [&edge.old, &edge.new]))
        })
        .cloned()
        .collect();
    if named.is_empty() {
        return Ok(Identity { rows: Vec::new(), events: Vec::new(), connections: Vec::new() });
    }
    let (stored, stored_edges) = tx.components(&named.into_iter().collect::<Vec<_>>()).await?;
    let mut aliases: BTreeMap<AliasKey, Alias> =
        stored.into_iter().map(|row| (row.alias.key.clone(), row.alias)).collect();
    let mut edges: BTreeMap<(AliasKey, AliasKey), Edge> =
        stored_edges.into_iter().map(|edge| ((edge.old.clone(), edge.new.clone()), edge)).collect();
    let references: BTreeSet<(Environment, ReferenceId)> = aliases
        .values()
        .filter_map(|alias| {
            alias.reference.as_ref().map(|stated| (alias.key.environment.clone(), stated.value.clone()))
        })
        .chain(
            plans
                .iter()
                .flat_map(|plan| &plan.facts)
                .filter_map(|fact| fact.reference.clone().map(|reference| (fact.alias.environment.clone(), reference))),
        )
        .collect();
    let resolver = Resolver::read(tx, policy, references, now).await?;

    let first = resolver.conclude(&aliases, &edges);
    let mut events = Vec::new();
    for (plan, happening) in plans.iter().zip(happenings) {
        let group = reached(plan, &edges);
        let before = resolver.conclude_some(&aliases, &edges, &group);
        for fact in &plan.facts {
            let alias = aliases
                .entry(fact.alias.clone())
                .or_insert_with(|| Alias::new(fact.alias.clone(), birth_id(&fact.alias, happening.time)));
            alias.absorb(fact);
        }
        for edge in &plan.edges {
            let kept = edges.entry((edge.old.clone(), edge.new.clone())).or_insert_with(|| edge.clone());
            kept.order = kept.order.max(edge.order);
        }
        let after = resolver.conclude_some(&aliases, &edges, &group);
        events.extend(
            changes(&before, &after).iter().filter_map(|change| outgoing::of_change(change, &after, happening)),
        );
    }
    let last = resolver.conclude(&aliases, &edges);
    let identity = Identity { rows: placed(aliases.into_values().collect(), &last), events, connections: last };
    tx.write_edges(&edges.into_values().collect::<Vec<_>>()).await?;
    conclude_in_store(tx, &first, &identity.connections, now).await?;
    Ok(identity)
}

/// The aliases a plan can change the conclusions of: those it names, and all that edges, its own included, lead to.
fn reached(plan: &Plan, edges: &BTreeMap<(AliasKey, AliasKey), Edge>) -> BTreeSet<AliasKey> {
    let mut reached: BTreeSet<AliasKey> = plan.facts.iter().map(|fact| fact.alias.clone()).collect();
    reached.extend(plan.edges.iter().flat_map(|edge| [edge.old.clone(), edge.new.clone()]));
    loop {
        let size = reached.len();
        for (old, new) in edges.keys() {
            if reached.contains(old) != reached.contains(new) {
                reached.extend([old.clone(), new.clone()]);
            }
        }
        if reached.len() == size {
            return reached;
        }
    }
}

/// Writes conclusions and lets go of events that were waiting for them.
async fn conclude_in_store<T: Tx + ?Sized>(
    tx: &mut T,
    before: &[Connection],
    after: &[Connection],
    now: Timestamp,
) -> Result<(), StoreError> {
    let gone: Vec<ConnectionId> =
        before.iter().map(|old| old.id).filter(|id| !after.iter().any(|new| new.id == *id)).collect();
    tx.write_connections(after, &gone, now).await?;
    let owned: Vec<(AliasKey, ConnectionId, UserId)> = newly_owned(before, after)
        .into_iter()
        .filter_map(|alias| {
            let connection = after.iter().find(|connection| connection.members.contains(&alias))?;
            Some((alias, connection.id, connection.owner()?.clone()))
        })
        .collect();
    tx.release_events(&owned).await
}

/// Concludes the components of these aliases anew after something other than a delivery changed: a resolver's answer,
/// a person's decision. `change` edits facts; identity must be locked exclusively.
pub async fn revise<T: Tx + ?Sized>(
    tx: &mut T,
    keys: &[AliasKey],
    policy: ReferencePolicy,
    cause: &[u8],
    now: Timestamp,
    change: impl FnOnce(
        &mut BTreeMap<AliasKey, Alias>,
        &mut BTreeMap<(AliasKey, AliasKey), Edge>,
        &mut dyn FnMut(Environment, ReferenceId, Resolution),
    ) + Send,
) -> Result<Vec<Connection>, StoreError> {
    let (stored, stored_edges) = tx.components(keys).await?;
    let mut aliases: BTreeMap<AliasKey, Alias> =
        stored.into_iter().map(|row| (row.alias.key.clone(), row.alias)).collect();
    let mut edges: BTreeMap<(AliasKey, AliasKey), Edge> =
        stored_edges.into_iter().map(|edge| ((edge.old.clone(), edge.new.clone()), edge)).collect();
    let references = aliases
        .values()
        .filter_map(|alias| {
            alias.reference.as_ref().map(|stated| (alias.key.environment.clone(), stated.value.clone()))
        })
        .collect();
    let mut resolver = Resolver::read(tx, policy, references, now).await?;
    let before = resolver.conclude(&aliases, &edges);
    change(&mut aliases, &mut edges, &mut |environment, reference, resolution| {
        resolver.set(environment, reference, resolution)
    });
    let after = resolver.conclude(&aliases, &edges);
    let happening = Happening { cause, time: now, origin: Origin::Live };
    let events: Vec<Outgoing> =
        changes(&before, &after).iter().filter_map(|change| outgoing::of_change(change, &after, &happening)).collect();
    tx.write_edges(&edges.into_values().collect::<Vec<_>>()).await?;
    tx.write_aliases(&placed(aliases.into_values().collect(), &after)).await?;
    conclude_in_store(tx, &before, &after, now).await?;
    tx.insert_events(&events).await?;
    Ok(after)
}

/// Takes aliases out of identity, and concludes anew what they leave behind. Identity must be locked exclusively. Answers
/// the aliases that edges tied to them and that stay.
pub async fn detach<T: Tx + ?Sized>(
    tx: &mut T,
    erased: &BTreeSet<AliasKey>,
    policy: ReferencePolicy,
    cause: &[u8],
    now: Timestamp,
) -> Result<BTreeSet<AliasKey>, StoreError> {
    let keys: Vec<AliasKey> = erased.iter().cloned().collect();
    let (stored, _) = tx.components(&keys).await?;
    if !stored.iter().any(|row| erased.contains(&row.alias.key)) {
        return Ok(BTreeSet::new());
    }
    let mut partners = BTreeSet::new();
    revise(tx, &keys, policy, cause, now, |aliases, edges, _| {
        aliases.retain(|key, _| !erased.contains(key));
        edges.retain(|(old, new), _| {
            let is_cut = erased.contains(old) || erased.contains(new);
            if is_cut {
                partners.extend([old, new].into_iter().filter(|end| !erased.contains(*end)).cloned());
            }
            !is_cut
        });
    })
    .await?;
    tx.delete_aliases(&keys).await?;
    Ok(partners)
}

/// The edges that a split severs: those that joined these members of one connection, and, while they are disputed, those
/// that hold them in the dispute.
pub async fn parting<T: Tx + ?Sized>(
    tx: &mut T,
    members: &[AliasKey],
) -> Result<BTreeSet<(AliasKey, AliasKey)>, StoreError> {
    let (rows, edges) = tx.components(members).await?;
    let is_disputed =
        rows.iter().any(|row| members.contains(&row.alias.key) && row.placement.status == identity::Status::Disputed);
    let parts = |edge: &Edge| {
        let (old, new) = (members.contains(&edge.old), members.contains(&edge.new));
        !edge.severed && ((old && new) || (is_disputed && (old || new)))
    };
    Ok(edges.into_iter().filter(parts).map(|edge| (edge.old, edge.new)).collect())
}

fn placed(aliases: Vec<Alias>, connections: &[Connection]) -> Vec<AliasRow> {
    let by_member: HashMap<&AliasKey, &Connection> = connections
        .iter()
        .flat_map(|connection| connection.members.iter().map(move |member| (member, connection)))
        .collect();
    let placement = |alias: &Alias| match by_member.get(&alias.key) {
        Some(connection) => {
            Placement { connection: connection.id, user: connection.user.clone(), status: connection.status }
        }
        None => Placement { connection: alias.birth_id, user: None, status: identity::Status::Unresolved },
    };
    aliases.into_iter().map(|alias| AliasRow { placement: placement(&alias), alias }).collect()
}

/// A connection id that is ordered by birth and the same wherever this cause is applied.
fn birth_id(key: &AliasKey, at: Timestamp) -> ConnectionId {
    let derived =
        derived_uuid(&[b"connection", key.environment.as_str().as_bytes(), key.terra_user_id.as_str().as_bytes()]);
    let mut tail = [0; 10];
    tail.copy_from_slice(&derived.as_bytes()[..10]);
    let ms = u64::try_from(at.as_millisecond()).unwrap_or(0);
    ConnectionId(uuid::Builder::from_unix_timestamp_millis(ms, &tail).into_uuid())
}
