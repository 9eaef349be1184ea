//! The network between three nodes is cut, in the shapes of RabbitMQ's own Jepsen suite: who has no majority accepts
//! nothing, and what was accepted anywhere is there once.

use std::time::{Duration, Instant};

use super::brokers::Brokers;
use super::failover::{end, start};
use super::world;
use crate::harness::dice::Dice;
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::{TestApp, now_seconds, within};

const LASTS: Duration = Duration::from_secs(30);
const HEALS_WITHIN: Duration = Duration::from_secs(60);
const BACK_WITHIN: Duration = Duration::from_secs(120);
const PER_SECOND: u32 = 10;

/// With three nodes the suite's two kinds of halves and its single node come to the same cut, one against two; they
/// differ in which one it is.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// `partition-halves`: the first against the others.
    Halves,
    /// `random-partition-halves`
    RandomHalves,
    /// `partition-random-node`
    RandomNode,
    /// `partition-majorities-ring`: each still hears one neighbour, and no two hear each other.
    MajoritiesRing,
    /// Not in the suite: the one that has to be succeeded.
    Leader,
}

const ROUNDS: [Cut; 10] = [
    Cut::Halves,
    Cut::MajoritiesRing,
    Cut::Leader,
    Cut::RandomHalves,
    Cut::RandomNode,
    Cut::Halves,
    Cut::MajoritiesRing,
    Cut::Leader,
    Cut::RandomHalves,
    Cut::RandomNode,
];

/// Cuts; answers the nodes that are left without a majority.
fn make(cut: Cut, leader: usize, brokers: &Brokers, dice: &mut Dice) -> Vec<usize> {
    let alone = match cut {
        Cut::MajoritiesRing => {
            for node in 0..3 {
                brokers.cut(node, (node + 1) % 3);
            }
            return vec![0, 1, 2];
        }
        Cut::Halves => 0,
        Cut::RandomHalves | Cut::RandomNode => *dice.pick(&[0, 1, 2]),
        Cut::Leader => leader,
    };
    for other in (0..3).filter(|other| *other != alone) {
        brokers.cut(alone, other);
        brokers.cut(other, alone);
    }
    vec![alone]
}

/// A receiver at each node that knows this one alone, and a load for it.
async fn at_each_node(app: &mut TestApp, brokers: &Brokers) -> Vec<Load> {
    let mut loads = Vec::new();
    for number in 0..3 {
        let mut settings = app.settings.clone();
        settings.insert("LANDFALL_QUEUE_URL".into(), brokers.url(number));
        let receiver = Process::serve("receive", &settings, false).await;
        let url = format!("http://{}/webhooks/terra", receiver.public.unwrap());
        app.processes.push(receiver);
        loads.push(Load::steady(app, &format!("node-{}", number + 1), url, PER_SECOND));
    }
    loads
}

async fn all_accept(loads: &[Load]) {
    let begun = Instant::now();
    within(BACK_WITHIN, "every receiver accepts", || async {
        loads.iter().all(|load| load.sent_since(begun).iter().any(|answer| answer.status == 200))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand, as root: tests/cluster/run f11"]
async fn f11_a_minority_accepts_nothing_and_nothing_is_lost() {
    let seed = now_seconds().unsigned_abs();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let (mut brokers, _database, mut app) = start().await;
    let mut loads = at_each_node(&mut app, &brokers).await;
    // And one that knows all nodes.
    loads.push(Load::steady(&app, "all", app.webhook_url(), PER_SECOND));
    let mut restarts = 0;
    let (mut refused, mut wrong, mut pauses, mut returns) = (0, Vec::new(), Vec::new(), Vec::new());
    for cut in ROUNDS {
        all_accept(&loads).await;
        let leader = brokers.leader(&super::failover::queue(&app));
        let minority = make(cut, leader, &brokers, &mut dice);
        let begun = Instant::now();
        tokio::time::sleep(LASTS).await;
        let ended = Instant::now();
        brokers.heal();
        let without = loads[3].longest_pause(begun, ended);
        let has_majority = minority.len() == 1;
        let cut_off = minority.iter().copied().chain((!has_majority).then_some(3));
        for load in cut_off.map(|number| &loads[number]) {
            for answer in load.sent_since(begun).iter().filter(|answer| answer.at < ended) {
                refused += 1;
                if answer.status != 503 {
                    wrong.push((cut, answer.status, answer.sent - begun, answer.at - begun));
                }
            }
        }
        if brokers.whole_at_last(&minority, HEALS_WITHIN).await {
            restarts += 1;
        }
        all_accept(&loads).await;
        let back = ended.elapsed();
        let whom: Vec<usize> = minority.iter().map(|node| node + 1).collect();
        println!(
            "{cut:?}, without a majority {whom:?}, leader {}: {without:.1?} without a 200 for who knows all nodes, all accept again {back:.1?} after healing",
            leader + 1
        );
        if has_majority {
            pauses.push(without);
        }
        returns.push(back);
        world::keep_logs(&app);
    }
    let slowest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    end(&brokers, app, &mut loads).await;
    println!(
        "F11: {} partitions of {LASTS:?}: {refused} answers without a majority, {} of them not 503; with one at most {:.1?} without a 200; whole again within {:.1?}, {restarts} times only after a restart; 0 lost, 0 double",
        ROUNDS.len(),
        wrong.len(),
        slowest(&pauses),
        slowest(&returns)
    );
    assert!(refused > 0 && wrong.is_empty(), "{wrong:?}");
}
