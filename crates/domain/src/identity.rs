//! Whose data is it: facts in, conclusions out.
//!
//! The store keeps **facts** only, each with the order of the delivery that stated it: what was said of an alias (one
//! Terra user id in one environment), and edges old → new from re-authentications. Taking in a fact is a maximum per
//! field, so it does not matter in which order facts arrive or how often. Everything else, that is connections, their
//! users and their status, is [`conclude`], a pure function of the facts. Two stores that hold the same facts hold the
//! same conclusions.
//!
//! The rule that guards people from each other: **an edge joins two aliases only if everything stated on both sides
//! agrees on one person.** An alias of which no reference was ever stated does not join until one is, or until its own
//! `auth` shows that there is none. So no order of arrival shows one person's records to another, not even for a moment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{AliasKey, ConnectionId, ReferenceId, UserId};
use crate::order::{Order, Stamped, keep_greatest};

pub mod changes;

/// What one delivery states of one alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub alias: AliasKey,
    pub order: Order,
    pub said: Said,
    pub provider: Option<String>,
    pub reference: Option<ReferenceId>,
    pub scopes: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// `auth` success, or Terra's own answer that the user is authenticated.
    Authenticated,
    /// The new id of a `user_reauth`.
    Reauthenticated,
    /// `deauth`, `access_revoked`.
    Closed,
    /// `connection_error`.
    Failed,
    /// Data arrived.
    Seen,
    /// Named, nothing more: `permission_change`, the old id of a `user_reauth`.
    Mentioned,
}

/// Everything known of one alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub key: AliasKey,
    /// The connection this alias was born with. A group takes the smallest of its members' birth ids.
    pub birth_id: ConnectionId,
    pub opened: Option<Order>,
    pub closed: Option<Order>,
    pub failed: Option<Order>,
    pub seen: Option<Order>,
    /// An `auth` of this very alias was seen: if it named no reference, then there is none.
    pub authenticated: bool,
    pub provider: Option<Stamped<String>>,
    pub reference: Option<Stamped<ReferenceId>>,
    pub scopes: Option<Stamped<Vec<String>>>,
    /// A person decided whose alias this is; outranks every reference.
    pub assigned: Option<UserId>,
    /// The `opened` for which history was requested.
    pub backfilled: Option<Order>,
}

/// One re-authentication: the old alias became the new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    pub old: AliasKey,
    pub new: AliasKey,
    pub order: Order,
    /// A person decided that the two are not one.
    pub severed: bool,
}

impl Alias {
    pub fn new(key: AliasKey, birth_id: ConnectionId) -> Self {
        Alias {
            key,
            birth_id,
            opened: None,
            closed: None,
            failed: None,
            seen: None,
            authenticated: false,
            provider: None,
            reference: None,
            scopes: None,
            assigned: None,
            backfilled: None,
        }
    }

    /// Takes in a fact. Commutative and idempotent.
    pub fn absorb(&mut self, fact: &Fact) {
        let stamp = match fact.said {
            Said::Authenticated | Said::Reauthenticated => Some(&mut self.opened),
            Said::Closed => Some(&mut self.closed),
            Said::Failed => Some(&mut self.failed),
            Said::Seen => Some(&mut self.seen),
            Said::Mentioned => None,
        };
        if let Some(stamp) = stamp {
            *stamp = (*stamp).max(Some(fact.order));
        }
        self.authenticated |= fact.said == Said::Authenticated;
        let order = fact.order;
        keep_greatest(&mut self.provider, fact.provider.clone().map(|value| Stamped { order, value }));
        keep_greatest(&mut self.reference, fact.reference.clone().map(|value| Stamped { order, value }));
        keep_greatest(&mut self.scopes, fact.scopes.clone().map(|value| Stamped { order, value }));
    }

    pub fn status(&self) -> AliasStatus {
        if self.closed.is_some() && self.closed >= self.opened {
            AliasStatus::Revoked
        } else if self.failed > self.opened.max(self.seen) {
            AliasStatus::Degraded
        } else {
            AliasStatus::Active
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AliasStatus {
    Active,
    Degraded,
    Revoked,
}

impl AliasStatus {
    pub fn label(self) -> &'static str {
        match self {
            AliasStatus::Active => "active",
            AliasStatus::Degraded => "degraded",
            AliasStatus::Revoked => "revoked",
        }
    }
}

/// What a connection is to those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Active,
    Degraded,
    Revoked,
    /// No internal user is known.
    Unresolved,
    /// Its aliases belong to different users; a person has to decide.
    Disputed,
}

impl Status {
    pub const ALL: [Status; 5] =
        [Status::Active, Status::Degraded, Status::Revoked, Status::Unresolved, Status::Disputed];

    pub fn label(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Degraded => "degraded",
            Status::Revoked => "revoked",
            Status::Unresolved => "unresolved",
            Status::Disputed => "disputed",
        }
    }

    pub fn parse(label: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.label() == label)
    }
}

/// What a resolver says of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    Found(UserId),
    /// Not asked yet, being asked, or nobody knows it.
    Open,
}

/// A group of aliases, concluded from the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub id: ConnectionId,
    /// In ascending order of their keys.
    pub members: Vec<AliasKey>,
    pub current: AliasKey,
    pub user: Option<UserId>,
    pub status: Status,
    /// The status of the current alias, whether or not a user is known.
    pub health: AliasStatus,
    pub provider: Option<String>,
    pub reference: Option<ReferenceId>,
    pub scopes: Vec<String>,
    /// False while no delivery named any scopes.
    pub scopes_known: bool,
    /// Greatest `opened` of its members; `None` while only data is known.
    pub opened: Option<Order>,
    /// Greatest `seen` of its members.
    pub seen: Option<Order>,
}

impl Connection {
    /// Events go out only for a connection whose user is known and not in doubt.
    pub fn owner(&self) -> Option<&UserId> {
        if self.status == Status::Disputed { None } else { self.user.as_ref() }
    }
}

/// Concludes connections from facts. `aliases` must be closed under `edges`: whole components, nothing less.
pub fn conclude(
    aliases: &[Alias],
    edges: &[Edge],
    resolve: impl Fn(&AliasKey, &ReferenceId) -> Resolution,
) -> Vec<Connection> {
    let by_key: BTreeMap<&AliasKey, &Alias> = aliases.iter().map(|alias| (&alias.key, alias)).collect();
    let claims: BTreeMap<&AliasKey, Claim> = aliases.iter().map(|alias| (&alias.key, claim(alias, &resolve))).collect();
    let stated = |key: &AliasKey| claims.get(key).is_some_and(|claim| *claim != Claim::Unstated);
    let joining: Vec<&Edge> =
        edges.iter().filter(|edge| !edge.severed && stated(&edge.old) && stated(&edge.new)).collect();

    let mut connections = Vec::new();
    for component in components(by_key.keys().copied(), &joining) {
        let said: BTreeSet<&Claim> =
            component.iter().map(|key| &claims[key]).filter(|claim| claim.names_somebody()).collect();
        if said.len() <= 1 {
            let user = said.first().and_then(|claim| claim.user());
            connections.push(connection(&component, &by_key, &joining, user, false));
        } else {
            let disputed = said.iter().filter(|claim| claim.user().is_some()).count() > 1;
            for key in &component {
                let alone = BTreeSet::from([*key]);
                connections.push(connection(&alone, &by_key, &[], claims[key].user(), disputed));
            }
        }
    }
    connections
}

/// Whom an alias says it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// Nothing was stated: the reference may still come.
    Unstated,
    /// Its `auth` named no reference: it belongs to whomever its edges lead to.
    Nobody,
    User(UserId),
    /// A reference that no resolver has answered for.
    Pending(ReferenceId),
}

impl Claim {
    fn user(&self) -> Option<&UserId> {
        match self {
            Claim::User(user) => Some(user),
            Claim::Unstated | Claim::Nobody | Claim::Pending(_) => None,
        }
    }

    fn names_somebody(&self) -> bool {
        matches!(self, Claim::User(_) | Claim::Pending(_))
    }
}

fn claim(alias: &Alias, resolve: &impl Fn(&AliasKey, &ReferenceId) -> Resolution) -> Claim {
    if let Some(user) = &alias.assigned {
        return Claim::User(user.clone());
    }
    match &alias.reference {
        Some(stated) => match resolve(&alias.key, &stated.value) {
            Resolution::Found(user) => Claim::User(user),
            Resolution::Open => Claim::Pending(stated.value.clone()),
        },
        None if alias.authenticated => Claim::Nobody,
        None => Claim::Unstated,
    }
}

fn components<'a>(keys: impl Iterator<Item = &'a AliasKey>, edges: &[&'a Edge]) -> Vec<BTreeSet<&'a AliasKey>> {
    let mut neighbours: BTreeMap<&AliasKey, Vec<&AliasKey>> = keys.map(|key| (key, Vec::new())).collect();
    for edge in edges {
        neighbours.entry(&edge.old).or_default().push(&edge.new);
        neighbours.entry(&edge.new).or_default().push(&edge.old);
    }
    let mut visited = BTreeSet::new();
    let mut found = Vec::new();
    for start in neighbours.keys().copied() {
        if visited.contains(start) {
            continue;
        }
        let mut component = BTreeSet::new();
        let mut frontier = vec![start];
        while let Some(key) = frontier.pop() {
            if visited.insert(key) {
                component.insert(key);
                frontier.extend(neighbours[key].iter().copied());
            }
        }
        found.push(component);
    }
    found
}

fn connection(
    group: &BTreeSet<&AliasKey>,
    by_key: &BTreeMap<&AliasKey, &Alias>,
    edges: &[&Edge],
    user: Option<&UserId>,
    disputed: bool,
) -> Connection {
    let members: Vec<&Alias> = group.iter().map(|key| by_key[key]).collect();
    let current = current_alias(&members, edges);
    let status = if disputed {
        Status::Disputed
    } else if user.is_none() {
        Status::Unresolved
    } else {
        match current.status() {
            AliasStatus::Active => Status::Active,
            AliasStatus::Degraded => Status::Degraded,
            AliasStatus::Revoked => Status::Revoked,
        }
    };
    let newest = |pick: fn(&Alias) -> Option<Order>| members.iter().filter_map(|alias| pick(alias)).max();
    Connection {
        id: members.iter().map(|alias| alias.birth_id).min().unwrap_or(current.birth_id),
        members: group.iter().map(|key| (*key).clone()).collect(),
        current: current.key.clone(),
        user: user.cloned(),
        status,
        health: current.status(),
        provider: current.provider.as_ref().map(|stated| stated.value.clone()),
        reference: current.reference.as_ref().map(|stated| stated.value.clone()),
        scopes: current.scopes.as_ref().map(|stated| stated.value.clone()).unwrap_or_default(),
        scopes_known: current.scopes.is_some(),
        opened: newest(|alias| alias.opened),
        seen: newest(|alias| alias.seen),
    }
}

/// The alias no edge leads away from; in a cycle the new id of the latest edge.
fn current_alias<'a>(members: &[&'a Alias], edges: &[&Edge]) -> &'a Alias {
    let leads_away: BTreeSet<&AliasKey> =
        edges.iter().filter(|edge| edge.old != edge.new).map(|edge| &edge.old).collect();
    let rank = |alias: &&&'a Alias| (alias.opened, alias.key.clone());
    let ends = members.iter().filter(|alias| !leads_away.contains(&alias.key)).max_by_key(rank);
    let in_cycle = || {
        let latest = edges
            .iter()
            .filter(|edge| members.iter().any(|alias| alias.key == edge.new))
            .max_by_key(|edge| (edge.order, &edge.new));
        members.iter().find(|alias| latest.is_some_and(|edge| edge.new == alias.key))
    };
    ends.or_else(in_cycle).unwrap_or(&members[0])
}

#[cfg(test)]
mod tests;
