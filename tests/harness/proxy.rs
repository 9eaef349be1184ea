//! A TCP proxy that cuts: what stands between a process and its broker or database in tests of faults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::process::Process;

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
            stop: CancellationToken::new(),
        };
        let (open, cut, stop) = (proxy.open.clone(), proxy.cut.clone(), proxy.stop.clone());
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
                    tasks.spawn(carry(client, target, cut));
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
        self.open.store(true, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
        self.stop.cancel();
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, cut: CancellationToken) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        () = cut.cancelled() => {}
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
    }
}
