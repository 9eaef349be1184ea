//! `landfall dev`: from an empty directory to somebody's first activities, with nothing set.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::Process;
use crate::harness::{browser, eventually, within};

const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// A running `dev` and what its banner says.
struct Dev {
    process: Process,
    http: reqwest::Client,
    rows: BTreeMap<String, String>,
}

impl Dev {
    async fn start(dir: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Dev {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut process = Process::spawn_in(dir, &[&["dev"], arguments].concat(), &settings);
        let ended = std::cell::Cell::new(false);
        within(STARTED_WITHIN, "the banner is there", || {
            ended.set(!process.is_alive());
            let there = process.log().contains("Ctrl-C ends it.");
            let is_over = there || ended.get();
            async move { is_over }
        })
        .await;
        assert!(!ended.get(), "ended at once:\n{}", process.log());
        let rows = process.log().lines().filter_map(row).collect();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Dev { process, http, rows }
    }

    fn says(&self, name: &str) -> &str {
        self.rows.get(name).unwrap_or_else(|| panic!("the banner has no {name}:\n{}", self.process.log()))
    }

    async fn get(&self, url: &str) -> (u16, String) {
        let answer = self.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn connections(&self) -> Vec<Value> {
        let (status, text) = self.get(self.says("API")).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
    }

    /// Through the widget, as a person goes; answers the page at the end.
    async fn connect(&self) -> browser::Page {
        let home = browser::open(&self.http, self.says("Demo app")).await;
        assert!(home.status == 200 && home.text.contains("Connect device"), "{}", home.text);
        let pick = browser::submit(&self.http, &home).await;
        assert!(pick.url.as_str().starts_with(self.says("Simulator")), "{}", pick.url);
        let consent = browser::submit(&self.http, &pick).await;
        browser::submit(&self.http, &consent).await
    }

    async fn end(mut self) {
        self.process.signal("INT");
        assert_eq!(self.process.wait().await, Some(0), "{}", self.process.log());
    }
}

/// `  Name       value (remark)`: a row of the banner.
fn row(line: &str) -> Option<(String, String)> {
    let line = line.strip_prefix("  ")?;
    let (name, value) = (line.get(..10)?.trim(), line.get(11..)?.trim());
    (!name.is_empty()).then(|| (name.to_owned(), value.split(" (").next().unwrap_or(value).to_owned()))
}

const FREE_PORTS: [(&str, &str); 4] = [
    ("LANDFALL_PUBLIC_ADDR", "127.0.0.1:0"),
    ("LANDFALL_INTERNAL_ADDR", "127.0.0.1:0"),
    ("LANDFALL_SIMULATOR_ADDR", "127.0.0.1:0"),
    ("LANDFALL_DEMO_ADDR", "127.0.0.1:0"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_connects_a_device_and_sees_the_first_activities() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(dir.path(), &[], &FREE_PORTS).await;
    let page = dev.connect().await;
    assert!(page.url.as_str().starts_with(dev.says("Demo app")) && page.url.path() == "/connected", "{}", page.url);
    let shown = std::sync::Mutex::new(String::new());
    within(STARTED_WITHIN, "the page shows the first activities", || async {
        let page = browser::open(&dev.http, page.url.as_str()).await;
        let is_there = page.text.contains("<h1>Connected</h1>") && page.text.contains("<td class=\"number\">");
        *shown.lock().unwrap() = page.text;
        is_there
    })
    .await;
    let shown = shown.lock().unwrap().clone();
    let connections = dev.connections().await;
    assert_eq!(connections.len(), 1, "{connections:?}");
    for field in ["terra_user_id", "id"] {
        assert!(shown.contains(connections[0][field].as_str().unwrap()), "{field}: {shown}");
    }
    assert!(shown.contains("Terra user id") && shown.contains("demo-alex"), "{shown}");
    let home = browser::open(&dev.http, &format!("{}/?user=demo-alex", dev.says("Demo app"))).await;
    assert!(
        home.text.contains(connections[0]["terra_user_id"].as_str().unwrap()) && home.text.contains("active"),
        "{}",
        home.text
    );
    let other = browser::open(&dev.http, &format!("{}/?user=demo-sam", dev.says("Demo app"))).await;
    assert!(other.text.contains("No device yet"), "another person's page: {}", other.text);
    dev.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_banner_says_all_that_one_needs() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(dir.path(), &[], &FREE_PORTS).await;
    for name in ["Demo app", "API", "Metrics", "Simulator"] {
        let (status, text) = dev.get(dev.says(name)).await;
        assert_eq!(status, 200, "{name}: {text}");
    }
    // The webhook and its secret: a delivery signed by hand is accepted.
    let body = "{\"type\":\"healthcheck\"}";
    let signature = simulator::sign(dev.says("Secret"), crate::harness::now_seconds(), body.as_bytes());
    let answer =
        dev.http.post(dev.says("Webhook")).header("x-terra-signature", signature).body(body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert!(dev.says("Events").ends_with("/v1/events/stream"));
    assert_eq!(Path::new(dev.says("Data")), dir.path().canonicalize().unwrap().join("landfall-data"));
    assert!(dir.path().join("landfall-data").is_dir());
    let banner = dev.process.log();
    assert!(
        banner.contains("Not for production") && banner.contains("Try") && banner.contains("curl -s http://"),
        "{banner}"
    );
    // What it says to try works.
    let tried = banner.lines().find_map(|line| line.trim().strip_prefix("curl -s ")).unwrap();
    let (status, text) = dev.get(tried).await;
    assert_eq!(status, 200, "{tried}: {text}");
    dev.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_do_not_get_into_each_others_way() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Default ports: one of them has to move if both are free.
    let first = Dev::start(one.path(), &[], &[]).await;
    let second = Dev::start(two.path(), &[], &[]).await;
    for name in ["Demo app", "Webhook", "API", "Simulator"] {
        assert_ne!(first.says(name), second.says(name), "{name}");
        assert!(second.says(name).starts_with("http://127.0.0.1:"), "{name}");
    }
    second.connect().await;
    eventually("the connection is in the second", || async { second.connections().await.len() == 1 }).await;
    assert!(first.connections().await.is_empty(), "and not in the first");
    first.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_chose_is_not_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = BTreeMap::from([("LANDFALL_PUBLIC_ADDR".to_owned(), taken.local_addr().unwrap().to_string())]);
    let mut process = Process::spawn_in(dir.path(), &["dev"], &settings);
    assert_eq!(process.wait().await, Some(1), "{}", process.log());
    assert!(process.log().contains(&taken.local_addr().unwrap().to_string()), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_connected_is_still_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(dir.path(), &[], &FREE_PORTS).await;
    dev.connect().await;
    eventually("connected", || async { dev.connections().await.len() == 1 }).await;
    let before = dev.connections().await[0]["id"].clone();
    dev.process.kill();
    let dev = Dev::start(dir.path(), &[], &FREE_PORTS).await;
    assert_eq!(dev.connections().await[0]["id"], before);
    dev.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ephemeral_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(dir.path(), &["--ephemeral"], &FREE_PORTS).await;
    let data = dev.says("Data").to_owned();
    assert!(Path::new(&data).is_dir() && !Path::new(&data).starts_with(dir.path()), "{data}");
    dev.connect().await;
    eventually("connected", || async { dev.connections().await.len() == 1 }).await;
    dev.end().await;
    assert!(!Path::new(&data).exists(), "{data} was left");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
