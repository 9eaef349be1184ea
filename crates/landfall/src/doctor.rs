//! Facts for `landfall doctor`, gathered from services and host; what to make of them is in `domain/doctor`.
//!
//! It changes nothing but one object in the payload store, which it writes, reads and deletes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adapters::clock::Clock;
use adapters::payloads::{Hint, Of, Payloads, PayloadsUrl};
use adapters::queue::QueueError;
use adapters::queue::rabbitmq::management::Management;
use adapters::queue::rabbitmq::{self, Difference, Problem, RabbitSettings, TopologyObject};
use adapters::store::{Schema, StoreError, Upkeep};
use bytes::Bytes;
use domain::doctor::broker::TopologyFact;
use domain::doctor::database::SchemaFact;
use domain::doctor::host::{DataDir, Place};
use domain::doctor::{Area, Finding, account, broker, database, host};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use terra::signature::{Secret, sign};
use uuid::Uuid;

use crate::config::{Config, Engines, TerraEnvironment};
use crate::{clocks, wiring};

/// Secrets that stand in our own files.
const PUBLIC_SECRETS: [&str; 4] = [
    "dev-only-signing-secret",
    "simulated-signing-secret",
    "landfall-dev-signing-secret",
    "landfall-bench-signing-secret",
];

/// Terra calls a list of users heavy, even of one.
const TERRA_WITHIN: Duration = Duration::from_secs(15);

/// Everything there is to find, in no order.
pub(crate) async fn examine(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut findings = host::settings(&config.warnings);
    findings.extend(config.environments.iter().map(secrets));
    let (database, broker, terra, payloads) =
        tokio::join!(database(config), broker(config), terra(config), payloads(config));
    let (database, by_database) = database?;
    let (terra, by_terra) = terra?;
    findings.extend([database, broker?, terra].into_iter().flatten());
    findings.push(payloads);
    findings.extend(compared(config, [("Terra", by_terra), ("the database", by_database)]));
    if matches!(config.engines, Engines::Embedded) || place(config).is_local() {
        findings.push(host::data_dir(&data_dir(&local_folder(config))));
    }
    findings.push(host::files(open_files()));
    Ok(findings)
}

fn secrets(environment: &TerraEnvironment) -> Finding {
    let signature = |secret: &Secret| sign(secret, 0, b"");
    let public: Vec<String> = PUBLIC_SECRETS
        .iter()
        .filter_map(|text| Secret::new(text.as_bytes()).ok())
        .map(|secret| signature(&secret))
        .collect();
    let is_public = environment.secrets.iter().any(|secret| public.contains(&signature(secret)));
    host::secrets(&environment.name, environment.secrets.len(), is_public)
}

fn compared(config: &Config, others: [(&str, Option<SignedDuration>); 2]) -> Vec<Finding> {
    let tolerance = config.signature_tolerance;
    let known = others.into_iter().filter_map(|(other, ahead)| Some(host::clock(other, ahead?, tolerance)));
    let known: Vec<Finding> = known.collect();
    if known.is_empty() { vec![host::no_other_clock()] } else { known }
}

async fn database(config: &Config) -> anyhow::Result<(Vec<Finding>, Option<SignedDuration>)> {
    let Engines::Cluster { .. } = &config.engines else {
        let text = "the embedded engine: one file in the data dir, synced before every answer";
        return Ok((vec![Finding::good(Area::Database, "database", text)], None));
    };
    let (store, pool_max) = wiring::postgres(config)?;
    let clock = Clock::system();
    // The first question opens the connection, which takes its time.
    let schema = store.schema().await;
    let before = clock.now();
    let facts = store.facts(pool_max).await;
    let after = clock.now();
    store.close().await;
    Ok(match facts {
        Err(error) => (vec![database::unreachable(&error.to_string())], None),
        Ok((facts, now)) => {
            let mut findings = database::judge(&facts);
            findings.push(database::schema(schema_fact(schema)));
            (findings, Some(clocks::ahead(before, now, after)))
        }
    })
}

fn schema_fact(schema: Result<Schema, StoreError>) -> SchemaFact {
    match schema {
        Ok(Schema::Fits { version }) => SchemaFact::Fits { version },
        Ok(Schema::Behind { version, needed }) => SchemaFact::Behind { version, needed },
        Ok(Schema::Ahead { version, .. }) => SchemaFact::Ahead { version },
        Err(_) => SchemaFact::Behind { version: 0, needed: adapters::store::SCHEMA_OLDEST },
    }
}

async fn broker(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let Engines::Cluster { .. } = &config.engines else { return Ok(Vec::new()) };
    let settings = wiring::rabbit_settings(config)?;
    let mut unbounded = None;
    let mut findings = match rabbitmq::topology_differences(&settings).await {
        Ok(differences) => {
            unbounded = Some(without_bound(&differences));
            broker::topology(&differences.iter().filter_map(topology_fact).collect::<Vec<_>>())
        }
        Err(QueueError::Unavailable(why) | QueueError::Topology(why)) => {
            vec![broker::unreachable(&settings.address(), &why)]
        }
    };
    let (managed, queues) = managed(config, &settings).await;
    findings.extend(managed);
    findings.extend(unbounded.map(|names| broker::bounds(&names, &queues, config.queue_max)));
    Ok(findings)
}

/// `None` for what serves as it is.
fn topology_fact(difference: &Difference) -> Option<TopologyFact> {
    let differs = match &difference.problem {
        Problem::Missing => None,
        Problem::Differs(how) => Some(how.clone()),
        Problem::Bound { .. } => return None,
    };
    Some(TopologyFact { object: difference.object.to_string(), differs })
}

/// Queues that have no bound of their own.
fn without_bound(differences: &[Difference]) -> Vec<String> {
    let name = |difference: &Difference| match (&difference.object, &difference.problem) {
        (TopologyObject::Queue { name, .. }, Problem::Bound { bytes_max: None }) => Some(name.clone()),
        (_, Problem::Bound { .. } | Problem::Missing | Problem::Differs(_)) => None,
    };
    differences.iter().filter_map(name).collect()
}

/// What the management API tells, and of our queues as it tells it.
async fn managed(config: &Config, settings: &RabbitSettings) -> (Vec<Finding>, Vec<broker::Queue>) {
    let Some(url) = &config.queue_management_url else { return (broker::unmanaged(), Vec::new()) };
    let facts = match Management::new(url) {
        Ok(management) => management.facts(settings).await,
        Err(error) => Err(error),
    };
    match facts {
        Ok(facts) => (broker::judge(&facts), facts.queues),
        Err(error) => (broker::unmanageable(&error.to_string()), Vec::new()),
    }
}

/// What Terra says to each environment's credentials, and of its destinations; and how far our clock is ahead of Terra's.
async fn terra(config: &Config) -> anyhow::Result<(Vec<Finding>, Option<SignedDuration>)> {
    let clients = wiring::terra_clients(config)?;
    let mut findings = Vec::new();
    let mut by_terra = None;
    for environment in &config.environments {
        let tried = match clients.get(&environment.name) {
            None => None,
            Some(client) => {
                by_terra = clocks::of_terra(client, &Clock::system()).await.or(by_terra);
                let tried = client.subscriptions(0, 1, TERRA_WITHIN).await;
                Some(tried.map(drop).map_err(|error| error.to_string()))
            }
        };
        findings.push(account::credentials(&environment.name, tried));
        findings.push(destination(config, environment).await?);
    }
    Ok((findings, by_terra))
}

async fn destination(config: &Config, environment: &TerraEnvironment) -> anyhow::Result<Finding> {
    let name = &environment.name;
    let (Some(admin), Some(credentials)) = (wiring::admin_client(config)?, &environment.credentials) else {
        return Ok(account::no_token(name));
    };
    Ok(match admin.destinations(&credentials.dev_id).await {
        Ok(destinations) => account::destination(name, &destinations, config.public_url.as_deref()),
        Err(error) => account::not_told(name, &error.to_string()),
    })
}

/// Where payloads lie, and whether that is a folder of this machine.
struct PayloadPlace {
    place: Place,
    folder: Option<PathBuf>,
    url: Option<PayloadsUrl>,
}

impl PayloadPlace {
    fn is_local(&self) -> bool {
        self.folder.is_some()
    }
}

fn place(config: &Config) -> PayloadPlace {
    match config.payloads_url.as_deref().map(PayloadsUrl::parse) {
        None => {
            let folder = config.data_dir.join("payloads");
            let url = Some(PayloadsUrl::File(folder.clone()));
            PayloadPlace { place: Place::DataDir, folder: Some(folder), url }
        }
        Some(Ok(PayloadsUrl::File(folder))) => {
            PayloadPlace { place: Place::Folder, folder: Some(folder.clone()), url: Some(PayloadsUrl::File(folder)) }
        }
        Some(Ok(url @ PayloadsUrl::S3 { .. })) => PayloadPlace { place: Place::Bucket, folder: None, url: Some(url) },
        Some(Err(_)) => PayloadPlace { place: Place::Bucket, folder: None, url: None },
    }
}

/// What has to outlive the process on this machine's disk.
fn local_folder(config: &Config) -> PathBuf {
    match (&config.engines, place(config).folder) {
        (Engines::Cluster { .. }, Some(folder)) => folder,
        (Engines::Embedded | Engines::Cluster { .. }, _) => config.data_dir.clone(),
    }
}

async fn payloads(config: &Config) -> Finding {
    let PayloadPlace { place, folder, url } = place(config);
    let is_shared = matches!(config.engines, Engines::Cluster { .. });
    // A folder that is not there yet is made by whoever needs it; that it can be is checked with the data dir.
    if folder.is_some_and(|folder| !folder.exists()) {
        return host::payloads(place, is_shared, Ok(()));
    }
    let tried = match &url {
        Some(url) => try_payloads(url).await,
        None => Err("the setting names neither a path nor a bucket".to_owned()),
    };
    host::payloads(place, is_shared, tried.as_ref().map(drop).map_err(String::as_str))
}

async fn try_payloads(url: &PayloadsUrl) -> Result<(), String> {
    let payloads = Payloads::open(url, 0).map_err(|error| error.to_string())?;
    let content = Bytes::from_static(b"written by landfall doctor");
    let day = Clock::system().now().to_zoned(TimeZone::UTC).date();
    let tried = async {
        let sealed = payloads.seal(content.clone(), Hint { day, of: Of::Probe(Uuid::now_v7()) }).await?;
        let read = payloads.unseal(&sealed).await;
        payloads.delete(&sealed).await?;
        read
    };
    match tried.await {
        Ok(read) if read == content => Ok(()),
        Ok(_) => Err("it came back with other bytes".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn data_dir(path: &Path) -> DataDir {
    let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let whole = there.canonicalize().unwrap_or_else(|_| there.to_owned());
    DataDir {
        path: path.display().to_string(),
        is_writable: takes_bytes(there).is_ok(),
        filesystem: filesystem(&mounts, &whole),
    }
}

/// A disk that is full still lets a file be made.
fn takes_bytes(folder: &Path) -> std::io::Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[0; 65_536])?;
    file.sync_all()
}

/// The kind of the mount that a path lies on: of all that hold it the deepest, and of several there the last.
fn filesystem(mounts: &str, path: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?.replace("\\040", " ");
        let kind = kind.split(' ').next()?.to_owned();
        path.starts_with(&point).then_some((point.len(), kind))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

fn open_files() -> Option<u64> {
    soft_limit(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "22 1 8:1 / / rw - overlay overlay rw\n23 22 0:5 / /var/lib/landfall rw shared:1 - ext4 /dev/sda1 rw\n24 22 0:6 / /tmp rw - tmpfs tmpfs rw\n25 22 0:7 / /a\\040b rw - xfs x rw";
        let on = |path: &str| filesystem(mounts, Path::new(path));
        assert_eq!(on("/var/lib/landfall/payloads").as_deref(), Some("ext4"));
        assert_eq!(on("/var/lib/landfallen").as_deref(), Some("overlay"));
        assert_eq!(on("/tmp/x").as_deref(), Some("tmpfs"));
        assert_eq!(on("/a b/c").as_deref(), Some("xfs"));
        assert_eq!(filesystem("", Path::new("/")), None);
    }

    #[test]
    fn the_soft_limit_of_open_files_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_limit(limits), Some(1_024));
        assert_eq!(soft_limit("Max open files unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(soft_limit(""), None);
    }
}
