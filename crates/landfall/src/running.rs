//! A running instance: listeners and tasks of the roles it has, from start to orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use adapters::queue::QueueError;
use adapters::store::{SCHEMA_VERSION, Schema, StoreError};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, Engines};
use crate::exit::DoesNotFit;
use crate::http::body::Budget;
use crate::http::{self, App, webhook};
use crate::lifecycle::Lifecycle;
use crate::roles::Roles;
use crate::telemetry::{self, DoorMetrics, UPKEEP_EVERY};
use crate::wiring::{self, Ports};
use crate::{
    backfills, clocks, downloads, drift, erase, fetcher, quarantine, reconcile, recover, relay, replay, resolving,
    retrying, set_aside, silence, upkeep, worker,
};

/// For publishes in flight when everything that publishes has ended.
const QUEUE_GRACE: Duration = Duration::from_secs(2);

const STORE_POLL_FIRST: Duration = Duration::from_millis(200);

/// How long the start waits for a broker before it counts as away.
const BROKER_WITHIN: Duration = Duration::from_secs(3);
const BROKER_POLL: Duration = Duration::from_millis(50);

/// The listeners of an instance, taken before anything runs.
pub(crate) struct Listeners {
    pub(crate) public: std::net::TcpListener,
    pub(crate) internal: std::net::TcpListener,
}

impl Listeners {
    pub(crate) fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Listeners { public: http::bind(config.public_addr)?, internal: http::bind(config.internal_addr)? })
    }

    pub(crate) fn public_addr(&self) -> SocketAddr {
        self.public.local_addr().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn internal_addr(&self) -> SocketAddr {
        self.internal.local_addr().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

pub(crate) struct Running {
    pub(crate) config: Arc<Config>,
    pub(crate) ports: Ports,
    lifecycle: Lifecycle,
    roles: Roles,
    public: Option<ServerHandle>,
    /// Cancelled when no webhook can come any more.
    public_closed: CancellationToken,
    internal: ServerHandle,
    store_fits: Arc<AtomicBool>,
}

/// Opens the engines and the listeners. From here on probes answer; webhooks are accepted as soon as they can be made
/// durable, whether or not the store is there.
pub(crate) fn start(
    config: Config,
    roles: Roles,
    listeners: Listeners,
    lifecycle: Lifecycle,
    metrics: PrometheusHandle,
) -> anyhow::Result<Running> {
    let ports = wiring::open(&config, &lifecycle)?;
    let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{}", listeners.public_addr()));
    let config = Arc::new(config);
    let store_fits = Arc::new(AtomicBool::new(false));
    let app = App {
        ports: ports.clone(),
        config: config.clone(),
        public_url: public_url.into(),
        roles,
        metrics: metrics.clone(),
        stop: lifecycle.stop.clone(),
        store_fits: store_fits.clone(),
    };
    let internal = http::internal_server(listeners.internal, app.clone())?;
    let internal_handle = internal.handle();
    lifecycle.adapters.spawn(serve_to_end(internal));
    let public_closed = CancellationToken::new();
    let public_handle = if roles.receive {
        let (quarantine, keeper) = quarantine::hand_over();
        let metrics = DoorMetrics::new(&config.environments);
        let budget = Budget::new(config.max_inflight_bytes, config.max_body);
        let door = webhook::Door { budget, metrics, quarantine };
        let public = http::public_server(listeners.public, app, door)?;
        let handle = public.handle();
        lifecycle.adapters.spawn(serve_to_end(public));
        lifecycle.spawn(quarantine::run(keeper, ports.clone(), config.clone(), public_closed.clone()));
        Some(handle)
    } else {
        None
    };
    lifecycle.spawn(clocks::run(ports.clone(), config.clone(), lifecycle.stop.clone()));
    lifecycle.spawn(drain_metrics(metrics, lifecycle.stop.clone()));
    Ok(Running {
        config,
        ports,
        lifecycle,
        roles,
        public: public_handle,
        public_closed,
        internal: internal_handle,
        store_fits,
    })
}

impl Running {
    /// Refuses a broker without our topology; waits for the store if this process needs one, refuses one that does not
    /// fit, then starts the work. Returns early when stopped.
    pub(crate) async fn begin_work(&self) -> anyhow::Result<()> {
        self.refuse_missing_topology().await?;
        if !(self.roles.work || self.roles.api) {
            return Ok(());
        }
        if !self.store_is_there().await? {
            return Ok(());
        }
        self.store_fits.store(true, Ordering::Relaxed);
        // The API says what a provider does not serve, and asks for nothing in vain.
        self.lifecycle.spawn(upkeep::learn_capabilities(self.ports.clone(), self.lifecycle.stop.clone()));
        if self.roles.work {
            self.spawn_work();
        }
        Ok(())
    }

    /// A broker that is away is no reason not to start: it may come later, and until then webhooks are answered 503.
    async fn refuse_missing_topology(&self) -> anyhow::Result<()> {
        let look = async {
            loop {
                match self.ports.queue.ping().await {
                    Ok(()) => return Ok(()),
                    Err(QueueError::Topology(what)) => {
                        return Err(DoesNotFit(format!(
                            "the broker's topology does not fit ({what}): run `landfall topology apply` (or serve with --migrate)"
                        )));
                    }
                    Err(QueueError::Unavailable(_)) => tokio::time::sleep(BROKER_POLL).await,
                }
            }
        };
        tokio::select! {
            () = self.lifecycle.stop.cancelled() => Ok(()),
            looked = tokio::time::timeout(BROKER_WITHIN, look) => match looked {
                Ok(found) => Ok(found?),
                Err(_) => {
                    warn!("the broker is away; webhooks are answered 503 until it is there");
                    Ok(())
                }
            },
        }
    }

    /// True once the store answers and fits; false if stopped before.
    async fn store_is_there(&self) -> anyhow::Result<bool> {
        let mut pause = STORE_POLL_FIRST;
        let mut said = false;
        while !self.lifecycle.stop.is_cancelled() {
            match self.ports.store.schema().await {
                Ok(Schema::Fits { version }) => {
                    info!(schema.version = version, "the store is there");
                    return Ok(true);
                }
                Ok(Schema::Behind { version, needed }) => {
                    return Err(DoesNotFit(format!("the schema is at {version} and this binary needs {needed}: run `landfall migrate up` (or serve with --migrate)")).into());
                }
                Ok(Schema::Ahead { version, readable_from }) => {
                    return Err(DoesNotFit(format!(
                        "the schema is at {version} and made for binaries of level {readable_from} or later; this one is {SCHEMA_VERSION}: run a newer landfall; `landfall migrate status` shows both"
                    ))
                    .into());
                }
                Err(StoreError::Incompatible(what)) => {
                    return Err(
                        DoesNotFit(format!("the schema does not fit ({what}): run `landfall migrate up`")).into()
                    );
                }
                Err(error) => {
                    if !said {
                        warn!(%error, "waiting for the database; webhooks are accepted meanwhile if this process receives");
                        said = true;
                    }
                    worker::wait(&mut pause, &self.lifecycle.stop).await;
                }
            }
        }
        Ok(false)
    }

    fn spawn_work(&self) {
        telemetry::declare_work();
        let stop = || self.lifecycle.stop.clone();
        let (ports, config, tasks) = (&self.ports, &self.config, &self.lifecycle);
        let consumers = if matches!(config.engines, Engines::Embedded) { 1 } else { config.workers };
        for _ in 0..consumers {
            tasks.spawn(worker::run(ports.clone(), config.clone(), stop()));
        }
        tasks.spawn(retrying::run(ports.clone(), config.clone(), stop()));
        tasks.spawn(set_aside::run(ports.clone(), stop()));
        tasks.spawn(downloads::run(ports.clone(), config.clone(), stop()));
        tasks.spawn(relay::run(ports.clone(), stop()));
        for _ in 0..config.workers {
            tasks.spawn(fetcher::run(ports.clone(), config.clone(), stop()));
        }
        tasks.spawn(backfills::run(ports.clone(), config.clone(), stop()));
        tasks.spawn(upkeep::run(ports.clone(), config.clone(), stop()));
        tasks.spawn(drift::run(ports.clone(), stop()));
        tasks.spawn(reconcile::run(ports.clone(), config.clone(), stop()));
        tasks.spawn(recover::run(ports.clone(), config.clone(), stop()));
        tasks.spawn(replay::run(ports.clone(), config.clone(), stop()));
        tasks.spawn(erase::run(ports.clone(), config.clone(), stop()));
        tasks.spawn(silence::run(ports.clone(), config.clone(), stop()));
        if let Some(resolver) = &ports.resolver {
            tasks.spawn(resolving::run(ports.clone(), resolver.clone(), stop()));
        }
    }

    /// Orderly end: not ready, then nothing new, what was accepted is finished, the adapters last.
    pub(crate) async fn end(self) {
        let grace = self.config.shutdown_grace;
        self.lifecycle.stop.cancel();
        if let Some(public) = &self.public {
            // Whoever spreads the load looks every few seconds; until then a closed door would be a lost request.
            tokio::time::sleep(self.config.shutdown_delay).await;
            public.stop(true).await;
        }
        self.public_closed.cancel();
        self.lifecycle.end_tasks(grace).await;
        self.ports.queue.close(QUEUE_GRACE).await;
        self.internal.stop(true).await;
        self.lifecycle.end_adapters().await;
        self.ports.store.close().await;
        info!("ended");
    }
}

async fn serve_to_end(server: actix_web::dev::Server) {
    if let Err(error) = server.await {
        warn!(%error, "a listener ended");
    }
}

async fn drain_metrics(metrics: PrometheusHandle, stop: CancellationToken) {
    while tokio::time::timeout(UPKEEP_EVERY, stop.cancelled()).await.is_err() {
        metrics.run_upkeep();
    }
}
