//! `/livez`, `/readyz`, `/metrics`: for machines, without a token.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use actix_web::{HttpResponse, web};
use adapters::queue::Depth;
use adapters::queue::rabbitmq::RabbitSettings;
use adapters::queue::rabbitmq::management::Management;
use adapters::store::{Silences, Stats};
use domain::delivery::Lane;
use domain::identity::Status;
use metrics::gauge;
use serde::Deserialize;
use serde_json::{Value, json};
use terra::event::Kind;
use tokio::time::Instant;

use super::App;
use crate::{telemetry, wiring};

/// The longest of Terra's names of providers has fewer.
const PROVIDER_BYTES_MAX: usize = 32;
const CHECK_WITHIN: Duration = Duration::from_secs(2);
/// Gauges are at most this old at a scrape.
const GAUGES_FRESH_FOR: Duration = Duration::from_millis(900);

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::Data::new(GaugesRead::default()))
        .route("/livez", web::get().to(livez))
        .route("/readyz", web::get().to(readyz))
        .route("/metrics", web::get().to(metrics));
}

pub(crate) async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

#[derive(Deserialize)]
struct Verbose {
    verbose: Option<String>,
}

async fn readyz(app: web::Data<App>, query: web::Query<Verbose>) -> HttpResponse {
    let checks = readiness(&app).await;
    let ready = are_good(&checks);
    let mut answer = json!({ "status": if ready { "ready" } else { "not ready" } });
    if query.verbose.is_some() || !ready {
        answer["checks"] = checks.into_iter().map(|(name, good)| (name.to_owned(), Value::Bool(good))).collect();
    }
    if ready { HttpResponse::Ok().json(answer) } else { HttpResponse::ServiceUnavailable().json(answer) }
}

/// With `receive`: a secret is set and a delivery can be made durable; a store that is away does not make a receiver
/// unready. Otherwise store and queue answer. Terra is never asked.
async fn readiness(app: &App) -> Vec<(&'static str, bool)> {
    let mut checks = vec![("running", !app.stop.is_cancelled())];
    if app.roles.receive {
        checks.push((
            "signing_secret",
            app.config.environments.iter().any(|environment| !environment.secrets.is_empty()),
        ));
    }
    checks.push(("queue", in_time(async { app.ports.queue.ping().await.is_ok() }).await));
    if !app.roles.receive {
        checks.push(("store", in_time(async { app.ports.store.ping().await.is_ok() }).await));
        checks.push(("schema", app.store_fits.load(Ordering::Relaxed)));
    }
    checks
}

fn are_good(checks: &[(&str, bool)]) -> bool {
    checks.iter().all(|(_, good)| *good)
}

async fn in_time(check: impl Future<Output = bool>) -> bool {
    answered(async { Some(check.await) }).await.unwrap_or(false)
}

async fn answered<T>(asking: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(CHECK_WITHIN, asking).await.ok().flatten()
}

#[derive(Default)]
struct GaugesRead {
    last: Mutex<Option<Instant>>,
    /// `None` where there is no broker, or nobody said where to ask it.
    management: OnceLock<Option<(Management, RabbitSettings)>>,
    /// Status and provider of every connection gauge that was ever set: one that counts nothing any more must say 0.
    connections: Mutex<BTreeSet<(&'static str, String)>>,
    silent: Mutex<BTreeSet<(String, &'static str)>>,
    stale: Mutex<BTreeSet<String>>,
}

async fn metrics(app: web::Data<App>, read: web::Data<GaugesRead>) -> HttpResponse {
    let due = {
        let mut last = read.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() > GAUGES_FRESH_FOR);
        if due {
            *last = Some(Instant::now());
        }
        due
    };
    if due {
        // A scrape must not hang because a service does: the last figures stay. And what one service keeps waiting says
        // nothing of the other: the queue has to be seen to grow where the database is silent.
        let (stats, depths, (), ()) = tokio::join!(
            show_store(&app, &read),
            show_queue(&app),
            show_bytes_of_broker(&app, &read),
            show_readiness(&app)
        );
        for depth in depths.unwrap_or_default() {
            let retries = stats.as_ref().map_or(0, |stats| retries(stats, depth.lane));
            gauge!(telemetry::QUEUE_DEPTH, "lane" => depth.lane.label()).set((depth.jobs + retries) as f64);
        }
    }
    if let Some((objects, bytes)) = app.ports.payloads.tally() {
        gauge!(telemetry::PAYLOADS).set(objects as f64);
        gauge!(telemetry::PAYLOADS_BYTES).set(bytes as f64);
    }
    metrics_process::Collector::default().collect();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(app.metrics.render())
}

/// A load balancer that goes by `/readyz` sends nothing to who is not ready: then no refusal is counted that could ring.
async fn show_readiness(app: &App) {
    if app.roles.receive {
        let is_ready = are_good(&readiness(app).await);
        gauge!(telemetry::RECEIVER_READY).set(f64::from(u8::from(is_ready)));
    }
}

async fn show_queue(app: &App) -> Option<Vec<Depth>> {
    let depths = answered(async { app.ports.queue.depths().await.ok() }).await?;
    for depth in &depths {
        let lane = depth.lane.label();
        gauge!(telemetry::QUEUE_WAITING, "lane" => lane).set(depth.jobs as f64);
        gauge!(telemetry::QUEUE_OLDEST, "lane" => lane).set(depth.oldest.unwrap_or_default().as_secs_f64());
        gauge!(telemetry::QUEUE_MAX_BYTES, "lane" => lane).set(app.config.queue_max as f64);
        if let Some(bytes) = depth.bytes {
            gauge!(telemetry::QUEUE_BYTES, "lane" => lane).set(bytes as f64);
        }
    }
    Some(depths)
}

/// AMQP tells messages, not their bytes.
async fn show_bytes_of_broker(app: &App, read: &GaugesRead) {
    let management = read.management.get_or_init(|| {
        let settings = wiring::rabbit_settings(&app.config).ok()?;
        Some((Management::new(app.config.queue_management_url.as_ref()?).ok()?, settings))
    });
    let Some((management, settings)) = management else { return };
    for (lane, bytes) in answered(async { management.bytes(settings).await.ok() }).await.unwrap_or_default() {
        gauge!(telemetry::QUEUE_BYTES, "lane" => lane.label()).set(bytes as f64);
    }
}

async fn show_store(app: &App, read: &GaugesRead) -> Option<Stats> {
    let asking = async {
        let stats = app.ports.store.stats(app.ports.clock.now()).await.ok()?;
        let silences = app.ports.store.silences().await.ok();
        let totals = app.ports.store.quarantine_totals().await.ok();
        Some((stats, silences, totals))
    };
    let (stats, silences, totals) = answered(asking).await?;
    if let Some(silences) = silences {
        show_silence(silences, read);
    }
    if let Some(totals) = totals {
        gauge!(telemetry::QUARANTINE_ROWS).set(totals.rows as f64);
        gauge!(telemetry::QUARANTINE_BYTES).set(totals.bytes as f64);
    }
    show_stats(&stats, read);
    Some(stats)
}

fn show_stats(stats: &Stats, read: &GaugesRead) {
    gauge!(telemetry::DEAD_LETTERS).set(stats.dead_letters as f64);
    gauge!(telemetry::RETRIES).set(stats.retries.iter().map(|(_, count)| *count).sum::<u64>() as f64);
    gauge!(telemetry::UNNEEDED_PAYLOADS).set(stats.unneeded_payloads as f64);
    gauge!(telemetry::ERASURES_OPEN).set(stats.erasures_open as f64);
    for (part, bytes) in &stats.bytes {
        gauge!(telemetry::STORE_BYTES, "part" => part.clone()).set(*bytes as f64);
    }
    gauge!(telemetry::BACKFILLS_OPEN).set(stats.backfills_open as f64);
    gauge!(telemetry::BACKFILLS_STALLED).set(stats.backfills_stalled as f64);
    gauge!(telemetry::FETCH_OPEN).set(stats.fetch_open as f64);
    gauge!(telemetry::OUTBOX_PENDING).set(stats.outbox_pending as f64);
    gauge!(telemetry::EVENTS_HELD).set(stats.events_held as f64);
    let mut connections = BTreeMap::new();
    for (status, provider, count) in &stats.connections {
        *connections.entry((Status::label(*status), provider_label(provider.clone()))).or_default() += count;
    }
    let mut known = read.connections.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    known.extend(connections.keys().cloned());
    for key in known.iter() {
        let count = connections.get(key).copied().unwrap_or(0);
        gauge!(telemetry::CONNECTIONS, "status" => key.0, "provider" => key.1.clone()).set(count as f64);
    }
}

/// A gauge of silence that was ever set says 0 when it is over.
fn show_silence(silences: Silences, read: &GaugesRead) {
    let silent: BTreeSet<(String, &'static str)> = silences
        .providers
        .into_iter()
        .map(|silent| (provider_label(silent.channel.provider), Kind::parse(&silent.channel.kind).label()))
        .collect();
    let mut known = read.silent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    known.extend(silent.iter().cloned());
    for key in known.iter() {
        let is_silent = if silent.contains(key) { 1.0 } else { 0.0 };
        gauge!(telemetry::SILENT_PROVIDERS, "provider" => key.0.clone(), "kind" => key.1).set(is_silent);
    }
    let mut stale = BTreeMap::new();
    for (provider, count) in silences.stale {
        *stale.entry(provider_label(provider)).or_default() += count;
    }
    let mut known = read.stale.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    known.extend(stale.keys().cloned());
    for provider in known.iter() {
        let count: u64 = stale.get(provider).copied().unwrap_or(0);
        gauge!(telemetry::STALE_CONNECTIONS, "provider" => provider.clone()).set(count as f64);
    }
}

/// Providers are what Terra writes, such as `GARMIN`; what does not look like one of its names gets no label of its own.
fn provider_label(provider: String) -> String {
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if !provider.is_empty() && provider.len() <= PROVIDER_BYTES_MAX && provider.bytes().all(is_name) {
        provider
    } else {
        "other".into()
    }
}

fn retries(stats: &Stats, lane: Lane) -> u64 {
    stats.retries.iter().find(|(label, _)| label == lane.label()).map_or(0, |(_, count)| *count)
}
