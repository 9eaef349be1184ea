//! A PostgreSQL and a RabbitMQ of one test's own, to be killed, stopped, blocked and frozen.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

#[cfg(feature = "services")]
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const STARTED_WITHIN: Duration = Duration::from_secs(120);

/// Where a pair of servers is, by the variables that `cargo xtask services` prints.
#[derive(Clone)]
pub struct Addresses(BTreeMap<String, String>);

impl Addresses {
    /// The servers that all tests share.
    pub fn shared() -> Self {
        Addresses(std::env::vars().filter(|(name, _)| name.starts_with("LANDFALL_TEST_")).collect())
    }

    /// Servers that somebody else started.
    pub fn of(broker: &str, database: &str) -> Self {
        let entries = [("LANDFALL_TEST_AMQP_URL", broker), ("LANDFALL_TEST_POSTGRES_URL", database)];
        Addresses(entries.map(|(name, url)| (name.to_owned(), url.to_owned())).into())
    }

    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_else(|| {
            panic!(
                "{name} is not set: run `cargo xtask test`, or `cargo xtask services` in another terminal and export what it prints"
            )
        })
    }
}

pub struct Servers {
    child: Child,
    pub at: Addresses,
}

impl Servers {
    /// Starts a pair and waits until both answer, about ten seconds.
    pub fn start() -> Self {
        let program = xtask();
        let child = Command::new(&program)
            .arg("services")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its keeper outlives this test for a moment, and must not hold the test's own output open.
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo build -p xtask` makes it", program.display()));
        let mut servers = Servers { child, at: Addresses(BTreeMap::new()) };
        for line in BufReader::new(servers.child.stdout.as_mut().unwrap()).lines() {
            let line = line.unwrap();
            if line.starts_with('#') {
                return servers;
            }
            if let Some((name, value)) = line.strip_prefix("export ").and_then(|rest| rest.split_once('=')) {
                servers.at.0.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
        }
        panic!("the servers did not start: `cargo xtask services` says why");
    }

    /// A command of the broker's operator; it must succeed.
    pub fn rabbitmqctl(&self, arguments: &[&str]) {
        self.must("LANDFALL_TEST_RABBITMQCTL", arguments);
    }

    pub fn kill_broker(&self) {
        self.must("LANDFALL_TEST_RABBITMQ_SERVER", &["kill"]);
    }

    /// Returns at once; the node answers some seconds later.
    pub fn start_broker(&self) {
        self.must("LANDFALL_TEST_RABBITMQ_SERVER", &["start"]);
    }

    /// `pg_ctl` with these arguments, on this server's data.
    pub fn pg_ctl(&self, arguments: &[&str]) {
        self.must("LANDFALL_TEST_PG_CTL", arguments);
    }

    #[cfg(feature = "services")]
    pub async fn broker_answers(&self) {
        let url = self.at.get("LANDFALL_TEST_AMQP_URL");
        super::within(STARTED_WITHIN, "the broker answers", || async {
            // It may take the connection before it can answer on it.
            let connecting = lapin::Connection::connect(url, lapin::ConnectionProperties::default());
            tokio::time::timeout(ANSWER_WITHIN, connecting).await.is_ok_and(|connected| connected.is_ok())
        })
        .await;
    }

    /// Where new tables may lie.
    #[cfg(feature = "services")]
    pub async fn create_tablespace(&self, name: &str, at: &Path) {
        let sql = format!("CREATE TABLESPACE {name} LOCATION '{}'", at.display());
        super::database::execute(self.at.get("LANDFALL_TEST_POSTGRES_URL"), &sql).await;
    }

    /// Kill -9 of the postmaster and of every process below it.
    pub fn kill_database(&self) {
        signal("-9", &self.database_processes());
    }

    /// The postmaster and every process below it keep their sockets and do nothing; answers which those are.
    #[cfg(feature = "services")]
    pub fn stop_database_processes(&self) -> Vec<String> {
        let postmaster = self.postmaster();
        // First of all, so that it makes no more of them meanwhile.
        signal("-STOP", &[postmaster]);
        let all = self.database_processes();
        signal("-STOP", &all);
        all
    }

    #[cfg(feature = "services")]
    pub fn continue_database_processes(&self, stopped: &[String]) {
        signal("-CONT", stopped);
    }

    fn postmaster(&self) -> String {
        let folder = Path::new(self.at.get("LANDFALL_TEST_PG_CTL")).parent().unwrap();
        let file = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
        file.lines().next().unwrap().trim().to_owned()
    }

    fn database_processes(&self) -> Vec<String> {
        let postmaster = self.postmaster();
        let children = Command::new("pgrep").args(["-P", &postmaster]).output().unwrap();
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        std::iter::once(postmaster).chain(children.split_whitespace().map(str::to_owned)).collect()
    }

    /// A server that was killed leaves processes behind, which hold its data for a moment.
    pub fn start_database(&self) {
        let started = Instant::now();
        while !self.run("LANDFALL_TEST_PG_CTL", &["start"]).status.success() {
            assert!(started.elapsed() < STARTED_WITHIN, "PostgreSQL does not start again");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        Command::new(self.at.get(script)).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn must(&self, script: &str, arguments: &[&str]) {
        let output = self.run(script, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script} {arguments:?}: {said}");
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // The keeper of the servers ends them when the process that holds it ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(which: &str, processes: &[String]) {
    // One of them may have ended meanwhile.
    Command::new("kill").arg(which).args(processes).output().unwrap();
}

/// Beside the binary under test.
fn xtask() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_landfall")).with_file_name("xtask")
}
