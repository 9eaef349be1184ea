//! The two listeners and their route tables.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix_web::dev::{Server, Service, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::{App as ActixApp, HttpServer, web};
use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::roles::Roles;
use crate::wiring::Ports;

pub(crate) mod api;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod events_stream;
pub(crate) mod probes;
pub(crate) mod problem;
pub(crate) mod webhook;

/// Headers must arrive within this; bodies have their own deadline in `body.rs`.
const HEADERS_WITHIN: Duration = Duration::from_secs(4);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const CONNECTIONS_MAX: usize = 2_048;
/// Connections that wait to be taken.
const BACKLOG: i32 = 1_024;

/// The same limits for both listeners. A macro, because the server's type cannot be named.
macro_rules! listen {
    ($server:expr, $listener:expr, $grace:expr, $workers:expr) => {
        Ok($server
            .workers($workers)
            .max_connections(CONNECTIONS_MAX)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEADERS_WITHIN)
            .client_disconnect_timeout(Duration::from_millis(500))
            .shutdown_timeout($grace.as_secs().max(1))
            .disable_signals()
            .listen($listener)
            .context("start the listener")?
            .run())
    };
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) ports: Ports,
    pub(crate) config: Arc<Config>,
    /// How Terra and browsers reach us, without a trailing slash.
    pub(crate) public_url: Arc<str>,
    pub(crate) roles: Roles,
    pub(crate) metrics: PrometheusHandle,
    /// Cancelled at the soft stop: not ready from then on.
    pub(crate) stop: CancellationToken,
    /// True once the schema was found to fit.
    pub(crate) store_fits: Arc<AtomicBool>,
}

impl App {
    /// What planning needs to know, as of now.
    pub(crate) fn context(&self) -> domain::plan::Context {
        crate::worker::context(&self.ports, &self.config)
    }
}

/// Takes the address, so that the port is known before anything that prints or uses it is built.
pub(crate) fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(addr).with_context(|| {
        format!("listen on {addr}; if it is taken, set another address (`landfall config template` lists them)")
    })?;
    listener.set_nonblocking(true).context("set the listener up")?;
    // The standard library asks for 128. A burst beyond that is not refused but ignored, and comes again a second later.
    socket2::SockRef::from(&listener).listen(BACKLOG).context("set the listener up")?;
    Ok(listener)
}

/// The public listener: webhooks and redirects, nothing else.
pub(crate) fn public_server(listener: TcpListener, app: App, door: webhook::Door) -> anyhow::Result<Server> {
    let app = web::Data::new(app);
    let door = web::Data::new(door);
    let grace = app.config.shutdown_grace;
    let receives = app.roles.receive;
    let server = HttpServer::new(move || {
        let paths = app.config.webhook_paths.clone();
        let stop = app.stop.clone();
        ActixApp::new()
            .app_data(app.clone())
            .app_data(door.clone())
            .wrap_fn(move |request, service| {
                let (answering, stop) = (service.call(request), stop.clone());
                async move { answering.await.map(|answer| closing(answer, &stop)) }
            })
            .route("/livez", web::get().to(probes::livez))
            .configure(|config| {
                if receives {
                    webhook::routes(config, &paths);
                    connect::routes(config);
                }
            })
    });
    listen!(server, listener, grace, num_workers())
}

/// From the soft stop on every answer is the last of its connection: a connection that is kept would be closed under a
/// request that is on its way.
fn closing<B>(mut answer: ServiceResponse<B>, stop: &CancellationToken) -> ServiceResponse<B> {
    if stop.is_cancelled() {
        answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    answer
}

/// The internal listener: API, metrics, probes.
pub(crate) fn internal_server(listener: TcpListener, app: App) -> anyhow::Result<Server> {
    let app = web::Data::new(app);
    let grace = app.config.shutdown_grace;
    let server = HttpServer::new(move || {
        let with_api = app.roles.api;
        ActixApp::new().app_data(app.clone()).configure(probes::routes).configure(|config| {
            if with_api {
                api::routes(config);
            }
        })
    });
    listen!(server, listener, grace, 1)
}

/// The demo app of `dev`, on a listener of its own.
pub(crate) fn demo_server(listener: TcpListener, demo: crate::demo::Demo) -> anyhow::Result<Server> {
    let demo = web::Data::new(demo);
    let server = HttpServer::new(move || ActixApp::new().app_data(demo.clone()).configure(crate::demo::routes));
    listen!(server, listener, Duration::from_secs(1), 1)
}

fn num_workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
