//! Whose data it is: references resolved, unknown, and in doubt; connections that turn out to be one; lifecycles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::process::Process;
use crate::harness::{Engine, Options, SECRET, TestApp, eventually, now_seconds, terra_says, within};

crate::on_every_engine!(
    a_resolver_is_asked_whose_a_reference_is,
    a_reference_that_becomes_known_releases_what_waited_for_it,
    an_outage_of_the_resolver_is_not_an_unknown_reference,
    a_reference_that_nobody_knows_is_decided_by_hand,
    a_connection_without_reference_is_assigned_from_a_terminal,
    nobody_lists_what_another_person_may_own,
    a_dispute_ends_when_both_turn_out_to_be_one_person,
    a_merged_connection_leads_to_its_survivor_until_it_is_split,
    no_order_of_arrival_changes_the_end,
    every_change_of_a_connection_is_told_once,
);

const TOKEN: &str = "resolver-token";

/// An app's own directory of people, asked over HTTP.
struct Directory {
    url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// Percent-encoded reference → user.
    people: Mutex<BTreeMap<String, String>>,
    is_away: AtomicBool,
    asked: AtomicU64,
}

impl Directory {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/people/{{reference}}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        let answering = shared.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream, &answering).await;
            }
        });
        Directory { url, shared, _tasks: tasks }
    }

    fn options(&self) -> Options {
        Options::default()
            .set("LANDFALL_RESOLVER", "http")
            .set("LANDFALL_RESOLVER_HTTP_URL", &self.url)
            .set("LANDFALL_RESOLVER_HTTP_TOKEN", TOKEN)
    }

    fn knows(&self, reference: &str, user: &str) {
        self.shared.people.lock().unwrap().insert(reference.into(), user.into());
    }

    fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

async fn answer(mut stream: TcpStream, shared: &Shared) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let reference = head.split(' ').nth(1).unwrap().strip_prefix("/people/").unwrap();
    let user = shared.people.lock().unwrap().get(reference).cloned();
    let (status, body) = if !head.contains(&format!("Bearer {TOKEN}")) {
        ("401 Unauthorized", String::new())
    } else if shared.is_away.load(Ordering::SeqCst) {
        ("503 Service Unavailable", String::new())
    } else {
        match user {
            Some(user) => ("200 OK", json!({ "user": user }).to_string()),
            None => ("404 Not Found", String::new()),
        }
    };
    let text = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // Whoever asked may have gone.
    let _ = stream.write_all(text.as_bytes()).await;
}

async fn deliver(app: &TestApp, body: &Value) {
    assert_eq!(app.send(body, &[]).await, 200);
}

/// Delivers what Terra says it made at this time.
async fn deliver_at(app: &TestApp, body: &Value, ms: i64) {
    assert_eq!(app.send(body, &[("x-terra-ordering-timestamp", &ms.to_string())]).await, 200);
}

async fn connections_of(app: &TestApp, user: &str) -> Vec<Value> {
    app.all(&format!("/v1/users/{user}/connections")).await
}

async fn summaries_of(app: &TestApp, user: &str) -> BTreeSet<String> {
    let activities = app.all(&format!("/v1/users/{user}/activities")).await;
    activities.iter().map(|activity| activity["summary_id"].as_str().unwrap().to_owned()).collect()
}

/// The one connection that has this Terra user.
async fn connection_with(app: &TestApp, terra_user_id: &str) -> Value {
    let found = app.all(&format!("/v1/connections?terra_user_id={terra_user_id}")).await;
    assert_eq!(found.len(), 1, "connections of {terra_user_id}: {found:?}");
    found[0].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(events: &[Value], kind: &str) -> usize {
    let kind = format!("landfall.{kind}.v1");
    events.iter().filter(|event| event["type"] == kind.as_str()).count()
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

async fn put_user(app: &TestApp, connection: &str, user: &str) -> (u16, Value) {
    let url = app.api(&format!("/v1/connections/{connection}/user"));
    let answer = app.http.put(url).json(&json!({ "user": user })).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

/// Runs a command of the binary against the app; it must succeed. Its output.
async fn command(app: &TestApp, arguments: &[&str]) -> String {
    let settings = BTreeMap::from([("LANDFALL_URL".to_owned(), format!("http://{}", app.internal))]);
    let mut process = Process::spawn(arguments, &settings);
    assert_eq!(process.wait().await, Some(0), "landfall {arguments:?}:\n{}", process.log());
    process.log()
}

async fn a_resolver_is_asked_whose_a_reference_is(engine: Engine) {
    let directory = Directory::start().await;
    directory.knows("member%20ann%2F1", "ann");
    let app = TestApp::start_with(engine, directory.options()).await;
    let ann = terra_says::user("terra-ann", Some("member ann/1"));
    deliver(&app, &terra_says::auth(ann.clone())).await;
    deliver(&app, &terra_says::activity(ann.clone(), "run-1", 1_000.0)).await;
    eventually("the activity is hers", || async { summaries_of(&app, "ann").await == set(&["run-1"]) }).await;
    app.quiet().await;
    let connections = connections_of(&app, "ann").await;
    assert_eq!(connections.len(), 1);
    assert_eq!((text(&connections[0]["status"]), text(&connections[0]["reference_id"])), ("active", "member ann/1"));
    let events = app.events().await;
    assert_eq!((count(&events, "connection.connected"), count(&events, "activity.upserted")), (1, 1));
    assert!(events.iter().all(|event| event["subject"] == "ann"), "{events:?}");

    let asked = directory.asked();
    deliver(&app, &terra_says::activity(ann, "run-2", 1_000.0)).await;
    eventually("the next one too", || async { summaries_of(&app, "ann").await.len() == 2 }).await;
    assert_eq!(directory.asked(), asked, "what is known is not asked again");
    assert!(summaries_of(&app, "member%20ann%2F1").await.is_empty(), "the reference is not the user");
    app.end().await;
}

/// Kept and listed as unresolved, with events that wait.
async fn check_unresolved(app: &TestApp, terra_user_id: &str) {
    app.quiet().await;
    let unresolved = app.all("/v1/connections?status=unresolved").await;
    assert_eq!(unresolved.len(), 1, "{unresolved:?}");
    assert_eq!(unresolved[0]["terra_user_id"], terra_user_id);
    assert_eq!(unresolved[0]["user"], Value::Null);
    assert_eq!(app.events().await, Vec::<Value>::new(), "nothing is told of nobody");
    assert_eq!(app.get("/v1/stats").await["events_held"], 2, "the connect and the activity");
}

/// The person's now, and told under the person's name.
async fn check_released(app: &TestApp, user: &str) {
    eventually("the events go out", || async { app.events().await.len() >= 2 }).await;
    app.quiet().await;
    let events = app.events().await;
    assert_eq!((count(&events, "connection.connected"), count(&events, "activity.upserted")), (1, 1), "{events:?}");
    assert!(events.iter().all(|event| event["subject"] == user), "{events:?}");
    assert_eq!(summaries_of(app, user).await, set(&["run-1"]));
    assert_eq!(app.get("/v1/stats").await["events_held"], 0);
    assert!(app.all("/v1/connections?status=unresolved").await.is_empty());
    let connections = connections_of(app, user).await;
    assert_eq!(connections.len(), 1);
    assert_eq!(connections[0]["status"], "active");
}

async fn connect_and_run(app: &TestApp, user: Value) {
    deliver(app, &terra_says::auth(user.clone())).await;
    deliver(app, &terra_says::activity(user, "run-1", 1_000.0)).await;
}

async fn a_reference_that_becomes_known_releases_what_waited_for_it(engine: Engine) {
    let directory = Directory::start().await;
    let app = TestApp::start_with(engine, directory.options()).await;
    connect_and_run(&app, terra_says::user("terra-ann", Some("new-member"))).await;
    eventually("the resolver is asked", || async { directory.asked() > 0 }).await;
    check_unresolved(&app, "terra-ann").await;
    directory.knows("new-member", "ann");
    check_released(&app, "ann").await;
    app.end().await;
}

async fn an_outage_of_the_resolver_is_not_an_unknown_reference(engine: Engine) {
    let directory = Directory::start().await;
    directory.knows("member", "ann");
    directory.shared.is_away.store(true, Ordering::SeqCst);
    let app = TestApp::start_with(engine, directory.options()).await;
    connect_and_run(&app, terra_says::user("terra-ann", Some("member"))).await;
    eventually("the resolver was asked a few times", || async { directory.asked() >= 3 }).await;
    check_unresolved(&app, "terra-ann").await;
    assert!(app.logs().contains("the resolver is away"), "said to the operator");
    directory.shared.is_away.store(false, Ordering::SeqCst);
    // Three answers of "unknown" would be believed for twenty seconds.
    within(Duration::from_secs(15), "soon after the outage she is known", || async {
        !connections_of(&app, "ann").await.is_empty()
    })
    .await;
    check_released(&app, "ann").await;
    app.end().await;
}

async fn a_reference_that_nobody_knows_is_decided_by_hand(engine: Engine) {
    let directory = Directory::start().await;
    let app = TestApp::start_with(engine, directory.options()).await;
    connect_and_run(&app, terra_says::user("terra-ann", Some("no-member"))).await;
    eventually("the resolver is asked", || async { directory.asked() > 0 }).await;
    check_unresolved(&app, "terra-ann").await;
    let connection = connection_with(&app, "terra-ann").await;
    let (status, decided) = put_user(&app, text(&connection["id"]), "ann").await;
    assert_eq!(status, 200, "{decided}");
    assert_eq!((text(&decided["user"]), text(&decided["status"])), ("ann", "active"));
    check_released(&app, "ann").await;
    let (status, problem) = put_user(&app, "0197a5c2-0000-7000-8000-000000000000", "ann").await;
    assert_eq!((status, text(&problem["code"])), (404, "unknown_connection"));
    app.end().await;
}

async fn a_connection_without_reference_is_assigned_from_a_terminal(engine: Engine) {
    let app = TestApp::start(engine).await;
    connect_and_run(&app, terra_says::user("terra-ann", None)).await;
    check_unresolved(&app, "terra-ann").await;
    let listed = command(&app, &["connections", "list", "--status", "unresolved", "-o", "json"]).await;
    assert!(listed.contains("terra-ann"), "{listed}");
    let connection = connection_with(&app, "terra-ann").await;
    let id = text(&connection["id"]);
    command(&app, &["connections", "assign", id, "ann", "--dry-run"]).await;
    check_unresolved(&app, "terra-ann").await;
    command(&app, &["connections", "assign", id, "ann", "--yes"]).await;
    check_released(&app, "ann").await;
    app.end().await;
}

#[cfg(feature = "services")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_says_whose_a_reference_is() {
    use crate::harness::database::Database;

    // The app's own database, as its people are there.
    let own = Database::create(&mut BTreeMap::new()).await;
    own.execute(
        "CREATE TABLE member (reference text PRIMARY KEY, account text); INSERT INTO member VALUES ('member-7', 'ann')",
    )
    .await;
    let options = Options::default()
        .set("LANDFALL_RESOLVER", "sql")
        .set("LANDFALL_RESOLVER_SQL_URL", &own.url)
        .set("LANDFALL_RESOLVER_SQL_QUERY", "SELECT account FROM member WHERE reference = $1");
    let app = TestApp::start_with(Engine::Cluster, options).await;
    connect_and_run(&app, terra_says::user("terra-ann", Some("member-7"))).await;
    check_released(&app, "ann").await;

    deliver(&app, &terra_says::activity(terra_says::user("terra-bob", Some("member-8")), "ride-1", 1.0)).await;
    eventually("bob is unresolved", || async { app.all("/v1/connections?status=unresolved").await.len() == 1 }).await;
    own.execute("ALTER TABLE member RENAME TO away").await;
    eventually("an outage is noticed", || async { app.logs().contains("the resolver is away") }).await;
    own.execute("INSERT INTO away VALUES ('member-8', 'bob'); ALTER TABLE away RENAME TO member").await;
    eventually("bob is known", || async { summaries_of(&app, "bob").await == set(&["ride-1"]) }).await;
    assert_eq!(summaries_of(&app, "ann").await, set(&["run-1"]));
    app.end().await;
    own.drop_all().await;
}

/// Two people whom a re-authentication says to be one.
async fn dispute(app: &TestApp) {
    let start = (now_seconds() - 60) * 1_000;
    let (ann, bob) = (terra_says::user("terra-ann", Some("ann")), terra_says::user("terra-bob", Some("bob")));
    deliver_at(app, &terra_says::auth(ann.clone()), start).await;
    deliver_at(app, &terra_says::activity(ann.clone(), "hers", 1.0), start + 1_000).await;
    deliver_at(app, &terra_says::auth(bob.clone()), start + 2_000).await;
    deliver_at(app, &terra_says::activity(bob.clone(), "his", 2.0), start + 3_000).await;
    eventually("both are there", || async {
        app.quiet().await;
        !summaries_of(app, "ann").await.is_empty() && !summaries_of(app, "bob").await.is_empty()
    })
    .await;
    deliver_at(app, &terra_says::reauth(ann.clone(), bob.clone()), start + 4_000).await;
    eventually("both are disputed", || async { app.all("/v1/connections?status=disputed").await.len() == 2 }).await;
    let told = app.events().await.len();
    deliver_at(app, &terra_says::activity(ann, "hers-later", 3.0), start + 5_000).await;
    deliver_at(app, &terra_says::activity(bob, "his-later", 4.0), start + 6_000).await;
    eventually("events wait for a decision", || async { app.get("/v1/stats").await["events_held"] == 2 }).await;
    app.quiet().await;
    assert_eq!(app.events().await.len(), told, "nothing of either is told meanwhile");
    check_apart(app).await;
}

async fn check_apart(app: &TestApp) {
    let (hers, his) = (summaries_of(app, "ann").await, summaries_of(app, "bob").await);
    assert!(hers.iter().all(|summary| summary.starts_with("hers")), "ann lists {hers:?}");
    assert!(his.iter().all(|summary| summary.starts_with("his")), "bob lists {his:?}");
}

async fn nobody_lists_what_another_person_may_own(engine: Engine) {
    let app = TestApp::start(engine).await;
    dispute(&app).await;
    let connection = connection_with(&app, "terra-ann").await;
    command(&app, &["connections", "split", text(&connection["id"]), "--yes"]).await;
    eventually("the events go out", || async { count(&app.events().await, "activity.upserted") == 4 }).await;
    check_apart(&app).await;
    assert_eq!(summaries_of(&app, "ann").await, set(&["hers", "hers-later"]));
    assert_eq!(summaries_of(&app, "bob").await, set(&["his", "his-later"]));
    for (user, own) in [("ann", "terra-ann"), ("bob", "terra-bob")] {
        let connections = connections_of(&app, user).await;
        assert_eq!(connections.len(), 1);
        assert_eq!((text(&connections[0]["status"]), text(&connections[0]["terra_user_id"])), ("active", own));
    }
    for event in app.events().await.iter().filter(|event| event["type"] == "landfall.activity.upserted.v1") {
        let owner = if text(&event["data"]["terra_user_id"]) == "terra-ann" { "ann" } else { "bob" };
        assert_eq!(event["subject"], owner);
    }
    let (status, problem) = app.post(&format!("/v1/connections/{}/split", text(&connection["id"])), json!({})).await;
    assert_eq!((status, text(&problem["code"])), (409, "indivisible"));
    app.end().await;
}

async fn a_dispute_ends_when_both_turn_out_to_be_one_person(engine: Engine) {
    let app = TestApp::start(engine).await;
    dispute(&app).await;
    let connection = connection_with(&app, "terra-bob").await;
    command(&app, &["connections", "assign", text(&connection["id"]), "ann", "--yes"]).await;
    eventually("the events go out", || async { count(&app.events().await, "activity.upserted") == 4 }).await;
    assert_eq!(summaries_of(&app, "ann").await, set(&["hers", "hers-later", "his", "his-later"]));
    assert!(summaries_of(&app, "bob").await.is_empty());
    let connections = connections_of(&app, "ann").await;
    assert_eq!(connections.len(), 1);
    assert_eq!((text(&connections[0]["status"]), text(&connections[0]["terra_user_id"])), ("active", "terra-bob"));
    assert!(connections_of(&app, "bob").await.is_empty());
    app.end().await;
}

async fn a_merged_connection_leads_to_its_survivor_until_it_is_split(engine: Engine) {
    let app = TestApp::start(engine).await;
    let start = (now_seconds() - 60) * 1_000;
    let (old, new) = (terra_says::user("terra-old", Some("ann")), terra_says::user("terra-new", Some("ann")));
    deliver_at(&app, &terra_says::auth(old.clone()), start).await;
    deliver_at(&app, &terra_says::activity(old.clone(), "before", 1.0), start + 1_000).await;
    eventually("the first is there", || async { connections_of(&app, "ann").await.len() == 1 }).await;
    deliver_at(&app, &terra_says::auth(new.clone()), start + 2_000).await;
    deliver_at(&app, &terra_says::activity(new.clone(), "after", 2.0), start + 3_000).await;
    eventually("two connections", || async { connections_of(&app, "ann").await.len() == 2 }).await;
    let ids = [
        connection_with(&app, "terra-old").await["id"].clone(),
        connection_with(&app, "terra-new").await["id"].clone(),
    ];

    deliver_at(&app, &terra_says::reauth(old, new), start + 4_000).await;
    eventually("one connection", || async { connections_of(&app, "ann").await.len() == 1 }).await;
    app.quiet().await;
    let survivor = connections_of(&app, "ann").await[0].clone();
    assert_eq!(survivor["terra_user_id"], "terra-new");
    assert_eq!(survivor["aliases"].as_array().unwrap().len(), 2);
    let gone = if survivor["id"] == ids[0] { &ids[1] } else { &ids[0] };
    let moved = app.http.get(app.api(&format!("/v1/connections/{}", text(gone)))).send().await.unwrap();
    assert_eq!(moved.status().as_u16(), 308);
    assert_eq!(moved.headers()["location"].to_str().unwrap(), format!("/v1/connections/{}", text(&survivor["id"])));
    let moved = app.http.put(app.api(&format!("/v1/connections/{}/user", text(gone)))).json(&json!({ "user": "ann" }));
    assert_eq!(moved.send().await.unwrap().status().as_u16(), 308);
    let events = app.events().await;
    let merged: Vec<&Value> = events.iter().filter(|event| event["type"] == "landfall.connection.merged.v1").collect();
    assert_eq!(merged.len(), 1);
    assert_eq!((&merged[0]["data"]["connection"], &merged[0]["data"]["merged_connection"]), (&survivor["id"], gone));
    assert_eq!(summaries_of(&app, "ann").await, set(&["before", "after"]));

    command(&app, &["connections", "split", text(gone), "--yes"]).await;
    eventually("two connections again", || async { connections_of(&app, "ann").await.len() == 2 }).await;
    app.quiet().await;
    assert_eq!(count(&app.events().await, "connection.split"), 1);
    assert_eq!(app.get(&format!("/v1/connections/{}", text(gone))).await["id"], *gone);
    assert_eq!(summaries_of(&app, "ann").await, set(&["before", "after"]));
    app.end().await;
}

/// A small generator with its seed in the output: a failure can be run again.
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit as u64).unwrap()
    }
}

/// How the order of six events can be told.
#[derive(Debug, Clone, Copy)]
enum Stamps {
    Header,
    SignedTime,
    HalfAndHalf,
}

async fn no_order_of_arrival_changes_the_end(engine: Engine) {
    let seed = u64::from(std::process::id()) ^ now_seconds().unsigned_abs();
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let app = TestApp::start(engine).await;
    let mut arrivals = Vec::new();
    for number in 0..12 {
        let stamps = [Stamps::Header, Stamps::SignedTime, Stamps::HalfAndHalf][number % 3];
        let person = format!("person-{number}");
        let (old_id, new_id) = (format!("old-{number}"), format!("new-{number}"));
        let (old, new) = (terra_says::user(&old_id, Some(&person)), terra_says::user(&new_id, Some(&person)));
        let six = [
            terra_says::auth(old.clone()),
            terra_says::activity(old.clone(), &format!("old-run-{number}"), 1.0),
            terra_says::reauth(old.clone(), new.clone()),
            terra_says::auth(new.clone()),
            terra_says::activity(new, &format!("new-run-{number}"), 2.0),
            terra_says::deauth(old),
        ];
        let mut order: Vec<usize> = (0..9).map(|place| if place < 6 { place } else { dice.up_to(6) }).collect();
        for place in (1..order.len()).rev() {
            order.swap(place, dice.up_to(place + 1));
        }
        for event in &order {
            send_stamped(&app, &six[*event], *event, stamps).await;
        }
        arrivals.push(format!("{person}: {order:?} {stamps:?}"));
    }
    app.quiet().await;
    for (number, arrival) in arrivals.iter().enumerate() {
        let person = format!("person-{number}");
        let connections = connections_of(&app, &person).await;
        assert_eq!(connections.len(), 1, "{arrival}: {connections:?}");
        let connection = &connections[0];
        assert_eq!(
            (text(&connection["status"]), text(&connection["terra_user_id"])),
            ("active", &*format!("new-{number}")),
            "{arrival}"
        );
        let aliases: BTreeMap<&str, &str> = connection["aliases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alias| (text(&alias["terra_user_id"]), text(&alias["status"])))
            .collect();
        let (old_id, new_id) = (format!("old-{number}"), format!("new-{number}"));
        assert_eq!(aliases, BTreeMap::from([(&*old_id, "revoked"), (&*new_id, "active")]), "{arrival}");
        let runs = set(&[&format!("old-run-{number}"), &format!("new-run-{number}")]);
        assert_eq!(summaries_of(&app, &person).await, runs, "{arrival}");
        let told = app.events().await;
        let of_person: Vec<Value> = told.into_iter().filter(|event| event["subject"] == person.as_str()).collect();
        assert_eq!(count(&of_person, "activity.upserted"), 2, "{arrival}");
    }
    let events = app.events().await;
    let ids: BTreeSet<&str> = events.iter().map(|event| text(&event["id"])).collect();
    assert_eq!(ids.len(), events.len(), "no event twice");
    assert_eq!(app.all("/v1/connections").await.len(), 12);
    assert_eq!(app.all("/v1/auth-events").await.len(), 12 * 4, "each of the four lifecycle events once per person");
    app.end().await;
}

/// The place of an event in the true order is told by the header, or by the time in the signature.
async fn send_stamped(app: &TestApp, body: &Value, place: usize, stamps: Stamps) {
    let at = now_minute() + i64::try_from(place).unwrap();
    let body = body.to_string();
    let by_header = match stamps {
        Stamps::Header => true,
        Stamps::SignedTime => false,
        Stamps::HalfAndHalf => place.is_multiple_of(2),
    };
    // Fixed per event: signed at another second, the same bytes without a trace id would be another delivery.
    let signed_at = if by_header { now_minute() + 30 } else { at };
    let signature = simulator::sign(SECRET, signed_at, body.as_bytes());
    let mut request = app.http.post(app.webhook_url()).header("x-terra-signature", signature);
    if by_header {
        request = request.header("x-terra-ordering-timestamp", (at * 1_000).to_string());
    }
    assert_eq!(request.body(body).send().await.unwrap().status().as_u16(), 200);
}

/// A time that stays the same for the whole test and is not far from now.
fn now_minute() -> i64 {
    static AT: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    *AT.get_or_init(|| now_seconds() - 60)
}

async fn every_change_of_a_connection_is_told_once(engine: Engine) {
    let app = TestApp::start(engine).await;
    let start = (now_seconds() - 60) * 1_000;
    let ann = || terra_says::user("terra-ann", Some("ann"));
    let warning =
        |kind: &str, user: Value| json!({ "type": kind, "status": "warning", "user": user, "version": "2022-03-16" });
    let mut fewer_scopes = ann();
    fewer_scopes["scopes"] = json!("activity");
    let mut permission_change = warning("permission_change", fewer_scopes.clone());
    permission_change["scopes_removed"] = json!("sleep");
    let later = terra_says::activity(fewer_scopes.clone(), "run-3", 3.0);
    let story = [
        (terra_says::auth(ann()), "active", "connected"),
        (warning("connection_error", ann()), "degraded", "degraded"),
        (terra_says::activity(ann(), "run-1", 1.0), "active", "reconnected"),
        (permission_change, "active", "scopes_changed"),
        (warning("access_revoked", fewer_scopes.clone()), "revoked", "revoked"),
    ];
    for (place, (body, status, told)) in story.iter().enumerate() {
        let at = start + i64::try_from(place).unwrap() * 1_000;
        // One trace id: signed in another second, the same bytes without one would be another delivery.
        let (trace, order) = (format!("trace-{place}"), at.to_string());
        for _ in 0..2 {
            let headers = [("x-terra-trace-id", &*trace), ("x-terra-ordering-timestamp", &order)];
            assert_eq!(app.send(body, &headers).await, 200);
        }
        eventually(&format!("{status} after {}", body["type"]), || async {
            count(&app.events().await, &format!("connection.{told}")) == 1
                && connections_of(&app, "ann").await[0]["status"] == *status
        })
        .await;
    }
    app.quiet().await;
    let events = app.events().await;
    for (_, _, told) in &story {
        assert_eq!(count(&events, &format!("connection.{told}")), 1, "{told}");
    }
    let changed = events.iter().find(|event| event["type"] == "landfall.connection.scopes_changed.v1").unwrap();
    assert_eq!((&changed["data"]["removed"], &changed["data"]["added"]), (&json!(["sleep"]), &json!([])));
    assert_eq!(connections_of(&app, "ann").await[0]["scopes"], json!(["activity"]));
    let mut history: Vec<String> =
        app.all("/v1/auth-events?user=ann").await.iter().map(|event| text(&event["type"]).to_owned()).collect();
    history.sort();
    assert_eq!(history, ["access_revoked", "auth", "connection_error", "permission_change"]);

    // What was ended can begin again, and is told again.
    deliver_at(&app, &terra_says::auth(fewer_scopes), start + 10_000).await;
    eventually("connected again", || async { count(&app.events().await, "connection.reconnected") == 2 }).await;
    assert_eq!(connections_of(&app, "ann").await[0]["status"], "active");
    deliver_at(&app, &later, start + 11_000).await;
    deliver_at(&app, &terra_says::deauth(ann()), start + 12_000).await;
    eventually("ended by Terra", || async { count(&app.events().await, "connection.revoked") == 2 }).await;
    app.end().await;
}
