//! The alarms of `deploy/`: each asks for metrics that exist, and says where its runbook entry is.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::{Engine, TestApp, terra_says};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// Names of metrics, without what a histogram adds to its own.
fn metrics(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("landfall_") {
        let name: String =
            text[at..].chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect();
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        names.insert(base.unwrap_or(&name).to_owned());
    }
    names
}

/// `- alert: Name` lines and the lines behind them.
fn alerts(rules: &str) -> Vec<(String, String)> {
    let rules = rules.split("- alert: ").skip(1);
    rules.map(|rule| rule.split_once('\n').unwrap()).map(|(name, rest)| (name.into(), rest.into())).collect()
}

#[test]
fn every_metric_of_an_alarm_is_one_that_we_have() {
    let declared = metrics(&read("crates/landfall/src/telemetry.rs"));
    for file in ["deploy/alerts.yml", "deploy/alerts_test.yml"] {
        let used = metrics(&read(file));
        assert!(used.len() > 5, "not read: {used:?}");
        let unknown: Vec<_> = used.difference(&declared).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let unknown: Vec<_> = metrics(&read("deploy/README.md")).difference(&declared).cloned().collect();
    assert!(unknown.is_empty(), "deploy/README.md: {unknown:?}");
}

#[test]
fn every_alarm_has_a_test_and_an_entry_in_the_runbook() {
    let (rules, tests, runbook) = (read("deploy/alerts.yml"), read("deploy/alerts_test.yml"), read("deploy/README.md"));
    let alerts = alerts(&rules);
    let names: BTreeSet<&str> = alerts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    for (name, rule) in &alerts {
        assert!(rule.contains(&format!("runbook: deploy/README.md#{}\n", name.to_lowercase())), "{name}: no runbook");
        assert!(runbook.contains(&format!("\n### {name}\n")), "{name}: no entry");
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name}: no test that it rings");
        assert!(tests.contains(&format!("alertname: {name}, exp_alerts: []")), "{name}: no test that it is quiet");
    }
}

/// Selectors as a rule writes them: a metric and the labels that it asks for. Of `label=~"a|b"` each has to be there, and
/// of `label!=""` any.
fn selectors(rules: &str) -> BTreeSet<(String, Vec<String>)> {
    let mut found = BTreeSet::new();
    let expressions = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    for line in expressions {
        for (at, _) in line.match_indices("landfall_") {
            let rest = &line[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
            let mut asked = vec![Vec::new()];
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let choices: Vec<String> = match (label.split_once("=~"), label.split_once("!=")) {
                    (Some((label, choices)), _) => {
                        choices.trim_matches('"').split('|').map(|value| format!("{label}=\"{value}\"")).collect()
                    }
                    (None, Some((label, _))) => vec![format!("{label}=\"")],
                    (None, None) => vec![label.to_owned()],
                };
                let with = |choice: &String| {
                    asked.iter().map(|labels| [&labels[..], std::slice::from_ref(choice)].concat()).collect()
                };
                asked = choices.iter().flat_map(|choice| -> Vec<Vec<String>> { with(choice) }).collect();
            }
            found.extend(asked.into_iter().map(|labels| (name.to_owned(), labels)));
        }
    }
    found
}

fn is_shown(shown: &str, name: &str, labels: &[String]) -> bool {
    let is_meant = |line: &str| {
        let series = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
        series.is_some_and(|series| labels.iter().all(|label| series.contains(label.as_str())))
    };
    shown.lines().any(is_meant)
}

/// Only providers that were ever silent have one.
const NOT_BEFORE_IT_HAPPENS: &str = "landfall_silent_providers";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_instance_shows_every_series_that_an_alarm_asks_for() {
    let app = TestApp::start(Engine::Embedded).await;
    let body = terra_says::activity(terra_says::user("terra-ann", Some("ann")), "run-1", 5_000.0);
    assert_eq!(app.send(&body, &[]).await, 200);
    app.quiet().await;
    let shown = app.http.get(app.api("/metrics")).send().await.unwrap().text().await.unwrap();
    let selectors = selectors(&read("deploy/alerts.yml"));
    assert!(selectors.len() > 8, "not read: {selectors:?}");
    for (name, labels) in selectors.iter().filter(|(name, _)| name != NOT_BEFORE_IT_HAPPENS) {
        assert!(is_shown(&shown, name, labels), "{name} {labels:?}");
    }
    app.end().await;
}

#[cfg(feature = "services")]
mod roles {
    use super::*;
    use crate::harness::{Options, eventually};

    /// A rule that asks whether any process of a role is there needs metrics that no other role has.
    const RECEIVERS_ALONE: [&str; 7] = [
        "landfall_webhooks_received_total",
        "landfall_webhooks_refused_total",
        "landfall_webhook_ack_duration_seconds",
        "landfall_webhook_last_accepted_timestamp_seconds",
        "landfall_publish_failures_total",
        "landfall_signature_failures_total",
        "landfall_receiver_ready",
    ];
    const WORKERS_ALONE: [&str; 1] = ["landfall_deliveries_processed_total"];

    /// Workers may be gone, or receivers: whoever is left has to tell.
    const EVERY_ROLE: [&str; 4] = [
        "landfall_queue_waiting",
        "landfall_queue_oldest_age_seconds",
        "landfall_dead_letters",
        "landfall_clock_ahead_seconds",
    ];

    async fn shown(app: &TestApp, process: usize) -> String {
        let url = format!("http://{}/metrics", app.processes[process].internal);
        app.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    fn base(name: &str) -> &str {
        ["_bucket", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_role_shows_the_series_that_the_alarms_ask_it_for_and_no_others() {
        let roles = ["receive", "work", "api"];
        let app = TestApp::start_with(Engine::Cluster, Options::default().processes(&roles)).await;
        let body = terra_says::activity(terra_says::user("terra-ann", Some("ann")), "run-1", 5_000.0);
        assert_eq!(app.send(&body, &[]).await, 200);
        app.quiet().await;
        for (name, labels) in selectors(&read("deploy/alerts.yml")) {
            let base = base(&name);
            let expected = if RECEIVERS_ALONE.contains(&base) {
                [true, false, false]
            } else if WORKERS_ALONE.contains(&base) {
                [false, true, false]
            } else if EVERY_ROLE.contains(&base) {
                [true; 3]
            } else {
                assert_eq!(name, NOT_BEFORE_IT_HAPPENS, "which role shows it?");
                continue;
            };
            for (at, role) in roles.iter().enumerate() {
                let what = format!("{role}: {name} {labels:?}, {}", expected[at]);
                // Clocks are compared some time after the start.
                eventually(&what, || async { is_shown(&shown(&app, at).await, &name, &labels) == expected[at] }).await;
            }
        }
        app.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_receiver_whose_broker_is_away_says_that_it_is_not_ready() {
        let options = Options::default().processes(&["receive", "work,api"]).through_proxies(true, true);
        let mut app = TestApp::start_with(Engine::Cluster, options).await;
        let proxies = app.proxies.take().unwrap();
        let ready = || app.metric("landfall_receiver_ready");
        assert_eq!(ready().await, 1.0);
        // A receiver accepts without a database, even one that is silent.
        proxies.database.freeze();
        proxies.broker.close();
        eventually("not ready", || async { ready().await == 0.0 }).await;
        proxies.broker.open();
        eventually("ready again", || async { ready().await == 1.0 }).await;
        proxies.database.open();
        app.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_receiver_alone_sees_what_waits_though_the_database_is_silent() {
        let options = Options::default().processes(&["receive"]).through_proxies(true, true);
        let mut app = TestApp::start_with(Engine::Cluster, options).await;
        let proxies = app.proxies.take().unwrap();
        assert_eq!(app.metric("landfall_queue_waiting").await, 0.0);
        proxies.database.freeze();
        let body = terra_says::activity(terra_says::user("terra-ann", Some("ann")), "run-1", 5_000.0);
        assert_eq!(app.send(&body, &[]).await, 200);
        eventually("it waits", || async { app.metric("landfall_queue_waiting").await == 1.0 }).await;
        assert!(!shown(&app, 0).await.contains("landfall_deliveries_processed_total"), "nobody works");
        proxies.database.open();
        app.end().await;
    }
}
