//! The books: what the sender knows, against what the ledger, the records, the connections and the event log say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::balance::Balance;
use super::bugs::Bugs;
use super::fetched::{self, Fetched};
use super::fleet::Fleet;
use super::sender::{Says, Sent};
use super::terra::Asked;
use crate::harness::{TestApp, within};

const WORKED_OFF_WITHIN: Duration = Duration::from_secs(240);

pub const CHECKS: u32 = 14;

pub struct Book {
    /// How often each trace id was processed.
    processed: BTreeMap<String, u32>,
    /// Trace ids whose bytes are not those that were sent.
    changed: Vec<String>,
    /// Trace ids of what Terra sent by itself.
    of_terra: BTreeSet<String>,
    /// What the ledger says of the others, for who looks for the cause.
    others: BTreeMap<String, String>,
    dead: usize,
    /// (user, summary id) → metres.
    records: BTreeMap<(String, String), f64>,
    doubled: Vec<(String, String)>,
    statuses: BTreeMap<String, String>,
    events: Vec<Value>,
    pub fetched: Fetched,
}

/// What was noted while it ran.
pub struct Notes<'a> {
    pub sent: &'a Sent,
    pub asked: &'a Asked,
    pub bugs: &'a Bugs,
    pub balance: &'a Balance,
}

pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

impl Book {
    /// Waits until everything accepted is worked off, then reads all of it.
    pub async fn open(fleet: &Fleet, sent: &Sent, asked: &Asked) -> Book {
        let app = &fleet.app;
        let mut processed = BTreeMap::new();
        within(WORKED_OFF_WITHIN, "everything accepted is settled", || async {
            let retries = app.get("/v1/stats").await["retries"].as_array().map_or(0, Vec::len);
            let settled = trace_ids(&app.all("/v1/deliveries").await);
            retries == 0 && sent.ledger.accepted.iter().all(|trace_id| settled.contains(trace_id))
        })
        .await;
        within(WORKED_OFF_WITHIN, "Terra has delivered what it had to", || async { of_terra(app).await.is_some() })
            .await;
        within(WORKED_OFF_WITHIN, "every fetch job has ended", || fetched::all_ended(app)).await;
        app.quiet().await;
        let of_terra = of_terra(app).await.unwrap_or_default();
        let (mut others, mut changed) = (BTreeMap::new(), Vec::new());
        for delivery in app.all("/v1/deliveries").await {
            let trace_id = text(&delivery, "trace_id").to_owned();
            if sent.ledger.digests.get(&trace_id).is_some_and(|digest| digest != text(&delivery, "body_digest")) {
                changed.push(trace_id.clone());
            }
            if delivery["outcome"] == "processed" {
                *processed.entry(trace_id).or_default() += 1;
            } else {
                others.insert(trace_id, format!("{} {}", delivery["outcome"], delivery["reason"]));
            }
        }
        let dead = app.all("/v1/deliveries?outcome=dead").await.len();
        let (mut records, mut doubled, mut statuses) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        let users: BTreeSet<&String> = sent.deliveries.values().map(|delivery| &delivery.user).collect();
        for user in users {
            for activity in app.all(&format!("/v1/users/{user}/activities")).await {
                let key = (user.clone(), text(&activity, "summary_id").to_owned());
                if records.insert(key.clone(), activity["distance_meters"].as_f64().unwrap_or(-1.0)).is_some() {
                    doubled.push(key);
                }
            }
            for connection in app.all(&format!("/v1/users/{user}/connections")).await {
                statuses.insert(user.clone(), text(&connection, "status").to_owned());
            }
        }
        let events = app.events().await;
        let fetched = Fetched::open(fleet, asked, &events).await;
        Book { processed, changed, of_terra, others, dead, records, doubled, statuses, events, fetched }
    }

    /// Prints each check; answers how many failed.
    pub async fn check(&self, fleet: &Fleet, notes: &Notes<'_>) -> u32 {
        let told = fleet.told().await;
        // A backfill that settles meanwhile is told of as well.
        let events_since = fleet.app.events().await;
        let (sent, asked, fetched) = (notes.sent, notes.asked, &self.fetched);
        let checks: [(&str, Result<(), String>); CHECKS as usize] = [
            ("what was answered 2xx took effect, each exactly once", self.each_accepted_once(sent)),
            ("nothing took effect that was not sent", self.nothing_unknown(sent)),
            ("what is in the ledger are the bytes that were sent", none(self.changed.len(), "changed")),
            (
                "what meets a bug was set aside, and of the others who died with it",
                notes.bugs.only_they_were_set_aside(sent),
            ),
            ("a replay left no dead letter once the bugs were mended", none(self.dead, "dead letters")),
            ("the balance held at every look", notes.balance.held()),
            ("each record is the version of greatest order, once", self.records_are_the_fold(sent)),
            ("each connection is as the greatest order left it", self.connections_are_the_fold(sent)),
            ("every fetch job ended, and failed only where Terra refused", fetched.every_job_ended(asked)),
            ("who connected was asked for", fetched.connected_were_asked_for(asked)),
            ("what was fetched is there and was told, each day once", fetched.each_day_is_there_once()),
            ("the log of events has no gap and no id twice", self.log_is_gapless()),
            ("each record was told, and no other", self.records_were_told(sent)),
            ("a service on the exchange got every event, and no other", self.services_got_all(&told, &events_since)),
        ];
        let mut failed = 0;
        for (what, result) in checks {
            match result {
                Ok(()) => println!("passed  {what}"),
                Err(why) => {
                    println!("FAILED  {what}: {why}");
                    failed += 1;
                }
            }
        }
        failed
    }

    fn each_accepted_once(&self, sent: &Sent) -> Result<(), String> {
        if sent.ledger.accepted.len() < 200 {
            return Err(format!("only {} were accepted: no load", sent.ledger.accepted.len()));
        }
        let lost = sent.ledger.accepted.iter().filter(|trace_id| !self.processed.contains_key(*trace_id));
        let lost: Vec<_> = lost.map(|trace_id| (trace_id, self.others.get(trace_id))).collect();
        let doubled: Vec<_> = self.processed.iter().filter(|(_, count)| **count > 1).collect();
        if lost.is_empty() && doubled.is_empty() {
            return Ok(());
        }
        Err(format!("{} lost {:?}, {} doubled {:?}", lost.len(), some(&lost), doubled.len(), some(&doubled)))
    }

    fn nothing_unknown(&self, sent: &Sent) -> Result<(), String> {
        let known = |trace_id: &str| {
            sent.deliveries.contains_key(trace_id) || trace_id.starts_with("fetch:") || self.of_terra.contains(trace_id)
        };
        none(self.processed.keys().filter(|trace_id| !known(trace_id)).count(), "unknown")
    }

    fn records_are_the_fold(&self, sent: &Sent) -> Result<(), String> {
        let mut fold: BTreeMap<(String, String), (i64, f64)> = BTreeMap::new();
        for delivery in self.processed.keys().filter_map(|trace_id| sent.deliveries.get(trace_id)) {
            if let Says::Activity { summary_id, metres, .. } = &delivery.says {
                let slot = fold.entry((delivery.user.clone(), summary_id.clone())).or_insert((i64::MIN, 0.0));
                if delivery.order > slot.0 {
                    *slot = (delivery.order, *metres);
                }
            }
        }
        let expected: BTreeMap<_, _> = fold.into_iter().map(|(key, (_, metres))| (key, metres)).collect();
        if expected == self.records && self.doubled.is_empty() {
            return Ok(());
        }
        let wrong: Vec<_> =
            expected.iter().filter(|(key, metres)| self.records.get(key) != Some(metres)).map(|(key, _)| key).collect();
        Err(format!("{} of {} differ {:?}, doubled {:?}", wrong.len(), expected.len(), some(&wrong), self.doubled))
    }

    fn connections_are_the_fold(&self, sent: &Sent) -> Result<(), String> {
        let mut last: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for delivery in self.processed.keys().filter_map(|trace_id| sent.deliveries.get(trace_id)) {
            let (opened, closed) = last.entry(&delivery.user).or_insert((i64::MIN, i64::MIN));
            match delivery.says {
                Says::Auth => *opened = delivery.order.max(*opened),
                Says::Deauth => *closed = delivery.order.max(*closed),
                Says::Activity { .. } => {}
            }
        }
        let status = |(opened, closed): &(i64, i64)| {
            if *closed >= *opened && *closed > i64::MIN { "revoked" } else { "active" }
        };
        let wrong: Vec<_> = last
            .iter()
            .filter(|(user, facts)| self.statuses.get(**user).map(String::as_str) != Some(status(facts)))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{:?}", some(&wrong))) }
    }

    fn log_is_gapless(&self) -> Result<(), String> {
        let positions = self.events.iter().map(|event| event["position"].as_i64().unwrap_or(-1));
        let ids: BTreeSet<&str> = self.events.iter().map(|event| text(event, "id")).collect();
        if positions.eq(1..=i64::try_from(self.events.len()).unwrap()) && ids.len() == self.events.len() {
            return Ok(());
        }
        Err(format!("{} events, {} ids", self.events.len(), ids.len()))
    }

    fn records_were_told(&self, sent: &Sent) -> Result<(), String> {
        let senders: BTreeSet<&str> = sent.deliveries.values().map(|delivery| delivery.user.as_str()).collect();
        let told: BTreeSet<(String, String)> = self
            .events
            .iter()
            .filter(|event| {
                event["type"] == "landfall.activity.upserted.v1" && senders.contains(text(event, "subject"))
            })
            .map(|event| (text(event, "subject").to_owned(), text(&event["data"], "key").to_owned()))
            .collect();
        let kept: BTreeSet<(String, String)> = self.records.keys().cloned().collect();
        let difference: Vec<_> = told.symmetric_difference(&kept).collect();
        if difference.is_empty() { Ok(()) } else { Err(format!("{} differ {:?}", difference.len(), some(&difference))) }
    }

    fn services_got_all(&self, told: &Option<BTreeSet<String>>, events_since: &[Value]) -> Result<(), String> {
        // An engine without an exchange hands events on by its log alone.
        let Some(told) = told else { return Ok(()) };
        let ids = |events: &[Value]| events.iter().map(|event| text(event, "id").to_owned()).collect::<BTreeSet<_>>();
        let (log, log_since) = (ids(&self.events), ids(events_since));
        let missing: Vec<_> = log.difference(told).collect();
        let unknown: Vec<_> = told.difference(&log_since).collect();
        if missing.is_empty() && unknown.is_empty() {
            return Ok(());
        }
        let (lacks, knows) = (missing.len(), unknown.len());
        Err(format!("{lacks} missing {:?}, {knows} unknown {:?}", some(&missing), some(&unknown)))
    }
}

fn trace_ids(deliveries: &[Value]) -> BTreeSet<String> {
    deliveries.iter().map(|delivery| text(delivery, "trace_id").to_owned()).collect()
}

/// Trace ids of what Terra sent by itself, once nothing of it waits for another try.
async fn of_terra(app: &TestApp) -> Option<BTreeSet<String>> {
    let answer = app.http.get(format!("{}/_simulator/deliveries", app.terra.base_url())).send().await.unwrap();
    let deliveries: Value = answer.json().await.unwrap();
    let tries = deliveries["items"].as_array().unwrap();
    (deliveries["pending"] == 0).then(|| trace_ids(tries))
}

pub fn none(count: usize, what: &str) -> Result<(), String> {
    if count == 0 { Ok(()) } else { Err(format!("{count} {what}")) }
}

/// A few, for a message that can be read.
pub fn some<T>(all: &[T]) -> &[T] {
    &all[..all.len().min(5)]
}
