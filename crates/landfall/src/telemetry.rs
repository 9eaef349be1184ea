//! Log format, metric names, field names: declared here, used everywhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use adapters::queue::PublishError;
use adapters::queue::rabbitmq::SILENCED_LOG_TARGETS;
use adapters::store::LedgerOutcome;
use anyhow::Context;
use domain::id::Environment;
use domain::quarantine::burst::Cause;
use jiff::Timestamp;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use terra::event::Kind;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, TerraEnvironment};
use crate::http::webhook;
use crate::quarantine;

pub(crate) const WEBHOOKS_RECEIVED: &str = "landfall_webhooks_received_total";
pub(crate) const WEBHOOKS_REFUSED: &str = "landfall_webhooks_refused_total";
pub(crate) const ACK_DURATION: &str = "landfall_webhook_ack_duration_seconds";
pub(crate) const RECEIVER_READY: &str = "landfall_receiver_ready";
pub(crate) const LAST_ACCEPTED: &str = "landfall_webhook_last_accepted_timestamp_seconds";
pub(crate) const PUBLISH_FAILURES: &str = "landfall_publish_failures_total";
pub(crate) const QUEUE_DEPTH: &str = "landfall_queue_depth";
pub(crate) const QUEUE_WAITING: &str = "landfall_queue_waiting";
pub(crate) const QUEUE_BYTES: &str = "landfall_queue_bytes";
pub(crate) const QUEUE_MAX_BYTES: &str = "landfall_queue_max_bytes";
pub(crate) const QUEUE_OLDEST: &str = "landfall_queue_oldest_age_seconds";
pub(crate) const QUEUE_FOREIGN: &str = "landfall_queue_foreign_messages";
pub(crate) const PROCESSED: &str = "landfall_deliveries_processed_total";
pub(crate) const END_TO_END: &str = "landfall_delivery_end_to_end_seconds";
pub(crate) const DEAD_LETTERS: &str = "landfall_dead_letters";
pub(crate) const CONNECTIONS: &str = "landfall_connections";
pub(crate) const FETCH_REQUESTS: &str = "landfall_fetch_requests_total";
pub(crate) const BACKFILLS_SETTLED: &str = "landfall_backfills_settled_total";
pub(crate) const BACKFILLS_ASKED_AGAIN: &str = "landfall_backfill_requests_again_total";
pub(crate) const BACKFILLS_OPEN: &str = "landfall_backfills_open";
pub(crate) const BACKFILLS_STALLED: &str = "landfall_backfills_stalled";
pub(crate) const FETCH_OPEN: &str = "landfall_fetch_open";
pub(crate) const OUTBOX_PENDING: &str = "landfall_outbox_pending";
pub(crate) const EVENTS_HELD: &str = "landfall_events_held";
pub(crate) const EVENTS_PUBLISHED: &str = "landfall_events_published_total";
pub(crate) const DOWNLOADS: &str = "landfall_payload_downloads_total";
pub(crate) const DRIFT: &str = "landfall_drift_total";
pub(crate) const REPLAYED: &str = "landfall_replayed_total";
pub(crate) const RECONCILES: &str = "landfall_reconciles_total";
pub(crate) const RECONCILE_REFUSED: &str = "landfall_reconcile_refused";
pub(crate) const SILENT_PROVIDERS: &str = "landfall_silent_providers";
pub(crate) const STALE_CONNECTIONS: &str = "landfall_stale_connections";
pub(crate) const SIGNATURE_FAILURES: &str = "landfall_signature_failures_total";
pub(crate) const SIGNATURE_BURST: &str = "landfall_signature_burst";
pub(crate) const QUARANTINE_DROPPED: &str = "landfall_quarantine_dropped_total";
pub(crate) const QUARANTINE_ROWS: &str = "landfall_quarantine_rows";
pub(crate) const QUARANTINE_BYTES: &str = "landfall_quarantine_bytes";
pub(crate) const RETRIES: &str = "landfall_deliveries_retrying";
pub(crate) const UNNEEDED_PAYLOADS: &str = "landfall_unneeded_payloads";
pub(crate) const PAYLOADS: &str = "landfall_payloads";
pub(crate) const PAYLOADS_BYTES: &str = "landfall_payloads_bytes";
pub(crate) const ERASURES_OPEN: &str = "landfall_erasures_open";
pub(crate) const STORE_BYTES: &str = "landfall_store_bytes";
pub(crate) const ERASURES: &str = "landfall_erasures_total";
pub(crate) const CLOCK_AHEAD: &str = "landfall_clock_ahead_seconds";
pub(crate) const LATE: &str = "landfall_webhooks_late_total";

/// Crates whose log lines may be of any level.
const OWN_LOG_TARGETS: [&str; 5] = ["landfall", "adapters", "domain", "terra", "simulator"];

/// 4 is half of Terra's patience for an answer, and what the alarm asks about.
const SECONDS: [f64; 15] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 4.0, 5.0, 30.0];

pub(crate) const CONNECT_RETURNS: &str = "landfall_connect_returns_total";
pub(crate) const CONNECT_FORGED: &str = "landfall_connect_forged_total";

/// Exporter samples pile up until somebody drains them.
pub(crate) const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Logs an error for every malformed request line, which anybody can send to the public listener.
const MALFORMED_REQUESTS: &str = "actix_http::h1::dispatcher";

/// Starts logging: text on a terminal, JSON otherwise, unless the settings say which.
pub(crate) fn start_logging(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log).context("read the setting `log`")?;
    let terminal = std::io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_printed));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if config.log_json.unwrap_or(!terminal) {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        registry.with(layer.with_target(false).with_ansi(terminal && std::env::var_os("NO_COLOR").is_none())).try_init()
    }
    .context("start logging")
}

/// Our own crates never log what is in a payload. Libraries do, below info: the database's client its parameters, the
/// broker's whole frames. So no setting reaches those.
fn may_be_printed(line: &Metadata<'_>) -> bool {
    let target = line.target();
    if target == MALFORMED_REQUESTS {
        return false;
    }
    let is_ours = OWN_LOG_TARGETS.contains(&target.split("::").next().unwrap_or_default());
    is_ours || (*line.level() <= Level::INFO && !SILENCED_LOG_TARGETS.contains(&target))
}

/// Installs the recorder and declares every metric.
pub(crate) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .context("set histogram buckets")?
        .install_recorder()
        .context("install the metrics recorder")?;
    describe();
    metrics_process::Collector::default().describe();
    Ok(handle)
}

fn describe() {
    describe_counter!(WEBHOOKS_RECEIVED, "webhooks that came in, by Terra's type and outcome");
    describe_counter!(WEBHOOKS_REFUSED, "webhooks not accepted, by reason");
    describe_histogram!(ACK_DURATION, Unit::Seconds, "from the first byte of the request to the answer");
    describe_gauge!(RECEIVER_READY, "1 while this receiver can accept webhooks: what /readyz says");
    describe_gauge!(
        LAST_ACCEPTED,
        Unit::Seconds,
        "when the last webhook was accepted, by environment; 0: none since the start"
    );
    describe_counter!(PUBLISH_FAILURES, "webhooks that could not be made durable, by reason");
    describe_gauge!(QUEUE_DEPTH, "accepted and not settled, leases and retries included, dead letters not");
    describe_gauge!(QUEUE_WAITING, "in the queue: leases included, retries not");
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "what that takes; of RabbitMQ only where its management API is set");
    describe_gauge!(QUEUE_MAX_BYTES, Unit::Bytes, "what a lane may take before it refuses, by the settings");
    describe_gauge!(
        QUEUE_OLDEST,
        Unit::Seconds,
        "age of the oldest waiting delivery; with a broker, in the hands of this process"
    );
    describe_gauge!(QUEUE_FOREIGN, "messages in the dead queue that are no deliveries of ours");
    describe_counter!(PROCESSED, "deliveries settled, by type and outcome");
    describe_histogram!(END_TO_END, Unit::Seconds, "from receipt to the commit of the effects");
    describe_gauge!(DEAD_LETTERS, "deliveries nobody will retry by itself");
    describe_gauge!(CONNECTIONS, "connections by status and provider");
    describe_counter!(FETCH_REQUESTS, "requests to Terra's REST API, by type and outcome");
    describe_counter!(BACKFILLS_SETTLED, "backfills closed, by outcome");
    describe_counter!(BACKFILLS_ASKED_AGAIN, "requests made for what backfills were missing");
    describe_gauge!(BACKFILLS_OPEN, "backfills of which not everything has come");
    describe_gauge!(BACKFILLS_STALLED, "open backfills of which nothing has come for too long");
    describe_gauge!(FETCH_OPEN, "requests to Terra that wait for their turn");
    describe_gauge!(OUTBOX_PENDING, "events that may be published and are not; held ones not counted");
    describe_gauge!(EVENTS_HELD, "events that wait for an undoubted user");
    describe_counter!(EVENTS_PUBLISHED, "events given a position and published");
    describe_counter!(REPLAYED, "deliveries worked again by replays, by outcome");
    for outcome in ["applied", "failed", "gone", "discarded"] {
        counter!(REPLAYED, "outcome" => outcome).absolute(0);
    }
    describe_counter!(RECONCILES, "comparisons with Terra's list of users, by outcome");
    describe_gauge!(RECONCILE_REFUSED, "1 while the last one revoked nobody because so many were gone");
    describe_gauge!(SILENT_PROVIDERS, "1 while a provider delivers nothing of a kind to any of its connections");
    describe_gauge!(STALE_CONNECTIONS, "connections that are quiet while their provider delivers to others");
    describe_counter!(
        SIGNATURE_FAILURES,
        "requests whose signature failed, by the part at fault, whether they look like Terra's, and the environment where known"
    );
    describe_gauge!(SIGNATURE_BURST, "1 while many requests fail their signature, by what it comes from");
    describe_counter!(QUARANTINE_DROPPED, "requests whose signature failed and of which nothing was kept, by reason");
    describe_gauge!(QUARANTINE_ROWS, "requests in the quarantine");
    describe_gauge!(QUARANTINE_BYTES, Unit::Bytes, "what the quarantine takes");
    describe_gauge!(RETRIES, "failed deliveries that wait for another try");
    describe_gauge!(UNNEEDED_PAYLOADS, "payloads in storage that nothing needs and that are not deleted yet");
    describe_gauge!(
        PAYLOADS,
        "objects in the payload store, at most 100,000 counted every ten minutes by who does the upkeep, with what it added and removed since"
    );
    describe_gauge!(PAYLOADS_BYTES, Unit::Bytes, "what these take");
    describe_gauge!(ERASURES_OPEN, "erasures to which Terra has not agreed, or that are under way");
    describe_gauge!(STORE_BYTES, Unit::Bytes, "what the store takes on disk, by part");
    describe_counter!(ERASURES, "people and connections erased, here and at Terra, by cause");
    describe_gauge!(CLOCK_AHEAD, Unit::Seconds, "how far our clock is ahead of another's; below 0: behind");
    describe_counter!(LATE, "genuine deliveries older than the tolerance");
    describe_counter!(DOWNLOADS, "payloads that Terra left in storage, by outcome");
    describe_counter!(DRIFT, "deliveries with something Terra's schema does not have, once per path, by type");
    describe_counter!(CONNECT_RETURNS, "browsers that came back from the widget, by outcome");
    describe_counter!(CONNECT_FORGED, "users claimed by a browser whom Terra did not confirm");
    for outcome in ["completed", "incomplete"] {
        counter!(BACKFILLS_SETTLED, "outcome" => outcome).absolute(0);
    }
    counter!(BACKFILLS_ASKED_AGAIN).absolute(0);
    counter!(EVENTS_PUBLISHED).absolute(0);
    for cause in ["request", "deauth"] {
        counter!(ERASURES, "cause" => cause).absolute(0);
    }
}

/// `environment` is whose destination it was, where that is known: its address, or its secret, says so.
pub(crate) fn signature_failures(
    part: &'static str,
    shape: &'static str,
    environment: Option<&Environment>,
) -> Counter {
    let environment = environment.map(Environment::to_string).unwrap_or_default();
    counter!(SIGNATURE_FAILURES, "part" => part, "shape" => shape, "environment" => environment)
}

/// Counts requests of which nothing was kept: no room in the hand-over, not examined, not written.
pub(crate) fn quarantine_dropped(reason: &'static str, requests: u64) {
    counter!(QUARANTINE_DROPPED, "reason" => reason).increment(requests);
}

/// What becomes of a request at the door; closed set for labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Accepted,
    Refused,
    Unavailable,
}

/// Handles made once, so that counting a webhook allocates nothing. Only receivers make them: where nobody receives, no
/// series of the door's may say that somebody does.
#[derive(Clone)]
pub(crate) struct DoorMetrics(Arc<DoorHandles>);

struct DoorHandles {
    received: Vec<[Counter; 3]>,
    ack: Histogram,
    last_accepted: BTreeMap<Environment, Gauge>,
}

impl DoorMetrics {
    pub(crate) fn new(environments: &[TerraEnvironment]) -> Self {
        let environments: Vec<&Environment> = environments.iter().map(|environment| &environment.name).collect();
        declare_door(&environments);
        let counters = |kind: &Kind| {
            ["accepted", "refused", "unavailable"].map(|outcome| {
                let counter = counter!(WEBHOOKS_RECEIVED, "type" => kind.label(), "outcome" => outcome);
                counter.absolute(0);
                counter
            })
        };
        DoorMetrics(Arc::new(DoorHandles {
            received: Kind::ALL.iter().map(counters).collect(),
            ack: histogram!(ACK_DURATION),
            last_accepted: environments.into_iter().map(never_accepted).collect(),
        }))
    }

    pub(crate) fn accepted(&self, environment: &Environment, at: Timestamp) {
        if let Some(gauge) = self.0.last_accepted.get(environment) {
            gauge.set(at.as_second() as f64);
        }
    }

    pub(crate) fn count(&self, kind: Kind, door: Door, elapsed: Duration) {
        if let Some(at) = Kind::ALL.iter().position(|known| *known == kind) {
            let outcome = match door {
                Door::Accepted => 0,
                Door::Refused => 1,
                Door::Unavailable => 2,
            };
            self.0.received[at][outcome].increment(1);
        }
        self.0.ack.record(elapsed.as_secs_f64());
    }
}

fn never_accepted(environment: &Environment) -> (Environment, Gauge) {
    let gauge = gauge!(LAST_ACCEPTED, "environment" => environment.to_string());
    gauge.set(0.0);
    (environment.clone(), gauge)
}

/// What a door counts besides, from zero.
fn declare_door(environments: &[&Environment]) {
    for reason in webhook::REASONS {
        counter!(WEBHOOKS_REFUSED, "reason" => reason).absolute(0);
    }
    for reason in PublishError::REASONS {
        counter!(PUBLISH_FAILURES, "reason" => reason).absolute(0);
    }
    let known = environments.iter().map(|environment| Some(*environment)).chain([None]);
    for (environment, (part, shape)) in known.flat_map(|known| quarantine::series().map(move |series| (known, series)))
    {
        signature_failures(part, shape, environment).absolute(0);
    }
    for cause in Cause::ALL {
        gauge!(SIGNATURE_BURST, "cause" => cause.label()).set(0.0);
    }
    for reason in ["busy", "failed", "store"] {
        counter!(QUARANTINE_DROPPED, "reason" => reason).absolute(0);
    }
    counter!(LATE).absolute(0);
    counter!(CONNECT_FORGED).absolute(0);
}

/// What a worker counts, from zero: the first delivery of a kind is a rise like any other.
pub(crate) fn declare_work() {
    for kind in &Kind::ALL {
        for outcome in LedgerOutcome::ALL {
            counter!(PROCESSED, "type" => kind.label(), "outcome" => outcome.label()).absolute(0);
        }
    }
}

/// Counts a settled delivery.
pub(crate) fn count_settled(kind: Kind, outcome: LedgerOutcome) {
    counter!(PROCESSED, "type" => kind.label(), "outcome" => outcome.label()).increment(1);
}
