//! Senders that never stop, as Terra's are: what was answered 200 is noted, and each must have had its effect once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use super::{SECRET, TestApp, eventually, now_seconds, terra_says, within};

const SENDERS: usize = 4;
const USERS: u64 = 5;
const TRIES: u32 = 3;

/// Whatever was cut, it is worked off within this.
const WORKED_OFF_WITHIN: Duration = Duration::from_secs(90);

#[derive(Clone, Default)]
struct Noted {
    /// Summary id → user, of what was answered 200.
    accepted: Arc<Mutex<BTreeMap<String, String>>>,
    /// How often each status was answered; 0 stands for no answer.
    statuses: Arc<Mutex<BTreeMap<u16, u64>>>,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

pub struct Load {
    noted: Noted,
    senders: JoinSet<()>,
}

impl Load {
    pub fn start(app: &TestApp) -> Self {
        let noted = Noted::default();
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            senders.spawn(send(app.http.clone(), app.webhook_url(), noted.clone()));
        }
        Load { noted, senders }
    }

    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        self.noted.statuses.lock().unwrap().clone()
    }

    pub fn count(&self, status: u16) -> u64 {
        self.statuses().get(&status).copied().unwrap_or_default()
    }

    /// Waits until so many more were answered with `status`.
    pub async fn more(&self, status: u16, count: u64) {
        let enough = self.count(status) + count;
        eventually(&format!("{count} more answers {status}"), || async { self.count(status) >= enough }).await;
    }

    pub async fn stop(&mut self) {
        self.noted.stop.store(true, Ordering::SeqCst);
        while self.senders.join_next().await.is_some() {}
    }

    /// Nothing that was answered 200 is lost or doubled: one record, one processed delivery, one event each.
    pub async fn check(&self, app: &TestApp) {
        let accepted = self.noted.accepted.lock().unwrap().clone();
        assert!(!accepted.is_empty(), "nothing was accepted: no load");
        within(WORKED_OFF_WITHIN, "the API answers", || async {
            let answer = app.http.get(app.api("/v1/queues")).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        within(WORKED_OFF_WITHIN, "every accepted delivery is processed", || async {
            let processed = processed(app).await;
            accepted.keys().all(|summary_id| processed.contains_key(summary_id))
        })
        .await;
        app.quiet().await;
        let of_load = |(trace_id, count): (String, u32)| (!trace_id.is_empty()).then_some(count);
        let counts: Vec<u32> = processed(app).await.into_iter().filter_map(of_load).collect();
        assert!(counts.iter().all(|count| *count == 1), "a delivery was processed twice");
        let mut kept: BTreeMap<String, u32> = BTreeMap::new();
        for user in accepted.values().collect::<BTreeSet<_>>() {
            for activity in app.all(&format!("/v1/users/{user}/activities")).await {
                *kept.entry(activity["summary_id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        assert!(accepted.keys().all(|summary_id| kept.get(summary_id) == Some(&1)), "a record not exactly once");
        let mut told: BTreeMap<String, u32> = BTreeMap::new();
        for event in app.events().await.iter().filter(|event| event["type"] == "landfall.activity.upserted.v1") {
            *told.entry(event["data"]["key"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        assert!(
            accepted.keys().all(|summary_id| told.get(summary_id) == Some(&1)),
            "an event not exactly once in the log"
        );
    }
}

/// How often each trace id was processed.
async fn processed(app: &TestApp) -> BTreeMap<String, u32> {
    let mut processed = BTreeMap::new();
    for delivery in app.all("/v1/deliveries?outcome=processed").await {
        *processed.entry(delivery["trace_id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    processed
}

/// Sends activities of its own as fast as they are answered; what got no 200 is sent again, as Terra would.
async fn send(http: reqwest::Client, url: String, noted: Noted) {
    while !noted.stop.load(Ordering::SeqCst) {
        let number = noted.next.fetch_add(1, Ordering::SeqCst);
        let user = format!("load-{}", number % USERS);
        let summary_id = format!("load-s{number}");
        let body =
            terra_says::activity(terra_says::user(&format!("terra-{user}"), Some(&user)), &summary_id, number as f64)
                .to_string();
        for _ in 0..TRIES {
            let signature = simulator::sign(SECRET, now_seconds(), body.as_bytes());
            let request = http
                .post(&url)
                .header("x-terra-signature", signature)
                .header("x-terra-trace-id", &summary_id)
                .body(body.clone());
            let status =
                request.timeout(Duration::from_secs(15)).send().await.map_or(0, |answer| answer.status().as_u16());
            if status == 200 {
                noted.accepted.lock().unwrap().insert(summary_id.clone(), user.clone());
            }
            *noted.statuses.lock().unwrap().entry(status).or_default() += 1;
            if status == 200 {
                break;
            }
            // Not as fast as a closed port refuses.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
