//! A TCP proxy that cuts: what stands between a process and its broker or database in tests of faults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::process::Process;

/// How soon a frozen connection notices that it may go on.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

const BACKLOG: u32 = 1_024;

/// PostgreSQL's answer to a COMMIT that kept what was done; one that could not says `ROLLBACK`.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

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
pub(super) async fn instead(settings: &mut BTreeMap<String, String>, name: &str, open: bool) -> Proxy {
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
    /// Somebody answers at the port.
    listening: watch::Sender<bool>,
    cut: Arc<std::sync::Mutex<CancellationToken>>,
    harm: Arc<Harm>,
    stop: CancellationToken,
}

/// What is done to every connection, and how often it was.
struct Harm {
    /// Bytes that still get through to the server; below zero every connection is cut.
    left: AtomicI64,
    /// Of the word that something was committed so many bytes get through, then its connection is cut; below zero, all.
    of_commits: AtomicI64,
    /// Nothing moves, and nobody is told.
    frozen: AtomicBool,
    cuts: AtomicU64,
    commits_unheard: AtomicU64,
}

impl Proxy {
    /// Listens at once; lets nothing through while closed.
    pub async fn start(target: SocketAddr, open: bool) -> Self {
        let reserved = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
        let addr = reserved.local_addr().unwrap();
        let mut listener = Some(bound(addr).listen(BACKLOG).unwrap());
        let (listening, mut listens) = watch::channel(true);
        let proxy = Proxy {
            addr,
            listening,
            open: Arc::new(AtomicBool::new(open)),
            cut: Arc::default(),
            harm: Arc::new(Harm {
                left: AtomicI64::new(i64::MAX),
                of_commits: AtomicI64::new(-1),
                frozen: AtomicBool::default(),
                cuts: AtomicU64::default(),
                commits_unheard: AtomicU64::default(),
            }),
            stop: CancellationToken::new(),
        };
        let (open, cut, stop) = (proxy.open.clone(), proxy.cut.clone(), proxy.stop.clone());
        let harm = proxy.harm.clone();
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            // Keeps the port ours while nobody listens there.
            let _reserved = reserved;
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    changed = listens.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        // First the old one has to go.
                        drop(listener.take());
                        listener = listens.borrow_and_update().then(|| bound(addr).listen(BACKLOG).unwrap());
                        continue;
                    }
                    accepted = accept(listener.as_ref()) => accepted,
                };
                let Ok((client, _)) = accepted else { return };
                if open.load(Ordering::SeqCst) {
                    let cut = cut.lock().unwrap().clone();
                    tasks.spawn(carry(client, target, cut, harm.clone()));
                }
            }
        });
        proxy
    }

    /// Cuts every connection, and new ones as soon as they are made.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }

    /// Cuts every connection, and nobody listens any more: new ones are refused.
    pub fn refuse(&self) {
        self.close();
        self.listening.send_replace(false);
    }

    pub fn open(&self) {
        self.listening.send_if_modified(|listening| !std::mem::replace(listening, true));
        self.harm.left.store(i64::MAX, Ordering::SeqCst);
        self.harm.of_commits.store(-1, Ordering::SeqCst);
        self.harm.frozen.store(false, Ordering::SeqCst);
        self.open.store(true, Ordering::SeqCst);
    }

    /// Cuts every connection once so many more bytes went to the server, in the middle of whatever they are.
    pub fn cut_after(&self, bytes: u32) {
        self.harm.left.store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Lets the server commit, and cuts the connection after so many bytes of its word that it did: below
    /// [`Proxy::COMMITTED_BYTES`], so that whoever asked does not hear it.
    pub fn cut_before_commits_are_heard(&self, bytes: u32) {
        assert!(u64::from(bytes) < Self::COMMITTED_BYTES, "that would be heard");
        self.harm.of_commits.store(i64::from(bytes), Ordering::SeqCst);
    }

    pub const COMMITTED_BYTES: u64 = COMMITTED.len() as u64;

    /// Connections stay and carry nothing, as when a host vanishes.
    pub fn freeze(&self) {
        self.harm.frozen.store(true, Ordering::SeqCst);
    }

    /// Connections that were cut in the middle of something so far.
    pub fn cuts(&self) -> u64 {
        self.harm.cuts.load(Ordering::SeqCst)
    }

    /// Of those, how many had something committed and did not hear of it.
    pub fn commits_unheard(&self) -> u64 {
        self.harm.commits_unheard.load(Ordering::SeqCst)
    }
}

impl Harm {
    /// How many of `bytes` get through to the server.
    fn to_server(&self, bytes: &[u8]) -> usize {
        let length = i64::try_from(bytes.len()).unwrap();
        let before = self.left.fetch_sub(length, Ordering::SeqCst);
        usize::try_from(before.clamp(0, length)).unwrap()
    }

    /// How many of `bytes` get through to the client. A COMMIT is sent alone, and so is its answer.
    fn to_client(&self, bytes: &[u8]) -> usize {
        let Ok(heard) = usize::try_from(self.of_commits.load(Ordering::SeqCst)) else { return bytes.len() };
        match bytes.windows(COMMITTED.len()).position(|window| window == COMMITTED) {
            Some(begin) => {
                self.commits_unheard.fetch_add(1, Ordering::SeqCst);
                begin + heard
            }
            None => bytes.len(),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
        self.stop.cancel();
    }
}

/// Several may be bound to one port as long as none of them listens.
fn bound(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(addr).unwrap();
    socket
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn carry(client: TcpStream, target: SocketAddr, cut: CancellationToken, harm: Arc<Harm>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = cut.cancelled() => {}
        () = pass(from_client, to_server, &harm, Harm::to_server) => {}
        () = pass(from_server, to_client, &harm, Harm::to_client) => {}
    }
}

/// One direction, until an end is closed or less gets through than came.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, harm: &Harm, let_through: fn(&Harm, &[u8]) -> usize) {
    let mut buffer = vec![0; 16 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        while harm.frozen.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let allowed = let_through(harm, &buffer[..read]);
        if to.write_all(&buffer[..allowed]).await.is_err() {
            return;
        }
        if allowed < read {
            harm.cuts.fetch_add(1, Ordering::SeqCst);
            return;
        }
    }
}
