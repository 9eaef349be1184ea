//! The primary database is gone and its synchronous standby is promoted: work goes on there, and nothing is missing.

use std::time::{Duration, Instant};

use super::brokers::{Brokers, Shape};
use super::databases::Database;
use super::failover::end;
use super::world;
use crate::database_faults::until_processed;
use crate::harness::load::Load;
use crate::harness::servers::Addresses;
use crate::harness::{Engine, Options, TestApp};

const ROUNDS: u32 = 3;
const ON_THE_NEW_PRIMARY_WITHIN: Duration = Duration::from_secs(30);

/// Primary and standby change places each round; `gone` is what happens to the primary.
async fn fail_over(gone: fn(&Database), what: &str) {
    let brokers = Brokers::start(Shape { nodes: 1, ..Shape::default() }).await;
    let (mut primary, mut standby) = (Database::create("database-1"), Database::at("database-2"));
    standby.follow(&primary).await;
    let at = Addresses::of(&brokers.urls(), &Database::url_of_either(&primary, &standby));
    let app = TestApp::start_with(Engine::Cluster, Options::default().servers(&at)).await;
    let load = Load::steady(&app, "load", app.webhook_url(), 50);
    let mut waits = Vec::new();
    for round in 0..ROUNDS {
        load.more(200, 100).await;
        let begun = Instant::now();
        gone(&primary);
        standby.promote();
        let promoted = begun.elapsed();
        let wait = until_processed(&app, &format!("after-{round}")).await;
        println!("{what}: promoted after {promoted:.1?}, processed on the new primary {wait:.1?} later");
        waits.push(wait);
        world::keep_logs(&app);
        // Whoever promotes makes sure that the old one never comes back as it was.
        primary.kill();
        std::mem::swap(&mut primary, &mut standby);
        standby.follow(&primary).await;
    }
    let statuses = load.statuses();
    end(&brokers, app, &mut [load]).await;
    println!(
        "F15: {ROUNDS} primaries {what}, work goes on {waits:.1?} after the promotion; answers {statuses:?}, 0 lost, 0 double"
    );
    assert!(statuses.keys().all(|status| *status == 200), "the door noticed: {statuses:?}");
    assert!(waits.iter().all(|wait| *wait <= ON_THE_NEW_PRIMARY_WITHIN), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand, as root: tests/cluster/run f15"]
async fn f15_a_primary_that_is_killed_is_succeeded_by_its_standby() {
    fail_over(Database::kill, "killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand, as root: tests/cluster/run f15"]
async fn f15_a_primary_that_freezes_is_succeeded_by_its_standby() {
    fail_over(Database::freeze, "frozen").await;
}
