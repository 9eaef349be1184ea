//! The broker's volume fills up and the broker dies in that state: what was confirmed is still there.

use std::path::Path;
use std::time::{Duration, Instant};

use super::brokers::{Brokers, Shape};
use super::databases::Database;
use super::failover::end;
use super::world;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::servers::Addresses;
use crate::harness::{Engine, Options, TestApp, within};

const VOLUME_MEBIBYTES: u32 = 700;
const BODY_BYTES: usize = 100 * 1_024;

/// Nothing was taken for so long: it is full.
const REFUSED_FOR: Duration = Duration::from_secs(15);
const FULL_WITHIN: Duration = Duration::from_secs(600);

fn free_mebibytes(volume: &Path) -> u64 {
    let printed = world::run(&["df", "--block-size=1M", "--output=avail", &volume.display().to_string()]);
    printed.lines().nth(1).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand, as root: tests/cluster/run f8"]
async fn f8_a_broker_that_is_killed_with_a_full_volume_has_all_it_confirmed() {
    let volume = world::volume(VOLUME_MEBIBYTES);
    let shape = Shape { nodes: 1, data: Some(volume.clone()), disk_free_limit: "300MB" };
    let mut brokers = Brokers::start(shape).await;
    let database = Database::create("database");
    // Nobody works, so all of it stays with the broker, bodies included.
    let options = Options::default()
        .servers(&Addresses::of(&brokers.urls(), &database.url()))
        .processes(&["receive,api"])
        .set("LANDFALL_PAYLOADS_INLINE_MAX", "256KiB");
    let mut app = TestApp::start_with(Engine::Cluster, options).await;
    let mut load = Load::heavy(&app, BODY_BYTES);
    within(FULL_WITHIN, "the volume is full", || async {
        let recent = Instant::now().checked_sub(REFUSED_FOR).map(|begin| load.sent_since(begin)).unwrap_or_default();
        load.count(200) > 0 && recent.len() > 100 && recent.iter().all(|answer| answer.status == 503)
    })
    .await;
    let (accepted, refused, free) = (load.count(200), load.count(503), free_mebibytes(&volume));
    brokers.kill(0);
    load.stop().await;
    assert_eq!(load.count(200), accepted, "accepted with a full volume");
    brokers.start_node(0);
    brokers.whole().await;
    let worker = Process::serve("work", &app.settings, false).await;
    app.processes.push(worker);
    end(&brokers, app, &mut [load]).await;
    println!(
        "F8: {accepted} bodies of {} KiB accepted and {refused} requests refused on {VOLUME_MEBIBYTES} MiB, killed with {free} MiB left; 0 lost, 0 double",
        BODY_BYTES / 1_024
    );
}
