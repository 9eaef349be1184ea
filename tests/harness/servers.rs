//! A PostgreSQL and a RabbitMQ of one test's own, to be killed, stopped, blocked and frozen.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// Where a pair of servers is, by the variables that `cargo xtask services` prints.
#[derive(Clone)]
pub struct Addresses(BTreeMap<String, String>);

impl Addresses {
    /// The servers that all tests share.
    pub fn shared() -> Self {
        Addresses(std::env::vars().filter(|(name, _)| name.starts_with("LANDFALL_TEST_")).collect())
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
        let mut child = Command::new(&program)
            .arg("services")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo build -p xtask` makes it", program.display()));
        let mut found = BTreeMap::new();
        for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
            let line = line.unwrap();
            if line.starts_with('#') {
                return Servers { child, at: Addresses(found) };
            }
            if let Some((name, value)) = line.strip_prefix("export ").and_then(|rest| rest.split_once('=')) {
                found.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
        }
        panic!("the servers did not start; the reason is above");
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

/// Beside the binary under test.
fn xtask() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_landfall")).with_file_name("xtask")
}
