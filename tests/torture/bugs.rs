//! Deliveries that meet a bug of ours: what became of them while it lasted, and that a replay clears them once it is
//! mended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::books::{some, text};
use super::fleet::Fleet;
use super::sender::Sent;
use crate::harness::TestApp;
use crate::harness::process::Process;

const SETTLED_WITHIN: Duration = Duration::from_secs(240);
const SAID_EVERY: Duration = Duration::from_secs(10);

pub struct Bugs {
    /// (trace id, reason) of every dead letter.
    dead: Vec<(String, String)>,
}

impl Bugs {
    /// Waits until everything accepted has come to an end, be it a bad one, and starts again what ends meanwhile.
    pub async fn come_to_light(fleet: &mut Fleet, sent: &Sent) -> Bugs {
        let begun = Instant::now();
        let (mut open, mut said) = (None, Duration::ZERO);
        while open != Some(0) {
            assert!(begun.elapsed() < SETTLED_WITHIN, "not within {SETTLED_WITHIN:?} processed or dead: {open:?}");
            fleet.tend_for(Duration::from_secs(1)).await;
            if let Some(waiting) = open.filter(|_| begun.elapsed() > said + SAID_EVERY) {
                said = begun.elapsed();
                println!("{waiting} wait for their end, {} s after the last fault", said.as_secs());
            }
            open = match waiting(&fleet.app).await {
                // A long listing, of which no process that ends half-way would come to the end.
                Some(0) => outcomes(&fleet.app).await.map(|outcomes| {
                    let ended = |id: &&String| outcomes.get(*id).is_some_and(|outcome| outcome != "retry");
                    sent.ledger.accepted.iter().filter(|id| !ended(id)).count() as u64
                }),
                some => some.or(open),
            };
        }
        // What nobody accepted may still be waiting, and end the process.
        let mut dead = Vec::new();
        let mut listed = None;
        while listed.is_none() {
            fleet.tend_for(Duration::from_millis(100)).await;
            listed = listing(&fleet.app, "/v1/deliveries?outcome=dead").await;
        }
        for row in listed.unwrap_or_default() {
            dead.push((text(&row, "trace_id").to_owned(), text(&row, "reason").to_owned()));
        }
        Bugs { dead }
    }

    /// Once the bugs are mended: all dead letters again.
    pub async fn replay(&self, fleet: &Fleet) {
        let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", fleet.app.internal))]);
        let (code, said) = Process::run(&["dead", "replay", "--yes", "--rate", "1000"], &settings).await;
        assert_eq!(code, 0, "{said}");
    }

    /// Innocent ones that were alone when their worker was killed, three times in a row.
    fn bystanders<'a>(&'a self, sent: &'a Sent) -> impl Iterator<Item = &'a (String, String)> {
        self.dead.iter().filter(|(id, _)| sent.deliveries.get(id).is_none_or(|delivery| delivery.bug().is_none()))
    }

    pub fn tally(&self, sent: &Sent) -> String {
        let count = |wanted| self.dead.iter().filter(|(_, reason)| reason == wanted).count();
        let (panicked, crashed) = (count("panicked"), count("crashed"));
        let bystanders = self.bystanders(sent).count();
        format!(
            "dead letters: {panicked} panicked, {crashed} crashed, {bystanders} of these without a bug of their own"
        )
    }

    /// Whoever meets a bug is dead, and of the others only who died with its worker.
    pub fn only_they_were_set_aside(&self, sent: &Sent) -> Result<(), String> {
        let dead: BTreeMap<&str, &str> = self.dead.iter().map(|(id, reason)| (id.as_str(), reason.as_str())).collect();
        let as_expected = |id: &&String| match sent.deliveries.get(*id).and_then(|delivery| delivery.bug()) {
            // One that panics may be alone at three other ends of its worker.
            Some(reason) => dead.get(id.as_str()).is_some_and(|why| *why == reason || *why == "crashed"),
            None => true,
        };
        let escaped: Vec<_> = sent.ledger.accepted.iter().filter(|id| !as_expected(id)).collect();
        let wrongly: Vec<_> = self.bystanders(sent).filter(|(_, reason)| reason != "crashed").collect();
        if escaped.is_empty() && wrongly.is_empty() {
            return Ok(());
        }
        Err(format!("{} not set aside {:?}, others {:?}", escaped.len(), some(&escaped), some(&wrongly)))
    }
}

/// How many deliveries wait in the queue and for another try, as far as anybody says.
async fn waiting(app: &TestApp) -> Option<u64> {
    let sum = |rows: &Value, name: &str| -> Option<u64> {
        rows.as_array()?.iter().map(|row| row[name].as_u64()).sum::<Option<u64>>()
    };
    let (queues, stats) = (one(app, "/v1/queues").await?, one(app, "/v1/stats").await?);
    Some(sum(&queues["items"], "jobs")? + sum(&stats["retries"], "count")?)
}

async fn one(app: &TestApp, path: &str) -> Option<Value> {
    let answer = app.http.get(app.api(path)).timeout(Duration::from_secs(20)).send().await.ok()?;
    answer.error_for_status().ok()?.json().await.ok()
}

/// All items of a listing, unless a process ends meanwhile.
pub async fn listing(app: &TestApp, path: &str) -> Option<Vec<Value>> {
    let joint = if path.contains('?') { '&' } else { '?' };
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let page = one(app, &format!("{path}{joint}limit=1000{after}")).await?;
        items.extend(page["items"].as_array()?.iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Some(items),
        }
    }
}

/// What became of each trace id; of several rows the best.
pub async fn outcomes(app: &TestApp) -> Option<BTreeMap<String, String>> {
    let mut outcomes = BTreeMap::<String, String>::new();
    for row in listing(app, "/v1/deliveries").await? {
        let outcome = outcomes.entry(text(&row, "trace_id").to_owned()).or_default();
        if outcome != "processed" {
            *outcome = text(&row, "outcome").to_owned();
        }
    }
    Some(outcomes)
}
