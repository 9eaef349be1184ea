//! `landfall bench`: measures this machine with a closed loop of signed webhooks.
//!
//! N connections, each with one request in flight. So latencies are those of a steady load, not of an overload; for
//! that an open loop is needed.

use std::time::{Duration, Instant};

use anyhow::Context;
use terra::signature::Secret;

use crate::bench::child::Instance;
use crate::bench::load::{self, Load, Outcome};
use crate::bench::process::Usage;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Webhooks per second that are durable before they are answered
    Receive(Shape),
    /// Deliveries per second from the queue to committed effects
    Work(Shape),
}

/// The load, and where it goes.
#[derive(clap::Args)]
struct Shape {
    /// Keep-alive connections, one request in flight each
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of a body
    #[arg(long, default_value_t = 3_000)]
    body: usize,
    /// Different Terra users
    #[arg(long, default_value_t = 1_000)]
    users: usize,
    /// How long to measure (receive)
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many deliveries to work off (work)
    #[arg(long, default_value_t = 20_000)]
    deliveries: u64,
    /// A running instance's webhook URL; without it one is started for the measurement, on the engines of the settings
    #[arg(long)]
    url: Option<String>,
    /// Process of that instance, for CPU and memory
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Its signing secret
    #[arg(
        long,
        env = "LANDFALL_TERRA_SIGNING_SECRETS",
        hide_env_values = true,
        default_value = "landfall-bench-signing-secret"
    )]
    secret: String,
}

const WARM_UP: Duration = Duration::from_secs(1);
const DRAIN_MAX: Duration = Duration::from_secs(300);

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.what {
        What::Receive(shape) => receive(shape).await,
        What::Work(shape) => work(shape).await,
    }
}

async fn receive(shape: Shape) -> anyhow::Result<()> {
    let child = match &shape.url {
        Some(_) => None,
        None => Some(Instance::start("receive", &shape.secret).await?),
    };
    let url = match (&shape.url, &child) {
        (Some(url), _) => url.clone(),
        (None, Some(child)) => child.webhook_url(),
        (None, None) => anyhow::bail!("no instance to measure"),
    };
    let load = load(&shape, &url)?;
    load::run(&load, load::Until::Elapsed(WARM_UP)).await?;
    let pid = shape.pid.or(child.as_ref().map(Instance::pid));
    let before = pid.map(Usage::of).transpose()?;
    let started = Instant::now();
    let outcome = load::run(&load, load::Until::Elapsed(Duration::from_secs(shape.seconds))).await?;
    let elapsed = started.elapsed();
    let after = pid.map(Usage::of).transpose()?;
    report(&shape, &outcome, elapsed);
    if let (Some(before), Some(after)) = (before, after) {
        let cpu = after.cpu - before.cpu;
        println!(
            "cpu         {:.1} µs per webhook, {:.0} % of one core",
            cpu.as_secs_f64() * 1e6 / outcome.accepted.max(1) as f64,
            100.0 * cpu.as_secs_f64() / elapsed.as_secs_f64()
        );
        println!(
            "memory      {:.1} MB now, {:.1} MB at most",
            after.rss_bytes as f64 / 1e6,
            after.rss_max_bytes as f64 / 1e6
        );
    }
    end(child).await
}

async fn work(shape: Shape) -> anyhow::Result<()> {
    anyhow::ensure!(
        shape.url.is_none(),
        "`bench work` starts its own instance: it has to fill the queue before anything works it off"
    );
    let receiver = Instance::start("receive", &shape.secret).await?;
    let load = load(&shape, &receiver.webhook_url())?;
    let outcome = load::run(&load, load::Until::Sent(shape.deliveries)).await?;
    anyhow::ensure!(
        outcome.accepted == shape.deliveries,
        "only {} of {} were accepted",
        outcome.accepted,
        shape.deliveries
    );
    println!("queued      {} deliveries of {} bytes, {} users", outcome.accepted, shape.body, shape.users);
    let data = receiver.end().await?;
    let worker = Instance::start_in(data, "work,api", &shape.secret).await?;
    let started = Instant::now();
    let before = Usage::of(worker.pid())?;
    let mut done = 0.0;
    while done < shape.deliveries as f64 {
        anyhow::ensure!(started.elapsed() < DRAIN_MAX, "not worked off after {DRAIN_MAX:?}: {done} deliveries");
        tokio::time::sleep(Duration::from_millis(50)).await;
        done = worker.metric_sum("landfall_deliveries_processed_total").await?;
    }
    let elapsed = started.elapsed();
    let after = Usage::of(worker.pid())?;
    println!(
        "worked off  {:.0} deliveries/s with full effects ({} in {:.2} s)",
        shape.deliveries as f64 / elapsed.as_secs_f64(),
        shape.deliveries,
        elapsed.as_secs_f64()
    );
    println!(
        "cpu         {:.1} µs per delivery",
        (after.cpu - before.cpu).as_secs_f64() * 1e6 / shape.deliveries as f64
    );
    println!("memory      {:.1} MB at most", after.rss_max_bytes as f64 / 1e6);
    end(Some(worker)).await
}

fn load(shape: &Shape, url: &str) -> anyhow::Result<Load> {
    let secret = shape.secret.split(',').next().unwrap_or_default();
    let secret = Secret::new(secret.as_bytes()).context("read the signing secret")?;
    Load::new(url, secret, shape.connections, shape.body, shape.users)
}

fn report(shape: &Shape, outcome: &Outcome, elapsed: Duration) {
    println!(
        "load        {} connections, {} bytes, {} users, {:.1} s closed loop",
        shape.connections,
        shape.body,
        shape.users,
        elapsed.as_secs_f64()
    );
    println!(
        "accepted    {:.0} webhooks/s ({} in all, {} refused)",
        outcome.accepted as f64 / elapsed.as_secs_f64(),
        outcome.accepted,
        outcome.refused
    );
    let ms = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "latency     p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
        ms(0.5),
        ms(0.99),
        ms(0.999),
        outcome.latency.max() as f64 / 1_000.0
    );
}

async fn end(child: Option<Instance>) -> anyhow::Result<()> {
    if let Some(child) = child {
        child.end().await?;
    }
    Ok(())
}
