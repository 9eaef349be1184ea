//! Terra under load: deliveries at a steady rate whatever the answers, each tried again on Terra's schedule, scaled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::task::TaskTracker;

use super::fleet::Fleet;
use super::ledger::{Entries, Ledger};
use crate::harness::dice::Dice;
use crate::harness::{SECRET, now_seconds, terra_says};

const EVERY: Duration = Duration::from_millis(20);
const USERS: u64 = 30;
/// Terra tries some eight times over as many hours; here a second stands for a quarter of one.
const PAUSES_MS: [u64; 8] = [200, 500, 1_000, 2_000, 4_000, 6_000, 8_000, 8_000];
/// Above the limit of what rides in a message.
const LARGE_BYTES: usize = 90_000;

/// Every how many deliveries one makes our own code panic, and one ends the process that works it.
const PANICKING_EVERY: u64 = 100;
const POISON_EVERY: u64 = 600;
/// What comes so late would still be tried alone, three times, when the faults are over.
const LAST_POISON: Duration = Duration::from_secs(60);

/// The words that the failpoints of these names look for.
pub const POISON: &str = "poison";
pub const PANICKING: &str = "panicking";

/// One delivery, as the world of the sender knows it.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub trace_id: String,
    pub user: String,
    pub order: i64,
    pub says: Says,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    Auth,
    Deauth,
    Activity { summary_id: String, metres: f64, large: bool },
}

impl Delivery {
    /// Why it is set aside as long as our code has the bug that it meets.
    pub fn bug(&self) -> Option<&'static str> {
        let Says::Activity { summary_id, .. } = &self.says else { return None };
        if summary_id.starts_with(POISON) {
            return Some("crashed");
        }
        summary_id.starts_with(PANICKING).then_some("panicked")
    }

    fn body(&self) -> Value {
        let mut user = terra_says::user(&format!("terra-{}", self.user), Some(&self.user));
        // No two have the same bytes: what comes late is known by its signed bytes as well as by its trace id.
        user["last_webhook_update"] = json!(self.order.to_string());
        match &self.says {
            Says::Auth => terra_says::auth(user),
            Says::Deauth => terra_says::deauth(user),
            Says::Activity { summary_id, metres, large } => {
                let mut body = terra_says::activity(user, summary_id, *metres);
                if *large {
                    body["data"][0]["device_data"] = json!({ "name": "x".repeat(LARGE_BYTES) });
                }
                body
            }
        }
    }
}

/// What was sent, and what was answered.
#[derive(Debug, Clone)]
pub struct Sent {
    pub deliveries: BTreeMap<String, Delivery>,
    pub ledger: Entries,
}

impl Sent {
    pub fn tally(&self) -> String {
        let bugs = |reason| self.deliveries.values().filter(|delivery| delivery.bug() == Some(reason)).count();
        format!(
            "{} deliveries sent in {} requests, {} of them accepted; {} made us panic, {} ended their worker; answers \
             by status (0: none): {:?}",
            self.deliveries.len(),
            self.ledger.begun,
            self.ledger.accepted.len(),
            bugs("panicked"),
            bugs("crashed"),
            self.ledger.statuses
        )
    }
}

pub struct Sender {
    deliveries: Arc<Mutex<BTreeMap<String, Delivery>>>,
    pub ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Sender {
    pub fn start(fleet: &Fleet, dice: Dice, time: Duration) -> Self {
        let deliveries = Arc::<Mutex<BTreeMap<String, Delivery>>>::default();
        let ledger = Arc::new(Ledger::create());
        let stop = Arc::<AtomicBool>::default();
        let post = Post { http: fleet.app.http.clone(), url: fleet.app.webhook_url(), ledger: ledger.clone() };
        let poison_max = (time.saturating_sub(LAST_POISON).as_millis() / EVERY.as_millis()) as u64;
        let sending = send_all(post, dice, poison_max, deliveries.clone(), stop.clone());
        Sender { deliveries, ledger, stop, task: TaskTracker::new().spawn(sending) }
    }

    /// Sends nothing new.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Everything was taken or given up.
    pub fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    pub fn sent(&self) -> Sent {
        Sent { deliveries: self.deliveries.lock().unwrap().clone(), ledger: self.ledger.read() }
    }
}

#[derive(Clone)]
struct Post {
    http: reqwest::Client,
    url: String,
    ledger: Arc<Ledger>,
}

async fn send_all(
    post: Post,
    mut dice: Dice,
    poison_max: u64,
    deliveries: Arc<Mutex<BTreeMap<String, Delivery>>>,
    stop: Arc<AtomicBool>,
) {
    let mut sending = JoinSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    let base = now_seconds() * 1_000;
    for number in 0.. {
        ticks.tick().await;
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let delivery = draw(&mut dice, number, base, poison_max);
        deliveries.lock().unwrap().insert(delivery.trace_id.clone(), delivery.clone());
        // Terra delivers at least once, and in no order.
        let copies = if dice.percent(15) { 2 } else { 1 };
        for copy in 0..copies {
            let late = if dice.percent(20) { dice.up_to(3_000) } else { 0 } + copy * dice.up_to(2_000);
            sending.spawn(send(post.clone(), delivery.clone(), late));
        }
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}
}

fn draw(dice: &mut Dice, number: u64, base: i64, poison_max: u64) -> Delivery {
    let user = format!("user-{}", dice.up_to(USERS));
    let says = match dice.up_to(100) {
        0..=4 => Says::Auth,
        5..=7 => Says::Deauth,
        throw => Says::Activity {
            // Few, so that versions of one record meet.
            summary_id: format!("run-{}", dice.up_to(12)),
            metres: number as f64,
            large: throw >= 97,
        },
    };
    let bug =
        |word: &str| Says::Activity { summary_id: format!("{word}-{number}"), metres: number as f64, large: false };
    let says = if number % POISON_EVERY == POISON_EVERY / 2 && number < poison_max {
        bug(POISON)
    } else if number % PANICKING_EVERY == PANICKING_EVERY / 4 {
        bug(PANICKING)
    } else {
        says
    };
    // Unique, so that no tie has to be broken; in the past, so that it is not capped.
    let order = base - 3_600_000 + i64::try_from(number).unwrap();
    Delivery { trace_id: format!("trace-{number}"), user, order, says }
}

async fn send(post: Post, delivery: Delivery, late_ms: u64) {
    tokio::time::sleep(Duration::from_millis(late_ms)).await;
    let body = delivery.body().to_string();
    let digest = hex::encode(Sha256::digest(&body));
    for pause in PAUSES_MS {
        let signature = simulator::sign(SECRET, now_seconds(), body.as_bytes());
        let request = post
            .http
            .post(&post.url)
            .header("x-terra-signature", signature)
            .header("x-terra-trace-id", &delivery.trace_id)
            .header("x-terra-ordering-timestamp", delivery.order.to_string())
            .timeout(Duration::from_secs(8))
            .body(body.clone());
        post.ledger.will_send(&delivery.trace_id, &digest, delivery.order);
        let status = request.send().await.map_or(0, |answer| answer.status().as_u16());
        post.ledger.was_answered(&delivery.trace_id, status);
        if (200..300).contains(&status) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}
