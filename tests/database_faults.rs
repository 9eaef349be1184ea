//! A database that is restarted, killed, cut off in the middle of a commit, or full: the door does not notice, nothing is
//! lost or doubled, and work goes on by itself.

use std::time::{Duration, Instant};

use crate::harness::dice::Dice;
use crate::harness::load::Load;
use crate::harness::poison::POISON;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::servers::Servers;
use crate::harness::volume::Volume;
use crate::harness::{Engine, Options, TestApp, eventually, now_seconds, rounds, terra_says, within};
use crate::stored_payloads::Away;

/// Workers are at work again so soon after the database answers.
const RESUMED_WITHIN: Duration = Duration::from_secs(5);

/// No connection that was cut or silent keeps the next request that needs one for longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// We give a statement up after 17 s.
const LONGER_THAN_A_STATEMENT: Duration = Duration::from_secs(20);

/// In a full run this one of the faults lasts so long.
const FROZEN_FOR_LONG: u32 = 99;

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

/// How long it takes until a request that reads the database is answered.
async fn until_answered(app: &TestApp) -> Duration {
    let begun = Instant::now();
    eventually("answered from the database", || async {
        let answer = app.http.get(app.api("/v1/deliveries?limit=1")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
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
    let database = &proxies.database;
    // Not as fast as it is answered: the door takes no notice, and a worker that is cut off all the time could not follow.
    let mut load = Load::steady(&app, "load", app.webhook_url(), 100);
    let mut slowest = Duration::ZERO;
    for cut in 0..cuts {
        load.more(200, 5).await;
        let (before, unheard) = (database.cuts(), database.commits_unheard());
        if cut % 10 == 9 {
            // A host that vanishes: nothing is closed.
            database.freeze();
            let silent = if cut == FROZEN_FOR_LONG { LONGER_THAN_A_STATEMENT } else { up_to(&mut dice, 1_500) };
            tokio::time::sleep(silent).await;
        } else if cut % 2 == 0 {
            database.cut_after(u32::try_from(dice.up_to(60_000)).unwrap());
            eventually("something was cut", || async { database.cuts() > before }).await;
            tokio::time::sleep(up_to(&mut dice, 150)).await;
        } else {
            let heard = u32::try_from(dice.up_to(Proxy::COMMITTED_BYTES)).unwrap();
            database.cut_before_commits_are_heard(heard);
            eventually("a commit was not heard of", || async { database.commits_unheard() > unheard }).await;
            tokio::time::sleep(up_to(&mut dice, 150)).await;
        }
        database.open();
        slowest = slowest.max(until_answered(&app).await);
    }
    let (all, unheard) = (database.cuts(), database.commits_unheard());
    println!("{cuts} faults: {all} connections were cut, {unheard} of them had committed and did not hear of it");
    println!("answered from the database {slowest:?} after the end of a fault at most");
    assert!(unheard > 0, "no answer to a COMMIT was lost");
    assert!(slowest <= ANSWERED_WITHIN, "{slowest:?}");
    load.stop().await;
    let begun = Instant::now();
    load.check(&app).await;
    println!(
        "{:?} were accepted; what waited was worked off, and is exact, {:?} later",
        load.statuses(),
        begun.elapsed()
    );
    assert_eq!(app.metric("landfall_dead_letters").await, 0.0);
    app.end().await;
}

fn up_to(dice: &mut Dice, milliseconds: u64) -> Duration {
    Duration::from_millis(dice.up_to(milliseconds))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_a_full_volume_of_the_database_stops_work_and_not_the_door() {
    let Some(volume) = Volume::mount(64, "postgres", "F16: a full volume of the database") else { return };
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

/// Longer than a lease of what is tried again.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_outlasts_a_lease_counts_as_nobodys_death() {
    let folder = tempfile::tempdir().unwrap();
    let payloads = folder.path().join("payloads");
    let options = Options::default().processes(&["receive,work,api", "work,api"]).through_proxies(true, true);
    let options = options.set("LANDFALL_PAYLOADS_URL", payloads.display().to_string());
    let options = options.set("LANDFALL_PAYLOADS_INLINE_MAX", "4KiB").set("LANDFALL_BACKFILL_DAYS", "0");
    let mut app = TestApp::start_with(Engine::Cluster, options).await;
    let proxies = app.proxies.take().unwrap();
    until_processed(&app, "before").await;
    app.poison().await;
    let mut body = terra_says::activity(terra_says::user("terra-ann", Some("ann")), POISON, 5.0);
    body["data"][0]["metadata"]["name"] = serde_json::json!("long ".repeat(2_000));
    assert_eq!(app.send(&body, &[("x-terra-trace-id", "held")]).await, 200);
    let row = || async { app.all("/v1/deliveries?trace_id=held").await.pop() };
    let attempts = || async { row().await.map_or(0, |row| row["attempts"].as_u64().unwrap()) };
    eventually("it is refused", || async { row().await.is_some_and(|row| row["outcome"] == "retry") }).await;

    // Whoever takes it next holds it, for its body cannot be had.
    let away = Away::take(payloads);
    app.mend().await;
    let before = attempts().await;
    eventually("somebody holds it", || async { attempts().await == before + 1 }).await;
    proxies.database.close();
    tokio::time::sleep(LONGER_THAN_A_LEASE).await;
    proxies.database.open();
    for name in ["after", "and again", "and once more"] {
        until_processed(&app, name).await;
    }
    assert_eq!(attempts().await, before + 1, "its holder lives");
    away.back();
    within(Duration::from_secs(30), "it takes effect", || async {
        row().await.is_some_and(|row| row["outcome"] == "processed")
    })
    .await;
    assert_eq!(attempts().await, before + 1, "in the try of that holder");
    app.end().await;
}
