//! The balance while it runs: what was accepted is in the ledger or still waits, and what was settled stays settled.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bugs::{listing, outcomes};
use super::fleet::Fleet;
use super::ledger::Ledger;
use crate::harness::Engine;

/// Between two looks, at least; a long run has so many looks at most.
const EVERY: Duration = Duration::from_secs(10);
const LOOKS_MAX: u32 = 30;

pub struct Balance {
    every: Duration,
    last: Instant,
    looks: u32,
    in_vain: u32,
    /// Trace ids that were in the ledger before.
    settled: BTreeSet<String>,
    most_waiting: usize,
    wrong: Vec<String>,
}

impl Balance {
    pub fn new(time: Duration) -> Self {
        Balance {
            every: EVERY.max(time / LOOKS_MAX),
            last: Instant::now(),
            looks: 0,
            in_vain: 0,
            settled: BTreeSet::new(),
            most_waiting: 0,
            wrong: Vec::new(),
        }
    }

    /// Looks, if it is time.
    pub async fn look(&mut self, fleet: &Fleet, ledger: &Ledger) {
        if self.last.elapsed() < self.every {
            return;
        }
        self.last = Instant::now();
        // In this order: whatever goes on its way meanwhile is counted twice, and never not at all.
        let accepted = ledger.read().accepted;
        let queues = listing(&fleet.app, "/v1/queues").await;
        let Some((queues, settled)) = queues.zip(outcomes(&fleet.app).await) else {
            self.in_vain += 1;
            return;
        };
        self.looks += 1;
        let settled: BTreeSet<String> = settled.into_keys().collect();
        let waiting = accepted.difference(&settled).count();
        self.most_waiting = self.most_waiting.max(waiting);
        println!("{} accepted, {waiting} of them not yet settled", accepted.len());
        let queued = jobs(&queues);
        // A broker counts messages, which hold several, and not what other processes hold.
        if fleet.app.engine == Engine::Embedded && waiting as u64 > queued {
            self.wrong.push(format!("{} accepted, {} settled, {queued} queued", accepted.len(), settled.len()));
        }
        let gone = self.settled.difference(&settled).count();
        if gone > 0 {
            self.wrong.push(format!("{gone} were settled and are gone"));
        }
        self.settled = settled;
    }

    pub fn tally(&self) -> String {
        let (looks, in_vain, most) = (self.looks, self.in_vain, self.most_waiting);
        format!("balance: {looks} looks ({in_vain} in vain), {most} accepted and not yet settled at most")
    }

    pub fn held(&self) -> Result<(), String> {
        if self.looks == 0 {
            return Err("nobody could look".into());
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong.join("; ")) }
    }
}

fn jobs(queues: &[Value]) -> u64 {
    queues.iter().filter_map(|lane| lane["jobs"].as_u64()).sum()
}
