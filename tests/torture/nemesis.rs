//! Who does harm: one fault after the other, drawn by chance.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::fleet::Fleet;
use super::terra::{self, Asked, TROUBLES, Trouble};
use crate::harness::Engine;
use crate::harness::dice::Dice;
#[cfg(feature = "services")]
use crate::harness::proxy::Proxy;

/// Between two faults.
const CALM_MS: u64 = 1_500;

/// A failpoint that was not reached by then counts as one that did nothing.
const REACHED_WITHIN_MS: (u64, u64) = (1_000, 2_000);

/// Longer than we wait for a statement.
#[cfg(feature = "services")]
const STATEMENT_GIVEN_UP: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Failpoint,
    Freeze,
    FullVolume,
    ClockSkew,
    Terra(Trouble),
    #[cfg(feature = "services")]
    Server(ServerFault),
}

#[cfg(feature = "services")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerFault {
    KillBroker,
    StopApp,
    CloseConnections,
    MemoryAlarm,
    DiskAlarm,
    Unbind,
    CutBroker,
    FreezeBroker,
    RestartDatabase,
    StopDatabaseAtOnce,
    KillDatabase,
    CutDatabase,
    FreezeDatabase,
    /// The server commits, and nobody hears of it.
    UnheardCommits,
    /// SIGSTOP to every process of PostgreSQL.
    StopDatabaseProcesses,
}

const ANYWHERE: [Fault; 4] = [Fault::Kill, Fault::Failpoint, Fault::Freeze, Fault::ClockSkew];

#[cfg(feature = "services")]
const SERVERS: [ServerFault; 15] = [
    ServerFault::KillBroker,
    ServerFault::StopApp,
    ServerFault::CloseConnections,
    ServerFault::MemoryAlarm,
    ServerFault::DiskAlarm,
    ServerFault::Unbind,
    ServerFault::CutBroker,
    ServerFault::FreezeBroker,
    ServerFault::RestartDatabase,
    ServerFault::StopDatabaseAtOnce,
    ServerFault::KillDatabase,
    ServerFault::CutDatabase,
    ServerFault::FreezeDatabase,
    ServerFault::UnheardCommits,
    ServerFault::StopDatabaseProcesses,
];

/// Places of the receiver, then of the worker, and of the engine.
const RECEIVER_POINTS: [&str; 2] = ["after_hmac", "after_confirm_before_200"];
const WORKER_POINTS: [&str; 5] =
    ["consumer_received", "inbox_inserted", "before_commit", "after_commit_before_ack", "outbox_published_before_mark"];
const FETCHER_POINTS: [&str; 2] = ["fetch_answered_before_tx", "fetch_committed_before_release"];
const EMBEDDED_POINTS: [&str; 2] = ["group_written_not_synced", "group_synced_before_answer"];
const PUBLISHER_POINTS: [&str; 2] = ["before_publish", "after_publish_before_confirm"];

pub struct Nemesis {
    engine: Engine,
    dice: Dice,
    until: Instant,
    /// Drawn without putting back, so that a short run has many kinds of faults.
    bag: Vec<Fault>,
    done: BTreeMap<String, u32>,
    pub asked: Asked,
}

impl Nemesis {
    pub fn new(engine: Engine, dice: Dice, time: Duration) -> Self {
        let until = Instant::now() + time;
        Nemesis { engine, dice, until, bag: Vec::new(), done: BTreeMap::new(), asked: Asked::default() }
    }

    pub fn has_time(&self) -> bool {
        Instant::now() < self.until
    }

    /// What acted, and how often.
    pub fn tally(&self) -> String {
        self.done.iter().map(|(fault, count)| format!("{count} × {fault}")).collect::<Vec<_>>().join(", ")
    }

    /// Does one thing, undoes it, and leaves everybody a moment of calm.
    pub async fn strike(&mut self, fleet: &mut Fleet) {
        let fault = self.draw(fleet);
        // What did not act is not counted as if it had.
        let mut acted = true;
        let mut name = format!("{fault:?}");
        self.asked.ask(&fleet.app, &mut self.dice, 1).await;
        match fault {
            Fault::Kill => {
                let victim = self.victim(fleet);
                fleet.kill(victim);
                self.moment(0, 400).await;
                fleet.start_again(victim, None);
            }
            Fault::Failpoint => {
                let victim = self.victim(fleet);
                let point = self.point(fleet.roles(victim));
                let of_fetcher = FETCHER_POINTS.contains(&point);
                let passes = if of_fetcher { 0 } else { self.dice.up_to(30) };
                fleet.kill(victim);
                fleet.start_again(victim, Some(&format!("{point}={passes}*off->return")));
                let (least_ms, more_ms) = REACHED_WITHIN_MS;
                if of_fetcher {
                    self.moment(least_ms, 0).await;
                    self.asked.ask(&fleet.app, &mut self.dice, 4).await;
                }
                self.moment(least_ms, more_ms).await;
                acted = !fleet.app.processes[victim].is_alive();
                if of_fetcher {
                    name = "Failpoint of the fetcher".into();
                }
            }
            Fault::Freeze => {
                let victim = self.victim(fleet);
                acted = fleet.app.processes[victim].is_alive();
                fleet.app.processes[victim].signal("STOP");
                self.moment(200, 4_000).await;
                fleet.app.processes[victim].signal("CONT");
            }
            Fault::FullVolume => {
                if let Some(volume) = &fleet.volume {
                    volume.fill();
                    self.moment(1_000, 2_000).await;
                    volume.empty();
                }
            }
            Fault::ClockSkew => {
                let victim = self.victim(fleet);
                let hours = [-24, -1, 1, 24][usize::try_from(self.dice.up_to(4)).unwrap()];
                fleet.kill(victim);
                fleet.start_again(victim, Some(&format!("clock=return({})", hours * 3_600)));
                self.moment(1_500, 2_000).await;
                fleet.kill(victim);
                fleet.start_again(victim, None);
            }
            Fault::Terra(trouble) => {
                self.asked.connect(&fleet.app).await;
                self.asked.trouble(trouble, fleet, &mut self.dice).await;
            }
            #[cfg(feature = "services")]
            Fault::Server(fault) => acted = self.harm(fault, fleet).await,
        }
        // How many requests met a failing Terra is counted by Terra.
        if !matches!(fault, Fault::Terra(_)) {
            let name = if acted { name } else { format!("{name} in vain") };
            *self.done.entry(name).or_default() += 1;
        }
        let calm = CALM_MS / 3 + self.dice.up_to(CALM_MS);
        fleet.tend_for(Duration::from_millis(calm)).await;
    }

    /// Answers whether anybody met it.
    #[cfg(feature = "services")]
    async fn harm(&mut self, fault: ServerFault, fleet: &Fleet) -> bool {
        let servers = fleet.servers.as_ref().unwrap();
        let proxies = fleet.proxies();
        let cuts = || (proxies.broker.cuts(), proxies.database.cuts());
        let before = cuts();
        let mut acted = true;
        match fault {
            ServerFault::KillBroker => {
                servers.kill_broker();
                self.moment(0, 1_000).await;
                servers.start_broker();
                servers.broker_answers().await;
            }
            ServerFault::StopApp => {
                servers.rabbitmqctl(&["stop_app"]);
                servers.rabbitmqctl(&["start_app"]);
                servers.broker_answers().await;
            }
            ServerFault::CloseConnections => servers.rabbitmqctl(&["close_all_connections", "torture"]),
            ServerFault::MemoryAlarm => {
                servers.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]);
                self.moment(2_000, 3_000).await;
                servers.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]);
            }
            ServerFault::DiskAlarm => {
                servers.rabbitmqctl(&["set_disk_free_limit", "100000GB"]);
                self.moment(2_000, 3_000).await;
                servers.rabbitmqctl(&["set_disk_free_limit", "1GB"]);
            }
            ServerFault::Unbind => {
                acted = fleet.unbind_a_lane(self.dice.up_to(4)).await;
                self.moment(500, 1_500).await;
                fleet.apply_topology().await;
            }
            ServerFault::CutBroker => {
                proxies.broker.cut_after(u32::try_from(self.dice.up_to(20_000)).unwrap());
                self.moment(200, 1_000).await;
                proxies.broker.open();
                acted = cuts() != before;
            }
            ServerFault::FreezeBroker => {
                proxies.broker.freeze();
                self.moment(500, 6_000).await;
                proxies.broker.open();
            }
            ServerFault::RestartDatabase => servers.pg_ctl(&["restart", "--mode=fast"]),
            ServerFault::StopDatabaseAtOnce => {
                servers.pg_ctl(&["stop", "--mode=immediate"]);
                self.moment(0, 1_500).await;
                servers.start_database();
            }
            ServerFault::KillDatabase => {
                servers.kill_database();
                self.moment(0, 1_000).await;
                servers.start_database();
            }
            ServerFault::CutDatabase => {
                proxies.database.cut_after(u32::try_from(self.dice.up_to(20_000)).unwrap());
                self.moment(200, 1_000).await;
                proxies.database.open();
                acted = cuts() != before;
            }
            ServerFault::FreezeDatabase => {
                proxies.database.freeze();
                self.moment(500, 6_000).await;
                proxies.database.open();
            }
            ServerFault::UnheardCommits => {
                let heard = self.dice.up_to(Proxy::COMMITTED_BYTES);
                proxies.database.cut_before_commits_are_heard(u32::try_from(heard).unwrap());
                self.moment(200, 1_000).await;
                proxies.database.open();
                acted = cuts() != before;
            }
            ServerFault::StopDatabaseProcesses => {
                let stopped = servers.stop_database_processes();
                tokio::time::sleep(STATEMENT_GIVEN_UP).await;
                servers.continue_database_processes(&stopped);
            }
        }
        acted
    }

    fn draw(&mut self, fleet: &Fleet) -> Fault {
        if self.bag.is_empty() {
            self.bag.extend(ANYWHERE);
            self.bag.extend(fleet.volume.as_ref().map(|_| Fault::FullVolume));
            let left = self.until.saturating_duration_since(Instant::now());
            let in_time = |trouble: &Trouble| *trouble != Trouble::TooSlow || left > terra::LAST;
            self.bag.extend(TROUBLES.into_iter().filter(in_time).map(Fault::Terra));
            // Most of what goes wrong is a process that ends.
            self.bag.extend([Fault::Kill, Fault::Failpoint, Fault::Failpoint]);
            #[cfg(feature = "services")]
            if self.engine == Engine::Cluster {
                self.bag.extend(SERVERS.map(Fault::Server));
            }
        }
        let index = usize::try_from(self.dice.up_to(self.bag.len() as u64)).unwrap();
        self.bag.swap_remove(index)
    }

    fn victim(&mut self, fleet: &Fleet) -> usize {
        usize::try_from(self.dice.up_to(fleet.size() as u64)).unwrap()
    }

    fn point(&mut self, roles: &str) -> &'static str {
        let mut points: Vec<&'static str> = Vec::new();
        if roles.contains("receive") {
            points.extend(RECEIVER_POINTS);
            points.extend(match self.engine {
                Engine::Embedded => EMBEDDED_POINTS,
                Engine::Cluster => PUBLISHER_POINTS,
            });
        }
        if roles.contains("work") {
            points.extend(WORKER_POINTS);
            points.extend(FETCHER_POINTS);
        }
        let point: &&'static str = self.dice.pick(&points);
        point
    }

    async fn moment(&mut self, least_ms: u64, more_ms: u64) {
        tokio::time::sleep(Duration::from_millis(least_ms + self.dice.up_to(more_ms.max(1)))).await;
    }
}
