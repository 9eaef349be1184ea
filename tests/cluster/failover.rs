//! The node that leads the queue is killed or frozen: the others go on, and so do we.

use std::time::{Duration, Instant};

use super::brokers::{Brokers, Shape};
use super::databases::Database;
use super::world;
use crate::harness::load::Load;
use crate::harness::servers::Addresses;
use crate::harness::{Engine, Options, TestApp};

const PER_SECOND: u32 = 50;

/// Three nodes and a Landfall that knows them all.
pub async fn start() -> (Brokers, Database, TestApp) {
    let brokers = Brokers::start(Shape::default()).await;
    let database = Database::create("database");
    let at = Addresses::of(&brokers.urls(), &database.url());
    let app = TestApp::start_with(Engine::Cluster, Options::default().servers(&at)).await;
    brokers.whole().await;
    (brokers, database, app)
}

/// Where the load goes.
pub fn queue(app: &TestApp) -> String {
    format!("{}.deliveries.live", app.settings["LANDFALL_QUEUE_PREFIX"])
}

/// Checks that nothing was lost or doubled, and ends. The servers are thrown away as they are.
pub async fn end(brokers: &Brokers, mut app: TestApp, loads: &mut [Load]) {
    for load in &mut *loads {
        load.stop().await;
    }
    println!("{}", brokers.describe());
    world::keep_logs(&app);
    for load in loads {
        load.check(&app).await;
    }
    assert_eq!(app.metric("landfall_dead_letters").await, 0.0);
    app.database = None;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand, as root: tests/cluster/run f9"]
async fn f9_a_leader_that_is_killed_costs_two_seconds_and_loses_nothing() {
    const KILLS: u32 = 10;
    const TWO_SECONDS: Duration = Duration::from_secs(2);
    let (mut brokers, _database, app) = start().await;
    let load = Load::steady(&app, "load", app.webhook_url(), PER_SECOND);
    let mut pauses = Vec::new();
    for _ in 0..KILLS {
        load.more(200, 100).await;
        let leader = brokers.leader(&queue(&app));
        let killed = Instant::now();
        brokers.kill(leader);
        tokio::time::sleep(Duration::from_secs(8)).await;
        let without = load.longest_pause(killed, Instant::now());
        let back = Instant::now();
        brokers.start_node(leader);
        brokers.whole().await;
        println!(
            "node {} killed: {without:?} without a 200, {:?} at its return",
            leader + 1,
            load.longest_pause(back, Instant::now())
        );
        pauses.push(without);
        world::keep_logs(&app);
    }
    pauses.sort_unstable();
    let statuses = load.statuses();
    end(&brokers, app, &mut [load]).await;
    println!("F9: {KILLS} leaders killed, without a 200 {pauses:.1?}; answers {statuses:?}, 0 lost, 0 double");
    assert!(pauses.iter().all(|pause| *pause <= TWO_SECONDS), "not within {TWO_SECONDS:?}: {pauses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand, as root: tests/cluster/run f10"]
async fn f10_a_leader_that_freezes_costs_twenty_seconds_and_loses_nothing() {
    const FREEZES: u32 = 5;
    const FROZEN: Duration = Duration::from_secs(30);
    const HEALS_WITHIN: Duration = Duration::from_secs(10);
    const TWENTY_SECONDS: Duration = Duration::from_secs(20);
    let (mut brokers, _database, app) = start().await;
    let load = Load::steady(&app, "load", app.webhook_url(), PER_SECOND);
    let (mut pauses, mut restarts) = (Vec::new(), 0);
    for _ in 0..FREEZES {
        load.more(200, 100).await;
        let leader = brokers.leader(&queue(&app));
        let frozen = Instant::now();
        brokers.freeze(leader);
        tokio::time::sleep(FROZEN).await;
        let without = load.longest_pause(frozen, Instant::now());
        let back = Instant::now();
        brokers.thaw(leader);
        if brokers.whole_at_last(&[leader], HEALS_WITHIN).await {
            restarts += 1;
        }
        println!(
            "node {} frozen: {without:?} without a 200, {:?} at its return",
            leader + 1,
            load.longest_pause(back, Instant::now())
        );
        pauses.push(without);
        world::keep_logs(&app);
    }
    pauses.sort_unstable();
    let statuses = load.statuses();
    end(&brokers, app, &mut [load]).await;
    println!(
        "F10: {FREEZES} leaders frozen, without a 200 {pauses:.1?}; {restarts} of them had to be restarted to join again; answers {statuses:?}, 0 lost, 0 double"
    );
    assert!(pauses.iter().all(|pause| *pause <= TWENTY_SECONDS), "not within {TWENTY_SECONDS:?}: {pauses:?}");
}
