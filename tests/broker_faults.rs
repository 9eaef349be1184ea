//! A broker that is killed, stopped, cut off or blocked: what is answered, how fast, and what becomes of it.
//!
//! Each test has servers of its own. The bounds are those that are promised; the machine is shared with other tests.

use std::time::{Duration, Instant};

use crate::harness::load::Load;
use crate::harness::servers::Servers;
use crate::harness::{Engine, Options, TestApp, eventually, rounds, terra_says};

/// A kill is noticed, and told to Terra, within this.
const REFUSED_WITHIN: Duration = Duration::from_secs(3);
/// From the broker's first answer to our first 200.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// An answer that costs no time, while it is known that nothing can be stored: 99 of 100. The goal is that of an idle
/// machine, where it holds for all of them; whoever else is on this one may hold up some.
const AT_ONCE: Duration = Duration::from_millis(100);
const AT_MOST: Duration = Duration::from_millis(500);
/// What a process may hold more while it refuses everything: room for requests, and nothing that grows.
const MEMORY_MORE: u64 = 64 * 1_024 * 1_024;
/// Deliveries while an alarm lasts, each sent three times.
const PER_SECOND: u32 = 20;
/// How long an alarm lasts at least, in every run and in a full one, where heartbeats are due meanwhile.
const ALARM_SECONDS: (u32, u32) = (3, 60);

async fn start() -> (Servers, TestApp) {
    let servers = Servers::start();
    let app = TestApp::start_with(Engine::Cluster, Options::default().servers(&servers.at)).await;
    (servers, app)
}

/// Sends until `status` is answered; how long that took.
async fn until(app: &TestApp, status: u16) -> Duration {
    let begun = Instant::now();
    for number in 0.. {
        let body = terra_says::activity(terra_says::user("terra-probe", Some("probe")), &format!("p{number}"), 1.0);
        // A trace id of its own, as each of Terra's deliveries has.
        let trace_id = uuid::Uuid::now_v7().to_string();
        if app.send(&body, &[("x-terra-trace-id", &trace_id)]).await == status {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{status} was never answered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_broker_that_is_killed_loses_nothing_and_is_back_within_two_seconds() {
    let kills = rounds(4, 20);
    let (servers, app) = start().await;
    let mut load = Load::start(&app);
    let (mut slowest_refusal, mut slowest_return) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..kills {
        load.more(200, 50).await;
        servers.kill_broker();
        slowest_refusal = slowest_refusal.max(until(&app, 503).await);
        servers.start_broker();
        servers.broker_answers().await;
        slowest_return = slowest_return.max(until(&app, 200).await);
    }
    load.more(200, 50).await;
    load.stop().await;
    println!("{kills} kills: 503 after {slowest_refusal:?} at most, 200 again {slowest_return:?} after the broker");
    assert!(slowest_refusal <= REFUSED_WITHIN && slowest_return <= BACK_WITHIN);
    load.check(&app).await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_a_broker_that_stops_or_closes_every_connection_is_back_without_a_hand() {
    let (servers, app) = start().await;
    let mut load = Load::start(&app);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds(4, 40) {
        load.more(200, 50).await;
        if round % 2 == 0 {
            servers.rabbitmqctl(&["stop_app"]);
            servers.rabbitmqctl(&["start_app"]);
            servers.broker_answers().await;
        } else {
            servers.rabbitmqctl(&["close_all_connections", "a test"]);
        }
        slowest = slowest.max(until(&app, 200).await);
    }
    load.more(200, 50).await;
    load.stop().await;
    println!("recovered within {slowest:?}");
    assert!(slowest <= BACK_WITHIN);
    load.check(&app).await;
    app.end().await;
}

/// While an alarm lasts nothing is accepted, each refusal is quick, and consumers go on; after it nothing is lost.
async fn an_alarm(begin: &[&str], end: &[&str]) {
    let (servers, app) = start().await;
    // Whoever is held up by the alarm keeps nobody else from coming.
    let mut load = Load::steady(&app, "load", app.webhook_url(), PER_SECOND);
    load.more(200, 50).await;
    let memory_before = app.processes[0].resident_bytes();
    let begun = Instant::now();
    servers.rabbitmqctl(begin);
    let is_set = Instant::now();
    let refused = load.first(503, begun).await;
    let first = refused.saturating_duration_since(is_set);
    // What was on its way to the broker is given up when its time is over; who comes now is not.
    let alarmed = refused.max(is_set);
    let lasts = Duration::from_secs(rounds(ALARM_SECONDS.0, ALARM_SECONDS.1).into());
    load.more(503, 200).await;
    eventually("what was accepted is worked off meanwhile", || async {
        app.get("/v1/queues").await["items"].as_array().unwrap().iter().all(|lane| lane["jobs"] == 0)
    })
    .await;
    tokio::time::sleep(lasts.saturating_sub(alarmed.elapsed())).await;
    let answers = load.sent_since(alarmed);
    let memory_after = app.processes[0].resident_bytes();
    servers.rabbitmqctl(end);
    let back = until(&app, 200).await;
    load.more(200, 50).await;
    load.stop().await;
    assert!(
        answers.iter().all(|answer| answer.status == 503),
        "nothing can be stored, and something was answered otherwise"
    );
    let mut refusals: Vec<Duration> = answers.iter().map(|answer| answer.at - answer.sent).collect();
    refusals.sort_unstable();
    let part = |percent: usize| refusals[(refusals.len() - 1) * percent / 100];
    let (count, median, most, slowest) = (refusals.len(), part(50), part(99), part(100));
    println!(
        "first refusal after {first:?}, then {count} in {lasts:?}, {median:?} in the middle, {most:?} of 99 %, {slowest:?} at most; back after {back:?}"
    );
    println!("resident memory {memory_before} before, {memory_after} at the end of the alarm");
    assert!(
        first <= REFUSED_WITHIN && most <= AT_ONCE && slowest <= AT_MOST,
        "{first:?}, then {most:?} and {slowest:?}"
    );
    assert!(memory_after <= memory_before + MEMORY_MORE, "memory grows while nothing can be stored");
    load.check(&app).await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_a_memory_alarm_refuses_at_once_and_loses_nothing() {
    an_alarm(&["set_vm_memory_high_watermark", "0.00001"], &["set_vm_memory_high_watermark", "0.4"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_disk_alarm_refuses_at_once_and_loses_nothing() {
    an_alarm(&["set_disk_free_limit", "100000GB"], &["set_disk_free_limit", "1GB"]).await;
}
