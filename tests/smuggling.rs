//! Behind a proxy that decides by the path who may go where: what it does not see as a request must not become one.
//!
//! HAProxy lets through one path and refuses another, at which the hidden requests aim. Whether it reads them as requests
//! of their own, or refuses the whole, is its choice; that we and it disagree would be the smuggling.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::bad_requests::{FRAMINGS, activity, exchange, genuine};
use crate::harness::{Engine, Options, SECRET, TestApp, eventually, now_seconds};

/// Refused by the proxy; ours to the receiver.
const CLOSED: &str = "/webhooks/terra/default";
const OPEN: &str = "/webhooks/terra";

struct Proxy {
    child: Child,
    addr: SocketAddr,
}

impl Proxy {
    /// Keeps its connections to the receiver for whoever comes next, so that what is left over in one would be another's.
    async fn start(dir: &Path, receiver: SocketAddr) -> Self {
        let addr = free_addr();
        let config = format!(
            "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 1s\n  timeout http-request 1s\n  timeout http-keep-alive 200ms\n  timeout server 15s\n  \
             option http-keep-alive\n  http-reuse always\nfrontend front\n  bind {addr}\n  \
             http-request deny deny_status 403 unless {{ path {OPEN} }}\n  default_backend back\n\
             backend back\n  server receiver {receiver}\n"
        );
        let file = dir.join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy, which `cargo xtask test` installs");
        let proxy = Proxy { child, addr };
        eventually("the proxy listens", || async { tokio::net::TcpStream::connect(addr).await.is_ok() }).await;
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_addr() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The same request to the path that the proxy refuses.
fn closed(body: &str) -> String {
    genuine(body).replacen(OPEN, CLOSED, 1)
}

fn last(request: &str) -> String {
    request.replacen("host: x", "host: x\r\nconnection: close", 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_no_request_is_smuggled_past_its_rules() {
    let app = TestApp::start_with(Engine::Embedded, Options::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path(), app.public).await;
    let (front, receiver) = (proxy.addr, app.public);
    let sending = tokio::task::spawn_blocking(move || {
        // The test would see what gets in: the receiver takes the closed path, and the proxy keeps it closed.
        let (answer, _) = exchange(receiver, last(&closed(&activity("straight"))).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let two = genuine(&activity("in-front")) + &last(&closed(&activity("refused")));
        let (answer, _) = exchange(front, two.as_bytes());
        assert_eq!(
            (answer.matches("HTTP/1.1 200").count(), answer.matches("HTTP/1.1 403").count()),
            (1, 1),
            "{answer}"
        );
        let mut passed = 0;
        for (number, (name, framing)) in FRAMINGS.into_iter().enumerate() {
            let signature = simulator::sign(SECRET, now_seconds(), b"0\r\n\r\n");
            let head = format!("POST {OPEN} HTTP/1.1\r\nhost: x\r\nx-terra-signature: {signature}\r\n");
            let hidden = closed(&activity(&format!("smuggled-{number}")));
            let (answer, _) = exchange(front, format!("{head}{framing}\r\n0\r\n\r\n{hidden}").as_bytes());
            // The next one may come over the same connection to the receiver: its answer has to be its own.
            let next = || exchange(front, last(&genuine(&activity(&format!("next-{number}")))).as_bytes()).0;
            // After a framing that this proxy lets through the receiver closes a connection without having said so: the
            // 400 of actix-http 3.20 takes over the connection type of the request before (`h1/codec.rs`). A proxy
            // that is quick enough sends the next request into it, gets no answer, and says 502, as Terra sends again.
            let mut own = next();
            if own.starts_with("HTTP/1.1 502") {
                own = next();
            }
            assert!(own.starts_with("HTTP/1.1 200"), "after {name}: {own}");
            passed += usize::from(!answer.starts_with("HTTP/1.1 400"));
        }
        println!("{passed} of {} framings were more to the proxy than a bad request", FRAMINGS.len());
    });
    sending.await.unwrap();
    app.quiet().await;
    let mut kept: Vec<String> = app
        .all("/v1/users/ann/activities")
        .await
        .iter()
        .map(|activity| activity["summary_id"].as_str().unwrap().to_owned())
        .collect();
    kept.retain(|summary_id| !summary_id.starts_with("next-"));
    kept.sort_unstable();
    assert_eq!(kept, ["in-front", "straight"]);
    app.end().await;
}
