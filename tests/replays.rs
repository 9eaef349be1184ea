//! Replays from stored bytes: each delivery once per run, newer data kept, beside live traffic, and whatever stops one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::load::Load;
use crate::harness::poison::POISON;
use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, now, rounds, terra_says, within};

crate::on_every_engine!(
    many_are_replayed_twice_while_others_arrive,
    a_run_that_is_killed_half_way_finishes_exactly,
    another_worker_goes_on_where_one_was_killed,
    a_run_is_cancelled_and_started_again,
    deliveries_are_replayed_by_filter_and_time,
    payloads_that_are_lost_stop_a_run_after_a_few,
    a_bad_one_that_is_the_oldest_gives_way_to_the_others,
    what_a_clock_that_is_ahead_has_stamped_is_replayed_too,
);

/// Longer than a killed process holds its lease, and than a thousand take on a busy machine.
const IN_THE_END: Duration = Duration::from_secs(120);

fn activity(user: &str, summary_id: &str, metres: f64) -> Value {
    terra_says::activity(terra_says::user(&format!("terra-{user}"), Some(user)), summary_id, metres)
}

async fn send(app: &TestApp, body: &Value, trace_id: &str, ordering_ms: i64) {
    let ordering = ordering_ms.to_string();
    let headers = [("x-terra-trace-id", trace_id), ("x-terra-ordering-timestamp", ordering.as_str())];
    assert_eq!(app.send(body, &headers).await, 200);
}

async fn landfall(app: &TestApp, arguments: &[&str]) -> (i32, String) {
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    Process::run(arguments, &settings).await
}

fn path_of(run: &Value) -> String {
    format!("/v1/replays/{}", run["id"].as_str().unwrap())
}

async fn is_over(app: &TestApp, run: &Value) -> Value {
    within(IN_THE_END, "the replay is over", || async { !app.get(&path_of(run)).await["finished_at"].is_null() }).await;
    app.get(&path_of(run)).await
}

fn items(run: &Value) -> &Value {
    &run["progress"]["items"]
}

/// What was counted for the users of a test, by user.
async fn billed(app: &TestApp) -> BTreeMap<String, (u64, u64)> {
    let rows = app.all("/v1/stats/usage?by=connection").await;
    let of_ours = rows.into_iter().filter(|row| row["user"].as_str().is_some_and(|user| user.starts_with("person-")));
    let number = |value: &Value| value.as_u64().unwrap();
    of_ours
        .map(|row| (row["user"].as_str().unwrap().to_owned(), (number(&row["deliveries"]), number(&row["duplicates"]))))
        .collect()
}

async fn many_are_replayed_twice_while_others_arrive(engine: Engine) {
    const PEOPLE: usize = 10;
    let each = rounds(100, 1_000) as usize;
    // Every tenth comes in two versions.
    let all = PEOPLE * each * 11 / 10;
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    let person = |number: usize| format!("person-{}", number % PEOPLE);
    for number in 0..PEOPLE {
        let user = terra_says::user(&format!("terra-{}", person(number)), Some(&person(number)));
        assert_eq!(app.send(&terra_says::auth(user), &[("x-terra-trace-id", &person(number))]).await, 200);
    }
    app.quiet().await;
    let newest_ms = now().as_millisecond();
    // Every tenth activity comes in two versions; the newer one must stay.
    let numbers: Vec<usize> = (0..PEOPLE * each).collect();
    for some in numbers.chunks(20) {
        join_all(some.iter().map(|number| {
            let (app, person) = (&app, person(*number));
            async move {
                let (key, trace_id) = (format!("s{number}"), format!("trace-{number}"));
                send(app, &activity(&person, &key, 1.0), &trace_id, newest_ms - 60_000).await;
                if number % 10 == 0 {
                    send(app, &activity(&person, &key, 2.0), &format!("{trace_id}-newer"), newest_ms).await;
                }
            }
        }))
        .await;
    }
    app.quiet().await;
    let to = now().to_string();
    let (billed_before, history) = (billed(&app).await, app.all("/v1/auth-events").await.len());
    let told = app.events().await.len();

    let mut load = Load::start(&app);
    load.more(200, 20).await;
    // While the first run works, newer versions of some of its activities arrive.
    let overtaken: Vec<usize> = numbers.iter().copied().filter(|number| number % 7 == 0).collect();
    for turn in 0..2 {
        let run = ["replay", "--type", "activity", "--to", &to, "--rate", "2000", "--yes", "-o", "json"];
        let overtake = async {
            for number in overtaken.iter().filter(|_| turn == 0) {
                let body = activity(&person(*number), &format!("s{number}"), 3.0);
                send(&app, &body, &format!("trace-{number}-newest"), newest_ms + 60_000).await;
            }
        };
        let ((code, said), ()) = tokio::join!(landfall(&app, &run), overtake);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(&format!("{all} deliveries of {PEOPLE} Terra users")), "{said}");
        assert!(said.contains(&format!("({all} activity): 0 would change something, {all} nothing")), "{said}");
        assert!(
            said.contains(&format!("Done: {all} of {all} replayed: 0 changed something, {all} nothing.")),
            "{said}"
        );
        load.more(200, 20).await;
    }
    load.stop().await;
    load.check(&app).await;

    let mut billed_since = billed_before;
    for number in &overtaken {
        billed_since.get_mut(&person(*number)).unwrap().0 += 1;
    }
    assert_eq!(billed(&app).await, billed_since, "Terra sent nothing for the replays");
    assert_eq!(app.all("/v1/auth-events").await.len(), history);
    let later = app.events().await.split_off(told);
    let of_ours = |event: &&Value| event["data"]["key"].as_str().is_some_and(|key| !key.starts_with("load-"));
    let ours: Vec<&Value> = later.iter().filter(of_ours).collect();
    assert_eq!(ours.len(), overtaken.len(), "of the replays nothing is told, because nothing changed");
    assert!(ours.iter().all(|event| event["data"]["origin"] == "live"));
    let mut kept: BTreeMap<String, f64> = BTreeMap::new();
    for number in 0..PEOPLE {
        for row in app.all(&format!("/v1/users/{}/activities", person(number))).await {
            kept.insert(row["summary_id"].as_str().unwrap().to_owned(), row["distance_meters"].as_f64().unwrap());
        }
    }
    let newest = |number: &usize| match (number % 7, number % 10) {
        (0, _) => 3.0,
        (_, 0) => 2.0,
        (_, _) => 1.0,
    };
    let expected: BTreeMap<String, f64> = numbers.iter().map(|number| (format!("s{number}"), newest(number))).collect();
    assert_eq!(kept, expected, "the newest versions stay");
    let runs = app.all("/v1/replays").await;
    assert_eq!(runs.len(), 2);
    for run in runs {
        let audited = app.all(&format!("/v1/audit?subject={}", run["id"].as_str().unwrap())).await;
        let actions: Vec<&str> = audited.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["replay.done", "replay.start", "replay.create"]);
        assert!(audited.iter().all(|entry| entry["actor"] == "local"));
    }
    let last = app.all("/v1/replays").await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(app.all(&format!("/v1/deliveries?replay={last}")).await.len(), all);
    app.end().await;
}

const DEAD: u64 = 60;

fn dead_at_once() -> Options {
    Options::default().set("LANDFALL_DELIVERY_ATTEMPTS", "1").set("LANDFALL_BACKFILL_DAYS", "0")
}

/// Dead letters whose cause is mended, and a replay of them that takes some seconds and has begun.
async fn half_way(app: &TestApp) -> Value {
    assert_eq!(app.send(&terra_says::auth(terra_says::user("terra-ann", Some("ann"))), &[]).await, 200);
    app.quiet().await;
    app.poison().await;
    for number in 0..DEAD {
        let key = format!("{POISON}-{number}");
        send(app, &activity("ann", &key, 1.0), &key, now().as_millisecond()).await;
    }
    eventually("all are dead", || async { app.all("/v1/dead-letters").await.len() as u64 == DEAD }).await;
    app.mend().await;
    let (status, run) = app.post("/v1/dead-letters/replay", json!({ "rate": 10 })).await;
    assert_eq!(status, 202, "{run}");
    eventually("some are done", || async {
        items(&app.get(&path_of(&run)).await)["changed"].as_u64().unwrap() >= DEAD / 10
    })
    .await;
    run
}

/// Every dead letter took effect, was told and was counted once, whoever worked it.
async fn check_each_once(app: &TestApp, run: &Value) {
    let done = is_over(app, run).await;
    assert_eq!((&done["state"], &items(&done)["changed"]), (&json!("done"), &json!(DEAD)), "{done}");
    assert_eq!(items(&done)["unchanged"], 0, "none was worked twice: {done}");
    assert!(app.all("/v1/dead-letters").await.is_empty());
    eventually("everything is told", || async { app.get("/v1/stats").await["outbox_pending"] == 0 }).await;
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    for event in app.events().await.iter().filter(|event| event["type"] == "landfall.activity.upserted.v1") {
        assert_eq!(event["data"]["origin"], "replay");
        *told.entry(event["data"]["key"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!((told.len() as u64, told.values().all(|count| *count == 1)), (DEAD, true), "{told:?}");
    assert_eq!(app.all("/v1/users/ann/activities").await.len() as u64, DEAD);
    let usage = app.get("/v1/stats").await["usage"].clone();
    assert_eq!(usage["deliveries"], DEAD + 1, "{usage}");
}

async fn a_run_that_is_killed_half_way_finishes_exactly(engine: Engine) {
    let mut app = TestApp::start_with(engine, dead_at_once()).await;
    let run = half_way(&app).await;
    app.processes[0].kill();
    app.start_again().await;
    let half = app.get(&path_of(&run)).await;
    assert_eq!(half["state"], "running", "{half}");
    assert!(items(&half)["pending"].as_u64().unwrap() > 0, "killed too late: {half}");
    check_each_once(&app, &run).await;
    app.quiet().await;
    app.end().await;
}

async fn another_worker_goes_on_where_one_was_killed(engine: Engine) {
    if engine == Engine::Embedded {
        return;
    }
    let options = dead_at_once().processes(&["receive,api", "work", "work"]);
    let mut app = TestApp::start_with(engine, options).await;
    let run = half_way(&app).await;
    let mut holder = None;
    for (at, process) in app.processes.iter().enumerate() {
        let url = format!("http://{}/metrics", process.internal);
        let metrics = app.http.get(url).send().await.unwrap().text().await.unwrap();
        let worked =
            metrics.lines().find_map(|line| line.strip_prefix("landfall_replayed_total{outcome=\"applied\"} "));
        if worked.is_some_and(|worked| worked != "0") {
            assert_eq!(holder.replace(at), None, "one works at a time");
        }
    }
    let mut killed = app.processes.remove(holder.unwrap());
    killed.kill();
    let half = app.get(&path_of(&run)).await;
    assert!(items(&half)["pending"].as_u64().unwrap() > 0, "killed too late: {half}");
    check_each_once(&app, &run).await;
    app.end().await;
}

async fn a_run_is_cancelled_and_started_again(engine: Engine) {
    const ALL: u64 = 80;
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_REPLAY_RATE", "10")).await;
    for number in 0..ALL {
        let key = format!("s{number}");
        send(&app, &activity("ann", &key, 1.0), &key, now().as_millisecond()).await;
    }
    app.quiet().await;
    let (status, run) = app.post("/v1/replays", json!({ "type": "activity", "dry_run": true })).await;
    assert_eq!((status, &run["rate"]), (202, &json!(10)), "{run}");
    eventually("it is counted", || async { app.get(&path_of(&run)).await["state"] == "previewed" }).await;
    let previewed = app.get(&path_of(&run)).await;
    assert_eq!((&previewed["progress"]["deliveries"], &items(&previewed)["pending"]), (&json!(ALL), &json!(ALL)));
    assert_eq!(previewed["progress"]["predicted"]["nothing"], ALL);
    let own = |run: &Value| [run["progress"]["until"].clone(), run["progress"]["in_hand"].clone()];
    assert_eq!(own(&previewed), [Value::Null, Value::Null], "what is noted down to go on is nobody else's");
    assert_eq!(app.post(&format!("{}/start", path_of(&run)), json!({})).await.0, 200);
    eventually("some are done", || async {
        items(&app.get(&path_of(&run)).await)["unchanged"].as_u64().unwrap() >= ALL / 10
    })
    .await;
    let (code, said) = landfall(&app, &["replay", "--cancel", run["id"].as_str().unwrap()]).await;
    assert_eq!(code, 0, "{said}");
    let (status, problem) = app.post(&format!("{}/cancel", path_of(&run)), json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("replay_state")));
    // A batch that was under way ends; then nothing more happens. Another run tells that one step has passed.
    let (_, other) = app.post("/v1/replays", json!({ "trace_id": "s0" })).await;
    assert_eq!(is_over(&app, &other).await["state"], "done");
    let cancelled = app.get(&path_of(&run)).await;
    let left = items(&cancelled)["pending"].as_u64().unwrap();
    assert!(cancelled["state"] == "cancelled" && left > 0, "{cancelled}");
    let (_, other) = app.post("/v1/replays", json!({ "trace_id": "s1" })).await;
    assert_eq!(is_over(&app, &other).await["state"], "done");
    assert_eq!(items(&app.get(&path_of(&run)).await)["pending"], left);

    let id = run["id"].as_str().unwrap();
    assert_eq!(landfall(&app, &["replay", "--start", id]).await.0, 7, "nobody is there to ask");
    let (code, said) = landfall(&app, &["replay", "--start", id, "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Done: 80 of 80 replayed: 0 changed something, 80 nothing."), "{said}");
    let (status, problem) = app.post(&format!("{}/start", path_of(&run)), json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("replay_state")));
    let audited = app.all(&format!("/v1/audit?subject={id}")).await;
    let actions: Vec<&str> = audited.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["replay.done", "replay.start", "replay.cancel", "replay.start", "replay.create"]);
    app.end().await;
}

async fn deliveries_are_replayed_by_filter_and_time(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    let connect = |user: &str| terra_says::auth(terra_says::user(&format!("terra-{user}"), Some(user)));
    for user in ["ann", "bob"] {
        assert_eq!(app.send(&connect(user), &[("x-terra-trace-id", user)]).await, 200);
        let body = activity(user, "run", 1.0);
        send(&app, &body, &format!("run-{user}"), now().as_millisecond()).await;
    }
    assert_eq!(app.send(&json!({ "type": "activity", "data": [] }), &[("x-terra-trace-id", "nobody")]).await, 200);
    app.quiet().await;
    let between = now().to_string();
    send(&app, &activity("ann", "ride", 1.0), "ride-ann", now().as_millisecond()).await;
    app.quiet().await;
    let told = app.events().await.len();

    let replayed = async |filter: Value| {
        let (status, run) = app.post("/v1/replays", filter.clone()).await;
        assert_eq!(status, 202, "{filter}: {run}");
        let done = is_over(&app, &run).await;
        assert_eq!(done["state"], "done", "{filter}: {done}");
        let rows = app.all(&format!("/v1/deliveries?replay={}", run["id"].as_str().unwrap())).await;
        let mut traces: Vec<String> = rows.iter().map(|row| row["trace_id"].as_str().unwrap().to_owned()).collect();
        traces.sort();
        assert_eq!(done["progress"]["deliveries"], traces.len(), "{done}");
        traces
    };
    assert_eq!(replayed(json!({ "user": "ann", "to": between })).await, ["ann", "run-ann"]);
    assert_eq!(replayed(json!({ "from": between })).await, ["ride-ann"]);
    assert_eq!(replayed(json!({ "type": "auth" })).await, ["ann", "bob"]);
    assert_eq!(replayed(json!({ "terra_user_id": "terra-bob", "type": "activity" })).await, ["run-bob"]);
    assert_eq!(replayed(json!({ "class": "identity" })).await, ["nobody"]);
    assert_eq!(replayed(json!({ "provider": "OURA" })).await, [] as [&str; 0]);
    let ride = app.all("/v1/deliveries?trace_id=ride-ann").await.remove(0)["id"].clone();
    assert_eq!(replayed(json!({ "ids": [ride] })).await, ["ride-ann"]);
    let aside = app.all("/v1/deliveries?outcome=set_aside").await.remove(0);
    assert_eq!((&aside["reason"], &aside["class"]), (&json!("missing_user"), &json!("identity")));
    assert_eq!(app.events().await.len(), told, "all of it was known");
    assert_eq!(app.all("/v1/auth-events").await.len(), 2);
    app.end().await;
}

async fn payloads_that_are_lost_stop_a_run_after_a_few(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_PAYLOADS_INLINE_MAX", "64B")).await;
    for number in 0..5 {
        let key = format!("s{number}");
        send(&app, &activity("ann", &key, 1.0), &key, now().as_millisecond()).await;
    }
    app.quiet().await;
    let stored = std::path::Path::new(&app.settings["LANDFALL_DATA_DIR"]).join("payloads");
    let aside = stored.with_file_name("elsewhere");
    std::fs::rename(&stored, &aside).unwrap();
    let (code, said) = landfall(&app, &["replay", "--type", "activity", "--yes"]).await;
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("5 would fail again"), "a look tells: {said}");
    assert!(said.contains("Stopped: the first 3 failed again (payload_lost); 2 of 5 were not touched"), "{said}");
    let rows = app.all("/v1/deliveries?type=activity").await;
    assert!(rows.iter().all(|row| row["outcome"] == "processed"), "what took effect stays so: {rows:?}");
    let lost = app.http.get(app.api(&format!("/v1/deliveries/{}/payload", rows[0]["id"].as_str().unwrap())));
    assert_eq!(lost.send().await.unwrap().status().as_u16(), 410);
    std::fs::remove_dir_all(&stored).ok();
    std::fs::rename(&aside, &stored).unwrap();
    let id = app.all("/v1/replays").await[0]["id"].as_str().unwrap().to_owned();
    let (code, said) = landfall(&app, &["replay", "--start", &id, "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Done: 5 of 5 replayed: 0 changed something, 5 nothing."), "{said}");
    assert!(app.metric("landfall_replayed_total").await >= 8.0);
    app.end().await;
}

async fn what_a_clock_that_is_ahead_has_stamped_is_replayed_too(engine: Engine) {
    const DEAD: usize = 5;
    let ahead = dead_at_once().set("FAILPOINTS", "clock=return(120)");
    let mut app = TestApp::start_with(engine, ahead).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    app.poison().await;
    for number in 0..DEAD {
        let key = format!("{POISON}-{number}");
        send(&app, &activity("ann", &key, 1.0), &key, now().as_millisecond()).await;
    }
    eventually("all are dead", || async { app.all("/v1/dead-letters").await.len() == DEAD }).await;
    app.mend().await;
    app.end_process().await;
    app.settings.remove("FAILPOINTS");
    app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    let newest = app.all("/v1/dead-letters").await[0]["received_at"].as_str().unwrap().to_owned();
    assert!(newest > now().to_string(), "received at {newest}, which is past already");
    let (code, said) = landfall(&app, &["dead", "replay", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Done: 5 of 5 replayed: 5 changed something"), "{said}");
    assert!(app.all("/v1/dead-letters").await.is_empty());
    app.end().await;
}

async fn a_bad_one_that_is_the_oldest_gives_way_to_the_others(engine: Engine) {
    const GOOD: usize = 5;
    let mut app = TestApp::start_with(engine, dead_at_once().set("FAILPOINTS", "panicking=return")).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    app.poison().await;
    let bad = (0..2).map(|number| format!("{POISON}-{number}"));
    let names: Vec<String> = bad.chain((0..GOOD).map(|number| format!("panicking-{number}"))).collect();
    for key in &names {
        send(&app, &activity("ann", key, 1.0), key, now().as_millisecond()).await;
    }
    eventually("all are dead", || async { app.all("/v1/dead-letters").await.len() == names.len() }).await;
    app.end_process().await;
    // One of two causes is mended, and not that of the oldest.
    app.settings.remove("FAILPOINTS");
    app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    let (code, said) = landfall(&app, &["dead", "replay", "--yes"]).await;
    assert_eq!(code, 5, "two failed: {said}");
    assert!(said.contains("Done: 5 of 7 replayed: 5 changed something, 0 nothing, 2 failed."), "{said}");
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), GOOD);
    let (code, said) = landfall(&app, &["dead", "replay", "--yes"]).await;
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains("Stopped: the first 2 failed again (rejected:no_poison); 0 of 2 were not touched."),
        "{said}"
    );
    app.mend().await;
    let stopped = app.all("/v1/replays").await[0]["id"].as_str().unwrap().to_owned();
    let (code, said) = landfall(&app, &["replay", "--start", &stopped, "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Done: 2 of 2 replayed: 2 changed something, 0 nothing."), "{said}");
    app.end().await;
}
