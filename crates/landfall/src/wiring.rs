//! Settings → ports: the only place that chooses an adapter.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use adapters::clock::Clock;
use adapters::download::Downloader;
use adapters::embedded::{Embedded, EmbeddedError};
use adapters::payloads::{Payloads, PayloadsUrl};
use adapters::queue::Queue;
use adapters::queue::embedded::EmbeddedQueue;
use adapters::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use adapters::resolver::Resolver;
use adapters::store::Store;
use adapters::store::embedded::EmbeddedStore;
use adapters::store::postgres::{PostgresSettings, PostgresStore};
use adapters::terra_client::admin::AdminClient;
use adapters::terra_client::{Bases, Credentials, TerraClient};
use anyhow::Context;
use domain::id::Environment;
use domain::plan::Capabilities;
use secrecy::ExposeSecret;
use tokio::sync::Notify;

use crate::config::{Config, Engines, ResolverConfig};
use crate::drift::DriftLog;
use crate::lifecycle::Lifecycle;

/// Connections besides those of the workers: relay, fetcher, upkeep, API.
const POOL_EXTRA: usize = 8;

/// Everything outside, as the shell uses it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) payloads: Payloads,
    pub(crate) terra: Arc<BTreeMap<Environment, TerraClient>>,
    /// Terra's own log of deliveries, if there is a token for it.
    pub(crate) admin: Option<AdminClient>,
    pub(crate) resolver: Option<Arc<Resolver>>,
    pub(crate) clock: Clock,
    /// Which kinds each provider serves; filled from Terra while running.
    pub(crate) capabilities: Arc<RwLock<Capabilities>>,
    pub(crate) downloader: Downloader,
    /// What payloads held that Terra's schema does not have.
    pub(crate) drift: DriftLog,
    /// Rung when a delivery was handed over to the ledger.
    pub(crate) retries_waiting: Arc<Notify>,
    /// Rung when a payload has to be downloaded.
    pub(crate) downloads_waiting: Arc<Notify>,
    /// Rung when events may be waiting for the relay, and again when they have a position.
    pub(crate) events_waiting: Arc<Notify>,
    pub(crate) events_numbered: Arc<Notify>,
}

/// Opens the engines the settings ask for. Only the embedded one can fail here: what is across a network may come later.
pub(crate) fn open(config: &Config, lifecycle: &Lifecycle) -> anyhow::Result<Ports> {
    let policy = config.reference_policy();
    let (queue, store): (Arc<dyn Queue>, Arc<dyn Store>) = match &config.engines {
        Engines::Embedded => {
            let embedded = open_embedded(config)?;
            lifecycle.adapters.spawn(end_when_damaged(embedded.clone(), lifecycle.clone()));
            (
                Arc::new(EmbeddedQueue::new(embedded.clone(), config.queue_max)),
                Arc::new(EmbeddedStore::new(embedded, policy)),
            )
        }
        Engines::Cluster { .. } => {
            let settings = rabbit_settings(config).context("read the queue's settings")?;
            let queue = RabbitQueue::start(settings, lifecycle.adapters.clone(), lifecycle.stop_adapters.clone());
            (queue, open_store(config)?)
        }
    };
    Ok(Ports {
        queue,
        store,
        payloads: open_payloads(config)?,
        terra: Arc::new(terra_clients(config)?),
        admin: admin_client(config)?,
        resolver: resolver(&config.resolver)?.map(Arc::new),
        clock: Clock::system(),
        capabilities: Arc::default(),
        downloader: Downloader::new(config.download_hosts.clone(), config.max_body as u64)
            .context("build the HTTP client for stored payloads")?,
        drift: DriftLog::default(),
        downloads_waiting: Arc::default(),
        retries_waiting: Arc::default(),
        events_waiting: Arc::default(),
        events_numbered: Arc::default(),
    })
}

fn open_embedded(config: &Config) -> anyhow::Result<Arc<Embedded>> {
    let dir = config.data_dir.display();
    Embedded::open(&config.data_dir).map_err(|error| {
        if let EmbeddedError::Locked { .. } = error {
            let text = format!("another landfall uses the data dir {dir}; stop it, or set LANDFALL_DATA_DIR");
            return anyhow::Error::new(crate::exit::Unreachable(text));
        }
        anyhow::Error::new(error).context(format!("open the data dir {dir}"))
    })
}

/// Damage that is met while the process runs: the next start says what there is to do, or finds nothing wrong.
async fn end_when_damaged(embedded: Arc<Embedded>, lifecycle: Lifecycle) {
    tokio::select! {
        error = embedded.damaged() => lifecycle.fail(error.to_string()),
        () = lifecycle.stop_adapters.cancelled() => {}
    }
}

/// The store alone, for commands that need no queue. The embedded one migrates itself and is locked by its process, so
/// it is not opened here.
pub(crate) fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let (store, _) = postgres(config)?;
    Ok(Arc::new(store))
}

/// PostgreSQL itself, and how many connections a process may hold.
pub(crate) fn postgres(config: &Config) -> anyhow::Result<(PostgresStore, usize)> {
    let Engines::Cluster { store_url, store_schema, .. } = &config.engines else {
        anyhow::bail!(
            "the embedded engine migrates itself when it starts; this command is for LANDFALL_STORE_URL=postgres://…"
        );
    };
    let pool_max = config.workers + POOL_EXTRA;
    let settings = PostgresSettings {
        url: store_url.clone(),
        schema: store_schema.clone(),
        policy: config.reference_policy(),
        pool_max,
    };
    Ok((PostgresStore::connect(settings).context("read LANDFALL_STORE_URL")?, pool_max))
}

/// The broker's settings; an error for the embedded engine, which has none.
pub(crate) fn rabbit_settings(config: &Config) -> anyhow::Result<RabbitSettings> {
    match &config.engines {
        Engines::Cluster { queue_url, queue_prefix, .. } => {
            let settings = RabbitSettings::new(queue_url.expose_secret(), queue_prefix);
            let mut settings = settings.context("read LANDFALL_QUEUE_URL")?;
            settings.lane_bytes_max = config.queue_max;
            Ok(settings)
        }
        Engines::Embedded => {
            anyhow::bail!("the embedded engine has no broker: set LANDFALL_QUEUE_URL and LANDFALL_STORE_URL")
        }
    }
}

fn open_payloads(config: &Config) -> anyhow::Result<Payloads> {
    let url = match &config.payloads_url {
        Some(url) => PayloadsUrl::parse(url).context("read LANDFALL_PAYLOADS_URL")?,
        None => PayloadsUrl::File(config.data_dir.join("payloads")),
    };
    Payloads::open(&url, config.payloads_inline_max).context("open the payload store")
}

pub(crate) fn terra_clients(config: &Config) -> anyhow::Result<BTreeMap<Environment, TerraClient>> {
    let parse = |url: &str| url::Url::parse(url).context("read a Terra URL");
    let bases = Bases {
        api_url: parse(&config.terra.api)?,
        widget_url: parse(&config.terra.widget)?,
        legacy_url: parse(&config.terra.legacy)?,
    };
    let mut clients = BTreeMap::new();
    for environment in &config.environments {
        if let Some(credentials) = &environment.credentials {
            let credentials = Credentials { dev_id: credentials.dev_id.clone(), api_key: credentials.api_key.clone() };
            let client = TerraClient::new(bases.clone(), credentials).context("build the HTTP client for Terra")?;
            clients.insert(environment.name.clone(), client);
        }
    }
    Ok(clients)
}

pub(crate) fn admin_client(config: &Config) -> anyhow::Result<Option<AdminClient>> {
    let Some(token) = &config.terra_admin_token else { return Ok(None) };
    let base = url::Url::parse(&config.terra.admin).context("read LANDFALL_TERRA_ADMIN_URL")?;
    AdminClient::new(base, token.clone()).map(Some).context("build the HTTP client for Terra's Admin API")
}

fn resolver(config: &ResolverConfig) -> anyhow::Result<Option<Resolver>> {
    match config {
        ResolverConfig::Reference => Ok(None),
        ResolverConfig::Sql { url, query } => {
            Resolver::sql(url.expose_secret(), query).map(Some).context("read LANDFALL_RESOLVER_SQL_URL")
        }
        ResolverConfig::Http { url, token } => {
            Resolver::http(url, token.clone()).map(Some).context("build the resolver's HTTP client")
        }
    }
}
