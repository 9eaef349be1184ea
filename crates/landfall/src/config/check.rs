//! What was set → a [`Config`] that cannot be wrong, or everything that is wrong at once.

use adapters::download::AllowedHost;
use std::net::SocketAddr;
use std::path::PathBuf;

use domain::fetch::{DAYS_PER_REQUEST_MAX, Pace, WINDOW_DAYS_MAX};
use domain::id::Environment;
use jiff::SignedDuration;
use secrecy::SecretString;
use terra::signature::{Secret, SecretError};

use super::raw::Raw;
use super::{
    ApiToken, Config, Credentials, Engines, Invalid, OnDeauth, ResolverConfig, Scope, StalePolicy, TerraEnvironment,
    TerraUrls, units,
};

impl Config {
    pub(crate) fn check(raw: Raw) -> Result<Config, Invalid> {
        let mut check = Check { problems: raw.problems.clone(), raw: &raw };
        let engines = check.engines();
        let config = Config {
            data_dir: PathBuf::from(check.text("data_dir")),
            queue_management_url: check.optional("queue_management_url").map(SecretString::from),
            payloads_url: check.optional("payloads_url"),
            payloads_inline_max: check.parsed("payloads_inline_max", units::bytes),
            public_addr: check.addr("public_addr"),
            internal_addr: check.addr("internal_addr"),
            simulator_addr: check.addr("simulator_addr"),
            demo_addr: check.addr("demo_addr"),
            addresses_are_defaults: ["public_addr", "internal_addr", "simulator_addr", "demo_addr"]
                .iter()
                .all(|key| raw.is_default(key)),
            public_url: check.optional("public_url").map(|url| url.trim_end_matches('/').to_owned()),
            webhook_paths: check.webhook_paths(),
            api_tokens: check.api_tokens(),
            environments: check.environments(),
            terra: TerraUrls {
                api: check.url("terra_api_url"),
                widget: check.url("terra_widget_url"),
                legacy: check.url("terra_legacy_url"),
                admin: check.url("terra_admin_url"),
            },
            legacy_widget: check.one_of("widget", &[("session", false), ("legacy", true)]),
            signature_tolerance: check.parsed("signature_tolerance", units::duration),
            stale_policy: check.one_of(
                "stale_policy",
                &[
                    ("accept-if-new", StalePolicy::AcceptIfNew),
                    ("quarantine", StalePolicy::Quarantine),
                    ("reject", StalePolicy::Reject),
                ],
            ),
            queue_max: check.parsed("queue_max", units::lane_bytes),
            quarantine_max: check.parsed("quarantine_max", units::bytes),
            quarantine_keep: check.parsed("quarantine_keep", units::duration),
            max_body: check.parsed("max_body", units::bytes),
            max_inflight_bytes: check.parsed("max_inflight_bytes", units::bytes),
            resolver: check.resolver(),
            backfill_days: check.parsed("backfill_days", number),
            fetch_inline: check.one_of("fetch_mode", &[("webhook", false), ("inline", true)]),
            fetch_pace: Pace {
                per_second: check.parsed("fetch_rate", number),
                daily_max: check.parsed("fetch_daily_max", number),
            },
            fetch_budget: check.parsed("fetch_budget", units::budget),
            fetch_window_days: check.parsed("fetch_window_days", window_days),
            download_hosts: check.download_hosts(),
            backfill_stall: check.parsed("backfill_stall", units::duration),
            retention_deliveries: check.parsed("retention_deliveries", units::duration),
            retention_audit: check.parsed("retention_audit", units::duration),
            on_deauth: check.parsed("on_deauth", on_deauth),
            terra_admin_token: check.optional("terra_admin_token").map(SecretString::from),
            delivery_attempts: check.parsed("delivery_attempts", at_least_one),
            replay_rate: check.parsed("replay_rate", at_least_one),
            recover_rate: check.parsed("recover_rate", number),
            reconcile_every: check.parsed("reconcile_every", units::duration),
            reconcile_revoke_max: check.parsed("reconcile_revoke_max", percent),
            silence_every: check.parsed("silence_every", units::duration),
            usage_free_monthly: check.parsed("usage_free_monthly", number),
            workers: check.parsed("workers", number::<usize>).max(1),
            shutdown_delay: check.parsed("shutdown_delay", units::duration),
            shutdown_grace: check.parsed("shutdown_grace", units::duration),
            log: check.text("log"),
            log_json: check
                .optional("log_format")
                .map(|_| check.one_of("log_format", &[("text", false), ("json", true)])),
            warnings: raw.warnings.clone(),
            engines,
        };
        if config.api_tokens.is_empty() && !config.internal_addr.ip().is_loopback() {
            check.problems.push(format!("internal_addr {} is not loopback and LANDFALL_API_TOKENS is not set: anybody who reaches it would be admin", config.internal_addr));
        }
        if check.problems.is_empty() { Ok(config) } else { Err(Invalid(check.problems)) }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("`{text}` is no whole number in range"))
}

fn at_least_one(text: &str) -> Result<u32, String> {
    number(text).and_then(|number| if number > 0 { Ok(number) } else { Err("0 would never do anything".to_owned()) })
}

fn window_days(text: &str) -> Result<u32, String> {
    let range = WINDOW_DAYS_MAX..=DAYS_PER_REQUEST_MAX;
    number(text)
        .ok()
        .filter(|days| range.contains(days))
        .ok_or_else(|| format!("`{text}` is no whole number from {WINDOW_DAYS_MAX} to {DAYS_PER_REQUEST_MAX}"))
}

fn on_deauth(text: &str) -> Result<OnDeauth, String> {
    let wrong = || format!("`{text}` is none of keep, erase, and erase:30d");
    match text.trim().split_once(':') {
        None if text.trim() == "keep" => Ok(OnDeauth::Keep),
        None if text.trim() == "erase" => Ok(OnDeauth::Erase { after: SignedDuration::ZERO }),
        Some(("erase", after)) => {
            let after = SignedDuration::try_from(units::duration(after)?).map_err(|_| wrong())?;
            Ok(OnDeauth::Erase { after })
        }
        None | Some(_) => Err(wrong()),
    }
}

fn percent(text: &str) -> Result<u8, String> {
    let number: u8 = number(text.trim().trim_end_matches('%'))?;
    if number <= 100 { Ok(number) } else { Err(format!("`{text}` is more than 100 percent")) }
}

/// Collects every problem instead of stopping at the first.
struct Check<'a> {
    problems: Vec<String>,
    raw: &'a Raw,
}

impl Check<'_> {
    fn optional(&self, key: &str) -> Option<String> {
        self.raw.get(key).map(|value| value.text.clone()).filter(|text| !text.is_empty())
    }

    fn text(&self, key: &str) -> String {
        self.optional(key).unwrap_or_default()
    }

    fn parsed<T: Default>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let text = self.text(key);
        parse(&text).unwrap_or_else(|problem| {
            self.problems.push(format!("{key}: {problem}"));
            T::default()
        })
    }

    fn addr(&mut self, key: &str) -> SocketAddr {
        let text = self.text(key);
        text.parse().unwrap_or_else(|_| {
            self.problems.push(format!("{key}: `{text}` is no address: write it like 127.0.0.1:8080"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn url(&mut self, key: &str) -> String {
        let text = self.text(key);
        match url::Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {}
            _ => self.problems.push(format!("{key}: `{text}` is no http or https URL")),
        }
        text.trim_end_matches('/').to_owned()
    }

    fn one_of<T: Clone>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let text = self.text(key);
        choices.iter().find(|(name, _)| *name == text).map(|(_, value)| value.clone()).unwrap_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.problems.push(format!("{key}: `{text}` is none of {}", names.join(", ")));
            choices[0].1.clone()
        })
    }

    fn engines(&mut self) -> Engines {
        let queue = self.optional("queue_url").unwrap_or_else(|| "embedded".into());
        let store = self.optional("store_url").unwrap_or_else(|| "embedded".into());
        let is_amqp = queue.starts_with("amqp://") || queue.starts_with("amqps://");
        let is_postgres = store.starts_with("postgres://") || store.starts_with("postgresql://");
        match (queue.as_str(), store.as_str()) {
            ("embedded", "embedded") => Engines::Embedded,
            _ if is_amqp && is_postgres => Engines::Cluster {
                queue_url: queue.into(),
                queue_prefix: self.name("queue_prefix"),
                store_url: store.into(),
                store_schema: self.name("store_schema"),
            },
            _ => {
                self.problems.push(
                    "LANDFALL_QUEUE_URL and LANDFALL_STORE_URL belong together: both `embedded`, or amqp://… (amqps://…) with postgres://…; no other pair is supported".into(),
                );
                Engines::Embedded
            }
        }
    }

    /// A name that ends up in queue names or SQL identifiers.
    fn name(&mut self, key: &str) -> String {
        let text = self.text(key);
        if text.is_empty()
            || text.len() > 40
            || !text.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-' || byte == b'.'
            })
        {
            self.problems.push(format!("{key}: `{text}` may have 1 to 40 of a-z, 0-9, `_`, `-`, `.`"));
        }
        text
    }

    fn download_hosts(&mut self) -> Vec<AllowedHost> {
        let text = self.text("download_hosts");
        let mut hosts = Vec::new();
        for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            match AllowedHost::parse(one) {
                Some(host) => hosts.push(host),
                None => self.problems.push(format!("download_hosts: `{one}` is neither host nor host:port")),
            }
        }
        hosts
    }

    fn webhook_paths(&mut self) -> Vec<String> {
        let paths: Vec<String> = self
            .text("webhook_paths")
            .split(',')
            .map(str::trim)
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect();
        for path in paths.iter().filter(|path| {
            !path.starts_with('/') || path.starts_with("/connect/") || path.contains(['{', '}', '?', '#'])
        }) {
            self.problems
                .push(format!("webhook_paths: `{path}` must begin with / and be no pattern, query or /connect/ path"));
        }
        paths
    }

    fn api_tokens(&mut self) -> Vec<ApiToken> {
        let mut tokens = Vec::new();
        for entry in self.text("api_tokens").split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let mut parts = entry.splitn(3, ':');
            let (Some(name), Some(scopes), Some(token)) = (parts.next(), parts.next(), parts.next()) else {
                self.problems.push("api_tokens: an entry is not name:scopes:token".into());
                continue;
            };
            if token.len() < 16 {
                self.problems.push(format!("api_tokens: the token of `{name}` is shorter than 16 characters"));
            }
            let parsed: Vec<Option<Scope>> =
                scopes.split('+').map(|label| Scope::ALL.into_iter().find(|scope| scope.label() == label)).collect();
            if parsed.iter().any(Option::is_none) {
                let labels: Vec<&str> = Scope::ALL.iter().map(|scope| scope.label()).collect();
                self.problems.push(format!("api_tokens: `{name}` has a scope out of none of {}", labels.join(", ")));
            }
            tokens.push(ApiToken {
                name: name.into(),
                scopes: parsed.into_iter().flatten().collect(),
                token: token.into(),
            });
        }
        tokens
    }

    fn environments(&mut self) -> Vec<TerraEnvironment> {
        let mut environments = Vec::new();
        let secrets = self.raw.get("terra_signing_secrets").map(|value| value.text.clone());
        let dev_id = self.optional("terra_dev_id");
        let api_key = self.optional("terra_api_key");
        if secrets.is_some() || dev_id.is_some() || api_key.is_some() || self.raw.environments.is_empty() {
            let listed: Option<Vec<String>> = secrets.map(|text| text.split(',').map(str::to_owned).collect());
            let checked = self.secrets("LANDFALL_TERRA_SIGNING_SECRETS", listed);
            let credentials = self.credentials("default", dev_id, api_key);
            environments.push(TerraEnvironment { name: Environment::new("default"), credentials, secrets: checked });
        }
        for raw in &self.raw.environments {
            let owner = format!("environment `{}`", raw.name);
            if raw.name.is_empty()
                || environments.iter().any(|known: &TerraEnvironment| known.name.as_str() == raw.name)
            {
                self.problems.push(format!("{owner}: the name is empty or used twice"));
            }
            let from_file = raw.signing_secrets_file.as_ref().and_then(|path| self.file(&owner, path));
            let listed = match from_file {
                Some(text) => Some(text.split(',').map(str::to_owned).collect()),
                None => (!raw.signing_secrets.is_empty()).then(|| raw.signing_secrets.clone()),
            };
            let api_key =
                raw.api_key_file.as_ref().and_then(|path| self.file(&owner, path)).or_else(|| raw.api_key.clone());
            let secrets = self.secrets(&owner, listed);
            let credentials = self.credentials(&raw.name, raw.dev_id.clone(), api_key);
            environments.push(TerraEnvironment { name: Environment::new(raw.name.clone()), credentials, secrets });
        }
        environments
    }

    fn file(&mut self, owner: &str, path: &std::path::Path) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.problems.push(format!("{owner}: cannot read the file {}: {error}", path.display()));
                None
            }
        }
    }

    /// Not set is allowed (we answer 503 until it is); set but unusable is not.
    fn secrets(&mut self, owner: &str, listed: Option<Vec<String>>) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for entry in listed.unwrap_or_default() {
            match Secret::new(entry.trim().as_bytes()) {
                Ok(secret) => secrets.push(secret),
                Err(SecretError::Empty) => self
                    .problems
                    .push(format!("{owner}: a signing secret is empty; with an empty secret anybody could sign")),
                Err(SecretError::TooShort) => self.problems.push(format!(
                    "{owner}: a signing secret is shorter than {} bytes; copy the whole secret from Terra's dashboard",
                    Secret::BYTES_MIN
                )),
            }
        }
        secrets
    }

    fn credentials(
        &mut self,
        environment: &str,
        dev_id: Option<String>,
        api_key: Option<String>,
    ) -> Option<Credentials> {
        match (dev_id, api_key) {
            (Some(dev_id), Some(api_key)) => Some(Credentials { dev_id, api_key: api_key.into() }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                self.problems.push(format!(
                    "environment `{environment}`: dev id and API key belong together, one of them is not set"
                ));
                None
            }
        }
    }

    fn resolver(&mut self) -> ResolverConfig {
        match self.text("resolver").as_str() {
            "reference" => ResolverConfig::Reference,
            "sql" => {
                let url = self
                    .optional("resolver_sql_url")
                    .or_else(|| self.optional("store_url"))
                    .filter(|url| url.starts_with("postgres"));
                match (url, self.optional("resolver_sql_query")) {
                    (Some(url), Some(query)) if query.contains("$1") => ResolverConfig::Sql { url: url.into(), query },
                    _ => {
                        self.problems.push("resolver `sql` needs LANDFALL_RESOLVER_SQL_QUERY with $1 for the reference, and a postgres:// URL".into());
                        ResolverConfig::Reference
                    }
                }
            }
            "http" => match self
                .optional("resolver_http_url")
                .filter(|url| url.contains("{reference}") && url.starts_with("http"))
            {
                Some(url) => {
                    ResolverConfig::Http { url, token: self.optional("resolver_http_token").map(SecretString::from) }
                }
                None => {
                    self.problems
                        .push("resolver `http` needs LANDFALL_RESOLVER_HTTP_URL with {reference} in it".into());
                    ResolverConfig::Reference
                }
            },
            other => {
                self.problems.push(format!("resolver: `{other}` is none of reference, sql, http"));
                ResolverConfig::Reference
            }
        }
    }
}
