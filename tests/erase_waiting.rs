//! A person is erased while much of theirs waits: in the queue, for another try, where the broker sets it aside, as a dead
//! letter, in the quarantine, in the payload store. Whoever works is away meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::contract::store::tables::{self, Tables, holding};
use crate::harness::poison::POISON;
use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually, now_seconds, terra_says, within};

crate::on_every_engine!(what_waits_anywhere_while_a_person_is_erased_is_gone_once_it_is_drained);

/// From the moment in which somebody works again.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// In every name and every text of hers.
const MARK: &str = "canary";
/// Who she is to the services, whom an event tells to erase her as well.
const ANN: &str = "canary-person";
const BOB: &str = "bob";

/// What no event says of her: whose id it is at Terra, and what her records are called.
const NEVER_TOLD: [&str; 3] = ["canary-person-at-terra", "of-canary-person", "canary-person at the lake"];

/// Deliveries of each that wait in the queue, twice.
const QUEUED: usize = 20;
/// That come once the erasure has begun.
const LATE: usize = 3;
const DROPPED: &str = "landfall_deliveries_processed_total{type=\"activity\",outcome=\"erased\"}";
const EVERYTHING: &str = "receive,work,api";
const OTHER_SECRET: &str = "a-secret-of-nobody-here";

fn user(person: &str) -> Value {
    terra_says::user(&format!("{person}-at-terra"), Some(person))
}

/// Its key begins with `what`; whose it is stands in it twice.
fn run_of(person: &str, what: &str) -> Value {
    let mut body = terra_says::activity(user(person), &format!("{what}-of-{person}"), 5.0);
    body["data"][0]["metadata"]["name"] = json!(format!("{person} at the lake"));
    body
}

async fn send(app: &TestApp, body: &Value) {
    assert_eq!(app.send(body, &[]).await, 200);
}

async fn send_of_both(app: &TestApp, what: &str) {
    for person in [ANN, BOB] {
        send(app, &run_of(person, what)).await;
    }
}

/// Ends the process and starts it again on its ports, as somebody else.
pub(crate) async fn become_one_of(app: &mut TestApp, roles: &str, attempts: &str) {
    app.end_process().await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    app.settings.insert("LANDFALL_DELIVERY_ATTEMPTS".into(), attempts.into());
    app.processes[0] = Process::serve(roles, &app.settings, false).await;
    let url = app.api("/readyz");
    eventually("ready again", || async {
        app.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}

async fn tables(app: &TestApp) -> Tables {
    match &app.database {
        #[cfg(feature = "services")]
        Some(database) => crate::contract::store::database::Client::connect(&database.url).await.tables().await,
        _ => tables::of_file(&Path::new(&app.settings["LANDFALL_DATA_DIR"]).join("landfall.db")),
    }
}

fn holds(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

/// Objects in the payload store in which the mark is.
fn marked_objects(app: &TestApp) -> usize {
    // One may go between the listing and the look.
    app.objects().iter().filter(|path| std::fs::read(path).is_ok_and(|bytes| holds(&bytes, MARK))).count()
}

/// How many messages wait in each queue of the broker, and in how many of them the mark is. They stay.
#[cfg(feature = "services")]
async fn queues(app: &TestApp) -> BTreeMap<String, (usize, usize)> {
    use lapin::options::{BasicGetOptions, BasicNackOptions};

    let mut found = BTreeMap::new();
    let Some(database) = &app.database else { return found };
    let broker = lapin::Connection::connect(&database.amqp_url, lapin::ConnectionProperties::default()).await.unwrap();
    for queue in ["deliveries.auth", "deliveries.urgent", "deliveries.live", "deliveries.bulk", "dead"] {
        let channel = broker.create_channel().await.unwrap();
        let name = format!("{}.{queue}", database.prefix);
        let mut messages = Vec::new();
        while let Some(message) = channel.basic_get(name.clone().into(), BasicGetOptions::default()).await.unwrap() {
            messages.push(message);
        }
        let marked = messages.iter().filter(|message| holds(&message.data, MARK)).count();
        if !messages.is_empty() {
            found.insert(queue.to_owned(), (messages.len(), marked));
        }
        let back = BasicNackOptions { multiple: true, requeue: true };
        if let Some(last) = messages.last() {
            last.acker.nack(back).await.unwrap();
        }
    }
    found
}

#[cfg(not(feature = "services"))]
async fn queues(_: &TestApp) -> BTreeMap<String, (usize, usize)> {
    BTreeMap::new()
}

/// As if the one message of a lane had come back to the queue a hundred times.
#[cfg(feature = "services")]
async fn set_aside(app: &TestApp) {
    use lapin::options::{BasicGetOptions, BasicNackOptions};

    let Some(database) = &app.database else { return };
    let broker = lapin::Connection::connect(&database.amqp_url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = broker.create_channel().await.unwrap();
    let name = format!("{}.deliveries.live", database.prefix);
    let got = channel.basic_get(name.into(), BasicGetOptions::default()).await.unwrap().unwrap();
    got.acker.nack(BasicNackOptions { requeue: false, ..Default::default() }).await.unwrap();
}

#[cfg(not(feature = "services"))]
async fn set_aside(_: &TestApp) {}

/// Brings something of each to every place where it can wait, and leaves nobody who works.
async fn fill(app: &mut TestApp) {
    for person in [ANN, BOB] {
        send(app, &terra_says::auth(user(person))).await;
    }
    send_of_both(app, "kept").await;
    app.quiet().await;
    app.poison().await;
    send_of_both(app, &format!("{POISON}-dead")).await;
    eventually("one of each is dead", || async { app.all("/v1/dead-letters").await.len() == 2 }).await;
    become_one_of(app, EVERYTHING, "12").await;
    send_of_both(app, &format!("{POISON}-failing")).await;
    let failing = "/v1/deliveries?outcome=retry";
    eventually("one of each waits for another try", || async { app.all(failing).await.len() == 2 }).await;
    become_one_of(app, "receive,api", "12").await;
    app.mend().await;
    send(app, &run_of(ANN, "set-aside")).await;
    set_aside(app).await;
    for number in 0..QUEUED {
        send_of_both(app, &format!("queued-{number}")).await;
    }
    for person in [ANN, BOB] {
        let body = run_of(person, "forged").to_string();
        let signature = simulator::sign(OTHER_SECRET, now_seconds(), body.as_bytes());
        let request = app.http.post(app.webhook_url()).header("x-terra-signature", signature).body(body);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 401);
    }
    eventually("one of each is in the quarantine", || async { app.all("/v1/quarantine").await.len() == 2 }).await;
    assert_eq!(app.all(failing).await.len(), 2);
}

async fn what_waits_anywhere_while_a_person_is_erased_is_gone_once_it_is_drained(engine: Engine) {
    let options = Options::default()
        .set("LANDFALL_BACKFILL_DAYS", "0")
        .set("LANDFALL_PAYLOADS_INLINE_MAX", "64")
        .set("LANDFALL_DELIVERY_ATTEMPTS", "1");
    let mut app = TestApp::start_with(engine, options).await;
    fill(&mut app).await;
    let before = holding(&tables(&app).await, MARK);
    for table in ["delivery", "quarantine", "activity", "alias"] {
        assert!(before.contains_key(table), "nothing of hers was in {table}: {before:?}");
    }
    let objects = marked_objects(&app);
    assert!(objects >= QUEUED + 5, "what waits, what failed, and what is kept: {objects}");
    let waiting = queues(&app).await;
    if engine == Engine::Embedded {
        assert!(before["queue_job"] >= QUEUED, "{before:?}");
    } else {
        assert_eq!(waiting["dead"], (1, 1), "{waiting:?}");
        assert!(waiting["deliveries.live"].1 >= QUEUED, "{waiting:?}");
    }

    // Nobody has looked at these yet.
    for number in 0..QUEUED {
        send_of_both(&app, &format!("unseen-{number}")).await;
    }
    let (status, begun) = app.post("/v1/erasures", json!({ "user": ANN })).await;
    assert_eq!(status, 202, "{begun}");
    // Terra does not know yet.
    for number in 0..LATE {
        send(&app, &run_of(ANN, &format!("late-{number}"))).await;
    }
    let told: BTreeMap<String, usize> = [("event".to_owned(), 1)].into();
    // Connected, kept, dead, failing, set aside; and what waits.
    let sent_of_her = 5 + 2 * QUEUED + LATE;
    let back = Instant::now();
    become_one_of(&mut app, EVERYTHING, "12").await;
    let path = format!("/v1/erasures/{}", begun["id"].as_str().unwrap());
    within(GONE_WITHIN, "nothing of hers is left but the event that tells of it", || async {
        let of_bob = app.all("/v1/users/bob/activities").await.len();
        of_bob == 2 * QUEUED + 2
            && app.get(&path).await["state"] == "done"
            && marked_objects(&app) == 0
            && holding(&tables(&app).await, MARK) == told
    })
    .await;
    println!("{} objects and {before:?} of hers, {waiting:?}: gone after {:?}", objects, back.elapsed());
    app.quiet().await;
    // What was held before goes through the ledger, where the erasure itself finds it; the rest is dropped unseen.
    let dropped = app.all("/v1/deliveries?outcome=erased").await.len();
    let erased = usize::try_from(app.get(&path).await["erased"]["deliveries"].as_u64().unwrap()).unwrap();
    assert!(erased + dropped >= sent_of_her, "{erased} and {dropped} of {sent_of_her}");
    assert!(engine == Engine::Embedded || dropped >= QUEUED + LATE, "{dropped}");
    assert_eq!(app.metric(DROPPED).await, dropped as f64);
    send(&app, &run_of(ANN, "at last")).await;
    eventually("what comes afterwards is counted too", || async { app.metric(DROPPED).await == dropped as f64 + 1.0 })
        .await;
    eventually("and leaves nothing", || async { marked_objects(&app) == 0 }).await;
    assert_eq!(holding(&tables(&app).await, MARK), told);
    let left = [app.all("/v1/dead-letters").await.len(), app.all("/v1/quarantine").await.len()];
    assert_eq!(left, [1, 1], "bob's, which nobody asked to erase");
    let broker = queues(&app).await;
    assert!(broker.is_empty(), "{broker:?}");
    app.end_process().await;
    let broker = queues(&app).await;
    assert!(broker.is_empty(), "what a worker held came back: {broker:?}");
    let files = std::fs::read_dir(&app.settings["LANDFALL_DATA_DIR"]).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        let found: Vec<&&str> = NEVER_TOLD.iter().filter(|what| holds(&bytes, what)).collect();
        assert!(found.is_empty(), "what was deleted is still in {}: {found:?}", file.display());
    }
    app.start_again().await;
    app.end().await;
}
