//! What a document says, independent of how it is spelled.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One digest per top-level member of a document, scores left out: they are merged one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(BTreeMap<String, u64>);

impl Fingerprint {
    pub fn new(digests: BTreeMap<String, u64>) -> Self {
        Self(digests)
    }

    /// The members that differ.
    pub fn changed(&self, from: &Fingerprint) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.keys().chain(from.0.keys()).collect();
        names.into_iter().filter(|name| self.0.get(*name) != from.0.get(*name)).cloned().collect()
    }
}
