//! How connections are made: time limits everywhere, TLS by `sslmode`.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use tokio_postgres::NoTls;
use tokio_postgres::config::{Config, Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresSettings;
use super::hosts::{self, EachHost};
use crate::store::StoreError;

/// For each host that is named.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// What the server gives one statement; those of ours take milliseconds.
pub(super) const STATEMENT_MAX: Duration = Duration::from_secs(15);

/// Without it a query on a server that vanished waits for the kernel, 15 minutes and more.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

/// Where systems keep the certificates they trust: Debian and its children, Fedora and its children, Alpine.
const ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Makes a pool that has no connection yet.
///
/// A connection is checked with a round trip when it is taken out of the pool: it may have died while it lay there, and
/// a unit of work cannot tell such a death from a lost commit.
pub(super) fn pool(settings: &PostgresSettings) -> Result<Pool, StoreError> {
    let config = config(settings)?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Verified };
    let hosts =
        hosts::each(&config).ok_or_else(|| unusable("name a host, and one port for all hosts or one for each"))?;
    let timeouts = Timeouts {
        wait: Some(Duration::from_secs(2)),
        create: Some(CONNECT_MAX.saturating_mul(u32::try_from(hosts.len()).unwrap_or(u32::MAX))),
        recycle: Some(Duration::from_secs(2)),
    };
    let manager = if speaks_plainly(&config) {
        Manager::from_connect(config, EachHost::new(hosts, NoTls, CONNECT_MAX), recycling)
    } else {
        Manager::from_connect(config, EachHost::new(hosts, tls()?, CONNECT_MAX), recycling)
    };
    Pool::builder(manager)
        .max_size(settings.pool_max)
        .timeouts(timeouts)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|_| unusable("the pool cannot be made"))
}

fn config(settings: &PostgresSettings) -> Result<Config, StoreError> {
    if !is_plain_name(&settings.schema) {
        return Err(unusable("the schema's name may hold a-z, 0-9 and _ only"));
    }
    let (url, verified) = understood(settings.url.expose_secret());
    // The cause names an option, and might name a value: it stays here.
    let mut config = Config::from_str(&url).map_err(|_| unusable("the URL cannot be read"))?;
    if verified {
        config.ssl_mode(SslMode::Require);
    }
    // Compiling a plan takes longer than any of ours runs.
    let ours = format!(
        "-c search_path={} -c statement_timeout={}s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s \
         -c jit=off",
        settings.schema,
        STATEMENT_MAX.as_secs()
    );
    let options = config.get_options().map_or_else(|| ours.clone(), |given| format!("{given} {ours}"));
    config
        .options(options)
        .application_name("landfall")
        .connect_timeout(CONNECT_MAX)
        .tcp_user_timeout(UNACKNOWLEDGED_MAX)
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(5))
        .keepalives_interval(Duration::from_secs(2))
        .keepalives_retries(3);
    Ok(config)
}

/// libpq's `verify-full` and `verify-ca` are not known to the driver. With us `require` verifies chain and name too.
fn understood(url: &str) -> (String, bool) {
    let mut plain = url.to_owned();
    for mode in ["sslmode=verify-full", "sslmode=verify-ca"] {
        plain = plain.replace(mode, "sslmode=require");
    }
    let verified = plain != url;
    (plain, verified)
}

/// A name that means the same with and without quotes.
fn is_plain_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    name.len() <= 63
        && name.bytes().next().is_some_and(letters)
        && name.bytes().all(|byte| letters(byte) || byte.is_ascii_digit())
}

/// TLS is off where it is switched off, and towards this very machine unless it was asked for.
fn speaks_plainly(config: &Config) -> bool {
    match config.get_ssl_mode() {
        SslMode::Disable => true,
        SslMode::Prefer => config.get_hosts().iter().all(is_local),
        // The driver's list is open; whatever it may add later asks for TLS.
        SslMode::Require | _ => false,
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || IpAddr::from_str(name).is_ok_and(|address| address.is_loopback()),
        Host::Unix(_) => true,
    }
}

/// Trusts what the system trusts, or what `SSL_CERT_FILE` names, as OpenSSL does.
fn tls() -> Result<MakeRustlsConnect, StoreError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let file = named
        .or_else(|| ROOTS.iter().map(std::path::PathBuf::from).find(|path| path.exists()))
        .ok_or_else(|| unusable("no file of trusted certificates was found: set SSL_CERT_FILE"))?;
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|_| unusable("the file of trusted certificates cannot be read"))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable("TLS cannot be set up"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(client))
}

fn unusable(why: &str) -> StoreError {
    StoreError::Unavailable(format!("the database setting is of no use: {why}"))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::store::ReferencePolicy;

    fn settings(url: &str, schema: &str) -> PostgresSettings {
        PostgresSettings {
            url: SecretString::from(url),
            schema: schema.into(),
            policy: ReferencePolicy::IsTheUser,
            pool_max: 1,
        }
    }

    #[track_caller]
    fn check_plain(url: &str, expected: bool) {
        assert_eq!(speaks_plainly(&config(&settings(url, "landfall")).unwrap()), expected, "{url}");
    }

    #[test]
    fn tls_is_left_out_only_on_this_machine_or_on_request() {
        check_plain("postgres://u@127.0.0.1/d", true);
        check_plain("postgres://u@localhost/d", true);
        check_plain("postgres://u@db.example/d", false);
        check_plain("postgres://u@db.example/d?sslmode=disable", true);
        check_plain("postgres://u@localhost/d?sslmode=require", false);
        check_plain("postgres://u@localhost/d?sslmode=verify-full", false);
    }

    #[test]
    fn a_schema_must_have_a_plain_name_and_errors_hold_no_password() {
        for name in ["", "Landfall", "a b", "a;drop", "1a", "a-b"] {
            assert!(config(&settings("postgres://u@h/d", name)).is_err(), "{name}");
        }
        let error = config(&settings("postgres://u:hunter2@h/d?sslmode=hunter2", "landfall")).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
