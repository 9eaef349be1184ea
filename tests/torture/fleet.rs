//! The processes under torture and the servers below them: killed, frozen, started again on the ports they had.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::process::Process;
use crate::harness::volume::Volume;
use crate::harness::{Engine, Options, TestApp, within};
#[cfg(feature = "services")]
use crate::harness::{proxy::Proxies, servers::Servers};

/// Small enough to be filled at once.
const VOLUME_MEBIBYTES: u32 = 96;

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
    pub async fn start(engine: Engine) -> Self {
        let roles: &[&'static str] = match engine {
            Engine::Embedded => &["receive,work,api"],
            Engine::Cluster => &["receive,api", "work", "work"],
        };
        let volume = Volume::mount(VOLUME_MEBIBYTES, "root");
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
        let urls: Vec<String> =
            self.members.iter().map(|member| format!("http://{}/readyz", member.internal)).collect();
        within(HEALED_WITHIN, "every process is ready again", || async {
            for url in &urls {
                if !self.app.http.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    pub async fn end(self) {
        self.app.end().await;
    }
}
