//! Starting and stopping.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use bytes::Bytes;
use serde_json::Value;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::courier::{Courier, Once};
use crate::dials::Dials;
use crate::lock::lock;
use crate::scenario::{self, RunError, RunOptions};
use crate::settings::Settings;
use crate::webhook::{Parcel, SendError, Sent, Subject};
use crate::world::World;
use crate::{control, fault, live, request_log, rest, widget};

const HTTP_THREADS: usize = 2;
/// A thread that writes somebody's years takes seconds, and must not take who waits meanwhile for one who says nothing.
const REQUEST_WITHIN: Duration = Duration::from_secs(60);

/// Shorter than destinations usually keep an idle connection, so that none is used while it closes.
const IDLE: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
pub enum StartError {
    #[error("listen on {addr}")]
    Listen { addr: SocketAddr, source: std::io::Error },
    #[error("build the HTTP client")]
    Client { source: reqwest::Error },
}

/// A running simulator. It ends when it is stopped or dropped; only `stop` waits for the end.
pub struct Simulator {
    addr: SocketAddr,
    world: Arc<World>,
    server: ServerHandle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What [`Simulator::send`] may do differently.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// Where to, if not to the destination that is set.
    pub url: Option<String>,
    /// Signed with, if not with the simulator's secret.
    pub secret: Option<String>,
    /// The `t` to sign, if not now.
    pub t: Option<i64>,
    pub bad_signature: bool,
    pub trace_id: TraceId,
    pub ordering: Ordering,
    pub reference: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TraceId {
    #[default]
    New,
    /// No header, as from the older platform.
    None,
    Given(String),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ordering {
    #[default]
    Now,
    /// No header.
    None,
    /// Unix milliseconds.
    At(i64),
}

pub async fn start(settings: Settings) -> Result<Simulator, StartError> {
    // Somebody else may have installed a provider before us; either one serves.
    rustls::crypto::ring::default_provider().install_default().ok();
    let listen = |source| StartError::Listen { addr: settings.addr, source };
    let listener = TcpListener::bind(settings.addr).map_err(listen)?;
    let addr = listener.local_addr().map_err(listen)?;
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_idle_timeout(IDLE)
        .build()
        .map_err(|source| StartError::Client { source })?;

    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let clock = Arc::new(Clock::starting_at(settings.start_unix_seconds));
    let dials = Arc::new(Mutex::new(Dials::from(&settings)));
    let courier = Courier::new(client, clock.clone(), dials.clone(), tasks.clone(), stop.clone());
    let public_url = settings.public_url.clone().unwrap_or_else(|| format!("http://{}", reachable(addr)));
    let public_url = public_url.trim_end_matches('/').to_owned();
    let world = Arc::new(World::new(&settings, public_url, clock, dials, courier));

    let server = serve(listener, world.clone()).map_err(listen)?;
    let handle = server.handle();
    tasks.spawn(async move {
        if let Err(error) = server.await {
            warn!(%error, "the simulator's HTTP server ended");
        }
    });
    if let Some(every) = settings.live_every {
        // It ends with the simulator, nobody waits for its result.
        drop(world.courier.beside(live::run(world.clone(), every)));
    }
    info!(%addr, "the Terra simulator listens on {addr}");
    Ok(Simulator { addr, world, server: handle, tasks, stop })
}

fn serve(listener: TcpListener, world: Arc<World>) -> std::io::Result<actix_web::dev::Server> {
    let world = web::Data::from(world);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(world.clone())
            .wrap(from_fn(fault::inject))
            .wrap(from_fn(request_log::watch))
            .configure(control::routes)
            .configure(rest::routes)
            .configure(widget::routes)
            .default_service(web::to(rest::not_found))
    })
    .workers(HTTP_THREADS)
    .client_request_timeout(REQUEST_WITHIN)
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}

/// Bytes that are no event are about nobody.
pub(crate) fn subject_of(body: &[u8]) -> Subject {
    serde_json::from_slice(body).map_or_else(|_| Subject::default(), |event: Value| Subject::of(&event))
}

/// An address to connect to: one that listens everywhere is reached on the loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() { SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), addr.port()) } else { addr }
}

impl Simulator {
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", reachable(self.addr))
    }

    /// Base of the REST interface, as on the newer platform.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("{}/api/v2", self.base_url())
    }

    #[must_use]
    pub fn widget_url(&self) -> String {
        format!("{}/api/widget/session", self.base_url())
    }

    /// Base of the Admin API.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("{}{}", self.base_url(), rest::ADMIN_BASE)
    }

    /// Base of the REST interface, as on the older platform.
    #[must_use]
    pub fn legacy_url(&self) -> String {
        format!("{}/v2", self.base_url())
    }

    pub fn set_webhook_url(&self, url: Option<String>) {
        lock(&self.world.dials).webhook_url = url;
    }

    /// Signs an event and sends it once, whatever the destination answers.
    pub async fn send(&self, event: Value, options: SendOptions) -> Result<Sent, SendError> {
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        self.send_bytes(&kind, event.to_string().into(), options).await
    }

    /// As [`Simulator::send`], for a body that is kept as it is. The type is for the log alone.
    pub async fn send_bytes(&self, kind: &str, body: Bytes, options: SendOptions) -> Result<Sent, SendError> {
        let parcel = Parcel {
            kind: kind.to_owned(),
            event_id: None,
            subject: subject_of(&body),
            trace_id: match options.trace_id {
                TraceId::New => Some(self.world.new_id().to_string()),
                TraceId::None => None,
                TraceId::Given(trace_id) => Some(trace_id),
            },
            reference: options.reference,
            ordering_ms: match options.ordering {
                Ordering::Now => Some(self.world.clock.order_ms()),
                Ordering::None => None,
                Ordering::At(at) => Some(at),
            },
            body,
        };
        let once =
            Once { url: options.url, secret: options.secret, t: options.t, bad_signature: options.bad_signature };
        self.world.courier.send_once(parcel, once).await
    }

    /// Plays a scenario and answers what must be true when it is over; every delivery was tried once
    /// by then. Without a seed it is the simulator's own; `references` are the app's ids of the people.
    pub async fn run_scenario(
        &self,
        name: &str,
        seed: Option<u64>,
        references: Vec<String>,
    ) -> Result<Value, RunError> {
        scenario::run(&self.world, name, RunOptions { seed, references }).await
    }

    /// Ends the server and every delivery that is under way or waiting, and waits until they ended.
    pub async fn stop(self) {
        self.stop.cancel();
        self.server.stop(false).await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
        // The command is sent at once; the future would only wait for its completion.
        drop(self.server.stop(false));
    }
}
