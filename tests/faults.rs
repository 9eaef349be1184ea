//! What happens when something is taken away: the broker, the database, a binding, or the process itself by a signal.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::load::Load;
use crate::harness::{Engine, SECRET, TestApp, eventually, now_seconds, terra_says};

crate::on_every_engine!(
    sigterm_under_load_finishes_what_was_accepted,
    a_request_in_flight_is_answered_after_sigterm,
    a_second_signal_ends_at_once,
);

async fn readiness(app: &TestApp) -> u16 {
    app.http.get(app.api("/readyz")).send().await.map_or(0, |answer| answer.status().as_u16())
}

fn run_of(user: &str, summary_id: &str) -> Value {
    terra_says::activity(terra_says::user(&format!("terra-{user}"), Some(user)), summary_id, 5_000.0)
}

async fn sigterm_under_load_finishes_what_was_accepted(engine: Engine) {
    let mut app = TestApp::start(engine).await;
    let mut load = Load::start(&app);
    for _ in 0..3 {
        load.more(200, 50).await;
        app.end_process().await;
        app.start_again().await;
    }
    load.more(200, 50).await;
    load.stop().await;
    let statuses = load.statuses();
    assert!(statuses.keys().all(|status| matches!(status, 0 | 200 | 503)), "{statuses:?}");
    load.check(&app).await;
    app.end().await;
}

/// A webhook whose body is not all there yet.
struct Half {
    stream: TcpStream,
    rest: Vec<u8>,
}

async fn send_half(public: SocketAddr) -> Half {
    let body = run_of("ann", "in-flight").to_string().into_bytes();
    let signature = simulator::sign(SECRET, now_seconds(), &body);
    let mut stream = TcpStream::connect(public).await.unwrap();
    let head = format!(
        "POST /webhooks/terra HTTP/1.1\r\nhost: x\r\nx-terra-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..10]).await.unwrap();
    Half { stream, rest: body[10..].to_vec() }
}

async fn send_rest(mut half: Half) -> String {
    half.stream.write_all(&half.rest).await.unwrap();
    let mut answer = vec![0; 4_096];
    let length = half.stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// Sends the signal while a request is in flight, so that the process cannot have ended before it is looked at.
async fn signal_during_a_request(app: &TestApp, name: &str) -> Half {
    let half = send_half(app.public).await;
    // Answered on the same listener after it: the half was read.
    assert_eq!(app.send(&run_of("ann", "before"), &[]).await, 200);
    app.processes[0].signal(name);
    eventually("not ready after the signal", || async { readiness(app).await == 503 }).await;
    half
}

async fn a_request_in_flight_is_answered_after_sigterm(engine: Engine) {
    for name in ["TERM", "INT"] {
        let mut app = TestApp::start(engine).await;
        let half = signal_during_a_request(&app, name).await;
        let answer = send_rest(half).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(app.processes[0].wait().await, Some(0), "SIG{name}: {}", app.processes[0].log());
        app.start_again().await;
        // Not `quiet`: the broker may not have taken back yet what the ended process held.
        eventually("what was answered 200 is there", || async { app.all("/v1/users/ann/activities").await.len() == 2 })
            .await;
        app.quiet().await;
        app.end().await;
    }
}

async fn a_second_signal_ends_at_once(engine: Engine) {
    for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130)] {
        let mut app = TestApp::start(engine).await;
        let half = signal_during_a_request(&app, first).await;
        let signalled = Instant::now();
        app.processes[0].signal(second);
        assert_eq!(app.processes[0].wait().await, Some(code));
        assert!(signalled.elapsed() < Duration::from_secs(3), "{:?}", signalled.elapsed());
        drop(half);
        app.start_again().await;
        // Not `quiet`: the broker may not have taken back yet what the ended process held.
        eventually("what was answered 200 is there", || async { app.all("/v1/users/ann/activities").await.len() == 1 })
            .await;
        app.quiet().await;
        app.end().await;
    }
}

#[cfg(feature = "services")]
mod cut {
    use lapin::BasicProperties;
    use lapin::options::{BasicGetOptions, BasicNackOptions};
    use lapin::types::FieldTable;

    use super::*;
    use crate::harness::Options;
    use crate::harness::process::Process;
    use crate::harness::proxy::Proxies;

    async fn start(broker_is_open: bool, database_is_open: bool) -> (TestApp, Proxies) {
        let mut app = TestApp::start_with(
            Engine::Cluster,
            Options::default().through_proxies(broker_is_open, database_is_open).without_waiting(),
        )
        .await;
        let proxies = app.proxies.take().unwrap();
        if broker_is_open {
            eventually("ready", || async { readiness(&app).await == 200 }).await;
        }
        (app, proxies)
    }

    async fn has_activities(app: &TestApp, user: &str, count: usize) -> bool {
        let Ok(answer) = app.http.get(app.api(&format!("/v1/users/{user}/activities"))).send().await else {
            return false;
        };
        let is_good = answer.status().is_success();
        let page: Value = answer.json().await.unwrap();
        is_good && page["items"].as_array().is_some_and(|items| items.len() == count)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_broker_that_is_away_at_the_start_is_waited_for() {
        let (app, proxies) = start(false, true).await;
        let body = run_of("ann", "s1").to_string();
        let request = || {
            app.http
                .post(app.webhook_url())
                .header("x-terra-signature", simulator::sign(SECRET, now_seconds(), body.as_bytes()))
                .body(body.clone())
        };
        let answer = request().send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(readiness(&app).await, 503);
        assert_eq!(app.http.get(app.api("/livez")).send().await.unwrap().status().as_u16(), 200);
        eventually("it says what it waits for", || async {
            app.logs().contains("the broker is away") && app.logs().contains("is not reachable")
        })
        .await;
        proxies.broker.open();
        eventually("ready", || async { readiness(&app).await == 200 }).await;
        assert_eq!(request().send().await.unwrap().status().as_u16(), 200);
        eventually("worked off", || has_activities(&app, "ann", 1)).await;
        app.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_database_that_is_away_at_the_start_keeps_no_webhook_out() {
        let (app, proxies) = start(true, false).await;
        for number in 0..20 {
            assert_eq!(app.send(&run_of("ann", &format!("s{number}")), &[]).await, 200);
        }
        assert_eq!(readiness(&app).await, 200, "a receiver needs no database");
        eventually("it says what it waits for", || async { app.logs().contains("waiting for the database") }).await;
        let answer = app.http.get(app.api("/v1/connections")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 503, "the API needs it");
        proxies.database.open();
        eventually("worked off", || has_activities(&app, "ann", 20)).await;
        app.quiet().await;
        app.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_broker_that_is_cut_off_under_load_loses_and_doubles_nothing() {
        let (mut app, proxies) = start(true, true).await;
        let mut load = Load::start(&app);
        for _ in 0..4 {
            load.more(200, 50).await;
            proxies.broker.close();
            load.more(503, 5).await;
            proxies.broker.open();
        }
        load.more(200, 50).await;
        load.stop().await;
        let statuses = load.statuses();
        assert!(statuses.keys().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
        load.check(&app).await;
        assert!(app.processes[0].is_alive());
        assert_eq!(readiness(&app).await, 200);
        app.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_database_that_is_cut_off_under_load_is_not_noticed_at_the_door() {
        let (mut app, proxies) = start(true, true).await;
        let mut load = Load::start(&app);
        for _ in 0..4 {
            load.more(200, 50).await;
            proxies.database.close();
            load.more(200, 100).await;
            proxies.database.open();
        }
        load.stop().await;
        let statuses = load.statuses();
        assert!(statuses.keys().all(|status| *status == 200), "{statuses:?}");
        load.check(&app).await;
        assert_eq!(app.metric("landfall_dead_letters").await, 0.0, "an outage burns no attempts");
        assert!(app.processes[0].is_alive());
        app.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lane_without_its_binding_accepts_nothing() {
        let app = TestApp::start(Engine::Cluster).await;
        let database = app.database.as_ref().unwrap();
        let broker =
            lapin::Connection::connect(&database.amqp_url, lapin::ConnectionProperties::default()).await.unwrap();
        let channel = broker.create_channel().await.unwrap();
        let name = |suffix: &str| format!("{}.{suffix}", database.prefix).into();
        channel
            .queue_unbind(name("deliveries.live"), name("deliveries"), "live".into(), FieldTable::default())
            .await
            .unwrap();
        let connect = terra_says::auth(terra_says::user("terra-bob", Some("bob")));
        for round in 0..10 {
            // Many at once, in two lanes: a returned message must not be taken for another's confirm.
            let send = |number: u32| {
                let (app, connect) = (&app, &connect);
                async move {
                    let is_live = number.is_multiple_of(2);
                    let body = if is_live { run_of("ann", &format!("s{number}")) } else { connect.clone() };
                    (is_live, app.send(&body, &[("x-terra-trace-id", &format!("t{number}"))]).await)
                }
            };
            let answers = futures_util::future::join_all((0..20).map(|number| send(round * 100 + number))).await;
            for (is_live, status) in answers {
                assert_eq!(status, if is_live { 503 } else { 200 }, "live: {is_live}");
            }
        }
        assert!(app.metric("landfall_publish_failures_total{reason=\"unroutable\"}").await >= 100.0);
        let (code, said) = Process::run(&["topology", "apply"], &app.settings).await;
        assert_eq!(code, 0, "{said}");
        assert_eq!(app.send(&run_of("ann", "after"), &[]).await, 200);
        app.quiet().await;
        assert_eq!(app.all("/v1/users/ann/activities").await.len(), 1, "what was answered 503 was not kept");
        app.end().await;
    }

    /// Terra sends it again, as another delivery: without this each try would leave its body behind.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_large_body_that_no_queue_took_is_not_kept() {
        let payloads = tempfile::tempdir().unwrap();
        let options = Options::default()
            .through_proxies(true, true)
            .set("LANDFALL_PAYLOADS_URL", payloads.path().display().to_string());
        let app = TestApp::start_with(Engine::Cluster, options).await;
        let database = app.database.as_ref().unwrap();
        let broker =
            lapin::Connection::connect(&database.amqp_url, lapin::ConnectionProperties::default()).await.unwrap();
        let channel = broker.create_channel().await.unwrap();
        let name = |suffix: &str| format!("{}.{suffix}", database.prefix).into();
        let mut large = run_of("ann", "large");
        large["data"][0]["padding"] = "x".repeat(200_000).into();
        channel
            .queue_unbind(name("deliveries.live"), name("deliveries"), "live".into(), FieldTable::default())
            .await
            .unwrap();
        assert_eq!(app.send(&large, &[]).await, 503, "unroutable");
        assert_eq!(files(payloads.path()), 0);
        app.proxies.as_ref().unwrap().broker.close();
        eventually("the broker is away", || async { app.send(&run_of("ann", "small"), &[]).await == 503 }).await;
        assert_eq!(app.send(&large, &[]).await, 503, "away");
        assert_eq!(files(payloads.path()), 0);
        app.proxies.as_ref().unwrap().broker.open();
        let (code, said) = Process::run(&["topology", "apply"], &app.settings).await;
        assert_eq!(code, 0, "{said}");
        eventually("it is taken", || async { app.send(&large, &[]).await == 200 }).await;
        assert!(files(payloads.path()) > 0);
        app.end().await;
    }

    fn files(folder: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_the_broker_set_aside_is_processed_all_the_same() {
        let mut app = TestApp::start_with(Engine::Cluster, Options::default().processes(&["receive"])).await;
        assert_eq!(app.send(&run_of("ann", "set-aside"), &[]).await, 200);
        let database = app.database.as_ref().unwrap();
        let broker =
            lapin::Connection::connect(&database.amqp_url, lapin::ConnectionProperties::default()).await.unwrap();
        let channel = broker.create_channel().await.unwrap();
        let name = |suffix: &str| format!("{}.{suffix}", database.prefix).into();
        // As if it had come back to the queue a hundred times.
        let got = channel.basic_get(name("deliveries.live"), BasicGetOptions::default()).await.unwrap().unwrap();
        got.acker.nack(BasicNackOptions { requeue: false, ..Default::default() }).await.unwrap();
        channel
            .basic_publish("".into(), name("dead"), Default::default(), b"not ours", BasicProperties::default())
            .await
            .unwrap();
        let worker = Process::serve("work,api", &app.settings, false).await;
        app.internal = worker.internal;
        app.processes.push(worker);
        eventually("it is processed", || async { app.all("/v1/deliveries?outcome=processed").await.len() == 1 }).await;
        assert_eq!(app.all("/v1/users/ann/activities").await.len(), 1);
        eventually("what is not ours is told", || async { app.metric("landfall_queue_foreign_messages").await >= 1.0 })
            .await;
        app.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn serve_without_its_topology_says_what_makes_it_and_ends_with_6() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = crate::harness::bare_settings(dir.path());
        let database = crate::harness::database::Database::create(&mut settings).await;
        let (code, said) = Process::run(&["migrate", "up"], &settings).await;
        assert_eq!(code, 0, "{said}");
        let (code, said) = Process::run(&["serve"], &settings).await;
        assert_eq!(code, 6, "{said}");
        assert!(said.contains("landfall topology apply"), "{said}");
        database.drop_all().await;
    }
}
