//! `landfall serve`: the product.

use std::path::PathBuf;
use std::time::Duration;

use adapters::queue::rabbitmq;
use anyhow::Context;
use tracing::{info, warn};

use crate::config::{self, Config, Engines};
use crate::lifecycle::Lifecycle;
use crate::roles::Roles;
use crate::running::{self, Listeners};
use crate::{telemetry, wiring};

const PAUSE_FIRST: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What this process does: any of receive, work, api
    #[arg(long, default_value = "receive,work,api")]
    roles: Roles,
    /// Create or update schema and broker topology first
    #[arg(long)]
    migrate: bool,
    /// Settings file [default: ./landfall.toml if it is there]
    #[arg(short, long)]
    config: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::check(config::gather(args.config)?)?;
    telemetry::start_logging(&config)?;
    let metrics = telemetry::start_metrics()?;
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    let lifecycle = Lifecycle::default();
    lifecycle.watch_signals();
    if args.migrate {
        migrate(&config, &lifecycle).await?;
    }
    let listeners = Listeners::bind(&config)?;
    let (public, internal) = (listeners.public_addr(), listeners.internal_addr());
    let running = running::start(config, args.roles, listeners, lifecycle.clone(), metrics)?;
    if args.roles.receive {
        info!(address = %public, "receiving webhooks on http://{public}/webhooks/terra");
        if running.config.environments.iter().all(|environment| environment.secrets.is_empty()) {
            warn!(
                "no signing secret is set (LANDFALL_TERRA_SIGNING_SECRETS): every webhook is answered 503 until one is"
            );
        }
    }
    info!(address = %internal, "API, metrics and probes on http://{internal}");
    let work = running.begin_work().await;
    if work.is_ok() {
        lifecycle.stop.cancelled().await;
    }
    running.end().await;
    work.and_then(|()| lifecycle.outcome())
}

/// `--migrate`: schema and topology, waiting for what is not there yet.
async fn migrate(config: &Config, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    // The embedded engine migrates itself when it is opened.
    if let Engines::Embedded = config.engines {
        return Ok(());
    }
    let mut pause = PAUSE_FIRST;
    let settings = wiring::rabbit_settings(config)?;
    while let Err(error) = rabbitmq::apply_topology(&settings).await {
        anyhow::ensure!(!lifecycle.stop.is_cancelled(), "stopped before the broker was there");
        warn!(%error, "waiting for the broker to create the topology");
        crate::worker::wait(&mut pause, &lifecycle.stop).await;
    }
    let store = wiring::open_store(config)?;
    loop {
        match store.migrate().await {
            Ok(applied) => {
                info!(?applied, "schema is up to date");
                break;
            }
            Err(adapters::store::StoreError::Unavailable(problem)) => {
                anyhow::ensure!(!lifecycle.stop.is_cancelled(), "stopped before the database was there");
                warn!(problem, "waiting for the database to migrate it");
                crate::worker::wait(&mut pause, &lifecycle.stop).await;
            }
            Err(error) => return Err(error).context("migrate the schema"),
        }
    }
    store.close().await;
    Ok(())
}
