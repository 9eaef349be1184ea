//! Deliveries that our own code cannot bear: they cost the others nothing, and are processed once the bug is mended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, rounds, terra_says, within};

crate::on_every_engine!(f26_one_in_a_hundred_that_panics_slows_nobody_and_a_replay_clears_it);

const DELIVERIES: u32 = 2_000;
/// One in so many.
/// Enough for the middle of them to say something.
const ROUNDS_IN_FULL: u32 = 7;
const BAD_ONE_IN: u32 = 100;

fn run_of(summary_id: &str) -> Value {
    terra_says::activity(terra_says::user("terra-ann", Some("ann")), summary_id, 5_000.0)
}

/// Fills the queue while nobody works, then lets a worker at it: good deliveries a second.
async fn rate(app: &mut TestApp, round: u32, is_bad: impl Fn(u32) -> bool) -> f64 {
    let good = (0..DELIVERIES).filter(|number| !is_bad(*number)).count();
    app.processes[0] = Process::serve("receive,api", &app.settings, false).await;
    let http = app.http.clone();
    let url = app.api("/readyz");
    eventually("ready", || async { http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) })
        .await;
    let numbers: Vec<u32> = (0..DELIVERIES).collect();
    for some in numbers.chunks(50) {
        futures_util::future::join_all(some.iter().map(|number| {
            let name = if is_bad(*number) { "panicking" } else { "good" };
            let (app, id) = (&*app, format!("{name}-{round}-{number}"));
            async move { assert_eq!(app.send(&run_of(&id), &[("x-terra-trace-id", &id)]).await, 200) }
        }))
        .await;
    }
    app.end_process().await;
    app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    let processed = "landfall_deliveries_processed_total{type=\"activity\",outcome=\"processed\"}";
    eventually("the worker has begun", || async { app.metric(processed).await > 0.0 }).await;
    let (begun, before) = (Instant::now(), app.metric(processed).await);
    within(Duration::from_secs(120), "every good one is processed", || async {
        app.metric(processed).await >= good as f64
    })
    .await;
    let rate = (good as f64 - before) / begun.elapsed().as_secs_f64();
    app.quiet().await;
    app.end_process().await;
    rate
}

async fn f26_one_in_a_hundred_that_panics_slows_nobody_and_a_replay_clears_it(engine: Engine) {
    let options = Options::default().set("LANDFALL_DELIVERY_ATTEMPTS", "1").set("LANDFALL_BACKFILL_DAYS", "0");
    let mut app = TestApp::start_with(engine, options).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    app.end_process().await;
    app.settings.insert("FAILPOINTS".into(), "panicking=return".into());
    let mut ratios = Vec::new();
    let rounds = rounds(3, ROUNDS_IN_FULL);
    for round in 0..rounds {
        let clean = rate(&mut app, 2 * round, |_| false).await;
        let with_bad = rate(&mut app, 2 * round + 1, |number| number % BAD_ONE_IN == 0).await;
        println!("{clean:.0}/s clean, {with_bad:.0}/s with one in {BAD_ONE_IN} that panics");
        ratios.push(with_bad / clean);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("{:.0} % in the middle of {ratios:.2?}", median * 100.0);

    app.settings.remove("FAILPOINTS");
    app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    let bad = (rounds * DELIVERIES / BAD_ONE_IN) as usize;
    let dead = app.all("/v1/dead-letters").await;
    assert_eq!(dead.len(), bad, "all of them, and nothing else");
    assert!(dead.iter().all(|row| row["reason"] == "panicked"), "{}", dead[0]);
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    let (code, said) = Process::run(&["dead", "replay", "--yes", "--rate", "1000"], &settings).await;
    assert_eq!(code, 0, "{said}");
    assert!(app.all("/v1/dead-letters").await.is_empty(), "the bug is mended: {said}");
    app.quiet().await;
    let kept = app.all("/v1/users/ann/activities").await;
    assert_eq!(kept.len(), (2 * rounds * DELIVERIES) as usize);
    // On shared cores one of a few may be disturbed; of something that costs a tenth none would be as fast.
    let bound = if rounds == ROUNDS_IN_FULL { median } else { ratios.last().copied().unwrap_or_default() };
    assert!(bound >= 0.9, "{ratios:?}");
    app.end().await;
}
