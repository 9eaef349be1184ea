//! One process of the binary under test: its log is read as it comes, its end is by its id.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::rounds;

const START_WITHIN: Duration = Duration::from_secs(60);

/// A command that goes through everything takes longer where there is much.
const ENDS_WITHIN_SECONDS: (u32, u32) = (60, 900);

/// What is shown of a log when a test fails.
const LAST_WORDS: usize = 20;

/// A child of the process may hold its output open for longer than it lives.
const READ_WITHIN: Duration = Duration::from_secs(2);

pub struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
    pub public: Option<SocketAddr>,
    pub internal: SocketAddr,
}

impl Process {
    /// `landfall serve --roles …`; returns once its listeners are open.
    pub async fn serve(roles: &str, settings: &BTreeMap<String, String>, migrate: bool) -> Self {
        let mut arguments = vec!["serve", "--roles", roles];
        if migrate {
            arguments.push("--migrate");
        }
        let mut process = Self::spawn(&arguments, settings);
        let started = Instant::now();
        loop {
            process.read_addresses();
            if process.internal.port() != 0 && (process.public.is_some() || !roles.contains("receive")) {
                return process;
            }
            assert!(process.child.try_wait().unwrap().is_none(), "ended at once:\n{}", process.log());
            assert!(started.elapsed() < START_WITHIN, "not started:\n{}", process.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Any command of the binary, in an environment of nothing but `settings`.
    pub fn spawn(arguments: &[&str], settings: &BTreeMap<String, String>) -> Self {
        Self::spawn_in(&std::env::temp_dir(), arguments, settings)
    }

    pub fn spawn_in(dir: &std::path::Path, arguments: &[&str], settings: &BTreeMap<String, String>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_landfall"))
            .args(arguments)
            .env_clear()
            .envs(settings)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let readers = [
            read_lines(child.stderr.take().unwrap(), log.clone()),
            read_lines(child.stdout.take().unwrap(), log.clone()),
        ];
        Process { child, log, readers, public: None, internal: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    /// A command that ends by itself: its exit code and what it printed, standard output and errors together.
    pub async fn run(arguments: &[&str], settings: &BTreeMap<String, String>) -> (i32, String) {
        let mut process = Self::spawn(arguments, settings);
        let code = process.wait().await.unwrap_or(-1);
        (code, process.log())
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that is in use and not only reserved.
    #[cfg(feature = "services")]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1_024
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn terminate(&self) {
        self.signal("TERM");
    }

    pub fn signal(&self, name: &str) {
        Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
    }

    /// Kills at once and waits for the end: nothing of it runs on.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end; its exit code.
    pub async fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        let ends_within = Duration::from_secs(rounds(ENDS_WITHIN_SECONDS.0, ENDS_WITHIN_SECONDS.1).into());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.read_to_the_end().await;
                return status.code();
            }
            assert!(started.elapsed() < ends_within, "does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The last lines are read a moment after the end of who wrote them.
    async fn read_to_the_end(&self) {
        let ended = Instant::now();
        while !self.readers.iter().all(JoinHandle::is_finished) && ended.elapsed() < READ_WITHIN {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What it warned of, for whoever looks at a test that failed.
    fn say_last_words(&self) {
        let log = self.log();
        let troubled = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        let last: Vec<&str> = log.lines().filter(troubled).rev().take(LAST_WORDS).collect();
        for line in last.into_iter().rev() {
            eprintln!("{}: {line}", self.pid());
        }
    }

    /// From the lines that say where it listens, in whichever format.
    fn read_addresses(&mut self) {
        let log = self.log();
        let after = |mark: &str| {
            log.split_once(mark).and_then(|(_, rest)| rest.split(['/', '"', ' ', '\n']).next()?.parse().ok())
        };
        self.public = after("receiving webhooks on http://").or(self.public);
        self.internal = after("API, metrics and probes on http://").unwrap_or(self.internal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.say_last_words();
        }
    }
}

fn read_lines(stream: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    })
}
