//! Senders that never stop, as Terra's are: what was answered 200 is noted, and each must have had its effect once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::dice::Dice;
use super::{SECRET, TestApp, eventually, now_seconds, rounds, terra_says, within};

const SENDERS: usize = 4;
const USERS: u64 = 5;
const TRIES: u32 = 3;

/// Connections that one sender keeps.
#[cfg(feature = "services")]
const KEPT: usize = 20;

/// Not as fast as a closed port refuses.
const TRY_AGAIN_SOON: Duration = Duration::from_millis(10);
/// What is sent at a steady rate is sent again as Terra does, later.
const TRY_AGAIN_LATER: Duration = Duration::from_secs(2);

/// Shorter than the longest answer that Terra waits for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// Whatever was cut, it is worked off within this; after a full run's hundreds of kills thousands are tried alone.
fn worked_off_within() -> Duration {
    Duration::from_secs(rounds(90, 900).into())
}

/// What came of one request.
#[derive(Clone, Copy)]
pub struct Answer {
    pub sent: Instant,
    pub at: Instant,
    pub status: u16,
}

#[derive(Clone, Default)]
struct Noted {
    /// Summary id → user, of what was answered 200.
    accepted: Arc<Mutex<BTreeMap<String, String>>>,
    /// How often each status was answered; 0 stands for no answer.
    statuses: Arc<Mutex<BTreeMap<u16, u64>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

pub struct Load {
    noted: Noted,
    senders: JoinSet<()>,
}

impl Load {
    /// As fast as it is answered.
    pub fn start(app: &TestApp) -> Self {
        Self::heavy(app, 0)
    }

    /// The same, with so many bytes more in each body, which do not compress.
    pub fn heavy(app: &TestApp, bytes: usize) -> Self {
        let noted = Noted::default();
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let sender = Sender {
                http: app.http.clone(),
                url: app.webhook_url(),
                name: "load".into(),
                padding: padding(bytes),
                pause: TRY_AGAIN_SOON,
                noted: noted.clone(),
            };
            senders.spawn(async move {
                while !sender.noted.stop.load(Ordering::SeqCst) {
                    sender.deliver().await;
                }
            });
        }
        Load { noted, senders }
    }

    /// So many deliveries a second to `url`, however long the answers take. `name` tells loads of one test apart.
    pub fn steady(app: &TestApp, name: &str, url: String, per_second: u32) -> Self {
        Self::paced(vec![app.http.clone()], name, move || url.clone(), per_second)
    }

    /// The same over connections that are kept, each of them used in turn: none lies idle for longer than a second.
    /// `url` is asked before each delivery.
    #[cfg(feature = "services")]
    pub fn kept(name: &str, url: impl Fn() -> String + Send + 'static, per_second: u32) -> Self {
        let one = || reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
        Self::paced((0..KEPT).map(|_| one()).collect(), name, url, per_second)
    }

    fn paced(
        clients: Vec<reqwest::Client>,
        name: &str,
        url: impl Fn() -> String + Send + 'static,
        per_second: u32,
    ) -> Self {
        let noted = Noted::default();
        let stop = noted.stop.clone();
        let (name, to_note) = (name.to_owned(), noted.clone());
        let mut senders = JoinSet::new();
        senders.spawn(async move {
            let mut deliveries = JoinSet::new();
            let mut beat = interval(Duration::from_secs(1) / per_second);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut turns = clients.iter().cycle();
            while !stop.load(Ordering::SeqCst) {
                beat.tick().await;
                let sender = Sender {
                    http: turns.next().unwrap().clone(),
                    url: url(),
                    name: name.clone(),
                    padding: String::new(),
                    pause: TRY_AGAIN_LATER,
                    noted: to_note.clone(),
                };
                deliveries.spawn(async move { sender.deliver().await });
                while deliveries.try_join_next().is_some() {}
            }
            while deliveries.join_next().await.is_some() {}
        });
        Load { noted, senders }
    }

    /// What came of the requests that were sent since `begin`.
    pub fn sent_since(&self, begin: Instant) -> Vec<Answer> {
        self.noted.answers.lock().unwrap().iter().filter(|answer| answer.sent >= begin).copied().collect()
    }

    /// Waits for the first `status` to a request that was sent since `begin`; when it came.
    pub async fn first(&self, status: u16, begin: Instant) -> Instant {
        let first = || self.sent_since(begin).iter().filter(|one| one.status == status).map(|one| one.at).min();
        eventually(&format!("an answer {status}"), || async { first().is_some() }).await;
        first().unwrap()
    }

    /// The longest time without a 200 between two moments.
    pub fn longest_pause(&self, begin: Instant, end: Instant) -> Duration {
        let mut moments: Vec<Instant> = {
            let answers = self.noted.answers.lock().unwrap();
            let accepted =
                answers.iter().filter(|answer| answer.status == 200 && answer.at >= begin && answer.at <= end);
            accepted.map(|answer| answer.at).collect()
        };
        moments.push(begin);
        moments.push(end);
        moments.sort_unstable();
        moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
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

    /// Waits until everything that was answered 200 is processed or a dead letter.
    pub async fn settled(&self, app: &TestApp) {
        let accepted = self.noted.accepted.lock().unwrap().clone();
        answers(app).await;
        within(worked_off_within(), "every accepted delivery is settled", || async {
            let (processed, dead) = (counts(app, "processed").await, counts(app, "dead").await);
            accepted.keys().all(|summary_id| processed.contains_key(summary_id) || dead.contains_key(summary_id))
        })
        .await;
    }

    /// Nothing that was answered 200 is lost or doubled: one record, one processed delivery, one event each.
    pub async fn check(&self, app: &TestApp) {
        self.processed(app).await;
        app.quiet().await;
        self.check_effects(app).await;
    }

    /// Waits until everything that was answered 200 has been processed.
    pub async fn processed(&self, app: &TestApp) {
        let accepted = self.noted.accepted.lock().unwrap().clone();
        assert!(!accepted.is_empty(), "nothing was accepted: no load");
        answers(app).await;
        within(worked_off_within(), "every accepted delivery is processed", || async {
            let processed = counts(app, "processed").await;
            accepted.keys().all(|summary_id| processed.contains_key(summary_id))
        })
        .await;
    }

    /// The last part of [`Load::check`], when nothing is on its way any more.
    pub async fn check_effects(&self, app: &TestApp) {
        let accepted = self.noted.accepted.lock().unwrap().clone();
        let of_load = |(trace_id, count): (String, u32)| (!trace_id.is_empty()).then_some(count);
        let counts: Vec<u32> = counts(app, "processed").await.into_iter().filter_map(of_load).collect();
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

/// After a restart it takes a moment.
async fn answers(app: &TestApp) {
    within(worked_off_within(), "the API answers", || async {
        let answer = app.http.get(app.api("/v1/queues")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}

/// How often each trace id came to this outcome.
async fn counts(app: &TestApp, outcome: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for delivery in app.all(&format!("/v1/deliveries?outcome={outcome}")).await {
        *counts.entry(delivery["trace_id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

#[derive(Clone)]
struct Sender {
    http: reqwest::Client,
    url: String,
    name: String,
    padding: String,
    /// Before what got no 200 is sent again, as Terra would.
    pause: Duration,
    noted: Noted,
}

impl Sender {
    /// Sends an activity of its own until it is accepted, or a few times in vain.
    async fn deliver(&self) {
        let number = self.noted.next.fetch_add(1, Ordering::SeqCst);
        let user = format!("{}-{}", self.name, number % USERS);
        let summary_id = format!("{}-s{number}", self.name);
        let said_by = terra_says::user(&format!("terra-{user}"), Some(&user));
        let mut body = terra_says::activity(said_by, &summary_id, number as f64);
        if !self.padding.is_empty() {
            body["padding"] = self.padding.as_str().into();
        }
        let body = body.to_string();
        for _ in 0..TRIES {
            let signature = simulator::sign(SECRET, now_seconds(), body.as_bytes());
            let request = self
                .http
                .post(&self.url)
                .header("x-terra-signature", signature)
                .header("x-terra-trace-id", &summary_id)
                .body(body.clone());
            let sent = Instant::now();
            let status = request.timeout(ANSWERED_WITHIN).send().await.map_or(0, |answer| answer.status().as_u16());
            if status == 200 {
                self.noted.accepted.lock().unwrap().insert(summary_id.clone(), user.clone());
            }
            *self.noted.statuses.lock().unwrap().entry(status).or_default() += 1;
            self.noted.answers.lock().unwrap().push(Answer { sent, at: Instant::now(), status });
            if status == 200 {
                break;
            }
            tokio::time::sleep(self.pause).await;
        }
    }
}

/// Letters in no order.
fn padding(bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut dice = Dice::new(now_seconds().unsigned_abs());
    (0..bytes).map(|_| char::from(*dice.pick(LETTERS))).collect()
}
