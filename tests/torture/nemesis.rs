//! Who does harm: one fault after the other, drawn by chance.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::fleet::Fleet;
use crate::harness::Engine;
use crate::harness::dice::Dice;

/// Between two faults.
const CALM_MS: u64 = 1_500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Failpoint,
    Freeze,
    FullVolume,
    ClockSkew,
    TerraFails,
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
}

const ANYWHERE: [Fault; 6] =
    [Fault::Kill, Fault::Failpoint, Fault::Freeze, Fault::FullVolume, Fault::ClockSkew, Fault::TerraFails];

#[cfg(feature = "services")]
const SERVERS: [ServerFault; 13] = [
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
];

/// Places of the receiver, then of the worker, and of the engine.
const RECEIVER_POINTS: [&str; 2] = ["after_hmac", "after_confirm_before_200"];
const WORKER_POINTS: [&str; 5] =
    ["consumer_received", "inbox_inserted", "before_commit", "after_commit_before_ack", "outbox_published_before_mark"];
const EMBEDDED_POINTS: [&str; 2] = ["group_written_not_synced", "group_synced_before_answer"];
const PUBLISHER_POINTS: [&str; 2] = ["before_publish", "after_publish_before_confirm"];

pub struct Nemesis {
    engine: Engine,
    dice: Dice,
    /// Drawn without putting back, so that a short run has many kinds of faults.
    bag: Vec<Fault>,
    done: BTreeMap<String, u32>,
}

impl Nemesis {
    pub fn new(engine: Engine, dice: Dice) -> Self {
        Nemesis { engine, dice, bag: Vec::new(), done: BTreeMap::new() }
    }

    pub fn tally(&self) -> String {
        self.done.iter().map(|(fault, count)| format!("{count} × {fault}")).collect::<Vec<_>>().join(", ")
    }

    /// Does one thing, undoes it, and leaves everybody a moment of calm.
    pub async fn strike(&mut self, fleet: &mut Fleet) {
        let fault = self.draw();
        *self.done.entry(format!("{fault:?}")).or_default() += 1;
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
                let passes = self.dice.up_to(30);
                fleet.kill(victim);
                fleet.start_again(victim, Some(&format!("{point}={passes}*off->return")));
                self.moment(1_000, 2_000).await;
            }
            Fault::Freeze => {
                let victim = self.victim(fleet);
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
            Fault::TerraFails => {
                let status = [429, 500, 503, 424][usize::try_from(self.dice.up_to(4)).unwrap()];
                let fault =
                    json!({ "path": "/", "times": 20, "status": status, "delay_ms": 200, "html": status == 500 });
                fleet.app.terra_control("faults", fault).await;
            }
            #[cfg(feature = "services")]
            Fault::Server(fault) => self.harm(fault, fleet).await,
        }
        fleet.tend();
        self.moment(CALM_MS / 3, CALM_MS).await;
        fleet.tend();
    }

    #[cfg(feature = "services")]
    async fn harm(&mut self, fault: ServerFault, fleet: &Fleet) {
        let servers = fleet.servers.as_ref().unwrap();
        let proxies = fleet.proxies();
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
                fleet.unbind_a_lane(self.dice.up_to(4)).await;
                self.moment(500, 1_500).await;
                fleet.apply_topology().await;
            }
            ServerFault::CutBroker => {
                proxies.broker.cut_after(u32::try_from(self.dice.up_to(20_000)).unwrap());
                self.moment(200, 1_000).await;
                proxies.broker.open();
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
            }
            ServerFault::FreezeDatabase => {
                proxies.database.freeze();
                self.moment(500, 6_000).await;
                proxies.database.open();
            }
        }
    }

    fn draw(&mut self) -> Fault {
        if self.bag.is_empty() {
            self.bag.extend(ANYWHERE);
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
        }
        let point: &&'static str = self.dice.pick(&points);
        point
    }

    async fn moment(&mut self, least_ms: u64, more_ms: u64) {
        tokio::time::sleep(Duration::from_millis(least_ms + self.dice.up_to(more_ms.max(1)))).await;
    }
}
