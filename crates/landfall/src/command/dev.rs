//! `landfall dev`: everything in one process, with a stand-in for Terra and a demo app.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use simulator::Simulator;
use tracing::warn;

use crate::config::raw::Raw;
use crate::config::{self, Config};
use crate::demo::Demo;
use crate::lifecycle::Lifecycle;
use crate::roles::Roles;
use crate::running::{self, Listeners};
use crate::{http, telemetry};

const SIGNING_SECRET: &str = "landfall-dev-signing-secret";
const DEV_ID: &str = "landfall-dev";
const API_KEY: &str = "landfall-dev-api-key";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep nothing: the data dir is a temporary one, gone at the end
    #[arg(long)]
    ephemeral: bool,
    /// Seed of the simulator's people and data
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Settings file [default: ./landfall.toml if it is there]
    #[arg(short, long)]
    config: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut raw = config::gather(args.config)?;
    let temporary = if args.ephemeral { Some(tempfile::tempdir().context("make a temporary data dir")?) } else { None };
    if let Some(dir) = &temporary {
        raw.set("data_dir", dir.path().to_string_lossy());
    }
    for (key, value) in [
        ("terra_signing_secrets", SIGNING_SECRET),
        ("terra_dev_id", DEV_ID),
        ("terra_api_key", API_KEY),
        ("log", "warn"),
    ] {
        raw.set_default(key, value);
    }
    // dev is the embedded engine, whatever the surroundings say: nobody wants to try things out on a real database.
    raw.set("queue_url", "embedded");
    raw.set("store_url", "embedded");
    // Nothing stands in front of it, and somebody waits for Ctrl-C.
    raw.set("shutdown_delay", "0s");
    let secret = first_secret(&raw);
    let first_look = Config::check(raw.clone())?;
    let listeners = listeners(&first_look)?;
    let webhook_url = format!("http://{}/webhooks/terra", listeners.public_addr());
    let simulator = start_simulator(&first_look, &raw, webhook_url, secret.clone(), args.seed).await?;
    for (key, url) in [
        ("terra_api_url", simulator.api_url()),
        ("terra_widget_url", simulator.widget_url()),
        ("terra_legacy_url", simulator.legacy_url()),
    ] {
        raw.set(key, url);
    }
    let config = Config::check(raw)?;
    telemetry::start_logging(&config)?;
    config.warnings.iter().for_each(|warning| warn!("{warning}"));

    let lifecycle = Lifecycle::default();
    lifecycle.watch_signals();
    let demo_listener = bind_or_free(config.demo_addr, config.addresses_are_defaults)?;
    let demo_url: Arc<str> =
        format!("http://{}", demo_listener.local_addr().context("read the demo app's address")?).into();
    let urls = Urls {
        public: listeners.public_addr(),
        internal: listeners.internal_addr(),
        simulator: simulator.base_url(),
        demo: demo_url.to_string(),
    };
    let data_dir = config.data_dir.clone();
    let token = config.api_tokens.first().map(|token| token.token.clone());
    let running = running::start(config, Roles::ALL, listeners, lifecycle.clone(), telemetry::start_metrics()?)?;
    running.begin_work().await?;
    let demo = Demo {
        api_url: format!("http://{}", urls.internal),
        api_token: token.map(|token| secrecy::ExposeSecret::expose_secret(&token).to_owned()),
        own_url: demo_url.to_string(),
    };
    let demo = http::demo_server(demo_listener, demo)?;
    let demo_handle = demo.handle();
    lifecycle.adapters.spawn(async move {
        if let Err(error) = demo.await {
            warn!(%error, "the demo app ended");
        }
    });
    banner(&urls, &data_dir, args.ephemeral, &secret);
    lifecycle.stop.cancelled().await;
    demo_handle.stop(false).await;
    simulator.stop().await;
    running.end().await;
    lifecycle.outcome()
}

struct Urls {
    public: SocketAddr,
    internal: SocketAddr,
    simulator: String,
    demo: String,
}

fn first_secret(raw: &Raw) -> String {
    let listed = raw.get("terra_signing_secrets").map(|value| value.text.clone()).unwrap_or_default();
    listed.split(',').next().unwrap_or_default().to_owned()
}

fn listeners(config: &Config) -> anyhow::Result<Listeners> {
    let default = config.addresses_are_defaults;
    Ok(Listeners {
        public: bind_or_free(config.public_addr, default)?,
        internal: bind_or_free(config.internal_addr, default)?,
    })
}

/// A default address that is taken gives way to a free port; one that somebody chose does not.
fn bind_or_free(addr: SocketAddr, may_move: bool) -> anyhow::Result<std::net::TcpListener> {
    match http::bind(addr) {
        Err(_) if may_move => http::bind(SocketAddr::new(addr.ip(), 0)),
        bound => bound,
    }
}

async fn start_simulator(
    config: &Config,
    raw: &Raw,
    webhook_url: String,
    secret: String,
    seed: u64,
) -> anyhow::Result<Simulator> {
    let text = |key: &str| raw.get(key).map(|value| value.text.clone()).unwrap_or_default();
    let settings = simulator::Settings {
        addr: config.simulator_addr,
        seed,
        dev_id: text("terra_dev_id"),
        api_key: text("terra_api_key"),
        signing_secret: secret,
        webhook_url: Some(webhook_url),
        ..simulator::Settings::default()
    };
    match simulator::start(settings.clone()).await {
        Err(_) if config.addresses_are_defaults => {
            let addr = SocketAddr::new(config.simulator_addr.ip(), 0);
            simulator::start(simulator::Settings { addr, ..settings }).await.context("start the simulator")
        }
        started => started.context("start the simulator"),
    }
}

fn banner(urls: &Urls, data_dir: &std::path::Path, ephemeral: bool, secret: &str) {
    let bold = anstyle::Style::new().bold();
    let dim = anstyle::Style::new().dimmed();
    let kept = if ephemeral { "gone at the end" } else { "kept between runs" };
    let dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let version = env!("CARGO_PKG_VERSION");
    anstream::println!(
        "{bold}landfall {version}{bold:#} · development: one process, embedded engine, a simulated Terra. Not for production.\n"
    );
    let rows = [
        ("Demo app", format!("{bold}{}{bold:#}", urls.demo)),
        ("Webhook", format!("http://{}/webhooks/terra", urls.public)),
        ("API", format!("http://{}/v1/connections", urls.internal)),
        ("Events", format!("http://{}/v1/events/stream", urls.internal)),
        ("Metrics", format!("http://{}/metrics", urls.internal)),
        ("Simulator", urls.simulator.clone()),
        ("Data", format!("{} {dim}({kept}){dim:#}", dir.display())),
        ("Secret", format!("{secret} {dim}(signs the webhooks){dim:#}")),
    ];
    for (name, value) in rows {
        anstream::println!("  {name:<10} {value}");
    }
    anstream::println!("\n  {bold}Try{bold:#}        open {} and click \"Connect device\"", urls.demo);
    anstream::println!("             curl -s http://{}/v1/users/demo-alex/activities", urls.internal);
    anstream::println!("             curl -sN http://{}/v1/events/stream?after=0", urls.internal);
    anstream::println!("  {dim}Ctrl-C ends it.{dim:#}\n");
}
