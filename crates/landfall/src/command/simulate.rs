//! `landfall simulate`: the stand-in for Terra alone, one signed event to any URL, or a scenario.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use simulator::{AuthWebhook, Dialect, RetrySchedule, Settings};

use super::output;
use crate::lifecycle::Lifecycle;

mod event;
mod scenario;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    run: Box<Run>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Send one signed event
    Event(Box<event::Args>),
    /// List what a receiver has to get right, or play one of these stories
    Scenario(Box<scenario::Args>),
}

#[derive(clap::Args)]
struct Run {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "LANDFALL_SIMULATOR_ADDR", default_value = "127.0.0.1:8082")]
    addr: SocketAddr,
    /// How browsers reach the widget, if not at the address
    #[arg(long)]
    public_url: Option<String>,
    /// Where webhooks go
    #[arg(long, default_value = "http://127.0.0.1:8080/webhooks/terra")]
    webhook_url: String,
    #[arg(long, env = "LANDFALL_TERRA_DEV_ID", default_value = "simulated-dev-id")]
    dev_id: String,
    #[arg(long, env = "LANDFALL_TERRA_API_KEY", hide_env_values = true, default_value = "simulated-api-key")]
    api_key: String,
    #[command(flatten)]
    secret: Secret,
    /// Personal access token of the Admin API, which has the event log
    #[arg(long, default_value = "terra_at_simulated")]
    admin_token: String,
    /// Equal seeds make equal people and data
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which of Terra's two platforms to be
    #[arg(long, value_enum, default_value = "newer")]
    dialect: DialectName,
    /// When the auth webhook comes, seen from the browser's redirect
    #[arg(long, value_enum, default_value = "before")]
    auth_webhook: AuthWebhookName,
    /// Retries wait this many times shorter than Terra's
    #[arg(long, default_value_t = 1.0)]
    retry_factor: f64,
    /// How often each webhook is sent
    #[arg(long, default_value_t = 1)]
    copies: u32,
    /// Send the webhooks of one request in another order
    #[arg(long)]
    shuffle: bool,
    /// Days of history that everybody has
    #[arg(long, default_value_t = 400)]
    history_days: u32,
    /// Seconds between new data of everybody connected; never, if not said
    #[arg(long)]
    live_every_s: Option<u64>,
    /// Answer the older widget endpoint with 410
    #[arg(long)]
    legacy_widget_gone: bool,
    /// Enabled providers, comma separated, in the widget's order
    #[arg(long, value_delimiter = ',')]
    providers: Option<Vec<String>>,
}

/// What webhooks are signed with.
#[derive(clap::Args)]
struct Secret {
    /// Signing secret; of several, comma separated, the first
    #[arg(long, env = "LANDFALL_TERRA_SIGNING_SECRETS", hide_env_values = true, default_value = DEV_SECRET)]
    secret: String,
}

/// What `landfall dev` uses, so that `simulate event` reaches it without a setting.
const DEV_SECRET: &str = "landfall-dev-signing-secret";

impl Secret {
    fn first(&self) -> String {
        self.secret.split(',').next().unwrap_or_default().trim().to_owned()
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum DialectName {
    Newer,
    Older,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum AuthWebhookName {
    Before,
    After,
    Never,
    Only,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Some(Action::Event(args)) => event::run(*args).await,
        Some(Action::Scenario(args)) => scenario::run(*args).await,
        None => run_alone(*args.run).await,
    }
}

async fn run_alone(run: Run) -> anyhow::Result<()> {
    let lifecycle = Lifecycle::default();
    lifecycle.watch_signals();
    let simulator = simulator::start(settings(run)).await.context("start the simulator")?;
    output::print_text(&banner(&simulator))?;
    lifecycle.stop.cancelled().await;
    simulator.stop().await;
    Ok(())
}

fn banner(simulator: &simulator::Simulator) -> String {
    [
        format!("The Terra simulator listens on {}", simulator.base_url()),
        format!("  LANDFALL_TERRA_API_URL={}", simulator.api_url()),
        format!("  LANDFALL_TERRA_WIDGET_URL={}", simulator.widget_url()),
        format!("  LANDFALL_TERRA_LEGACY_URL={}", simulator.legacy_url()),
        format!("  Admin API: {}", simulator.admin_url()),
    ]
    .join("\n")
}

fn settings(run: Run) -> Settings {
    let defaults = Settings::default();
    Settings {
        addr: run.addr,
        public_url: run.public_url,
        seed: run.seed,
        dev_id: run.dev_id,
        api_key: run.api_key,
        signing_secret: run.secret.first(),
        admin_token: run.admin_token,
        webhook_url: Some(run.webhook_url).filter(|url| !url.is_empty()),
        dialect: run.dialect.into(),
        auth_webhook: run.auth_webhook.into(),
        retry: RetrySchedule { factor: run.retry_factor, ..RetrySchedule::default() },
        copies: run.copies,
        shuffle: run.shuffle,
        history_days: run.history_days,
        legacy_widget_gone: run.legacy_widget_gone,
        providers: run.providers.unwrap_or(defaults.providers),
        live_every: run.live_every_s.map(Duration::from_secs),
        ..Settings::default()
    }
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Dialect {
        match name {
            DialectName::Newer => Dialect::Newer,
            DialectName::Older => Dialect::Older,
        }
    }
}

impl From<AuthWebhookName> for AuthWebhook {
    fn from(name: AuthWebhookName) -> AuthWebhook {
        match name {
            AuthWebhookName::Before => AuthWebhook::Before,
            AuthWebhookName::After => AuthWebhook::After,
            AuthWebhookName::Never => AuthWebhook::Never,
            AuthWebhookName::Only => AuthWebhook::Only,
        }
    }
}
