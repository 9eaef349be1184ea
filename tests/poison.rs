//! Deliveries that our own code cannot bear: they cost the others nothing, and are processed once the bug is mended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, rounds, terra_says, within};

crate::on_every_engine!(
    f26_one_in_a_hundred_that_panics_slows_nobody_and_a_replay_clears_it,
    one_in_a_hundred_that_ends_its_worker_is_isolated_and_a_replay_clears_it,
    a_replay_leaves_what_still_ends_its_process_and_goes_on,
);

const DELIVERIES: u32 = 2_000;
/// One in so many.
const BAD_ONE_IN: u32 = 100;
/// Enough for the middle of them to say something.
const ROUNDS_IN_FULL: u32 = 7;

fn run_of(summary_id: &str) -> Value {
    terra_says::activity(terra_says::user("terra-ann", Some("ann")), summary_id, 5_000.0)
}

/// Fills the queue while nobody works.
async fn fill(app: &mut TestApp, names: &[String]) {
    app.processes[0] = Process::serve("receive,api", &app.settings, false).await;
    let http = app.http.clone();
    let url = app.api("/readyz");
    eventually("ready", || async { http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) })
        .await;
    for some in names.chunks(50) {
        futures_util::future::join_all(some.iter().map(|id| {
            let app = &*app;
            async move { assert_eq!(app.send(&run_of(id), &[("x-terra-trace-id", id)]).await, 200) }
        }))
        .await;
    }
    app.end_process().await;
}

/// Fills the queue, then lets a worker at it: good deliveries a second.
async fn rate(app: &mut TestApp, round: u32, is_bad: impl Fn(u32) -> bool) -> f64 {
    let good = (0..DELIVERIES).filter(|number| !is_bad(*number)).count();
    let named = |number| format!("{}-{round}-{number}", if is_bad(number) { "panicking" } else { "good" });
    fill(app, &(0..DELIVERIES).map(named).collect::<Vec<_>>()).await;
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

/// Deliveries of an outcome; none if nobody answers just now.
async fn count(app: &TestApp, outcome: &str) -> Option<usize> {
    let (mut count, mut after) = (0, String::new());
    loop {
        let url = app.api(&format!("/v1/deliveries?outcome={outcome}&limit=1000{after}"));
        let page: Value = app.http.get(url).send().await.ok()?.json().await.ok()?;
        count += page["items"].as_array()?.len();
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Some(count),
        }
    }
}

/// What a supervisor does: starts whatever ended again at once, until so many deliveries are processed and so many are
/// dead. Answers how often it ended, and after how long the processed ones were.
async fn supervise(app: &mut TestApp, processed: usize, dead: usize) -> (u32, Duration) {
    let begun = Instant::now();
    let (mut deaths, mut took) = (0, None);
    app.processes[0] = Process::spawn(&["serve"], &app.settings);
    loop {
        if !app.processes[0].is_alive() {
            deaths += 1;
            app.processes[0] = Process::spawn(&["serve"], &app.settings);
        }
        let now = count(app, "processed").await;
        if took.is_none() && now == Some(processed) {
            took = Some(begun.elapsed());
        }
        if let Some(took) = took
            && count(app, "dead").await == Some(dead)
        {
            return (deaths, took);
        }
        assert!(begun.elapsed() < Duration::from_secs(rounds(240, 1_800).into()), "{deaths} deaths, and no end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn one_in_a_hundred_that_ends_its_worker_is_isolated_and_a_replay_clears_it(engine: Engine) {
    let mut app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    app.end_process().await;
    let deliveries = rounds(300, 2_000);
    let bad = deliveries / BAD_ONE_IN;
    let clean: Vec<String> = (0..deliveries).map(|number| format!("clean-{number}")).collect();
    fill(&mut app, &clean).await;
    let (deaths, clean) = supervise(&mut app, deliveries as usize, 0).await;
    assert_eq!(deaths, 0);
    app.end_process().await;

    app.settings.insert("FAILPOINTS".into(), "poison=return".into());
    let is_bad = |number: u32| number % BAD_ONE_IN == BAD_ONE_IN / 2;
    let named = |number| format!("{}-{number}", if is_bad(number) { "poison" } else { "good" });
    fill(&mut app, &(0..deliveries).map(named).collect::<Vec<_>>()).await;
    let good = deliveries - bad;
    let (deaths, took) = supervise(&mut app, (deliveries + good) as usize, bad as usize).await;
    let share = clean.as_secs_f64() / f64::from(deliveries) * f64::from(good) / took.as_secs_f64();
    println!(
        "{good} in {took:.1?} with {bad} that end their worker, {deaths} deaths: {:.1} % of the clean rate",
        share * 100.0
    );
    let dead = app.all("/v1/dead-letters").await;
    assert!(dead.iter().all(|row| row["reason"] == "crashed"), "{}", dead[0]);
    assert!(dead.iter().all(|row| row["trace_id"].as_str().unwrap().starts_with("poison-")), "{dead:?}");
    app.end_process().await;

    app.settings.remove("FAILPOINTS");
    app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    let (code, said) = Process::run(&["dead", "replay", "--yes", "--rate", "1000"], &settings).await;
    assert_eq!(code, 0, "{said}");
    app.quiet().await;
    assert!(app.all("/v1/dead-letters").await.is_empty(), "the bug is mended: {said}");
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), 2 * deliveries as usize);
    app.end().await;
}

/// Waits until a replay has stopped, and starts a process that ended again; answers the replay, and how often one ended.
async fn supervise_replay(app: &mut TestApp, run: &Value) -> (Value, u32) {
    let url = app.api(&format!("/v1/replays/{}", run["id"].as_str().unwrap()));
    let (begun, mut deaths) = (Instant::now(), 0);
    loop {
        if !app.processes[0].is_alive() {
            deaths += 1;
            app.processes[0] = Process::spawn(&["serve"], &app.settings);
        }
        if let Ok(answer) = app.http.get(&url).send().await {
            let run: Value = answer.json().await.unwrap_or_default();
            if run["state"] == "previewed" || run["finished_at"].is_string() {
                return (run, deaths);
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{deaths} deaths, and no end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_replay_leaves_what_still_ends_its_process_and_goes_on(engine: Engine) {
    const DEAD: usize = 30;
    let options = Options::default().set("LANDFALL_DELIVERY_ATTEMPTS", "1").set("LANDFALL_BACKFILL_DAYS", "0");
    let mut app = TestApp::start_with(engine, options.set("FAILPOINTS", "panicking=return")).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    for number in 0..DEAD {
        let id = if number == 0 { "panicking-poison".to_owned() } else { format!("panicking-{number}") };
        assert_eq!(app.send(&run_of(&id), &[("x-terra-trace-id", &id)]).await, 200);
    }
    eventually("all are dead", || async { count(&app, "dead").await == Some(DEAD) }).await;
    app.end_process().await;

    // One bug was mended, and the oldest meets another, which ends its process.
    app.settings.insert("FAILPOINTS".into(), "poison=return;replay_lease=return(1000)".into());
    let begun = Instant::now();
    app.processes[0] = Process::spawn(&["serve"], &app.settings);
    eventually("somebody answers", || async { count(&app, "dead").await == Some(DEAD) }).await;
    let replay = |dry_run: bool| json!({ "rate": 1_000, "dry_run": dry_run });
    let (status, run) = app.post("/v1/dead-letters/replay", replay(true)).await;
    assert_eq!(status, 202, "{run}");
    let (previewed, looking) = supervise_replay(&mut app, &run).await;
    let predicted = &previewed["progress"]["predicted"];
    assert_eq!((&predicted["change"], &predicted["unknown"]), (&json!(DEAD - 1), &json!(1)), "{previewed}");
    assert!(looking <= 3, "in company and twice alone: {looking}");
    assert_eq!(app.post(&format!("/v1/replays/{}/start", run["id"].as_str().unwrap()), json!({})).await.0, 200);
    let (done, working) = supervise_replay(&mut app, &run).await;
    let items = &done["progress"]["items"];
    assert_eq!((&done["state"], &items["changed"], &items["failed"]), (&json!("done"), &json!(DEAD - 1), &json!(1)));
    assert!(working <= 2, "it went alone, after the others: {working}");
    let left = app.all("/v1/dead-letters").await;
    assert_eq!((left.len(), &left[0]["reason"]), (1, &json!("crashed")), "{left:?}");

    // From now on it is known what it does: a look leaves it alone, and whoever insists loses no more than needed.
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    let (code, said) = Process::run(&["dead", "replay", "--dry-run"], &settings).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 unknown, because they ended their process before"), "{said}");
    assert!(app.processes[0].is_alive());
    let (_, run) = app.post("/v1/dead-letters/replay", replay(false)).await;
    let (stopped, insisting) = supervise_replay(&mut app, &run).await;
    assert_eq!((&stopped["state"], &stopped["reason"]), (&json!("failed"), &json!("crashed")), "{stopped}");
    assert!(insisting <= 2, "{insisting}");
    println!("{looking} + {working} + {insisting} deaths, {:.1?}", begun.elapsed());

    app.end_process().await;
    app.settings.remove("FAILPOINTS");
    app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    let (code, said) = Process::run(&["dead", "replay", "--yes"], &settings).await;
    assert_eq!(code, 0, "{said}");
    app.quiet().await;
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), DEAD, "each once");
    app.end().await;
}
