//! Requests as only an attacker or a broken proxy sends them: framing that two readers may read in two ways, other
//! methods and paths, bodies that lie about their size, crowds that send nothing, and text that is meant for a terminal.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Engine, Options, SECRET, TestApp, now_seconds, terra_says};

crate::on_every_engine!(
    no_second_request_is_smuggled_in_a_first,
    other_methods_paths_and_encodings_are_never_accepted,
    a_body_that_lies_about_its_size_is_cut_and_its_memory_comes_back,
    a_thousand_silent_connections_keep_nobody_out,
    b9_heads_and_bodies_that_stall_are_cut_within_five_seconds,
    unfinished_bodies_keep_no_other_webhook_out,
    hostile_text_breaks_no_log_and_no_row,
);

pub(crate) fn activity(summary_id: &str) -> String {
    terra_says::activity(terra_says::user("terra-ann", Some("ann")), summary_id, 5_000.0).to_string()
}

/// A whole request that would be accepted if it were taken for one.
pub(crate) fn genuine(body: &str) -> String {
    format!(
        "POST /webhooks/terra HTTP/1.1\r\nhost: x\r\nx-terra-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
        simulator::sign(SECRET, now_seconds(), body.as_bytes()),
        body.len()
    )
}

/// Sends raw bytes, and reads until the other side closes.
pub(crate) fn exchange(addr: SocketAddr, request: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A refusal may come before everything is written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let closed = match stream.read_to_end(&mut answer) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    (String::from_utf8_lossy(&answer).into_owned(), closed)
}

/// How the framing of a request may be given twice, wrongly, or so that it is overlooked. In each the reader in front
/// may take what follows the first body for the body's rest, or for a request.
pub(crate) const FRAMINGS: [(&str, &str); 30] = [
    ("length and chunks", "content-length: 5\r\ntransfer-encoding: chunked\r\n"),
    ("chunks and length", "transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
    ("two lengths", "content-length: 5\r\ncontent-length: 6\r\n"),
    ("two equal lengths", "content-length: 5\r\ncontent-length: 5\r\n"),
    ("a list of lengths", "content-length: 5, 6\r\n"),
    ("a list of equal lengths", "content-length: 5, 5\r\n"),
    ("a signed length", "content-length: +5\r\n"),
    ("a length below zero", "content-length: -5\r\n"),
    ("a length in hex", "content-length: 0x5\r\n"),
    ("a length with a fraction", "content-length: 5.0\r\n"),
    ("a length with a unit", "content-length: 5b\r\n"),
    ("an empty length", "content-length: \r\n"),
    ("a length of 2^64", "content-length: 18446744073709551616\r\n"),
    ("a space in a length", "content-length: 5 5\r\n"),
    ("a space before the colon", "content-length : 5\r\n"),
    ("a tab before the colon", "content-length\t: 5\r\n"),
    ("a space before the name", "x: y\r\n content-length: 5\r\n"),
    ("a folded length", "content-length:\r\n 5\r\n"),
    ("a null byte in a name", "content\0-length: 5\r\n"),
    ("an unknown coding", "transfer-encoding: xchunked\r\n"),
    ("a coding before chunks", "transfer-encoding: cow, chunked\r\ncontent-length: 5\r\n"),
    ("chunks before a coding", "transfer-encoding: chunked, identity\r\n"),
    ("chunks twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n"),
    ("chunks and identity", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
    ("quoted chunks", "transfer-encoding: \"chunked\"\r\n"),
    ("a vertical tab before chunks", "transfer-encoding: \x0bchunked\r\n"),
    ("a space before chunks' colon", "transfer-encoding : chunked\r\n"),
    ("folded chunks", "transfer-encoding:\r\n chunked\r\n"),
    ("a bare carriage return", "x: y\rtransfer-encoding: chunked\r\ncontent-length: 5\r\n"),
    ("two hosts", "host: y\r\ncontent-length: 5\r\n"),
];

async fn no_second_request_is_smuggled_in_a_first(engine: Engine) {
    let app = TestApp::start(engine).await;
    let public = app.public;
    let checking = tokio::task::spawn_blocking(move || {
        let mut wrong = Vec::new();
        for (number, (name, framing)) in FRAMINGS.into_iter().enumerate() {
            let signature = simulator::sign(SECRET, now_seconds(), b"0\r\n\r\n");
            let head = format!("POST /webhooks/terra HTTP/1.1\r\nhost: x\r\nx-terra-signature: {signature}\r\n");
            let hidden = genuine(&activity(&format!("smuggled-{number}")));
            // Five bytes are a whole body, or the end of chunks: either way what follows may look like a request.
            let (answer, closed) = exchange(public, format!("{head}{framing}\r\n0\r\n\r\n{hidden}").as_bytes());
            let answers = answer.matches("HTTP/1.1 ").count();
            if !answer.starts_with("HTTP/1.1 400") || answers != 1 || !closed {
                wrong.push(format!("{name}: {answers} answers, closed: {closed}, {:?}", answer.lines().next()));
            }
        }
        wrong
    });
    let wrong = checking.await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The same, one after the other and well framed, are two requests: the test would see what gets in.
    let (first, second) = (genuine(&activity("plain-1")), genuine(&activity("plain-2")));
    let two = first + &second.replacen("host: x", "host: x\r\nconnection: close", 1);
    let (answer, _) = tokio::task::spawn_blocking(move || exchange(public, two.as_bytes())).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    app.quiet().await;
    assert_eq!(app.all("/v1/deliveries").await.len(), 2, "nothing but what was sent openly");
    app.end().await;
}

async fn other_methods_paths_and_encodings_are_never_accepted(engine: Engine) {
    let app = TestApp::start(engine).await;
    let body = activity("run-1");
    let signature = || simulator::sign(SECRET, now_seconds(), body.as_bytes());
    let send = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = app.http.request(method, format!("http://{}{path}", app.public));
        request = request.header("x-terra-signature", signature()).body(body.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "post"] {
        let status = send(method, "/webhooks/terra", &[]).await;
        assert!(matches!(status, 404 | 405), "{method}: {status}");
    }
    for path in [
        "/",
        "/webhooks",
        "/webhooks/",
        "/webhooks/terra/",
        "/webhooks/terra/default/",
        "/webhooks//terra",
        "/WEBHOOKS/TERRA",
        "/webhooks/terra;x=1",
        "/webhooks/terra%00",
        "/v1/deliveries",
        "/metrics",
        "/readyz",
    ] {
        let status = send("POST", path, &[]).await;
        assert!(matches!(status, 404 | 405), "{path}: {status}");
    }
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, identity"] {
        assert_eq!(send("POST", "/webhooks/terra", &[("content-encoding", encoding)]).await, 415, "{encoding}");
    }
    assert_eq!(app.all("/v1/deliveries").await.len(), 0);
    // What kind of content it claims to be is not looked at.
    for (number, content_type) in ["text/plain", "application/json", "multipart/form-data", "?"].iter().enumerate() {
        let headers = [("content-type", *content_type), ("x-terra-trace-id", &format!("t{number}"))];
        assert_eq!(send("POST", "/webhooks/terra", &headers).await, 200, "{content_type}");
    }
    let expecting =
        genuine(&activity("expected")).replacen("host: x", "host: x\r\nconnection: close\r\nexpect: 100-continue", 1);
    let public = app.public;
    let (answer, _) = tokio::task::spawn_blocking(move || exchange(public, expecting.as_bytes())).await.unwrap();
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
    app.end().await;
}

async fn a_body_that_lies_about_its_size_is_cut_and_its_memory_comes_back(engine: Engine) {
    let options = Options::default().set("LANDFALL_MAX_BODY", "1MiB").set("LANDFALL_MAX_INFLIGHT_BYTES", "4MiB");
    let app = TestApp::start_with(engine, options).await;
    let public = app.public;
    let too_large = promising(&format!("content-length: {}\r\n", MIB + 1));
    let endless = {
        let chunk = format!("10000\r\n{}\r\n", "a".repeat(65_536));
        promising("transfer-encoding: chunked\r\n") + &chunk.repeat(24)
    };
    // More than the budget in all, so that a share which did not come back would be missed.
    let refused = tokio::task::spawn_blocking(move || {
        let mut answers = Vec::new();
        for _ in 0..8 {
            let started = Instant::now();
            answers.push((exchange(public, too_large.as_bytes()).0, started.elapsed()));
            answers.push((exchange(public, endless.as_bytes()).0, started.elapsed()));
        }
        answers
    });
    for (answer, took) in refused.await.unwrap() {
        // Where more is still being written when the connection closes, the answer may be lost on the way.
        assert!(answer.starts_with("HTTP/1.1 413") || answer.is_empty(), "{answer}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    // Announced and never sent: the connection ends, and so does its share.
    for _ in 0..16 {
        let announcing = promising(&format!("content-length: {MIB}\r\n"));
        let gone = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(public).unwrap();
            stream.write_all(announcing.as_bytes()).unwrap();
        });
        gone.await.unwrap();
    }
    let padding = "x".repeat(900_000);
    let large = |number: usize| {
        let mut body: Value = serde_json::from_str(&activity(&format!("large-{number}"))).unwrap();
        body["data"][0]["padding"] = json!(padding);
        body
    };
    for number in 0..6 {
        crate::harness::eventually("the budget is back", || async { app.send(&large(number), &[]).await == 200 }).await;
    }
    app.end().await;
}

async fn a_thousand_silent_connections_keep_nobody_out(engine: Engine) {
    const SILENT: usize = 1_000;
    let app = TestApp::start(engine).await;
    let public = app.public;
    let opened = Instant::now();
    let silent = join_all((0..SILENT).map(|number| async move {
        let mut stream = tokio::net::TcpStream::connect(public).await.unwrap();
        let beginning: &[u8] = if number % 2 == 0 { b"" } else { b"POST /webhooks/terra HTTP/1.1\r\nhost: x\r\nx-t" };
        stream.write_all(beginning).await.unwrap();
        stream
    }))
    .await;
    let mut slowest = Duration::ZERO;
    for number in 0..200 {
        let body = terra_says::activity(terra_says::user("terra-ann", Some("ann")), &format!("run-{number}"), 1.0);
        let started = Instant::now();
        assert_eq!(app.send(&body, &[]).await, 200);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let ended = join_all(silent.into_iter().map(|mut stream| async move {
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(30), reading).await.is_ok()
    }))
    .await;
    assert_eq!(ended.iter().filter(|ended| !**ended).count(), 0, "every one of them is cut");
    println!("the slowest of 200 took {slowest:?}; the last silent one was cut after {:?}", opened.elapsed());
    app.end().await;
}

/// The head of a request that could be genuine, before anybody has seen its body.
fn promising(framing: &str) -> String {
    let signature = simulator::sign(SECRET, now_seconds(), b"");
    format!("POST /webhooks/terra HTTP/1.1\r\nhost: x\r\nx-terra-signature: {signature}\r\n{framing}\r\n")
}

/// A connection on which no more is sent.
struct Stalled {
    stream: tokio::net::TcpStream,
    since: Instant,
}

/// Sends the bytes, and no more.
async fn beginning(addr: SocketAddr, bytes: &[u8]) -> Stalled {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    Stalled { stream, since: Instant::now() }
}

/// What the other side says until it closes, and after how long it does.
async fn cut(mut stalled: Stalled) -> (String, Duration) {
    let mut answer = Vec::new();
    let reading = stalled.stream.read_to_end(&mut answer);
    // A reset is also an end.
    let _ = tokio::time::timeout(Duration::from_secs(30), reading).await.expect("it is never cut");
    (String::from_utf8_lossy(&answer).into_owned(), stalled.since.elapsed())
}

const MIB: usize = 1_024 * 1_024;

async fn b9_heads_and_bodies_that_stall_are_cut_within_five_seconds(engine: Engine) {
    const EACH: usize = 250;
    let app = TestApp::start(engine).await;
    let public = app.public;
    let much = promising(&format!("content-length: {}\r\n", 60 * MIB)) + &"a".repeat(8 * MIB);
    let mut stalled = vec![("much of a body", cut(beginning(public, much.as_bytes()).await))];
    for _ in 0..EACH {
        for (name, begun) in [
            ("a head", "POST /webhooks/terra HTTP/1.1\r\nhost: x\r\nx-t".to_owned()),
            ("a body", promising("content-length: 100\r\n") + "abc"),
            ("no body", promising(&format!("content-length: {}\r\n", 60 * MIB))),
            ("a chunk", promising("transfer-encoding: chunked\r\n") + "ff\r\nabc"),
        ] {
            stalled.push((name, cut(beginning(public, begun.as_bytes()).await)));
        }
    }
    let (names, cuts): (Vec<&str>, Vec<_>) = stalled.into_iter().unzip();
    let genuine = async {
        let mut took = Vec::new();
        for number in 0..200 {
            let body = terra_says::activity(terra_says::user("terra-ann", Some("ann")), &format!("run-{number}"), 1.0);
            let started = Instant::now();
            assert_eq!(app.send(&body, &[]).await, 200);
            took.push(started.elapsed());
        }
        took.sort_unstable();
        took
    };
    // One that sends a byte now and then is no better.
    let dribbling = async {
        let mut sent = beginning(public, promising("content-length: 100\r\n").as_bytes()).await;
        while sent.stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        sent.since.elapsed()
    };
    let (cuts, took, dribbled) = tokio::join!(join_all(cuts), genuine, dribbling);
    let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);
    let latest = cuts.iter().map(|(_, after)| *after).max().unwrap();
    println!(
        "cut after {latest:?} at most, {dribbled:?} for the dribbling one; 200 genuine: {median:?}, {slowest:?} at most"
    );
    for (name, (answer, after)) in names.iter().zip(&cuts) {
        assert!(*after <= Duration::from_secs(5), "{name}: {after:?}");
        assert!(!answer.contains(" 200 "), "{name}: {answer}");
    }
    assert!(dribbled <= Duration::from_secs(5), "{dribbled:?}");
    assert!(median <= Duration::from_millis(50) && slowest <= Duration::from_secs(1), "{median:?} {slowest:?}");
    app.end().await;
}

async fn unfinished_bodies_keep_no_other_webhook_out(engine: Engine) {
    let options = Options::default().set("LANDFALL_MAX_BODY", "4MiB").set("LANDFALL_MAX_INFLIGHT_BYTES", "8MiB");
    let app = TestApp::start_with(engine, options).await;
    let public = app.public;
    // What is announced takes no memory, and none of what others may use.
    let announced = promising(&format!("content-length: {}\r\n", 4 * MIB));
    let announcing = join_all((0..16).map(|_| beginning(public, announced.as_bytes()))).await;
    let large = |number: u32| {
        let mut body: Value = serde_json::from_str(&activity(&format!("large-{number}"))).unwrap();
        body["data"][0]["padding"] = json!("x".repeat(3 * MIB));
        body
    };
    assert_eq!(app.send(&large(0), &[]).await, 200);
    drop(announcing);
    // What has arrived does; of the rest there is enough for what is no larger than usual.
    let begun = announced.clone() + &"a".repeat(4 * MIB - 1);
    let held = join_all((0..3).map(|_| beginning(public, begun.as_bytes()))).await;
    let mut refusals = Vec::new();
    for number in 1..=20 {
        let mut large = beginning(public, announced.as_bytes()).await;
        let mut answer = [0; 64];
        large.stream.read_exact(&mut answer).await.unwrap();
        refusals.push(large.since.elapsed());
        assert!(answer.starts_with(b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&answer));
        let small: Value = serde_json::from_str(&activity(&format!("small-{number}"))).unwrap();
        assert_eq!(app.send(&small, &[]).await, 200);
    }
    refusals.sort_unstable();
    println!("refused after {:?} in the middle, {:?} at most", refusals[10], refusals[19]);
    assert!(refusals[10] <= Duration::from_millis(100), "{refusals:?}");
    for (answer, _) in join_all(held.into_iter().map(cut)).await {
        assert!(
            answer.starts_with("HTTP/1.1 408") || answer.starts_with("HTTP/1.1 503") || answer.is_empty(),
            "{answer}"
        );
    }
    assert_eq!(app.send(&large(21), &[]).await, 200, "the budget is back");
    app.end().await;
}

/// What does something to a terminal, a log, a query or a page if anybody lets it through.
const HOSTILE: [&str; 10] = [
    "a\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}",
    "\u{1b}[2J\u{1b}[31mred\u{7}",
    "a\u{0}b",
    "'; DROP TABLE delivery; --",
    "<script>alert(1)</script>",
    "\u{202e}gnp.exe",
    "\u{feff}\u{200b}",
    "%s%n${jndi:ldap://x}",
    "../../../../etc/passwd",
    "\u{85}\u{2028}\u{2029}",
];

async fn hostile_text_breaks_no_log_and_no_row(engine: Engine) {
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_LOG", "debug")).await;
    let huge = "x".repeat(300_000);
    let mut sent = 0;
    for (number, text) in HOSTILE.into_iter().chain([huge.as_str()]).enumerate() {
        let everywhere = json!({
            "type": "activity", "version": text,
            "user": { "user_id": text, "provider": text, "reference_id": text, "scopes": text },
            "data": [{ "metadata": { "summary_id": text, "start_time": text, "end_time": text } }]
        });
        let of_ann = |kind: &str| {
            let mut body: Value = serde_json::from_str(&activity(text)).unwrap();
            body["type"] = json!(kind);
            body["user"]["provider"] = json!(text);
            body["data"][0]["device_data"] = json!({ "name": text });
            body
        };
        for (part, body) in [everywhere, of_ann("activity"), of_ann(text)].into_iter().enumerate() {
            assert_eq!(app.send(&body, &[("x-terra-trace-id", &format!("t{number}-{part}"))]).await, 200, "{text:?}");
            sent += 1;
        }
    }
    app.quiet().await;
    let deliveries = app.all("/v1/deliveries").await;
    assert_eq!(deliveries.len(), sent, "every one has its row");
    let log = app.logs();
    for line in log.lines().filter(|line| line.starts_with('{')) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_ne!(line["message"], "forged");
    }
    assert!(!log.contains(['\u{1b}', '\u{0}', '\u{7}']), "nothing for a terminal");
    // What people see of it is fit for a terminal as well.
    for delivery in deliveries {
        let text = delivery.to_string();
        assert!(!text.contains("\\u001b") && !text.contains("\\u0000"), "{text:.300}");
    }
    app.end().await;
}
