//! Terra under load: deliveries at a steady rate whatever the answers, each tried again on Terra's schedule, scaled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::task::TaskTracker;

use super::fleet::Fleet;
use crate::harness::dice::Dice;
use crate::harness::{SECRET, now_seconds, terra_says};

const EVERY: Duration = Duration::from_millis(20);
const USERS: u64 = 30;
/// Terra tries some eight times over as many hours; here a second stands for a quarter of one.
const PAUSES_MS: [u64; 8] = [200, 500, 1_000, 2_000, 4_000, 6_000, 8_000, 8_000];
/// Above the limit of what rides in a message.
const LARGE_BYTES: usize = 90_000;

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
#[derive(Debug, Default, Clone)]
pub struct Sent {
    pub deliveries: BTreeMap<String, Delivery>,
    /// Trace ids that got a 2xx at least once.
    pub accepted: BTreeSet<String>,
    /// How often each status was answered; 0 stands for none.
    pub statuses: BTreeMap<u16, u64>,
}

impl Sent {
    pub fn tally(&self) -> String {
        format!(
            "{} deliveries sent, {} of them accepted; answers by status (0: none): {:?}",
            self.deliveries.len(),
            self.accepted.len(),
            self.statuses
        )
    }
}

pub struct Sender {
    sent: Arc<Mutex<Sent>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Sender {
    pub fn start(fleet: &Fleet, dice: Dice) -> Self {
        let sent = Arc::<Mutex<Sent>>::default();
        let stop = Arc::<AtomicBool>::default();
        let sending = send_all(fleet.app.http.clone(), fleet.app.webhook_url(), dice, sent.clone(), stop.clone());
        Sender { sent, stop, task: TaskTracker::new().spawn(sending) }
    }

    /// Sends nothing new, and waits until everything was taken or given up.
    pub async fn finish(&mut self) -> Sent {
        self.stop.store(true, Ordering::SeqCst);
        (&mut self.task).await.unwrap();
        self.sent.lock().unwrap().clone()
    }
}

async fn send_all(http: reqwest::Client, url: String, mut dice: Dice, sent: Arc<Mutex<Sent>>, stop: Arc<AtomicBool>) {
    let mut sending = JoinSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    let base = now_seconds() * 1_000;
    for number in 0.. {
        ticks.tick().await;
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let delivery = draw(&mut dice, number, base);
        sent.lock().unwrap().deliveries.insert(delivery.trace_id.clone(), delivery.clone());
        // Terra delivers at least once, and in no order.
        let copies = if dice.percent(15) { 2 } else { 1 };
        for copy in 0..copies {
            let late = if dice.percent(20) { dice.up_to(3_000) } else { 0 } + copy * dice.up_to(2_000);
            sending.spawn(send(http.clone(), url.clone(), delivery.clone(), late, sent.clone()));
        }
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}
}

fn draw(dice: &mut Dice, number: u64, base: i64) -> Delivery {
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
    // Unique, so that no tie has to be broken; in the past, so that it is not capped.
    let order = base - 3_600_000 + i64::try_from(number).unwrap();
    Delivery { trace_id: format!("trace-{number}"), user, order, says }
}

async fn send(http: reqwest::Client, url: String, delivery: Delivery, late_ms: u64, sent: Arc<Mutex<Sent>>) {
    tokio::time::sleep(Duration::from_millis(late_ms)).await;
    let body = delivery.body().to_string();
    for pause in PAUSES_MS {
        let signature = simulator::sign(SECRET, now_seconds(), body.as_bytes());
        let request = http
            .post(&url)
            .header("x-terra-signature", signature)
            .header("x-terra-trace-id", &delivery.trace_id)
            .header("x-terra-ordering-timestamp", delivery.order.to_string())
            .timeout(Duration::from_secs(8))
            .body(body.clone());
        let status = request.send().await.map_or(0, |answer| answer.status().as_u16());
        {
            let mut sent = sent.lock().unwrap();
            *sent.statuses.entry(status).or_default() += 1;
            if (200..300).contains(&status) {
                sent.accepted.insert(delivery.trace_id.clone());
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}
