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
    let mut load = Load::start(&app);
    let mut slowest = Duration::ZERO;
    for _ in 0..ROUNDS {
        for (number, receiver) in receivers.iter().enumerate() {
            load.more(200, 100).await;
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
    load.more(200, 100).await;
    load.stop().await;
    println!("{} restarts, the slowest end {slowest:?}: {:?}", ROUNDS * RECEIVERS, load.statuses());
    assert!(load.statuses().keys().all(|status| *status == 200), "{:?}", load.statuses());
    assert!(slowest <= ENDED_WITHIN, "{slowest:?}");
    load.check(&app).await;
    app.end().await;
}

async fn until_ready(balancer: &Balancer, receivers: &[Backend]) {
    eventually("the balancer finds every receiver ready", || async {
        receivers.iter().all(|receiver| balancer.is_ready(receiver.public))
    })
    .await;
}
