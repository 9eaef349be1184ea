//! Settings: gathered once ([`raw`]), checked once, into a [`Config`] that cannot be wrong.

use adapters::download::AllowedHost;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use adapters::store::ReferencePolicy;
use domain::fetch::{Budget, Pace};
use domain::id::Environment;
use jiff::SignedDuration;
use secrecy::SecretString;
use terra::signature::Secret;

mod check;
pub(crate) mod raw;
pub(crate) mod table;
mod units;

use raw::Raw;

/// Everything the program was told, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) engines: Engines,
    /// Asked by commands alone: `doctor` and `topology`.
    pub(crate) queue_management_url: Option<SecretString>,
    pub(crate) payloads_url: Option<String>,
    pub(crate) payloads_inline_max: usize,
    pub(crate) public_addr: SocketAddr,
    pub(crate) internal_addr: SocketAddr,
    pub(crate) simulator_addr: SocketAddr,
    pub(crate) demo_addr: SocketAddr,
    /// Addresses nobody chose: `dev` may take a free port instead of one that is taken.
    pub(crate) addresses_are_defaults: bool,
    pub(crate) public_url: Option<String>,
    pub(crate) webhook_paths: Vec<String>,
    pub(crate) api_tokens: Vec<ApiToken>,
    pub(crate) environments: Vec<TerraEnvironment>,
    pub(crate) terra: TerraUrls,
    pub(crate) legacy_widget: bool,
    pub(crate) signature_tolerance: Duration,
    pub(crate) stale_policy: StalePolicy,
    /// What is kept of requests whose signature failed, in bytes and for how long.
    pub(crate) quarantine_max: usize,
    pub(crate) quarantine_keep: Duration,
    /// Bytes of each lane of the queue.
    pub(crate) queue_max: u64,
    pub(crate) max_body: usize,
    pub(crate) max_inflight_bytes: usize,
    pub(crate) resolver: ResolverConfig,
    pub(crate) backfill_days: u32,
    pub(crate) fetch_inline: bool,
    pub(crate) fetch_pace: Pace,
    pub(crate) fetch_budget: Budget,
    pub(crate) fetch_window_days: u32,
    /// Where payloads that Terra left in storage may lie.
    pub(crate) download_hosts: Vec<AllowedHost>,
    pub(crate) backfill_stall: Duration,
    pub(crate) retention_deliveries: Duration,
    pub(crate) retention_audit: Duration,
    pub(crate) on_deauth: OnDeauth,
    /// Access to Terra's own log of deliveries.
    pub(crate) terra_admin_token: Option<SecretString>,
    /// Tries before a delivery that fails is a dead letter.
    pub(crate) delivery_attempts: u32,
    /// Deliveries a second that a replay works, where it does not say itself.
    pub(crate) replay_rate: u32,
    /// Events a second that Terra is asked to send again.
    pub(crate) recover_rate: u32,
    /// How often to compare with Terra's list of users; zero: only when asked.
    pub(crate) reconcile_every: Duration,
    /// Percent of the open connections that one reconcile may revoke.
    pub(crate) reconcile_revoke_max: u8,
    /// How often to look who has fallen silent; zero: never.
    pub(crate) silence_every: Duration,
    /// Events a month per connection that Terra does not charge.
    pub(crate) usage_free_monthly: u64,
    pub(crate) workers: usize,
    pub(crate) shutdown_delay: Duration,
    pub(crate) shutdown_grace: Duration,
    pub(crate) log: String,
    pub(crate) log_json: Option<bool>,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Engines {
    Embedded,
    Cluster { queue_url: SecretString, queue_prefix: String, store_url: SecretString, store_schema: String },
}

/// One Terra environment (dev id).
#[derive(Debug, Clone)]
pub(crate) struct TerraEnvironment {
    pub(crate) name: Environment,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) secrets: Vec<Secret>,
}

#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) dev_id: String,
    pub(crate) api_key: SecretString,
}

#[derive(Debug, Clone)]
pub(crate) struct TerraUrls {
    pub(crate) api: String,
    pub(crate) widget: String,
    pub(crate) legacy: String,
    pub(crate) admin: String,
}

/// What becomes of a genuine delivery whose time is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StalePolicy {
    AcceptIfNew,
    Quarantine,
    Reject,
}

/// What becomes of the data of a connection that was closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OnDeauth {
    #[default]
    Keep,
    Erase {
        after: SignedDuration,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum ResolverConfig {
    Reference,
    Sql { url: SecretString, query: String },
    Http { url: String, token: Option<SecretString> },
}

impl ResolverConfig {
    pub(crate) fn policy(&self) -> ReferencePolicy {
        match self {
            ResolverConfig::Reference => ReferencePolicy::IsTheUser,
            ResolverConfig::Sql { .. } | ResolverConfig::Http { .. } => ReferencePolicy::Resolved,
        }
    }
}

/// A token of the API and what it opens.
#[derive(Debug, Clone)]
pub(crate) struct ApiToken {
    pub(crate) name: String,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) token: SecretString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Connect,
    Records,
    Events,
    Ops,
    OpsWrite,
    Privacy,
    Admin,
}

impl Scope {
    pub(crate) const ALL: [Scope; 7] =
        [Scope::Connect, Scope::Records, Scope::Events, Scope::Ops, Scope::OpsWrite, Scope::Privacy, Scope::Admin];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Scope::Connect => "connect",
            Scope::Records => "records",
            Scope::Events => "events",
            Scope::Ops => "ops",
            Scope::OpsWrite => "ops-write",
            Scope::Privacy => "privacy",
            Scope::Admin => "admin",
        }
    }
}

/// All that is wrong with the settings, at once.
#[derive(Debug, thiserror::Error)]
#[error("the settings are invalid:\n{}", .0.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n"))]
pub(crate) struct Invalid(pub(crate) Vec<String>);

impl Config {
    /// The policy for references, as the store applies it.
    pub(crate) fn reference_policy(&self) -> ReferencePolicy {
        self.resolver.policy()
    }
}

/// Reads the file and the environment of this process. `file` is `--config`, else `LANDFALL_CONFIG`, else
/// `./landfall.toml` if it is there.
pub(crate) fn gather(file: Option<PathBuf>) -> Result<Raw, Invalid> {
    let named = file.or_else(|| std::env::var_os("LANDFALL_CONFIG").map(PathBuf::from));
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|error| Invalid(vec![format!("cannot read {}: {error}", path.display())]))
    };
    let usual = PathBuf::from("landfall.toml");
    let file = match named {
        Some(path) => Some((path.clone(), read(&path)?)),
        None if usual.exists() => Some((usual.clone(), read(&usual)?)),
        None => None,
    };
    Ok(Raw::gather(file, std::env::vars()))
}
