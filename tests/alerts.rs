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

/// Selectors as a rule writes them: a metric and the labels that it asks for.
fn selectors(rules: &str) -> BTreeSet<(String, Vec<String>)> {
    let mut found = BTreeSet::new();
    let expressions = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    for line in expressions {
        for (at, _) in line.match_indices("landfall_") {
            let rest = &line[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            let labels = labels.map_or(Vec::new(), |(labels, _)| labels.split(',').map(str::to_owned).collect());
            found.insert((name.to_owned(), labels));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_instance_shows_every_series_that_an_alarm_asks_for() {
    let app = TestApp::start(Engine::Embedded).await;
    let body = terra_says::activity(terra_says::user("terra-ann", Some("ann")), "run-1", 5_000.0);
    assert_eq!(app.send(&body, &[]).await, 200);
    app.quiet().await;
    let shown = app.http.get(app.api("/metrics")).send().await.unwrap().text().await.unwrap();
    let selectors = selectors(&read("deploy/alerts.yml"));
    assert!(selectors.len() > 8, "not read: {selectors:?}");
    for (name, labels) in selectors {
        // Only providers that were ever silent have one.
        if name == "landfall_silent_providers" {
            continue;
        }
        let is_meant = |line: &&str| {
            let series = line.strip_prefix(name.as_str()).filter(|rest| rest.starts_with(['{', ' ']));
            series.is_some_and(|series| labels.iter().all(|label| series.contains(label.as_str())))
        };
        assert!(shown.lines().any(|line| is_meant(&line)), "{name} {labels:?}");
    }
    app.end().await;
}
