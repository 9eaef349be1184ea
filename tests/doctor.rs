//! `landfall doctor`: what the guarantee needs, checked on real services, each failure with its fix.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::process::Process;
use crate::harness::{Engine, TestApp, bare_settings, eventually};

crate::on_every_engine!(a_sound_installation_has_no_problem, a_destination_that_terra_disabled_fails,);

/// Exit code and findings by the name of their check; of several the worst.
async fn examined(settings: &BTreeMap<String, String>) -> (i32, BTreeMap<String, Value>) {
    let (code, said) = Process::run(&["doctor", "--json"], settings).await;
    let json: Vec<&str> = said.lines().filter(|line| !line.starts_with("landfall: ")).collect();
    let report: Value = serde_json::from_str(&json.join("\n")).unwrap_or_else(|_| panic!("{said}"));
    let rank =
        |finding: &Value| ["good", "not_checked", "warning", "bad"].iter().position(|state| finding["state"] == *state);
    let mut findings: BTreeMap<String, Value> = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        let check = finding["check"].as_str().unwrap().to_owned();
        assert_eq!(finding["fix"].is_null(), finding["state"] == "good", "{finding}");
        let known = findings.get(&check).map_or(Some(0), rank);
        if rank(finding) >= known {
            findings.insert(check, finding.clone());
        }
    }
    (code, findings)
}

fn state<'a>(findings: &'a BTreeMap<String, Value>, check: &str) -> &'a str {
    findings.get(check).map_or("absent", |finding| finding["state"].as_str().unwrap())
}

/// Settings of an instance that lacks nothing.
fn sound(app: &TestApp, payloads: &std::path::Path) -> BTreeMap<String, String> {
    let mut settings = app.settings.clone();
    settings.insert("LANDFALL_TERRA_ADMIN_TOKEN".into(), "terra_at_simulated".into());
    settings.insert("LANDFALL_PAYLOADS_URL".into(), payloads.display().to_string());
    #[cfg(feature = "services")]
    if app.engine == Engine::Cluster {
        let url = crate::harness::servers::Addresses::shared().get("LANDFALL_TEST_MANAGEMENT_URL").to_owned();
        settings.insert("LANDFALL_QUEUE_MANAGEMENT_URL".into(), url);
    }
    settings
}

async fn a_sound_installation_has_no_problem(engine: Engine) {
    let app = TestApp::start(engine).await;
    let payloads = tempfile::tempdir().unwrap();
    let settings = sound(&app, payloads.path());
    // Queues that were just made have no history for some seconds.
    eventually("all is checked", || async { state(&examined(&settings).await.1, "queue_age") != "not_checked" }).await;
    let (_, findings) = examined(&settings).await;
    let mut good = vec!["settings", "signing_secret", "clock", "credentials", "destination"];
    match engine {
        Engine::Embedded => good.extend(["database", "payloads"]),
        Engine::Cluster => good.extend([
            "version",
            "synchronous_commit",
            "connections",
            "schema",
            "topology",
            "bindings",
            "partition",
            "queue_full",
            "queue_bound",
            "queue_age",
        ]),
    }
    for check in good {
        assert_eq!(state(&findings, check), "good", "{check}: {findings:?}");
    }
    if engine == Engine::Cluster {
        assert_eq!(state(&findings, "quorum"), "warning", "the test has one node");
        assert_eq!(state(&findings, "payloads"), "warning", "a folder may be another one elsewhere");
        assert_eq!(state(&findings, "wal_size"), "not_checked");
    }
    assert!(
        std::fs::read_dir(payloads.path()).unwrap().all(|entry| entry.unwrap().path().is_dir()),
        "it leaves nothing"
    );
    // Where the tests' own folder lies in memory, that is a problem, and the disk of the broker is another test's.
    let bad: Vec<&String> = findings
        .iter()
        .filter(|(check, finding)| {
            finding["state"] == "bad" && !["data_dir", "disk_free_limit"].contains(&check.as_str())
        })
        .map(|(check, _)| check)
        .collect();
    assert!(bad.is_empty(), "{findings:?}");
    app.end().await;
}

async fn a_destination_that_terra_disabled_fails(engine: Engine) {
    let app = TestApp::start(engine).await;
    app.terra_control("settings", json!({ "destination_active": false })).await;
    let payloads = tempfile::tempdir().unwrap();
    let mut settings = sound(&app, payloads.path());
    let (code, findings) = examined(&settings).await;
    assert_eq!((code, state(&findings, "destination")), (5, "bad"), "{findings:?}");
    let (code, said) = Process::run(&["doctor"], &settings).await;
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains("Terra has disabled its webhook destination") && said.contains("      fix: repair the cause"),
        "{said}"
    );
    assert!(said.contains("\n  ✓ ") && said.contains("\n  ✗ "), "{said}");
    // Without a token nobody can say.
    settings.remove("LANDFALL_TERRA_ADMIN_TOKEN");
    let (_, findings) = examined(&settings).await;
    assert_eq!(state(&findings, "destination"), "not_checked");
    // Credentials that Terra refuses.
    settings.insert("LANDFALL_TERRA_API_KEY".into(), "another-key-0123456789".into());
    let (code, findings) = examined(&settings).await;
    assert_eq!((code, state(&findings, "credentials")), (5, "bad"), "{findings:?}");
    app.end().await;
}

#[tokio::test]
async fn nothing_set_up_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = bare_settings(dir.path());
    settings.insert("LANDFALL_TERRA_SIGNING_SECRETS".into(), "dev-only-signing-secret".into());
    settings.insert("LANDFALL_MAX_BODDY".into(), "1MiB".into());
    let (code, findings) = examined(&settings).await;
    assert_eq!(code, 5);
    assert_eq!(state(&findings, "signing_secret"), "bad", "everybody knows it");
    assert_eq!((state(&findings, "settings"), state(&findings, "credentials")), ("warning", "warning"));
    assert_eq!((state(&findings, "clock"), state(&findings, "destination")), ("not_checked", "not_checked"));
    assert_eq!(state(&findings, "topology"), "absent", "the embedded engine has no broker");
    settings.remove("LANDFALL_TERRA_SIGNING_SECRETS");
    assert_eq!(state(&examined(&settings).await.1, "signing_secret"), "bad");
    assert!(!dir.path().join("data").exists(), "it makes nothing");
}

#[tokio::test]
async fn servers_that_are_away_are_named_without_their_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = bare_settings(dir.path());
    // Nobody answers on the port of `discard`.
    for (name, url) in [
        ("LANDFALL_STORE_URL", "postgres://u:canary@127.0.0.1:9/landfall"),
        ("LANDFALL_QUEUE_URL", "amqp://u:canary@127.0.0.1:9/%2f"),
        ("LANDFALL_QUEUE_MANAGEMENT_URL", "http://u:canary@127.0.0.1:9"),
    ] {
        settings.insert(name.into(), url.into());
    }
    let (code, findings) = examined(&settings).await;
    assert_eq!(code, 5);
    for check in ["database", "broker", "management", "payloads"] {
        assert_eq!(state(&findings, check), "bad", "{check}: {findings:?}");
    }
    let (_, said) = Process::run(&["doctor"], &settings).await;
    assert!(!said.contains("canary"), "{said}");
}

#[cfg(feature = "services")]
mod on_services {
    use std::process::Command;
    use std::time::Duration;

    use lapin::types::FieldTable;

    use super::*;
    use crate::harness::database::Database;
    use crate::harness::servers::Addresses;
    use crate::harness::{Options, terra_says, within};

    /// The figures of the management API are some seconds old.
    const TOLD_WITHIN: Duration = Duration::from_secs(60);

    fn limit_free_disk(limit: &str) {
        let done = Command::new(Addresses::shared().get("LANDFALL_TEST_RABBITMQCTL"))
            .args(["set_disk_free_limit", limit])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// What the broker's default loses is measured: a third of the confirmed messages when the disk fills.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_brokers_default_of_50_mb_free_disk_fails() {
        let app = TestApp::start(Engine::Cluster).await;
        let payloads = tempfile::tempdir().unwrap();
        let mut settings = sound(&app, payloads.path());
        let (_, findings) = examined(&settings).await;
        assert_ne!(state(&findings, "disk_free_limit"), "bad", "{findings:?}");
        limit_free_disk("50MB");
        // The figures of the management API are some seconds old.
        eventually("the limit is found", || async { state(&examined(&settings).await.1, "disk_free_limit") == "bad" })
            .await;
        let (code, findings) = examined(&settings).await;
        limit_free_disk("4GB");
        assert_eq!(code, 5);
        let finding = &findings["disk_free_limit"];
        assert!(finding["text"].as_str().unwrap().contains("50 MB"), "{finding}");
        assert!(finding["fix"].as_str().unwrap().contains("disk_free_limit.absolute = 4GB"), "{finding}");
        settings.remove("LANDFALL_QUEUE_MANAGEMENT_URL");
        let (_, findings) = examined(&settings).await;
        assert_eq!(state(&findings, "disk_free_limit"), "not_checked");
        app.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn commits_that_a_crash_loses_fail() {
        let app = TestApp::start_with(Engine::Cluster, Options::default()).await;
        let mut settings = app.settings.clone();
        let url = format!("{}?options=-c%20synchronous_commit%3Doff", settings["LANDFALL_STORE_URL"]);
        settings.insert("LANDFALL_STORE_URL".into(), url);
        settings.insert("LANDFALL_WORKERS".into(), "1000".into());
        let (code, findings) = examined(&settings).await;
        assert_eq!((code, state(&findings, "synchronous_commit")), (5, "bad"), "{findings:?}");
        assert_eq!(state(&findings, "connections"), "bad", "more than max_connections");
        assert_eq!(state(&findings, "payloads"), "bad", "in the data dir of each process");
        app.end().await;
    }

    /// AMQP cannot tell: every lane's queue is there, and one refuses everything.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lane_that_is_not_bound_fails_or_is_said_not_to_be_checked() {
        let app = TestApp::start(Engine::Cluster).await;
        let payloads = tempfile::tempdir().unwrap();
        let mut settings = sound(&app, payloads.path());
        let (code, said) = Process::run(&["topology", "diff"], &settings).await;
        assert!(code == 0 && said.contains("has all that belongs there\n"), "{said}");
        let database = app.database.as_ref().unwrap();
        let broker =
            lapin::Connection::connect(&database.amqp_url, lapin::ConnectionProperties::default()).await.unwrap();
        let channel = broker.create_channel().await.unwrap();
        let name = |suffix: &str| format!("{}.{suffix}", database.prefix).into();
        channel
            .queue_unbind(name("deliveries.auth"), name("deliveries"), "auth".into(), FieldTable::default())
            .await
            .unwrap();
        let (code, findings) = examined(&settings).await;
        let finding = &findings["bindings"];
        assert_eq!(
            (code, finding["state"].as_str(), &finding["fix"]),
            (5, Some("bad"), &json!("landfall topology apply"))
        );
        assert!(finding["text"].as_str().unwrap().contains("deliveries.auth is missing"), "{finding}");
        assert_eq!(state(&findings, "topology"), "good", "exchanges and queues are there");
        let (code, said) = Process::run(&["topology", "diff"], &settings).await;
        assert!(code == 6 && said.contains("deliveries.auth is missing"), "{said}");
        let url = settings.remove("LANDFALL_QUEUE_MANAGEMENT_URL").unwrap();
        let (_, findings) = examined(&settings).await;
        for check in ["bindings", "queue_age", "queue_full", "partition", "quorum", "disk_free_limit"] {
            assert_eq!(state(&findings, check), "not_checked", "{check}: {findings:?}");
        }
        let (code, said) = Process::run(&["topology", "diff"], &settings).await;
        assert!(code == 0 && said.contains("bindings were not checked"), "{said}");
        let (code, said) = Process::run(&["topology", "apply"], &settings).await;
        assert_eq!(code, 0, "{said}");
        settings.insert("LANDFALL_QUEUE_MANAGEMENT_URL".into(), url);
        assert_eq!(state(&examined(&settings).await.1, "bindings"), "good");
        app.end().await;
    }

    /// What is said of the age of queues.
    async fn waits(settings: &BTreeMap<String, String>) -> String {
        examined(settings).await.1["queue_age"]["text"].as_str().unwrap().to_owned()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn how_long_deliveries_have_waited_is_told_until_they_are_taken() {
        let mut app = TestApp::start_with(Engine::Cluster, Options::default().processes(&["receive"])).await;
        let payloads = tempfile::tempdir().unwrap();
        let settings = sound(&app, payloads.path());
        let body = terra_says::activity(terra_says::user("terra-ann", Some("ann")), "run-1", 5_000.0);
        assert_eq!(app.send(&body, &[]).await, 200);
        // The broker looks every 5 s.
        within(TOLD_WITHIN, "ten seconds and more are told", || async {
            let told = waits(&settings).await;
            told.strip_prefix("what waits in the queues has waited for ").is_some_and(|rest| rest.len() > "5 s".len())
        })
        .await;
        app.processes.push(Process::serve("work", &app.settings, false).await);
        within(TOLD_WITHIN, "nothing waits any more", || async {
            waits(&settings).await == "nothing has waited in the queues for more than a moment"
        })
        .await;
        app.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_schema_and_a_topology_that_are_missing_fail() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = bare_settings(dir.path());
        let database = Database::create(&mut settings).await;
        let (code, findings) = examined(&settings).await;
        assert_eq!(code, 5);
        for (check, fix) in [("schema", "landfall migrate up"), ("topology", "landfall topology apply")] {
            assert_eq!((&findings[check]["state"], &findings[check]["fix"]), (&json!("bad"), &json!(fix)), "{check}");
        }
        database.drop_all().await;
    }
}
