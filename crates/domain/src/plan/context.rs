//! What planning needs to know besides the delivery.

use std::collections::BTreeMap;

use terra::event::DataKind;

use crate::fetch;

/// Settings, and what Terra said of its providers.
#[derive(Debug, Clone)]
pub struct Context {
    pub backfill_days: u32,
    /// Of one request for data.
    pub window_days_max: u32,
    pub capabilities: Capabilities,
}

impl Default for Context {
    fn default() -> Self {
        Context { backfill_days: 0, window_days_max: fetch::WINDOW_DAYS_MAX, capabilities: Capabilities::default() }
    }
}

/// Which kinds each provider serves, from Terra's list of integrations.
#[derive(Debug, Clone, Default)]
pub struct Capabilities(BTreeMap<String, Vec<DataKind>>);

impl Capabilities {
    pub fn new(by_provider: impl IntoIterator<Item = (String, Vec<DataKind>)>) -> Self {
        Self(by_provider.into_iter().map(|(provider, kinds)| (provider.to_uppercase(), kinds)).collect())
    }

    /// The kinds worth asking for: all that REST serves where the provider is not known.
    pub fn history_kinds(&self, provider: Option<&str>) -> Vec<DataKind> {
        match provider.and_then(|provider| self.0.get(&provider.to_uppercase())) {
            Some(kinds) => fetch::HISTORY_KINDS.into_iter().filter(|kind| kinds.contains(kind)).collect(),
            None => fetch::HISTORY_KINDS.to_vec(),
        }
    }

    /// Whether a provider serves a kind; `None` where Terra's list does not say. It speaks of what has days.
    pub fn serves(&self, provider: Option<&str>, kind: DataKind) -> Option<bool> {
        let kinds = self.0.get(&provider?.to_uppercase())?;
        let is_listed = fetch::HISTORY_KINDS.contains(&kind) && kind != DataKind::Athlete;
        is_listed.then(|| kinds.contains(&kind))
    }
}
