//! A TCP proxy that cuts: what stands between a process and its broker or database in tests of faults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::process::Process;

/// How soon a frozen connection notices that it may go on.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One in front of each server.
pub struct Proxies {
    pub broker: Proxy,
    pub database: Proxy,
}

impl Proxies {
    /// Makes schema and topology on the servers themselves, then turns the settings to the proxies.
    pub async fn between(
        settings: &mut BTreeMap<String, String>,
        (broker_is_open, database_is_open): (bool, bool),
    ) -> Self {
        for arguments in [["migrate", "up"], ["topology", "apply"]] {
            let mut command = Process::spawn(&arguments, settings);
            assert_eq!(command.wait().await, Some(0), "{arguments:?}: {}", command.log());
        }
        let broker = instead(settings, "LANDFALL_QUEUE_URL", broker_is_open).await;
        let database = instead(settings, "LANDFALL_STORE_URL", database_is_open).await;
        Proxies { broker, database }
    }
}

/// A proxy in the place of the server that a setting names.
async fn instead(settings: &mut BTreeMap<String, String>, name: &str, open: bool) -> Proxy {
    let mut url = url::Url::parse(&settings[name]).unwrap();
    let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let proxy = Proxy::start(target.parse().unwrap(), open).await;
    url.set_port(Some(proxy.addr.port())).unwrap();
    settings.insert(name.into(), url.into());
    proxy
}

pub struct Proxy {
    pub addr: SocketAddr,
    open: Arc<AtomicBool>,
    cut: Arc<std::sync::Mutex<CancellationToken>>,
    /// Bytes that still get through to the server; below zero every connection is cut.
    left: Arc<AtomicI64>,
    /// Nothing moves, and nobody is told.
    frozen: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Proxy {
    /// Listens at once; lets nothing through while closed.
    pub async fn start(target: SocketAddr, open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy {
            addr: listener.local_addr().unwrap(),
            open: Arc::new(AtomicBool::new(open)),
            cut: Arc::default(),
            left: Arc::new(AtomicI64::new(i64::MAX)),
            frozen: Arc::default(),
            stop: CancellationToken::new(),
        };
        let (open, cut, stop) = (proxy.open.clone(), proxy.cut.clone(), proxy.stop.clone());
        let (left, frozen) = (proxy.left.clone(), proxy.frozen.clone());
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((client, _)) = accepted else { return };
                if open.load(Ordering::SeqCst) {
                    let cut = cut.lock().unwrap().clone();
                    tasks.spawn(carry(client, target, cut, left.clone(), frozen.clone()));
                }
            }
        });
        proxy
    }

    /// Cuts every connection and refuses new ones.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }

    pub fn open(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
        self.frozen.store(false, Ordering::SeqCst);
        self.open.store(true, Ordering::SeqCst);
    }

    /// Cuts every connection once so many more bytes went to the server, in the middle of whatever they are.
    pub fn cut_after(&self, bytes: u32) {
        self.left.store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Connections stay and carry nothing, as when a host vanishes.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
        self.stop.cancel();
    }
}

async fn carry(
    client: TcpStream,
    target: SocketAddr,
    cut: CancellationToken,
    left: Arc<AtomicI64>,
    frozen: Arc<AtomicBool>,
) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = cut.cancelled() => {}
        () = pass(from_client, to_server, Some(left), frozen.clone()) => {}
        () = pass(from_server, to_client, None, frozen) => {}
    }
}

/// One direction, until an end is closed or `left` is used up.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, left: Option<Arc<AtomicI64>>, frozen: Arc<AtomicBool>) {
    let mut buffer = vec![0; 16 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        while frozen.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let length = i64::try_from(read).unwrap();
        let before = left.as_ref().map_or(i64::MAX, |left| left.fetch_sub(length, Ordering::SeqCst));
        let allowed = usize::try_from(before.clamp(0, length)).unwrap();
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < read {
            return;
        }
    }
}
