//! A database that is restarted, killed, cut off in the middle of a commit, or full: the door does not notice, nothing is
//! lost or doubled, and work goes on by itself.

use std::time::{Duration, Instant};

use crate::harness::dice::Dice;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::servers::Servers;
use crate::harness::volume::Volume;
use crate::harness::{Engine, Options, TestApp, eventually, now_seconds, rounds, terra_says, within};

/// Workers are at work again so soon after the database answers.
const RESUMED_WITHIN: Duration = Duration::from_secs(5);

/// Waits until a delivery that is sent now is processed; how long that took.
pub async fn until_processed(app: &TestApp, name: &str) -> Duration {
    let begun = Instant::now();
    let body = terra_says::activity(terra_says::user("terra-probe", Some("probe")), name, 1.0);
    assert_eq!(app.send(&body, &[("x-terra-trace-id", name)]).await, 200);
    within(Duration::from_secs(60), "processed again", || async {
        let answer = app.http.get(app.api(&format!("/v1/deliveries?trace_id={name}&outcome=processed"))).send().await;
        match answer {
            Ok(answer) if answer.status().is_success() => {
                let page: serde_json::Value = answer.json().await.unwrap_or_default();
                page["items"].as_array().is_some_and(|items| !items.is_empty())
            }
            Ok(_) | Err(_) => false,
        }
    })
    .await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_database_that_restarts_or_is_killed_is_not_noticed_at_the_door() {
    let servers = Servers::start();
    let app = TestApp::start_with(Engine::Cluster, Options::default().servers(&servers.at)).await;
    let mut load = Load::start(&app);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds(6, 60) {
        load.more(200, 50).await;
        match round % 3 {
            0 => servers.pg_ctl(&["restart", "--mode=fast"]),
            1 => {
                servers.pg_ctl(&["stop", "--mode=immediate"]);
                servers.start_database();
            }
            _ => {
                servers.kill_database();
                servers.start_database();
            }
        }
        slowest = slowest.max(until_processed(&app, &format!("after-{round}")).await);
    }
    load.stop().await;
    println!("a delivery was processed within {slowest:?} of the database's return");
    assert!(load.statuses().keys().all(|status| *status == 200), "{:?}", load.statuses());
    assert!(slowest <= RESUMED_WITHIN);
    load.check(&app).await;
    assert_eq!(app.metric("landfall_dead_letters").await, 0.0);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_connection_cut_in_the_middle_of_anything_leaves_exact_effects() {
    let cuts = rounds(60, 1_000);
    let seed = now_seconds().unsigned_abs();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let mut app = TestApp::start_with(Engine::Cluster, Options::default().through_proxies(true, true)).await;
    let proxies = app.proxies.take().unwrap();
    // Not as fast as it is answered: the door takes no notice, and a worker that is cut off all the time could not follow.
    let mut load = Load::steady(&app, "load", app.webhook_url(), 100);
    for cut in 0..cuts {
        load.more(200, 5).await;
        if cut % 10 == 9 {
            // A host that vanishes: nothing is closed.
            proxies.database.freeze();
            tokio::time::sleep(Duration::from_millis(dice.up_to(1_500))).await;
        } else {
            proxies.database.cut_after(u32::try_from(dice.up_to(60_000)).unwrap());
            tokio::time::sleep(Duration::from_millis(dice.up_to(150))).await;
        }
        proxies.database.open();
    }
    let slow = until_processed(&app, "after-all").await;
    println!("{cuts} cuts; the last delivery was processed after {slow:?}");
    load.stop().await;
    load.check(&app).await;
    assert_eq!(app.metric("landfall_dead_letters").await, 0.0);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_a_full_volume_of_the_database_stops_work_and_not_the_door() {
    let Some(volume) = Volume::mount(64, "postgres") else { return };
    let servers = Servers::start();
    servers.create_tablespace("small", volume.path()).await;
    let app = TestApp::start_with(Engine::Cluster, Options::default().servers(&servers.at)).await;
    let database = app.database.as_ref().unwrap();
    database.move_tables_to("small").await;
    let mut load = Load::start(&app);
    load.more(200, 50).await;
    volume.fill();
    load.more(200, 400).await;
    // Whatever still had room was worked; from some moment on nothing is, and it is said.
    eventually("it is said that the database is full", || async { app.logs().contains("No space left") }).await;
    load.more(200, 100).await;
    volume.empty();
    load.stop().await;
    assert!(load.statuses().keys().all(|status| *status == 200), "{:?}", load.statuses());
    load.check(&app).await;
    assert_eq!(app.metric("landfall_dead_letters").await, 0.0, "a full disk burns no attempts");
    let (code, said) = Process::run(&["migrate", "status"], &app.settings).await;
    assert_eq!(code, 0, "{said}");
    app.end().await;
}
