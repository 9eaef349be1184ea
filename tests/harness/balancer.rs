//! A load balancer, as small as they come: asks every receiver whether it is ready, and spreads connections over those
//! that said so last. It repeats nothing: a connection to a receiver that is gone is a failed request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Between two questions; real ones ask about as often.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

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
        let (mut client, _) = listener.accept().await.unwrap();
        let chosen = {
            let ready = ready.lock().unwrap();
            (!ready.is_empty()).then(|| ready[turn % ready.len()])
        };
        let Some(chosen) = chosen else { continue };
        tasks.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(chosen).await {
                // However it ends, both sides learn of it.
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
            }
        });
    }
}
