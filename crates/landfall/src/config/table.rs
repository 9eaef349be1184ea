//! Every setting in one table: its name in the file and the environment, its default, its meaning. Everything that
//! lists settings (checks, the template, suggestions) reads this table.

pub(crate) struct Setting {
    /// Name in `landfall.toml`; the environment variable is `LANDFALL_` and this in capitals.
    pub(crate) key: &'static str,
    pub(crate) default: Option<&'static str>,
    /// Never printed; also accepted as `…_FILE`, the path of a file that holds it.
    pub(crate) secret: bool,
    pub(crate) help: &'static str,
}

impl Setting {
    pub(crate) fn env(&self) -> String {
        format!("LANDFALL_{}", self.key.to_uppercase())
    }
}

const fn plain(key: &'static str, default: Option<&'static str>, help: &'static str) -> Setting {
    Setting { key, default, secret: false, help }
}

const fn secret(key: &'static str, help: &'static str) -> Setting {
    Setting { key, default: None, secret: true, help }
}

pub(crate) const SETTINGS: &[Setting] = &[
    plain("data_dir", Some("./landfall-data"), "embedded engine and local payloads"),
    secret(
        "queue_url",
        "`embedded` (default), or amqp://…, amqps://…; for a cluster the URLs of its nodes with commas between, tried in turn",
    ),
    plain("queue_prefix", Some("landfall"), "first part of every exchange and queue name"),
    plain(
        "queue_max",
        Some("8GiB"),
        "what each lane of the queue holds at most; more is answered 503 until it is worked off. RabbitMQ's queues get it when they are made",
    ),
    secret(
        "queue_management_url",
        "RabbitMQ's management API, as in http://user:password@rabbitmq:15672; `doctor` and `topology` ask it what AMQP does not tell",
    ),
    secret("store_url", "`embedded` (default), or postgres://…"),
    plain("store_schema", Some("landfall"), "PostgreSQL schema of our tables"),
    plain(
        "payloads_url",
        None,
        "where large payloads are kept: a path, file:///… or s3://bucket/prefix; shared by receive and work (default: under the data dir)",
    ),
    plain("payloads_inline_max", Some("64KiB"), "larger bodies go to the payload store"),
    plain("public_addr", Some("127.0.0.1:8080"), "webhooks and redirects; nothing else is served there"),
    plain("internal_addr", Some("127.0.0.1:8081"), "API, metrics, probes"),
    plain("simulator_addr", Some("127.0.0.1:8082"), "`dev` and `simulate` only"),
    plain("demo_addr", Some("127.0.0.1:8083"), "`dev` only"),
    plain("public_url", None, "how Terra and browsers reach us; builds redirect URLs (default: from the address)"),
    plain(
        "webhook_paths",
        None,
        "further accepted webhook paths, comma separated, so that Terra's setting need not change",
    ),
    secret(
        "api_tokens",
        "list of name:scopes:token; scopes joined by + out of connect, records, events, ops, ops-write, privacy, admin",
    ),
    plain("terra_dev_id", None, "dev id of the environment named `default`"),
    secret("terra_api_key", "API key of that environment"),
    secret("terra_signing_secrets", "its webhook signing secrets, comma separated; any may match (rotation)"),
    plain("terra_api_url", Some("https://access.tryterra.co/api/v2"), "Terra's REST API"),
    plain("terra_widget_url", Some("https://access.tryterra.co/api/widget/session"), "Terra's widget session endpoint"),
    plain("terra_legacy_url", Some("https://api.tryterra.co/v2"), "Terra's older API"),
    secret(
        "terra_admin_token",
        "personal access token of Terra's Admin API: its own log of deliveries, and sending them again (`recover`)",
    ),
    plain("terra_admin_url", Some("https://access.tryterra.co/api/v3/admin"), "Terra's Admin API"),
    plain("widget", Some("session"), "`session`, or `legacy` for the older widget endpoint"),
    plain("signature_tolerance", Some("5m"), "how far a signature's time may be from ours, both ways"),
    plain("stale_policy", Some("accept-if-new"), "a genuine but stale delivery: accept-if-new, quarantine, reject"),
    plain(
        "quarantine_max",
        Some("256MiB"),
        "requests whose signature failed: what is kept of them at most; 0 keeps none",
    ),
    plain("quarantine_keep", Some("72h"), "how long they are kept"),
    plain("max_body", Some("64MiB"), "413 above"),
    plain("max_inflight_bytes", Some("256MiB"), "bodies in memory at once; 503 above"),
    plain("resolver", Some("reference"), "reference_id to internal user: `reference` (it is the user), `sql`, `http`"),
    secret("resolver_sql_url", "PostgreSQL of the `sql` resolver (default: the store's)"),
    plain(
        "resolver_sql_query",
        None,
        "one query with $1 = reference_id; the first column of its first row is the user",
    ),
    plain("resolver_http_url", None, "URL of the `http` resolver with {reference}; 200 {\"user\":\"…\"}, 404 unknown"),
    secret("resolver_http_token", "sent as bearer token by the `http` resolver"),
    plain("backfill_days", Some("28"), "history to fetch when a connect happens before our eyes; 0 turns it off"),
    plain("fetch_mode", Some("webhook"), "`webhook`: Terra sends the data; `inline`: read the answer"),
    plain("fetch_rate", Some("10"), "requests per second to Terra, of the whole installation"),
    plain("fetch_daily_max", Some("100000"), "requests per day to Terra, of the whole installation"),
    plain("fetch_budget", Some("6000/1h"), "days per user and rolling time that Terra allows the account"),
    plain("fetch_window_days", Some("28"), "days of one request, 28 to 1825; more than 28 come in chunks"),
    plain(
        "download_hosts",
        Some("terra-payload-bucket.s3.eu-west-2.amazonaws.com,storage.googleapis.com"),
        "hosts (or host:port) that payloads left in storage are downloaded from; a name must lead to public addresses, an address that is written out is meant",
    ),
    plain("backfill_stall", Some("10m"), "nothing new for so long: what is missing is asked for again"),
    plain("retention_deliveries", Some("14d"), "raw deliveries; records live until erased"),
    plain("retention_audit", Some("2192d"), "who did what; six years, for which the law may want it kept"),
    plain(
        "delivery_attempts",
        Some("12"),
        "tries before a delivery that fails is a dead letter; 12 are about 51 minutes",
    ),
    plain(
        "replay_rate",
        Some("100"),
        "deliveries a second that a replay works at most, unless it is asked for with another rate",
    ),
    plain(
        "on_deauth",
        Some("keep"),
        "the data of a connection that was closed: `keep`, `erase`, or `erase:30d` to erase it so long afterwards",
    ),
    plain("recover_rate", Some("5"), "events a second that `recover` asks Terra to send again"),
    plain("reconcile_every", Some("6h"), "how often to compare with Terra's list of users; 0: only when asked"),
    plain(
        "reconcile_revoke_max",
        Some("20"),
        "percent of the open connections that one reconcile may revoke; if more are gone, none is, and an alarm is raised (one may always go)",
    ),
    plain(
        "silence_every",
        Some("5m"),
        "how often to look which connections and providers have fallen silent; 0 turns it off",
    ),
    plain(
        "usage_free_monthly",
        Some("400"),
        "events a month per connection that Terra does not charge; `stats` lists who is over",
    ),
    plain("workers", Some("2"), "consumers per process with the role `work`"),
    plain(
        "shutdown_delay",
        Some("5s"),
        "after SIGTERM: time in which a receiver is not ready and still accepts, for a load balancer to notice; `dev` takes none",
    ),
    plain("shutdown_grace", Some("20s"), "time to finish what was accepted after SIGTERM"),
    plain("log", Some("info"), "level, or filters such as info,landfall=debug"),
    plain("log_format", None, "text or json (default: text on a terminal, else json)"),
];

/// Variables that are read elsewhere: by commands that talk to an instance, and by the tests.
pub(crate) const OTHER_VARIABLES: &[&str] = &["LANDFALL_CONFIG", "LANDFALL_URL", "LANDFALL_TOKEN"];

/// The known name nearest to `name`, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let known = || SETTINGS.iter().map(|setting| setting.key);
        assert_eq!(nearest("que_url", known()), Some("queue_url"));
        assert_eq!(nearest("signature_tolerence", known()), Some("signature_tolerance"));
        assert_eq!(nearest("zzz", known()), None);
    }

    #[test]
    fn the_tries_that_add_up_to_less_than_an_hour_are_the_default() {
        let setting = SETTINGS.iter().find(|setting| setting.key == "delivery_attempts").unwrap();
        assert_eq!(setting.default, Some(domain::settle::ATTEMPTS_MAX.to_string().as_str()));
    }
}
