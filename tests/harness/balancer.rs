//! A load balancer, as small as they come: asks every receiver whether it is ready, and spreads connections over those
//! that said so last. It repeats nothing: a connection to a receiver that is gone is a failed request.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Between two questions; real ones ask about as often.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What a byte takes from one side to the other: Terra is not on this machine. Without it a connection would be closed
/// under a request so seldom that no test noticed.
const DISTANCE: Duration = Duration::from_millis(20);
/// A port that nobody listens on: what is sent there has failed.
const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));
/// Reads of one side that may be on their way to the other.
const ON_THE_WAY: usize = 64;

/// Where a receiver takes webhooks, and where it says whether it is ready.
#[derive(Clone, Copy)]
pub struct Backend {
    pub public: SocketAddr,
    pub internal: SocketAddr,
}

pub struct Balancer {
    pub addr: SocketAddr,
    ready: Arc<Mutex<Vec<SocketAddr>>>,
    _end: DropGuard,
}

impl Balancer {
    pub async fn start(backends: Vec<Backend>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ready = Arc::<Mutex<Vec<SocketAddr>>>::default();
        let end = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(end.clone().run_until_cancelled_owned(ask(backends, ready.clone())));
        tasks.spawn(end.clone().run_until_cancelled_owned(spread(listener, ready.clone(), tasks.clone())));
        Balancer { addr, ready, _end: end.drop_guard() }
    }

    /// For a sender that is its own balancer: one after the other of those that said last that they were ready.
    pub fn choose(&self) -> impl Fn() -> SocketAddr + use<> {
        let (ready, turns) = (self.ready.clone(), AtomicUsize::new(0));
        move || choose(&ready, turns.fetch_add(1, Ordering::Relaxed)).unwrap_or(NOBODY)
    }

    pub fn is_ready(&self, public: SocketAddr) -> bool {
        self.ready.lock().unwrap().contains(&public)
    }
}

async fn ask(backends: Vec<Backend>, ready: Arc<Mutex<Vec<SocketAddr>>>) {
    let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().unwrap();
    loop {
        let mut found = Vec::new();
        for backend in &backends {
            let asking = http.get(format!("http://{}/readyz", backend.internal)).send();
            if asking.await.is_ok_and(|answer| answer.status().is_success()) {
                found.push(backend.public);
            }
        }
        *ready.lock().unwrap() = found;
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn spread(listener: TcpListener, ready: Arc<Mutex<Vec<SocketAddr>>>, tasks: TaskTracker) {
    for turn in 0_usize.. {
        let (client, _) = listener.accept().await.unwrap();
        let Some(chosen) = choose(&ready, turn) else { continue };
        tasks.spawn(async move {
            if let Ok(server) = TcpStream::connect(chosen).await {
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::join!(carry(from_client, to_server), carry(from_server, to_client));
            }
        });
    }
}

fn choose(ready: &Mutex<Vec<SocketAddr>>, turn: usize) -> Option<SocketAddr> {
    let ready = ready.lock().unwrap();
    (!ready.is_empty()).then(|| ready[turn % ready.len()])
}

/// Passes on what comes, and its end, each after the distance.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let (sender, mut coming) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let reading = async move {
        let mut buffer = vec![0; 64 * 1_024];
        while let Ok(length) = from.read(&mut buffer).await
            && length > 0
        {
            if sender.send((Instant::now() + DISTANCE, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
        // However it ends, the other side learns of it.
        sender.send((Instant::now() + DISTANCE, Vec::new())).await.ok();
    };
    let writing = async move {
        while let Some((due, bytes)) = coming.recv().await {
            tokio::time::sleep_until(due).await;
            if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::join!(reading, writing);
}
