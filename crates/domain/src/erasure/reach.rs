//! Whom an erasure reaches: the person's aliases, and those that can only be theirs.

use std::collections::BTreeSet;

use crate::id::AliasKey;
use crate::identity::{Alias, Edge};

/// The aliases of a person, and those that a re-authentication ties to them and of which nobody ever said whose they are.
///
/// - Shapes: `aliases` and `edges` are whole components.
pub fn reach(own: &BTreeSet<AliasKey>, aliases: &[Alias], edges: &[Edge]) -> BTreeSet<AliasKey> {
    let nobodys: BTreeSet<&AliasKey> = aliases
        .iter()
        .filter(|alias| alias.reference.is_none() && alias.assigned.is_none())
        .map(|alias| &alias.key)
        .collect();
    let mut reached = own.clone();
    loop {
        let size = reached.len();
        for edge in edges.iter().filter(|edge| !edge.severed) {
            for (here, there) in [(&edge.old, &edge.new), (&edge.new, &edge.old)] {
                if reached.contains(here) && nobodys.contains(there) {
                    reached.insert(there.clone());
                }
            }
        }
        if reached.len() == size {
            return reached;
        }
    }
}
