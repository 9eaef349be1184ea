//! What became different between two conclusions, as things worth telling.

use std::collections::BTreeSet;

use super::{AliasStatus, Connection};
use crate::id::{AliasKey, ConnectionId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Connected {
        id: ConnectionId,
    },
    Reconnected {
        id: ConnectionId,
    },
    Degraded {
        id: ConnectionId,
    },
    Revoked {
        id: ConnectionId,
    },
    ScopesChanged {
        id: ConnectionId,
        added: Vec<String>,
        removed: Vec<String>,
    },
    /// `gone` turned out to be the same connection as `into`.
    Merged {
        gone: ConnectionId,
        into: ConnectionId,
    },
    /// `id` left the connection `from`.
    Split {
        id: ConnectionId,
        from: ConnectionId,
    },
}

/// The changes from `before` to `after`: two conclusions over the same aliases, or more of them.
pub fn changes(before: &[Connection], after: &[Connection]) -> Vec<Change> {
    let mut changes = Vec::new();
    for gone in before.iter().filter(|old| !after.iter().any(|new| new.id == old.id)) {
        if let Some(survivor) = after.iter().find(|new| new.members.iter().any(|member| gone.members.contains(member)))
        {
            changes.push(Change::Merged { gone: gone.id, into: survivor.id });
        }
    }
    for new in after {
        match before.iter().find(|old| old.id == new.id) {
            Some(old) => changes.extend(transitions(old, new)),
            None => match before.iter().find(|old| old.members.iter().any(|member| new.members.contains(member))) {
                Some(origin) => changes.push(Change::Split { id: new.id, from: origin.id }),
                None if is_open(new) => changes.push(Change::Connected { id: new.id }),
                None => {}
            },
        }
    }
    changes
}

/// Aliases that have an owner now and had none, or were in doubt: their held events may go.
pub fn newly_owned(before: &[Connection], after: &[Connection]) -> Vec<AliasKey> {
    let owned_before: BTreeSet<&AliasKey> =
        before.iter().filter(|old| old.owner().is_some()).flat_map(|old| &old.members).collect();
    let owned_after = after.iter().filter(|new| new.owner().is_some()).flat_map(|new| &new.members);
    owned_after.filter(|member| !owned_before.contains(member)).cloned().collect()
}

fn is_open(connection: &Connection) -> bool {
    connection.opened.is_some() && connection.health != AliasStatus::Revoked
}

fn transitions(old: &Connection, new: &Connection) -> Vec<Change> {
    let mut changes = Vec::new();
    let id = new.id;
    if old.opened.is_none() && is_open(new) {
        changes.push(Change::Connected { id });
    } else {
        match (old.health, new.health) {
            (AliasStatus::Revoked | AliasStatus::Degraded, AliasStatus::Active) => {
                changes.push(Change::Reconnected { id })
            }
            (AliasStatus::Active | AliasStatus::Degraded, AliasStatus::Revoked) => changes.push(Change::Revoked { id }),
            (AliasStatus::Active | AliasStatus::Revoked, AliasStatus::Degraded) => {
                changes.push(Change::Degraded { id })
            }
            (AliasStatus::Active, AliasStatus::Active)
            | (AliasStatus::Degraded, AliasStatus::Degraded)
            | (AliasStatus::Revoked, AliasStatus::Revoked) => {}
        }
    }
    if old.scopes_known && new.scopes_known && old.scopes != new.scopes {
        let missing =
            |from: &[String], within: &[String]| from.iter().filter(|scope| !within.contains(scope)).cloned().collect();
        changes.push(Change::ScopesChanged {
            id,
            added: missing(&new.scopes, &old.scopes),
            removed: missing(&old.scopes, &new.scopes),
        });
    }
    changes
}
