//! [`TestApp`]: the real binary on an engine, with the simulator as Terra.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::Simulator;
use tempfile::TempDir;

#[cfg(feature = "services")]
pub mod balancer;
pub mod browser;
pub mod database;
pub mod dice;
pub mod load;
pub mod poison;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod strace;
pub mod volume;

use process::Process;

pub const SECRET: &str = "landfall-test-signing-secret";
pub const DEV_ID: &str = "test-dev-id";
pub const API_KEY: &str = "test-api-key-0123456789";

/// How long a named condition may take before the test fails.
pub const SOON: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Embedded,
    /// RabbitMQ and PostgreSQL.
    Cluster,
}

/// Runs each test on every engine.
#[macro_export]
macro_rules! on_every_engine {
    ($($test:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test($crate::harness::Engine::Embedded).await })+
        }
        #[cfg(feature = "services")]
        mod cluster {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test($crate::harness::Engine::Cluster).await })+
        }
    };
}

/// What a test asks for besides the defaults.
pub struct Options {
    /// Further settings, by environment variable.
    pub settings: BTreeMap<String, String>,
    /// Settings that are left out.
    pub unset: Vec<String>,
    /// One entry per process, each its roles; empty is one process with all of them.
    pub processes: Vec<String>,
    pub simulator: Option<simulator::Settings>,
    pub wait_until_ready: bool,
    /// Proxies between the binary and its servers, open at the start or not: broker, database.
    #[cfg(feature = "services")]
    pub proxies: Option<(bool, bool)>,
    /// A proxy between the binary and Terra's REST interface.
    pub terra_proxy: bool,
    /// Servers of the test's own instead of those that all tests share.
    pub servers: Option<servers::Addresses>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            settings: BTreeMap::new(),
            unset: Vec::new(),
            processes: Vec::new(),
            simulator: None,
            wait_until_ready: true,
            #[cfg(feature = "services")]
            proxies: None,
            terra_proxy: false,
            servers: None,
        }
    }
}

impl Options {
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// For tests of what is not ready, or not yet.
    pub fn without_waiting(mut self) -> Self {
        self.wait_until_ready = false;
        self
    }

    pub fn unset(mut self, name: &str) -> Self {
        self.unset.push(name.into());
        self
    }

    pub fn processes(mut self, roles: &[&str]) -> Self {
        self.processes = roles.iter().map(|roles| (*roles).to_owned()).collect();
        self
    }

    /// Schema and topology are made beforehand; then `serve` without `--migrate` sees its servers through proxies alone.
    #[cfg(feature = "services")]
    pub fn through_proxies(mut self, broker_is_open: bool, database_is_open: bool) -> Self {
        self.proxies = Some((broker_is_open, database_is_open));
        self
    }

    pub fn terra_through_a_proxy(mut self) -> Self {
        self.terra_proxy = true;
        self
    }

    pub fn servers(mut self, at: &servers::Addresses) -> Self {
        self.servers = Some(at.clone());
        self
    }

    pub fn simulator(mut self, settings: simulator::Settings) -> Self {
        self.simulator = Some(settings);
        self
    }
}

pub struct TestApp {
    pub engine: Engine,
    pub processes: Vec<Process>,
    pub terra: Simulator,
    pub http: reqwest::Client,
    /// Where webhooks go and the API is.
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub settings: BTreeMap<String, String>,
    pub database: Option<database::Database>,
    #[cfg(feature = "services")]
    pub proxies: Option<proxy::Proxies>,
    pub terra_proxy: Option<proxy::Proxy>,
    _dir: TempDir,
}

impl TestApp {
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, Options::default()).await
    }

    pub async fn start_with(engine: Engine, options: Options) -> Self {
        // Once per test process is enough; a second time is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let simulated = options.simulator.unwrap_or_default();
        let terra = simulator::start(simulator::Settings {
            dev_id: DEV_ID.into(),
            api_key: API_KEY.into(),
            signing_secret: SECRET.into(),
            retry: simulator::RetrySchedule { factor: 100.0, ..simulated.retry },
            ..simulated
        })
        .await
        .unwrap();
        let mut settings: BTreeMap<String, String> = [
            ("LANDFALL_DATA_DIR", dir.path().join("data").display().to_string()),
            ("LANDFALL_PUBLIC_ADDR", "127.0.0.1:0".into()),
            ("LANDFALL_INTERNAL_ADDR", "127.0.0.1:0".into()),
            ("LANDFALL_TERRA_SIGNING_SECRETS", SECRET.into()),
            ("LANDFALL_TERRA_DEV_ID", DEV_ID.into()),
            ("LANDFALL_TERRA_API_KEY", API_KEY.into()),
            ("LANDFALL_TERRA_API_URL", terra.api_url()),
            ("LANDFALL_TERRA_WIDGET_URL", terra.widget_url()),
            ("LANDFALL_TERRA_LEGACY_URL", terra.legacy_url()),
            ("LANDFALL_DOWNLOAD_HOSTS", terra.base_url().trim_start_matches("http://").to_owned()),
            ("LANDFALL_TERRA_ADMIN_URL", terra.admin_url()),
            ("LANDFALL_FETCH_RATE", "200".into()),
            ("LANDFALL_LOG", "info".into()),
            ("LANDFALL_LOG_FORMAT", "json".into()),
            // Nobody has to notice.
            ("LANDFALL_SHUTDOWN_DELAY", "0s".into()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let database = match engine {
            Engine::Embedded => None,
            Engine::Cluster => {
                let servers = options.servers.unwrap_or_else(servers::Addresses::shared);
                Some(database::Database::create_at(&servers, &mut settings).await)
            }
        };
        #[cfg(feature = "services")]
        let proxies = match options.proxies {
            Some(are_open) => Some(proxy::Proxies::between(&mut settings, are_open).await),
            None => None,
        };
        let terra_proxy = match options.terra_proxy {
            true => Some(proxy::instead(&mut settings, "LANDFALL_TERRA_API_URL", true).await),
            false => None,
        };
        #[cfg(feature = "services")]
        let migrates = proxies.is_none();
        #[cfg(not(feature = "services"))]
        let migrates = true;
        settings.extend(options.settings);
        settings.retain(|name, _| !options.unset.contains(name));
        let roles = if options.processes.is_empty() { vec!["receive,work,api".to_owned()] } else { options.processes };
        let mut processes = Vec::new();
        for roles in &roles {
            processes.push(Process::serve(roles, &settings, migrates && processes.is_empty()).await);
        }
        let public = processes
            .iter()
            .find_map(|process| process.public)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9)));
        let internal = processes
            .iter()
            .zip(&roles)
            .find(|(_, roles)| roles.contains("api"))
            .map_or_else(|| processes[0].internal, |(process, _)| process.internal);
        terra.set_webhook_url(Some(format!("http://{public}/webhooks/terra")));
        // A connection that idled is closed by the other side just as it is used again; a POST is not repeated.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        if options.wait_until_ready {
            for process in &processes {
                let url = format!("http://{}/readyz", process.internal);
                eventually("every process is ready", || async {
                    http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
                })
                .await;
            }
        }
        TestApp {
            engine,
            processes,
            terra,
            http,
            public,
            internal,
            settings,
            database,
            #[cfg(feature = "services")]
            proxies,
            terra_proxy,
            _dir: dir,
        }
    }

    /// Starts the first process again, on the ports it had, after it was ended or killed; returns once it is ready.
    pub async fn start_again(&mut self) {
        self.settings.insert("LANDFALL_PUBLIC_ADDR".into(), self.public.to_string());
        self.settings.insert("LANDFALL_INTERNAL_ADDR".into(), self.internal.to_string());
        self.processes[0] = Process::serve("receive,work,api", &self.settings, false).await;
        let url = self.api("/readyz");
        eventually("ready again", || async {
            self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Ends the first process in order.
    pub async fn end_process(&mut self) {
        self.processes[0].terminate();
        assert_eq!(self.processes[0].wait().await, Some(0), "exit code; log:\n{}", self.processes[0].log());
    }

    pub fn webhook_url(&self) -> String {
        format!("http://{}/webhooks/terra", self.public)
    }

    pub fn api(&self, path: &str) -> String {
        format!("http://{}{path}", self.internal)
    }

    /// GET on the API; the answer must be a success.
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Value> + use<> {
        let request = self.http.get(self.api(path));
        let path = path.to_owned();
        async move {
            let answer = request.send().await.unwrap();
            let status = answer.status();
            let text = answer.text().await.unwrap();
            assert!(status.is_success(), "GET {path}: {status} {text}");
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("GET {path}: not JSON: {text}"))
        }
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.http.post(self.api(path)).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// All items of a listing, page after page.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let cursor = after.as_ref().map(|after| format!("&after={after}")).unwrap_or_default();
            let page = self.get(&format!("{path}{joint}limit=1000{cursor}")).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return items,
            }
        }
    }

    /// The event log from its beginning.
    pub async fn events(&self) -> Vec<Value> {
        self.all("/v1/events").await
    }

    /// Signs `body` as Terra does and posts it; answers the status.
    pub async fn send(&self, body: &Value, headers: &[(&str, &str)]) -> u16 {
        self.send_bytes(body.to_string().into_bytes(), headers).await
    }

    pub async fn send_bytes(&self, body: Vec<u8>, headers: &[(&str, &str)]) -> u16 {
        let signature = simulator::sign(SECRET, now_seconds(), &body);
        let mut request = self.http.post(self.webhook_url()).header("x-terra-signature", signature);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).send().await.unwrap().status().as_u16()
    }

    /// The sum of a metric over its labels, or of the one series that is named whole, over all processes.
    pub async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for process in &self.processes {
            let text = self
                .http
                .get(format!("http://{}/metrics", process.internal))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#') && line.starts_with(name));
            sum += lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>();
        }
        sum
    }

    /// What was accepted and has no row in the ledger yet. A broker does not tell how much a worker has in hand.
    async fn in_hand(&self) -> f64 {
        let mut accepted = 0.0;
        let mut settled = 0.0;
        for process in &self.processes {
            let text = self
                .http
                .get(format!("http://{}/metrics", process.internal))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            for (series, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
                let value = value.parse::<f64>().unwrap_or_default();
                if series.starts_with("landfall_webhooks_received_total") && series.contains("outcome=\"accepted\"") {
                    accepted += value;
                }
                if series.starts_with("landfall_deliveries_processed_total") && !series.contains("outcome=\"retry\"") {
                    settled += value;
                }
            }
        }
        accepted - settled
    }

    /// Waits until the queue is empty, nobody has anything in hand, and every event that may go out has gone out.
    pub async fn quiet(&self) {
        eventually("the queue is worked off", || async { self.is_worked_off().await && self.in_hand().await <= 0.0 })
            .await;
    }

    /// Nothing waits in the queue, and every event that may go out has gone out.
    pub async fn is_worked_off(&self) -> bool {
        let queues = self.get("/v1/queues").await;
        let stats = self.get("/v1/stats").await;
        let depth: u64 =
            queues["items"].as_array().unwrap().iter().map(|lane| lane["jobs"].as_u64().unwrap_or(1)).sum();
        depth == 0 && stats["outbox_pending"] == json!(0)
    }

    /// Tells the simulator something on its control routes.
    pub async fn terra_control(&self, route: &str, body: Value) -> Value {
        let url = format!("{}/_simulator/{route}", self.terra.base_url());
        let begun = Instant::now();
        let answer = loop {
            // A machine that is busy enough closes connections before they have said anything.
            match self.http.post(&url).json(&body).send().await {
                Ok(answer) => break answer,
                Err(error) => assert!(begun.elapsed() < SOON, "{route}: {error}"),
            }
        };
        assert!(answer.status().is_success(), "{route}: {}", answer.status());
        answer.json().await.unwrap()
    }

    /// The REST calls that Terra got from us.
    pub async fn terra_requests(&self) -> Vec<Value> {
        let answer = self.http.get(format!("{}/_simulator/requests", self.terra.base_url())).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["items"].as_array().unwrap().clone()
    }

    /// Objects in the payload store, by their paths.
    pub fn objects(&self) -> Vec<String> {
        fn walk(dir: &std::path::Path, found: &mut Vec<String>) {
            let Ok(entries) = std::fs::read_dir(dir) else { return };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(&std::path::Path::new(&self.settings["LANDFALL_DATA_DIR"]).join("payloads"), &mut found);
        found
    }

    /// Everything any process printed.
    pub fn logs(&self) -> String {
        self.processes.iter().map(Process::log).collect::<Vec<_>>().join("\n")
    }

    /// Ends all processes in order; each must exit with 0.
    pub async fn end(mut self) {
        for process in &mut self.processes {
            process.terminate();
        }
        for process in &mut self.processes {
            assert_eq!(process.wait().await, Some(0), "exit code; log:\n{}", process.log());
        }
        self.terra.stop().await;
        if let Some(database) = self.database.take() {
            database.drop_all().await;
        }
    }
}

/// Settings for commands on their own: a data dir, free ports, nothing of Terra.
pub fn bare_settings(dir: &std::path::Path) -> BTreeMap<String, String> {
    [
        ("LANDFALL_DATA_DIR", dir.join("data").display().to_string()),
        ("LANDFALL_PUBLIC_ADDR", "127.0.0.1:0".into()),
        ("LANDFALL_INTERNAL_ADDR", "127.0.0.1:0".into()),
        ("LANDFALL_TERRA_SIGNING_SECRETS", SECRET.into()),
        ("LANDFALL_LOG_FORMAT", "json".into()),
        ("LANDFALL_SHUTDOWN_DELAY", "0s".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[expect(clippy::disallowed_methods, reason = "tests compare with the system's clock")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

pub fn now_seconds() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

/// Says that this machine does not let a part of a test be tried, here and at the end of `cargo xtask test`.
pub fn not_tried(what: &str) {
    println!("not tried: {what}");
    let Some(list) = std::env::var_os("LANDFALL_TEST_NOT_TRIED") else { return };
    let mut list = std::fs::OpenOptions::new().create(true).append(true).open(list).unwrap();
    // In one piece: other tests write there too.
    std::io::Write::write_all(&mut list, format!("{what}\n").as_bytes()).unwrap();
}

/// How often something is tried: `usual` times in every run, and as often as `tests/README.md` promises in a full one
/// (`cargo xtask test --full`), which takes hours.
pub fn rounds(usual: u32, full: u32) -> u32 {
    if std::env::var_os("LANDFALL_TEST_FULL").is_some() { full } else { usual }
}

/// Waits for a named condition, with a deadline.
#[track_caller]
pub fn eventually<F: Future<Output = bool>>(what: &str, check: impl FnMut() -> F) -> impl Future<Output = ()> {
    within(SOON, what, check)
}

#[track_caller]
pub fn within<F: Future<Output = bool>>(
    time: Duration,
    what: &str,
    mut check: impl FnMut() -> F,
) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let started = Instant::now();
        while !check().await {
            assert!(started.elapsed() < time, "not within {time:?}: {what} ({place})");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Bodies of events as Terra sends them.
pub mod terra_says {
    use serde_json::{Value, json};

    pub fn user(id: &str, reference: Option<&str>) -> Value {
        json!({ "user_id": id, "provider": "GARMIN", "reference_id": reference, "scopes": "activity,sleep", "active": true, "created_at": "2024-01-15T09:30:00Z" })
    }

    pub fn auth(user: Value) -> Value {
        json!({ "type": "auth", "status": "success", "user": user, "version": "2022-03-16" })
    }

    pub fn deauth(user: Value) -> Value {
        json!({ "type": "deauth", "status": "success", "user": user, "message": "User deauthenticated", "version": "2022-03-16" })
    }

    pub fn reauth(old: Value, new: Value) -> Value {
        json!({ "type": "user_reauth", "status": "warning", "old_user": old, "new_user": new, "version": "2022-03-16" })
    }

    /// One activity of so many metres.
    pub fn activity(user: Value, summary_id: &str, metres: f64) -> Value {
        json!({
            "type": "activity", "user": user, "version": "2022-03-16",
            "data": [{
                "metadata": { "summary_id": summary_id, "start_time": "2026-02-03T07:00:00.000000+01:00", "end_time": "2026-02-03T08:00:00.000000+01:00", "type": 8, "upload_type": 1 },
                "distance_data": { "summary": { "distance_meters": metres, "steps": 9000 } },
                "heart_rate_data": { "summary": { "avg_hr_bpm": 141 } }
            }]
        })
    }
}
