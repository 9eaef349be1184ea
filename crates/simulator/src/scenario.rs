//! Stories that a receiver has to get right: what is sent, in which order, with which faults, and
//! what must be true in the end.
//!
//! A scenario is a pure function from a [`Cast`] to a [`Script`]: steps and an end state, both data.
//! [`run`] plays the steps; checking the end state is the receiver's part.

mod asked;
mod connections;
mod drift;
mod end;
mod keys;
mod large;
mod payloads;
mod records;
mod run;
mod script;

use serde::Serialize;

pub use run::RunError;
pub(crate) use run::{RunOptions, run};
use script::{Cast, Script};

#[derive(Serialize)]
pub struct Scenario {
    pub name: &'static str,
    /// What happens.
    pub about: &'static str,
    /// What must be true in the end.
    pub end_state: &'static str,
    /// What a receiver must do by itself to get there, beyond receiving.
    pub requires: &'static [&'static str],
    #[serde(skip)]
    write: fn(&Cast) -> Script,
}

/// The receiver downloads from the simulator.
const DOWNLOAD: &str = "download";
/// The receiver asks for a user's history when the user connects.
const BACKFILL: &str = "backfill";
/// It compares its connections with Terra's users.
const RECONCILE: &str = "reconcile";
/// It looks for failed deliveries in Terra's event log and asks for them again.
const EVENT_LOG: &str = "event_log";

const NONE: &[&str] = &[];

/// All of them, in the order in which one would want to read them.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    [connections::ALL, records::ALL, large::ALL, asked::ALL, payloads::ALL, drift::ALL]
        .into_iter()
        .flatten()
        .map(|&(name, about, end_state, requires, write)| Scenario { name, about, end_state, requires, write })
        .collect()
}

/// A line of a scenario table: name, what happens, the end state, what it requires, and the writer.
type Line = (&'static str, &'static str, &'static str, &'static [&'static str], fn(&Cast) -> Script);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_script_is_repeatable() {
        let all = scenarios();
        let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all.len());
        for scenario in all {
            let cast = Cast { seed: 3, name: scenario.name, today: jiff::civil::date(2026, 3, 14), references: vec![] };
            let (one, other) = ((scenario.write)(&cast), (scenario.write)(&cast));
            assert!(!one.steps.is_empty() && !one.end.users.is_empty(), "{}", scenario.name);
            assert_eq!(serde_json::to_value(&one.end).unwrap(), serde_json::to_value(&other.end).unwrap());
        }
    }
}
