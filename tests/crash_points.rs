//! The process ends at named places, between any two steps that must not come apart; and a delivery ends whoever works it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::{Engine, TestApp, eventually, rounds, terra_says, within};

crate::on_every_engine!(
    a_crash_at_any_named_point_loses_and_doubles_nothing,
    a_delivery_that_ends_its_worker_is_isolated_and_its_neighbours_are_processed,
);

/// A process that serves reaches each of these within this.
const REACHED_WITHIN: Duration = Duration::from_secs(40);

/// What both engines have, then what one of them has.
const POINTS: [&str; 9] = [
    "after_hmac",
    "after_confirm_before_200",
    "consumer_received",
    "inbox_inserted",
    "before_commit",
    "after_commit_before_ack",
    "outbox_published_before_mark",
    "fetch_answered_before_tx",
    "fetch_committed_before_release",
];
const EMBEDDED_POINTS: [&str; 2] = ["group_written_not_synced", "group_synced_before_answer"];
const CLUSTER_POINTS: [&str; 2] = ["before_publish", "after_publish_before_confirm"];

async fn a_crash_at_any_named_point_loses_and_doubles_nothing(engine: Engine) {
    let mut app = TestApp::start(engine).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    assert_eq!(app.send(&terra_says::auth(terra_says::user("terra-ann", Some("ann"))), &[]).await, 200);
    eventually("ann is known", || async { app.all("/v1/users/ann/connections").await.len() == 1 }).await;
    let own = match engine {
        Engine::Embedded => EMBEDDED_POINTS,
        Engine::Cluster => CLUSTER_POINTS,
    };
    let mut load = Load::start(&app);
    let mut day = 0;
    for round in 0..u64::from(rounds(2, 20)) {
        for (index, point) in (0_u64..).zip(POINTS.iter().chain(&own)) {
            app.processes[0].kill();
            let mut settings = app.settings.clone();
            // Not always the first time that the place is reached.
            let passes = (round * 7 + index * 3) % 11;
            let passes = if point.starts_with("fetch") { 0 } else { passes };
            settings.insert("FAILPOINTS".into(), format!("{point}={passes}*off->return"));
            app.processes[0] = Process::spawn(&["serve"], &settings);
            let asking = app.http.clone();
            let asked = app.api("/v1/users/ann/fetches");
            let process = &mut app.processes[0];
            let started = std::time::Instant::now();
            while process.is_alive() {
                assert!(started.elapsed() < REACHED_WITHIN, "{point} was not reached:\n{}", process.log());
                if point.starts_with("fetch") {
                    day += 2;
                    let from = jiff::civil::date(2020, 1, 1).saturating_add(jiff::Span::new().days(day));
                    let wish = json!({ "types": ["sleep"], "from": from, "to": from.tomorrow().unwrap() });
                    // Nobody may be listening yet, or any more.
                    let _ = asking.post(&asked).json(&wish).send().await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    load.more(200, 50).await;
    load.stop().await;
    let aside = replay_who_was_there(&app, &load).await;
    println!("{aside} deliveries were alone in their worker at three ends in a row and were replayed");
    load.check(&app).await;
    let open = || async {
        let jobs = app.all("/v1/fetches?user=ann").await;
        jobs.into_iter().filter(|job| job["state"] == "queued").count()
    };
    within(Duration::from_secs(120), "every fetch job came to its end", || async { open().await == 0 }).await;
    app.end().await;
}

/// A delivery that was alone in its worker at three ends in a row looks like the cause of them and is a dead letter; once
/// the cause is mended an operator replays it. Answers how many there were.
async fn replay_who_was_there(app: &TestApp, load: &Load) -> usize {
    load.settled(app).await;
    let dead = app.all("/v1/dead-letters").await;
    assert!(dead.iter().all(|delivery| delivery["reason"] == "crashed"), "{dead:?}");
    if !dead.is_empty() {
        let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
        let (code, said) = Process::run(&["dead", "replay", "--yes", "--rate", "1000"], &settings).await;
        assert_eq!(code, 0, "{said}");
        assert!(app.all("/v1/dead-letters").await.is_empty(), "{said}");
    }
    dead.len()
}

fn run(user: &str, summary_id: &str) -> Value {
    terra_says::activity(terra_says::user(&format!("terra-{user}"), Some(user)), summary_id, 1.0)
}

async fn a_delivery_that_ends_its_worker_is_isolated_and_its_neighbours_are_processed(engine: Engine) {
    let mut app = TestApp::start(engine).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    app.processes[0].kill();
    app.settings.insert("FAILPOINTS".into(), "poison=return".into());
    app.processes[0] = Process::serve("receive,api", &app.settings, false).await;
    let url = app.api("/readyz");
    eventually("ready", || async { app.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) })
        .await;
    // All of them wait when the first worker comes.
    let neighbours: BTreeSet<String> = (0..50).map(|number| format!("run-{number:02}")).collect();
    for (index, summary_id) in neighbours.iter().enumerate() {
        if index == 25 {
            assert_eq!(app.send(&run("ann", "the-poison"), &[]).await, 200);
        }
        assert_eq!(app.send(&run("ann", summary_id), &[]).await, 200);
    }
    app.processes[0].terminate();
    app.processes[0].wait().await;
    let mut deaths = 0;
    loop {
        app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
        let is_over = async |app: &mut TestApp| {
            let started = std::time::Instant::now();
            loop {
                if !app.processes[0].is_alive() {
                    return false;
                }
                let answer = app.http.get(app.api("/v1/deliveries?outcome=dead")).send().await;
                let dead: Value = match answer {
                    Ok(answer) => answer.json().await.unwrap_or_default(),
                    Err(_) => Value::Null,
                };
                if dead["items"].as_array().is_some_and(|items| !items.is_empty()) {
                    return true;
                }
                assert!(started.elapsed() < Duration::from_secs(60), "neither dead nor settled");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if is_over(&mut app).await {
            break;
        }
        deaths += 1;
        assert!(deaths <= 5, "it goes on and on");
    }
    println!("{deaths} deaths");
    let dead = app.all("/v1/deliveries?outcome=dead").await;
    assert_eq!(dead.len(), 1, "only the poison: {dead:?}");
    assert_eq!(dead[0]["reason"], "crashed");
    app.quiet().await;
    let kept: BTreeSet<String> = app
        .all("/v1/users/ann/activities")
        .await
        .iter()
        .map(|activity| activity["summary_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kept, neighbours);
    app.end().await;
}
