//! Deliveries of which the ledger's row names no Terra user: lab reports, failed connects, what could not be read.
//!
//! Whom such a delivery is about says its plan, as it did when the delivery was worked. A plan that names nobody leaves
//! what the body itself calls a user or a reference; and a body that is no event, the strings in it.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use terra::event;

use super::fate::is_of_reference;
use super::{Named, Target, TargetKind, named, order_of};
use crate::delivery::Delivery;
use crate::id::{AliasKey, Environment, ReferenceId};
use crate::plan::{Context, LAB_ALIAS_PREFIX, lab_alias, plan};
use crate::replay::admitted;

/// A name of so many characters is one person's wherever it stands; `5` or `unknown` may be anything.
const TELLING_CHARS: usize = 16;

/// Whom an erasure looks for in these deliveries.
pub struct Sought {
    requested_at: Timestamp,
    named: Named,
    /// What tells by itself whom a text is about.
    telling: BTreeSet<(Environment, String)>,
}

impl Sought {
    pub fn new(targets: &[Target], requested_at: Timestamp) -> Sought {
        let mut sought = Sought { requested_at, named: Named::default(), telling: BTreeSet::new() };
        for target in targets {
            match target.kind {
                TargetKind::Alias => {
                    sought.named.aliases.insert(target.key());
                }
                TargetKind::Reference => {
                    let reference = ReferenceId::new(target.name.as_str());
                    sought.named.references.insert((target.environment.clone(), reference));
                }
                TargetKind::User | TargetKind::Connection | TargetKind::Partner => continue,
            }
            let name = bare(&target.name);
            if name.chars().count() >= TELLING_CHARS {
                sought.telling.insert((target.environment.clone(), name.to_owned()));
            }
        }
        sought
    }

    /// How many names it is that are looked for.
    pub fn names(&self) -> usize {
        self.named.aliases.len() + self.named.references.len()
    }

    /// Whether a delivery is about one of them.
    ///
    /// - Shapes: `delivery` is what the ledger knows of it; without, its body is read as one that is no event.
    pub fn is_in(&self, environment: &Environment, delivery: Option<&Delivery>, body: &Bytes) -> bool {
        let Some(delivery) = delivery else { return self.is_mentioned(environment, body, false, true) };
        let named = named(&plan(admitted(delivery.clone()), body, &Context::default()));
        let came_back = self.came_back(delivery);
        if named.is_nobody() {
            return self.is_mentioned(environment, body, came_back, event::decode(body).is_err());
        }
        named.aliases.iter().any(|key| self.has_alias(key, came_back))
            || named.references.iter().any(|name| !came_back && self.named.references.contains(name))
    }

    /// What was sent and came after the erasure: under a reference somebody may come back.
    fn came_back(&self, delivery: &Delivery) -> bool {
        delivery.received_at > self.requested_at && delivery.order() > order_of(self.requested_at)
    }

    fn has_alias(&self, key: &AliasKey, came_back: bool) -> bool {
        self.named.aliases.contains(key) && !(came_back && is_of_reference(key))
    }

    fn is_mentioned(&self, environment: &Environment, body: &[u8], came_back: bool, is_unreadable: bool) -> bool {
        let has_alias = |alias: &str| self.has_alias(&AliasKey::new(environment, alias), came_back);
        let of_lab = |reference: Option<&str>, session: Option<&str>| {
            lab_alias(reference, session).is_some_and(|alias| has_alias(&alias))
        };
        let telling: BTreeSet<&str> = match is_unreadable && !came_back {
            true => self.telling.iter().filter(|(of, _)| of == environment).map(|(_, name)| name.as_str()).collect(),
            false => BTreeSet::new(),
        };
        let mut is_found = false;
        event::words(body, |member, word| {
            is_found = is_found
                || match member {
                    Some("user_id") => has_alias(word),
                    Some("reference_id") => {
                        let name = (environment.clone(), ReferenceId::new(word));
                        of_lab(Some(word), None) || !came_back && self.named.references.contains(&name)
                    }
                    Some("session_id" | "upload_id") => of_lab(None, Some(word)),
                    Some(_) | None => false,
                }
                || telling.contains(word);
        });
        is_found
    }
}

/// A lab report's alias as the report spells it.
fn bare(alias: &str) -> &str {
    let Some(name) = alias.strip_prefix(LAB_ALIAS_PREFIX) else { return alias };
    name.strip_prefix("session:").unwrap_or(name)
}
