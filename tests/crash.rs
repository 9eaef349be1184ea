//! Kill -9 at random moments under load: every delivery that was answered 200 has its effect exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::dice::Dice;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::servers::Addresses;
use crate::harness::{Engine, Options, SECRET, TestApp, eventually, now_seconds, rounds, terra_says, within};

crate::on_every_engine!(a_crash_loses_and_doubles_nothing, f1_who_is_killed_accepts_again_within_two_seconds);

/// From the start of a new process to its first 200.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(2);

const SENDERS: usize = 6;
const USERS: u64 = 7;

/// What was answered 200: summary id → user.
type Accepted = Arc<Mutex<BTreeMap<String, String>>>;

async fn a_crash_loses_and_doubles_nothing(engine: Engine) {
    let kills = rounds(50, 200);
    let seed = u64::from(std::process::id()) ^ now_seconds().unsigned_abs();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let mut app = TestApp::start(engine).await;
    // From now on the same ports, so that senders and checks find it again.
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    let accepted = Accepted::default();
    let next = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(send(app.http.clone(), app.webhook_url(), accepted.clone(), next.clone(), stop.clone()));
    }
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(20 + dice.up_to(400))).await;
        app.processes[0].kill();
        app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    while senders.join_next().await.is_some() {}
    app.quiet().await;
    // What a killed process held is known to be free once its lease has run out, and is then tried alone.
    // Thousands, after hundreds of kills.
    let patience = Duration::from_secs(rounds(90, 900).into());
    within(patience, "nothing waits for another try", || async {
        app.all("/v1/deliveries?outcome=retry").await.is_empty()
    })
    .await;
    let accepted = accepted.lock().unwrap().clone();
    eventually("everything accepted is in the ledger, and told", || async {
        let settled = app.all("/v1/deliveries?outcome=processed").await.len();
        settled >= accepted.len() && app.events().await.len() >= accepted.len()
    })
    .await;
    let (records, events) = check(&app, &accepted).await;
    println!("{} accepted over {kills} crashes, {records} records, {events} events", accepted.len());
    app.end().await;
}

/// As they run in production: a receiver, workers and an API of their own. The embedded engine is one process.
fn processes(engine: Engine) -> Vec<&'static str> {
    match engine {
        Engine::Embedded => vec!["receive,work,api"],
        Engine::Cluster => {
            let workers = vec!["work"; rounds(2, 4) as usize];
            [vec!["receive"], workers, vec!["api"]].concat()
        }
    }
}

/// Kills anybody but the API, of which no row speaks, at random moments under an open load.
async fn f1_who_is_killed_accepts_again_within_two_seconds(engine: Engine) {
    let (kills, per_second) = (rounds(8, 200), rounds(100, 200));
    let (pause_first, pause_more) = (rounds(200, 1_000), rounds(800, 4_000));
    let seed = u64::from(std::process::id()) ^ now_seconds().unsigned_abs();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let roles = processes(engine);
    let mut app = TestApp::start_with(engine, Options::default().processes(&roles)).await;
    let killed = roles.len() - usize::from(engine == Engine::Cluster);
    let mut load = Load::steady(&app, "load", app.webhook_url(), per_second);
    load.more(200, 50).await;
    let (mut slowest, mut ends) = (Duration::ZERO, vec![0; killed]);
    for kill in 0..kills as usize {
        tokio::time::sleep(Duration::from_millis(u64::from(pause_first) + dice.up_to(pause_more.into()))).await;
        // Every second one is the receiver, if there are others.
        let others = u64::try_from(killed).unwrap() - 1;
        let number = if kill % 2 == 0 || others == 0 { 0 } else { 1 + usize::try_from(dice.up_to(others)).unwrap() };
        ends[number] += 1;
        let mut settings = app.settings.clone();
        settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.processes[number].internal.to_string());
        if let Some(public) = app.processes[number].public {
            settings.insert("LANDFALL_PUBLIC_ADDR".into(), public.to_string());
        }
        app.processes[number].kill();
        let begun = Instant::now();
        app.processes[number] = Process::serve(roles[number], &settings, false).await;
        if number == 0 {
            slowest = slowest.max(load.first(200, begun).await - begun);
        }
    }
    load.more(200, 50).await;
    load.stop().await;
    println!("{ends:?} kills of {roles:?}: accepting again after {slowest:?} at most; {:?}", load.statuses());
    assert!(slowest <= ACCEPTS_WITHIN, "{slowest:?}");
    load.processed(&app).await;
    eventually("nothing is on its way", || async { app.is_worked_off().await && held_by_the_broker(&app) == 0 }).await;
    load.check_effects(&app).await;
    app.end().await;
}

/// Messages that wait or are in somebody's hands. Those who were killed cannot say what they had in hand.
fn held_by_the_broker(app: &TestApp) -> u64 {
    let Some(database) = &app.database else { return 0 };
    let servers = Addresses::shared();
    let mut ctl = Command::new(servers.get("LANDFALL_TEST_RABBITMQCTL"));
    let said = ctl.args(["list_queues", "name", "messages", "--formatter", "json"]).output().unwrap();
    let queues: Vec<Value> = serde_json::from_slice(&said.stdout).unwrap();
    let ours = queues.iter().filter(|queue| queue["name"].as_str().unwrap().starts_with(&database.prefix));
    ours.map(|queue| queue["messages"].as_u64().unwrap()).sum()
}

/// Sends activities of its own as fast as they are answered; what got no 200 is sent again, as Terra would.
async fn send(http: reqwest::Client, url: String, accepted: Accepted, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let user = format!("user-{}", number % USERS);
        let summary_id = format!("s{number}");
        let body =
            terra_says::activity(terra_says::user(&format!("terra-{user}"), Some(&user)), &summary_id, number as f64)
                .to_string();
        // A few tries: a delivery that was stored but not answered comes again under the same trace id.
        for _ in 0..3 {
            let signature = simulator::sign(SECRET, now_seconds(), body.as_bytes());
            let request = http
                .post(&url)
                .header("x-terra-signature", signature)
                .header("x-terra-trace-id", &summary_id)
                .body(body.clone());
            match request.timeout(Duration::from_secs(5)).send().await {
                Ok(answer) if answer.status().is_success() => {
                    accepted.lock().unwrap().insert(summary_id.clone(), user.clone());
                    break;
                }
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// Answers how many records and events there are.
async fn check(app: &TestApp, accepted: &BTreeMap<String, String>) -> (usize, usize) {
    assert!(accepted.len() > 200, "only {} were accepted: no load", accepted.len());
    let mut kept: BTreeMap<String, u32> = BTreeMap::new();
    for user in accepted.values().collect::<BTreeSet<_>>() {
        for activity in app.all(&format!("/v1/users/{user}/activities")).await {
            *kept.entry(activity["summary_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let lost: Vec<&String> = accepted.keys().filter(|summary_id| !kept.contains_key(*summary_id)).collect();
    assert!(lost.is_empty(), "answered 200 and lost: {lost:?}");
    assert!(kept.values().all(|count| *count == 1), "a record twice");

    let mut processed: BTreeMap<String, u32> = BTreeMap::new();
    for delivery in app.all("/v1/deliveries?outcome=processed").await {
        *processed.entry(delivery["trace_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(
        accepted.keys().all(|summary_id| processed.get(summary_id) == Some(&1)),
        "a delivery took effect not exactly once"
    );

    let events = app.events().await;
    let mut told: BTreeMap<&str, u32> = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "landfall.activity.upserted.v1") {
        *told.entry(event["data"]["key"].as_str().unwrap()).or_default() += 1;
    }
    assert!(
        accepted.keys().all(|summary_id| told.get(summary_id.as_str()) == Some(&1)),
        "an event not exactly once in the log"
    );
    let positions: Vec<i64> = events.iter().map(|event: &Value| event["position"].as_i64().unwrap()).collect();
    assert!(positions.iter().copied().eq(1..=positions.len() as i64), "the log has gaps");
    (kept.len(), events.len())
}
