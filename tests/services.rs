//! What other services see: the event log over HTTP and RabbitMQ, and several processes that share the work.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Engine, SECRET, TestApp, now_seconds, terra_says};

crate::on_every_engine!(
    the_log_is_read_page_by_page,
    a_stream_goes_on_where_it_was_cut,
    a_reader_of_the_log_skips_nothing_while_two_thousand_deliveries_arrive,
);

/// How long a reader waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn positions(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["position"].as_i64().unwrap()).collect()
}

/// Senders of activities: each has a person, waits for each answer, and sends again what was not taken, as Terra would.
fn send_activities(app: &TestApp, senders: usize, each: usize) -> JoinSet<()> {
    let mut sending = JoinSet::new();
    for sender in 0..senders {
        let (http, url) = (app.http.clone(), app.webhook_url());
        sending.spawn(async move {
            let user = terra_says::user(&format!("terra-{sender}"), Some(&format!("person-{sender}")));
            for number in 0..each {
                let body =
                    terra_says::activity(user.clone(), &format!("s{sender}-{number}"), number as f64).to_string();
                let trace_id = format!("trace-{sender}-{number}");
                loop {
                    let signature = simulator::sign(SECRET, now_seconds(), body.as_bytes());
                    let request = http.post(&url).header("x-terra-signature", signature);
                    let request = request.header("x-terra-trace-id", &trace_id).body(body.clone());
                    match request.send().await.unwrap().status().as_u16() {
                        200 => break,
                        status => assert_eq!(status, 503),
                    }
                }
            }
        });
    }
    sending
}

async fn the_log_is_read_page_by_page(engine: Engine) {
    let app = TestApp::start(engine).await;
    send_activities(&app, 3, 15).join_all().await;
    app.quiet().await;
    let mut read = Vec::new();
    let mut after = 0;
    loop {
        let page = app.get(&format!("/v1/events?after={after}&limit=10")).await;
        let items = page["items"].as_array().unwrap().clone();
        if items.is_empty() {
            assert_eq!(page["next"], Value::Null);
            break;
        }
        assert!(items.len() <= 10);
        after = items.last().unwrap()["position"].as_i64().unwrap();
        if page["next"] != Value::Null {
            assert_eq!(text(&page["next"]), after.to_string(), "the cursor is a position");
        }
        read.extend(items);
    }
    assert_eq!(positions(&read), (1..=45).collect::<Vec<i64>>());
    assert_eq!(read, app.events().await);
    for event in &read {
        assert_eq!((text(&event["specversion"]), text(&event["source"])), ("1.0", "/terra/default"));
        assert_eq!(text(&event["type"]), "landfall.activity.upserted.v1");
        assert!(text(&event["subject"]).starts_with("person-") && event["id"].is_string() && event["time"].is_string());
        assert!(event["data"].get("distance_meters").is_none(), "no health values");
    }
    let bad = app.http.get(app.api("/v1/events?after=yesterday")).send().await.unwrap();
    assert_eq!(bad.status().as_u16(), 400);
    assert_eq!(bad.json::<Value>().await.unwrap()["code"], "bad_cursor");
    app.end().await;
}

/// Server-sent events, one by one.
struct Stream {
    answer: Response,
    buffer: String,
}

impl Stream {
    async fn open(app: &TestApp, last: Option<&str>) -> Self {
        let mut request = app.http.get(app.api("/v1/events/stream"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        Stream { answer, buffer: String::new() }
    }

    /// The next event: its id and its data. Comments and hints are passed over.
    async fn next(&mut self) -> (String, Value) {
        loop {
            while let Some(end) = self.buffer.find("\n\n") {
                let frame: String = self.buffer.drain(..end + 2).collect();
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                    let data: Value = serde_json::from_str(&data).unwrap();
                    assert_eq!(field("event: ").as_deref(), data["type"].as_str());
                    return (id, data);
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("an event in time").unwrap();
            self.buffer.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
        }
    }
}

async fn a_stream_goes_on_where_it_was_cut(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (senders, each) = (3, 40);
    let sending = send_activities(&app, senders, each);
    let total = senders * each;
    let mut read: Vec<Value> = Vec::new();
    let mut last: Option<String> = None;
    // Every reader is cut off after some events, while more are being made.
    for share in [1, 20, 50, total] {
        let mut stream = Stream::open(&app, last.as_deref()).await;
        while read.len() < share {
            let (id, event) = stream.next().await;
            assert_eq!(id, event["position"].to_string());
            read.push(event);
            last = Some(id);
        }
    }
    sending.join_all().await;
    app.quiet().await;
    assert_eq!(positions(&read), (1..=i64::try_from(total).unwrap()).collect::<Vec<i64>>());
    assert_eq!(read, app.events().await);

    let mut stream = Stream::open(&app, last.as_deref()).await;
    let user = terra_says::user("terra-0", Some("person-0"));
    assert_eq!(app.send(&terra_says::activity(user, "one-more", 1.0), &[]).await, 200);
    assert_eq!(stream.next().await.1["data"]["key"], "one-more", "what is new comes by itself");
    let bad = app.http.get(app.api("/v1/events/stream")).header("last-event-id", "x").send().await.unwrap();
    assert_eq!(bad.status().as_u16(), 400);
    drop(stream);
    app.end().await;
}

async fn a_reader_of_the_log_skips_nothing_while_two_thousand_deliveries_arrive(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (senders, each) = (8, 250);
    let sending = send_activities(&app, senders, each);
    let total = i64::try_from(senders * each).unwrap();
    let mut last = 0;
    let mut moved_at = std::time::Instant::now();
    while last < total {
        let page = app.get(&format!("/v1/events?after={last}&limit=100")).await;
        for position in positions(page["items"].as_array().unwrap()) {
            assert_eq!(position, last + 1, "a position was not there when its successor was");
            last = position;
            moved_at = std::time::Instant::now();
        }
        assert!(moved_at.elapsed() < PATIENCE, "nothing new after {last}");
    }
    sending.join_all().await;
    app.quiet().await;
    let events = app.events().await;
    assert_eq!(positions(&events), (1..=total).collect::<Vec<i64>>());
    let mut keys: Vec<&str> = events.iter().map(|event| text(&event["data"]["key"])).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), events.len(), "each record is told once");
    app.end().await;
}

#[cfg(feature = "services")]
mod cluster_only {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::SocketAddr;

    use futures_util::StreamExt;
    use lapin::message::Delivery;
    use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
    use lapin::types::{AMQPValue, FieldTable};
    use lapin::{Channel, Connection, ConnectionProperties, Consumer};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::harness::{Options, browser, eventually};

    /// What stands in front of several receivers: each connection goes to the next one.
    fn balance(listener: TcpListener, targets: Vec<SocketAddr>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut carried = JoinSet::new();
            let mut targets = targets.into_iter().cycle();
            while let Ok((mut client, _)) = listener.accept().await {
                let target = targets.next().unwrap();
                carried.spawn(async move {
                    let mut server = TcpStream::connect(target).await.unwrap();
                    // Either side may end it.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        tasks
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn six_processes_are_one_landfall() {
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front_url = format!("http://{}", front.local_addr().unwrap());
        let payloads = tempfile::tempdir().unwrap();
        let options = Options::default()
            .processes(&["receive", "receive", "work", "work", "api", "api"])
            .set("LANDFALL_PUBLIC_URL", &front_url)
            .set("LANDFALL_BACKFILL_DAYS", "28")
            .set("LANDFALL_PAYLOADS_URL", payloads.path().display().to_string());
        let app = TestApp::start_with(Engine::Cluster, options).await;
        let receivers: Vec<SocketAddr> = app.processes.iter().filter_map(|process| process.public).collect();
        assert_eq!(receivers.len(), 2);
        let _balancer = balance(front, receivers.clone());
        let apis = [app.processes[4].internal, app.processes[5].internal];
        app.terra.set_webhook_url(Some(format!("{front_url}/webhooks/terra")));

        // Somebody connects through the widget; the redirect comes to a receiver.
        let wish = json!({ "user": "ann", "success_url": "https://app.example/back" });
        let (status, session) = app.post("/v1/connect-sessions", wish).await;
        assert_eq!(status, 201, "{session}");
        let pick = browser::open(&app.http, text(&session["url"])).await;
        let consent = browser::submit(&app.http, &pick).await;
        let page = browser::submit(&app.http, &consent).await;
        assert_eq!(page.url.host_str(), Some(browser::APP_HOST), "{}", page.url);
        let read = |api: SocketAddr, path: String| {
            let request = app.http.get(format!("http://{api}{path}"));
            async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
        };
        let path = format!("/v1/connect-sessions/{}", text(&session["id"]));
        for api in apis {
            eventually("connected", || async { read(api, path.clone()).await["status"] == "connected" }).await;
        }

        // Deliveries come to both receivers, half of them twice and to the other one.
        let mut sending = JoinSet::new();
        for number in 0..60_usize {
            let (http, receivers) = (app.http.clone(), receivers.clone());
            sending.spawn(async move {
                let user = terra_says::user(&format!("terra-{}", number % 4), Some(&format!("person-{}", number % 4)));
                let body = terra_says::activity(user, &format!("s{number}"), 1.0).to_string();
                for copy in 0..=number % 2 {
                    let signature = simulator::sign(SECRET, now_seconds(), body.as_bytes());
                    let url = format!("http://{}/webhooks/terra", receivers[(number / 2 + copy) % 2]);
                    let request = http.post(url).header("x-terra-signature", signature);
                    let request = request.header("x-terra-trace-id", format!("trace-{number}"));
                    assert_eq!(request.body(body.clone()).send().await.unwrap().status().as_u16(), 200);
                }
            });
        }
        sending.join_all().await;
        eventually("history arrives", || async { !app.all("/v1/users/ann/activities").await.is_empty() }).await;
        eventually("all are told", || async {
            app.quiet().await;
            let events = app.events().await;
            events.iter().filter(|event| text(&event["subject"]).starts_with("person-")).count() >= 60
        })
        .await;
        eventually("every job is requested", || async {
            app.all("/v1/fetches").await.iter().all(|job| job["state"] == "requested")
        })
        .await;
        let jobs = app.all("/v1/fetches").await;
        let asked = app.terra_requests().await;
        let asked = asked.iter().filter(|request| text(&request["query"]).contains("to_webhook")).count();
        assert_eq!(asked, jobs.len(), "each job is one request, whoever made it");
        app.quiet().await;
        for user in ["ann", "person-0", "person-1", "person-2", "person-3"] {
            let path = format!("/v1/users/{user}/activities?limit=1000");
            let [one, other] = [read(apis[0], path.clone()).await, read(apis[1], path).await];
            assert_eq!(one, other, "both answer alike");
            let expected = if user == "ann" { 1.. } else { 15.. };
            assert!(expected.contains(&one["items"].as_array().unwrap().len()), "{user}");
        }
        let events = app.events().await;
        assert_eq!(positions(&events), (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<i64>>());
        let ids: BTreeSet<&str> = events.iter().map(|event| text(&event["id"])).collect();
        assert_eq!(ids.len(), events.len(), "each event once in the log");
        let mut told: BTreeMap<&str, u32> = BTreeMap::new();
        for event in events.iter().filter(|event| text(&event["subject"]).starts_with("person-")) {
            *told.entry(text(&event["data"]["key"])).or_default() += 1;
        }
        assert_eq!((told.len(), told.values().max()), (60, Some(&1)));
        let connected = events.iter().filter(|event| event["type"] == "landfall.connection.connected.v1").count();
        assert_eq!(connected, 1);
        app.end().await;
    }

    /// A service's own queue on our exchange.
    async fn subscribe(channel: &Channel, app: &TestApp, topic: &str) -> Consumer {
        let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
        let exchange = format!("{}.events", app.database.as_ref().unwrap().prefix);
        let (name, none) = (queue.name().clone(), FieldTable::default());
        channel
            .queue_bind(name.clone(), exchange.into(), topic.into(), QueueBindOptions::default(), none.clone())
            .await
            .unwrap();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        channel.basic_consume(name, "".into(), options, none).await.unwrap()
    }

    async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
            taken.push(next.unwrap_or_else(|_| panic!("{} of {count} came", taken.len())).unwrap().unwrap());
        }
        taken
    }

    fn header(delivery: &Delivery, name: &str) -> Option<String> {
        let value = delivery.properties.headers().as_ref()?.inner().get(&*format!("cloudEvents_{name}"))?;
        let number = if let AMQPValue::LongLongInt(number) = value { Some(number.to_string()) } else { None };
        value.as_long_string().map(ToString::to_string).or(number)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn services_get_every_event_from_the_exchange_in_the_order_of_the_log() {
        let app = TestApp::start(Engine::Cluster).await;
        let amqp_url = app.database.as_ref().unwrap().amqp_url.clone();
        let connection = Connection::connect(&amqp_url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let mut all = subscribe(&channel, &app, "#").await;
        let mut some = subscribe(&channel, &app, "activity.*.garmin").await;

        let ann = terra_says::user("terra-ann", Some("ann"));
        assert_eq!(app.send(&terra_says::auth(ann.clone()), &[]).await, 200);
        let mut bob = terra_says::user("terra-bob", Some("bob"));
        bob["provider"] = json!("FITBIT");
        for number in 0..20 {
            for user in [&ann, &bob] {
                let body = terra_says::activity(user.clone(), &format!("s{number}"), 1.0);
                assert_eq!(app.send(&body, &[]).await, 200);
            }
        }
        app.quiet().await;
        let log = app.events().await;
        assert_eq!(log.len(), 41, "a connect and forty activities");
        let delivered = take(&mut all, log.len()).await;
        for (delivery, event) in delivered.iter().zip(&log) {
            let properties = &delivery.properties;
            let plain = |text: &Option<lapin::types::ShortString>| text.as_ref().unwrap().to_string();
            assert_eq!(plain(properties.message_id()), text(&event["id"]));
            assert_eq!(plain(properties.kind()), text(&event["type"]));
            assert_eq!(plain(properties.app_id()), "landfall");
            assert_eq!(plain(properties.content_type()), "application/json");
            assert_eq!(*properties.delivery_mode(), Some(2));
            assert!(properties.timestamp().is_some());
            for name in ["id", "type", "source", "subject", "specversion"] {
                assert_eq!(header(delivery, name).as_deref(), event[name].as_str(), "{name}");
            }
            let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
            assert_eq!(time(&header(delivery, "time").unwrap()), time(text(&event["time"])));
            assert_eq!(header(delivery, "position"), Some(event["position"].to_string()), "in the order of the log");
            assert_eq!(serde_json::from_slice::<Value>(&delivery.data).unwrap(), event["data"]);
        }
        let connected =
            &delivered.iter().find(|delivery| header(delivery, "type").unwrap().contains("connected")).unwrap();
        assert_eq!(connected.routing_key.as_str(), "connection.connected.garmin");

        let of_garmin = take(&mut some, 20).await;
        assert!(of_garmin.iter().all(|delivery| delivery.routing_key.as_str() == "activity.upserted.garmin"));
        assert!(of_garmin.iter().all(|delivery| header(delivery, "subject").as_deref() == Some("ann")));
        // One more of each: what comes next was not preceded by something else.
        assert_eq!(app.send(&terra_says::activity(bob, "last", 1.0), &[]).await, 200);
        assert_eq!(app.send(&terra_says::activity(ann, "last", 1.0), &[]).await, 200);
        let next = take(&mut some, 1).await;
        assert_eq!(header(&next[0], "subject").as_deref(), Some("ann"));
        assert_eq!(serde_json::from_slice::<Value>(&next[0].data).unwrap()["key"], "last");
        connection.close(200, "done".into()).await.unwrap();
        app.end().await;
    }
}
