//! The processes under torture and the servers below them: killed, frozen, started again on the ports they had.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::process::Process;
use crate::harness::volume::Volume;
use crate::harness::{Engine, Options, TestApp};
#[cfg(feature = "services")]
use crate::harness::{proxy::Proxies, servers::Servers};

/// Small enough to be filled at once, and large enough for all that is kept: a minute's load takes about 6.
const VOLUME_MEBIBYTES: u64 = 96;
const VOLUME_MEBIBYTES_A_MINUTE: u64 = 16;

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
        let mut options = Options::default().processes(roles);
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
        fleet
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
        if let Some(failpoint) = failpoint {
            settings.insert("FAILPOINTS".into(), failpoint.to_owned());
        }
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
            tokio::time::sleep(Duration::from_millis(100)).await;
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
