//! A new version comes while webhooks do: receivers behind a load balancer are replaced one after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::balancer::{Backend, Balancer};
use crate::harness::load::Load;
use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, eventually};

const RECEIVERS: usize = 2;
/// Times that each receiver is replaced.
const ROUNDS: usize = 2;
const ENDED_WITHIN: Duration = Duration::from_secs(10);
/// However slow the answers are, of each of the two loads.
const PER_SECOND: u32 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_a_rolling_restart_behind_a_balancer_fails_no_request() {
    let mut roles = vec!["receive"; RECEIVERS];
    roles.push("work,api");
    // The delay that everybody has who sets none.
    let options = Options::default().processes(&roles).unset("LANDFALL_SHUTDOWN_DELAY");
    let mut app = TestApp::start_with(Engine::Cluster, options).await;
    let receivers: Vec<Backend> = app.processes[..RECEIVERS]
        .iter()
        .map(|process| Backend { public: process.public.unwrap(), internal: process.internal })
        .collect();
    let balancer = Balancer::start(receivers.clone()).await;
    until_ready(&balancer, &receivers).await;
    app.public = balancer.addr;
    // Terra keeps its connections. One load has them to a balancer that passes bytes on, one to every receiver itself.
    let through = app.webhook_url();
    let choose = balancer.choose();
    let direct = move || format!("http://{}/webhooks/terra", choose());
    let mut loads =
        [Load::kept("through", move || through.clone(), PER_SECOND), Load::kept("direct", direct, PER_SECOND)];
    let mut slowest = Duration::ZERO;
    for _ in 0..ROUNDS {
        for (number, receiver) in receivers.iter().enumerate() {
            more(&loads).await;
            let asked = Instant::now();
            app.processes[number].terminate();
            assert_eq!(app.processes[number].wait().await, Some(0), "{}", app.processes[number].log());
            slowest = slowest.max(asked.elapsed());
            let addr = |addr: SocketAddr| addr.to_string();
            let mut settings = app.settings.clone();
            settings.insert("LANDFALL_PUBLIC_ADDR".into(), addr(receiver.public));
            settings.insert("LANDFALL_INTERNAL_ADDR".into(), addr(receiver.internal));
            app.processes[number] = Process::serve("receive", &settings, false).await;
            until_ready(&balancer, &receivers).await;
        }
    }
    more(&loads).await;
    for load in &mut loads {
        load.stop().await;
    }
    let statuses = loads.each_ref().map(Load::statuses);
    println!(
        "{} restarts, the slowest end {slowest:?}: through the balancer {:?}, directly {:?}",
        ROUNDS * RECEIVERS,
        statuses[0],
        statuses[1]
    );
    assert!(statuses.iter().all(|found| found.keys().all(|status| *status == 200)), "{statuses:?}");
    assert!(slowest <= ENDED_WITHIN, "{slowest:?}");
    for load in &loads {
        load.check(&app).await;
    }
    app.end().await;
}

async fn more(loads: &[Load]) {
    for load in loads {
        load.more(200, 100).await;
    }
}

async fn until_ready(balancer: &Balancer, receivers: &[Backend]) {
    eventually("the balancer finds every receiver ready", || async {
        receivers.iter().all(|receiver| balancer.is_ready(receiver.public))
    })
    .await;
}
