//! The processes under torture and the servers below them: killed, frozen, started again on the ports they had.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use super::sender::{PANICKING, POISON};
use super::terra::FETCHED;
use crate::harness::process::Process;
use crate::harness::proxy::Proxy;
use crate::harness::volume::Volume;
use crate::harness::{Engine, Options, TestApp, eventually};
#[cfg(feature = "services")]
use crate::harness::{proxy::Proxies, servers::Servers};

/// Small enough to be filled at once, and large enough for all that is kept: a minute's load takes about 6.
const VOLUME_MEBIBYTES: u64 = 96;
const VOLUME_MEBIBYTES_A_MINUTE: u64 = 16;

/// How soon what ended by itself is started again.
const TEND_EVERY: Duration = Duration::from_millis(100);

/// Whatever was done, all of it answers again within this.
const HEALED_WITHIN: Duration = Duration::from_secs(120);

pub struct Fleet {
    pub app: TestApp,
    members: Vec<Member>,
    #[cfg(feature = "services")]
    pub servers: Option<Servers>,
    /// A volume so small that it can be filled, where we may mount one.
    pub volume: Option<Volume>,
}

struct Member {
    roles: &'static str,
    public: Option<SocketAddr>,
    internal: SocketAddr,
}

impl Fleet {
    pub async fn start(engine: Engine, seconds: u64) -> Self {
        let roles: &[&'static str] = match engine {
            Engine::Embedded => &["receive,work,api"],
            Engine::Cluster => &["receive,api", "work", "work"],
        };
        let mebibytes = VOLUME_MEBIBYTES + VOLUME_MEBIBYTES_A_MINUTE * seconds.div_ceil(60);
        let volume = Volume::mount(u32::try_from(mebibytes).unwrap(), "root", "torture: a full volume");
        let mut options = Options::default()
            .processes(roles)
            .terra_through_a_proxy()
            // Then what was fetched is ours from the answer on, and nothing that Terra may give up.
            .set("LANDFALL_FETCH_MODE", "inline")
            .set("LANDFALL_BACKFILL_DAYS", "3")
            // What panics is not tried for an hour.
            .set("LANDFALL_DELIVERY_ATTEMPTS", "3")
            .set("FAILPOINTS", format!("{POISON}=return;{PANICKING}=return"));
        if let Some(volume) = &volume {
            let data = volume.path().join("data").display().to_string();
            options = options.set("LANDFALL_DATA_DIR", data);
        }
        #[cfg(feature = "services")]
        let servers = match engine {
            Engine::Embedded => None,
            Engine::Cluster => {
                let servers = Servers::start();
                options = options.servers(&servers.at).through_proxies(true, true);
                if let Some(volume) = &volume {
                    options =
                        options.set("LANDFALL_PAYLOADS_URL", volume.path().join("payloads").display().to_string());
                }
                Some(servers)
            }
        };
        let app = TestApp::start_with(engine, options).await;
        let member = |(process, roles): (&Process, &&'static str)| Member {
            roles,
            public: process.public,
            internal: process.internal,
        };
        let members = app.processes.iter().zip(roles).map(member).collect();
        let fleet = Fleet {
            app,
            members,
            #[cfg(feature = "services")]
            servers,
            volume,
        };
        #[cfg(feature = "services")]
        if fleet.servers.is_some() {
            fleet.listen().await;
        }
        for user in FETCHED {
            let long_ago = json!({ "reference_id": user, "created_at": "2024-01-15T09:30:00Z" });
            fleet.app.terra_control("users", long_ago).await;
            let path = format!("/v1/users/{user}/connections");
            eventually("who is asked for is known", || async { !fleet.app.all(&path).await.is_empty() }).await;
        }
        fleet
    }

    pub fn terra(&self) -> &Proxy {
        self.app.terra_proxy.as_ref().unwrap()
    }

    /// Ids of the events that a service got from the exchange; `None` on an engine that has none.
    pub async fn told(&self) -> Option<BTreeSet<String>> {
        #[cfg(feature = "services")]
        if self.servers.is_some() {
            return Some(self.heard().await);
        }
        None
    }

    pub fn size(&self) -> usize {
        self.members.len()
    }

    pub fn roles(&self, index: usize) -> &'static str {
        self.members[index].roles
    }

    pub fn kill(&mut self, index: usize) {
        self.app.processes[index].kill();
    }

    /// Starts a process that was killed, on the ports it had; it may end at `failpoint`.
    pub fn start_again(&mut self, index: usize, failpoint: Option<&str>) {
        let member = &self.members[index];
        let mut settings: BTreeMap<String, String> = self.app.settings.clone();
        if let Some(public) = member.public {
            settings.insert("LANDFALL_PUBLIC_ADDR".into(), public.to_string());
        }
        settings.insert("LANDFALL_INTERNAL_ADDR".into(), member.internal.to_string());
        let failpoints: Vec<&str> =
            settings.get("FAILPOINTS").map(String::as_str).into_iter().chain(failpoint).collect();
        let failpoints = failpoints.join(";");
        settings.insert("FAILPOINTS".into(), failpoints);
        let mut process = Process::spawn(&["serve", "--roles", member.roles], &settings);
        process.internal = member.internal;
        process.public = member.public;
        self.app.processes[index] = process;
    }

    /// What ended by itself is started again, as a supervisor of processes would.
    pub fn tend(&mut self) {
        for index in 0..self.members.len() {
            if !self.app.processes[index].is_alive() {
                self.start_again(index, None);
            }
        }
    }

    /// Tends for so long.
    pub async fn tend_for(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.tend();
            tokio::time::sleep(TEND_EVERY).await;
        }
    }

    /// Tends until something holds, which has no more than `within`.
    pub async fn tend_until(&mut self, within: Duration, what: &str, holds: impl AsyncFn(&TestApp) -> bool) {
        let begun = Instant::now();
        while !holds(&self.app).await {
            assert!(begun.elapsed() < within, "not within {within:?}: {what}");
            self.tend_for(TEND_EVERY).await;
        }
    }

    /// The bugs that some deliveries meet are mended.
    pub async fn mend(&mut self) {
        self.app.settings.remove("FAILPOINTS");
        self.heal().await;
    }

    #[cfg(feature = "services")]
    pub fn proxies(&self) -> &Proxies {
        self.app.proxies.as_ref().unwrap()
    }

    /// Everything back to normal, and every process a new one that counts from zero.
    pub async fn heal(&mut self) {
        if let Some(volume) = &self.volume {
            volume.empty();
        }
        #[cfg(feature = "services")]
        if self.servers.is_some() {
            self.proxies().broker.open();
            self.proxies().database.open();
        }
        self.terra().open();
        self.app.http.delete(format!("{}/_simulator/faults", self.app.terra.base_url())).send().await.unwrap();
        for index in 0..self.members.len() {
            self.kill(index);
            self.start_again(index, None);
        }
        let begun = Instant::now();
        loop {
            let waiting = self.not_ready().await;
            if waiting.is_empty() {
                return;
            }
            assert!(begun.elapsed() < HEALED_WITHIN, "not ready again:\n{}", waiting.join("\n"));
            self.tend_for(TEND_EVERY).await;
        }
    }

    /// What each process that is not ready says of itself.
    async fn not_ready(&self) -> Vec<String> {
        let mut waiting = Vec::new();
        for member in &self.members {
            let answer = self.app.http.get(format!("http://{}/readyz", member.internal)).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => waiting.push(format!("{}: {}", member.roles, answer.text().await.unwrap_or_default())),
                Err(_) => waiting.push(format!("{}: no answer", member.roles)),
            }
        }
        waiting
    }

    pub async fn end(self) {
        self.app.end().await;
    }
}
