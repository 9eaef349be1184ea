//! Commands from a terminal: exit codes, what wrong settings are answered, what is printed and what never is.

use serde_json::Value;

use crate::harness::process::Process;
use crate::harness::{Engine, Options, SECRET, TestApp, bare_settings, eventually, now_seconds, terra_says};

crate::on_every_engine!(
    a_token_opens_what_its_scopes_say,
    without_tokens_an_authorization_header_is_ignored,
    connections_are_listed_as_one_asks_for_them,
    a_gauge_falls_with_what_it_counts
);

/// Every command of the top level.
const COMMANDS: &[&str] = &[
    "dev",
    "serve",
    "migrate",
    "topology",
    "doctor",
    "connections",
    "backfill",
    "deliveries",
    "dead",
    "replay",
    "quarantine",
    "reconcile",
    "recover",
    "stats",
    "erase",
    "export",
    "why",
    "drift",
    "reproject",
    "simulate",
    "verify",
    "spec",
    "config",
    "healthcheck",
    "bench",
];

/// Runs a command on settings of its own, some of them changed.
async fn run_with(arguments: &[&str], changes: &[(&str, &str)]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = bare_settings(dir.path());
    settings.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Process::run(arguments, &settings).await
}

#[tokio::test]
async fn help_names_every_command() {
    let (code, said) = run_with(&["--help"], &[]).await;
    assert_eq!(code, 0);
    let listed: Vec<&str> = said
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(listed[..COMMANDS.len()], *COMMANDS, "{said}");
    assert_eq!(listed.last(), Some(&"help"), "{said}");
    assert!(said.contains("Begin with `landfall dev`"), "{said}");
    for command in COMMANDS {
        let (code, said) = run_with(&[command, "--help"], &[]).await;
        assert_eq!(code, 0, "{command}: {said}");
        assert!(said.contains("Usage: landfall"), "{said}");
    }
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    for arguments in [&["no-such-command"][..], &["serve", "--roles", "cook"], &["topology"], &["verify"]] {
        let (code, said) = run_with(arguments, &[]).await;
        assert_eq!(code, 2, "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn an_unknown_key_in_the_file_is_an_error_with_a_suggestion() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("landfall.toml");
    std::fs::write(&file, "signature_tolerence = \"5m\"\n").unwrap();
    let (code, said) = run_with(&["serve", "--config", file.to_str().unwrap()], &[]).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("unknown setting `signature_tolerence`: did you mean `signature_tolerance`?"), "{said}");
}

#[tokio::test]
async fn an_unknown_variable_is_a_warning_with_a_suggestion() {
    let app = TestApp::start_with(Engine::Embedded, Options::default().set("LANDFALL_MAX_BODDY", "1MiB")).await;
    eventually("the warning is said", || async {
        app.logs().contains("unknown variable LANDFALL_MAX_BODDY: did you mean LANDFALL_MAX_BODY?")
    })
    .await;
    app.end().await;
}

#[tokio::test]
async fn a_secret_that_is_no_secret_is_refused_and_not_printed() {
    let cases = [
        ("", "a signing secret is empty"),
        ("short-canary", "a signing secret is shorter than 16 bytes"),
        ("a-good-and-long-secret,short-canary", "shorter than 16 bytes"),
    ];
    for (secret, text) in cases {
        let (code, said) = run_with(&["serve"], &[("LANDFALL_TERRA_SIGNING_SECRETS", secret)]).await;
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("LANDFALL_TERRA_SIGNING_SECRETS") && said.contains(text), "{said}");
        assert!(!said.contains("canary") && !said.contains("a-good-and-long"), "{said}");
    }
}

#[tokio::test]
async fn settings_that_do_not_belong_together_are_refused() {
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("LANDFALL_QUEUE_URL", "amqp://u:canary@127.0.0.1:1/%2f")], "belong together"),
        (&[("LANDFALL_STORE_URL", "postgres://u:canary@127.0.0.1:1/db")], "belong together"),
        (&[("LANDFALL_INTERNAL_ADDR", "0.0.0.0:0")], "LANDFALL_API_TOKENS is not set"),
        (&[("LANDFALL_API_TOKENS", "app:cooking:canary-token-0123456789")], "scope"),
    ];
    for (changes, text) in cases {
        let (code, said) = run_with(&["serve"], changes).await;
        assert_eq!(code, 3, "{changes:?}: {said}");
        assert!(said.contains(text) && !said.contains("canary"), "{said}");
    }
}

#[tokio::test]
async fn a_data_dir_belongs_to_one_process() {
    let app = TestApp::start(Engine::Embedded).await;
    let (code, said) = Process::run(&["serve"], &app.settings).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("another landfall uses the data dir"), "{said}");
    assert_eq!(
        app.send(&terra_says::activity(terra_says::user("t", Some("ann")), "s", 1.0), &[]).await,
        200,
        "the first one works on"
    );
    app.end().await;
}

#[tokio::test]
async fn an_instance_that_cannot_be_reached_is_exit_code_4() {
    // Bound and never listened on: nobody answers there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    for arguments in [
        &["connections", "list", "--url", &url][..],
        &["healthcheck", "--url", &url],
        &["deliveries", "list", "--url", &url],
    ] {
        let (code, said) = run_with(arguments, &[]).await;
        assert_eq!(code, 4, "{arguments:?}: {said}");
        assert!(said.contains(&url), "{said}");
    }
}

#[tokio::test]
async fn healthcheck_tells_ready_from_not_ready() {
    let app = TestApp::start(Engine::Embedded).await;
    let (code, said) = run_with(&["healthcheck", "--url", &app.api("")], &[]).await;
    assert_eq!(code, 0, "{said}");
    app.end().await;
    let app = TestApp::start_with(
        Engine::Embedded,
        Options::default().unset("LANDFALL_TERRA_SIGNING_SECRETS").without_waiting(),
    )
    .await;
    let (code, said) = run_with(&["healthcheck", "--url", &app.api("")], &[]).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("signing_secret"), "{said}");
    app.end().await;
}

async fn a_token_opens_what_its_scopes_say(engine: Engine) {
    let tokens =
        "app:connect+records:app-token-0123456789,ops:ops:ops-token-0123456789,root:admin:root-token-0123456789";
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_API_TOKENS", tokens)).await;
    let ask = async |path: &str, authorization: Option<&str>| {
        let mut request = app.http.get(app.api(path));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let cases = [
        ("/v1/users/ann/activities", None, 401),
        ("/v1/users/ann/activities", Some("Bearer wrong-token-0123456789"), 401),
        ("/v1/users/ann/activities", Some("app-token-0123456789"), 401),
        ("/v1/users/ann/activities", Some("Bearer app-token-0123456789"), 200),
        ("/v1/users/ann/activities", Some("Bearer ops-token-0123456789"), 403),
        ("/v1/users/ann/activities", Some("Bearer root-token-0123456789"), 200),
        ("/v1/deliveries", Some("Bearer app-token-0123456789"), 403),
        ("/v1/deliveries", Some("Bearer ops-token-0123456789"), 200),
        ("/v1/events", Some("Bearer ops-token-0123456789"), 403),
        ("/v1/no-such-thing", None, 401),
        ("/readyz", None, 200),
        ("/livez", None, 200),
        ("/metrics", None, 200),
    ];
    for (path, authorization, expected) in cases {
        assert_eq!(ask(path, authorization).await, expected, "{path} {authorization:?}");
    }
    let url = app.api("");
    let (code, said) =
        run_with(&["connections", "list", "--url", &url], &[("LANDFALL_TOKEN", "root-token-0123456789")]).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = run_with(&["connections", "list", "--url", &url], &[]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("LANDFALL_TOKEN"), "{said}");
    app.end().await;
}

async fn without_tokens_an_authorization_header_is_ignored(engine: Engine) {
    let app = TestApp::start(engine).await;
    let answer =
        app.http.get(app.api("/v1/connections")).header("authorization", "Bearer whatever").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    app.end().await;
}

async fn connections_are_listed_as_one_asks_for_them(engine: Engine) {
    let app = TestApp::start(engine).await;
    for user in ["ann", "=bob"] {
        assert_eq!(app.send(&terra_says::auth(terra_says::user(&format!("terra-{user}"), Some(user))), &[]).await, 200);
    }
    app.quiet().await;
    let url = app.api("");
    let list = async |format: &str| {
        let (code, said) = run_with(&["connections", "list", "--url", &url, "-o", format], &[]).await;
        assert_eq!(code, 0, "{said}");
        said
    };
    let json: Vec<Value> = serde_json::from_str(&list("json").await).unwrap();
    let mut users: Vec<&str> = json.iter().map(|row| row["user"].as_str().unwrap()).collect();
    users.sort_unstable();
    assert_eq!(users, ["=bob", "ann"]);
    let table = list("table").await;
    assert!(
        table.trim_start().starts_with("ID ") && table.contains("TERRA USER") && table.lines().count() == 3,
        "{table}"
    );
    let csv = list("csv").await;
    assert_eq!(csv.lines().next(), Some("id,user,provider,status,terra user,connected,last data"));
    assert!(csv.contains(",'=bob,GARMIN,active,terra-=bob,"), "no cell is a formula: {csv}");
    app.end().await;
}

async fn a_gauge_falls_with_what_it_counts(engine: Engine) {
    let app = TestApp::start(engine).await;
    let user = terra_says::user("terra-ann", Some("ann"));
    let gauge = |status: &str| format!("landfall_connections{{status=\"{status}\",provider=\"GARMIN\"}}");
    assert_eq!(app.send(&terra_says::auth(user.clone()), &[]).await, 200);
    eventually("one is active", || async { app.metric(&gauge("active")).await == 1.0 }).await;
    // A later second: signatures order what has no ordering header.
    let later = ((now_seconds() + 60) * 1_000).to_string();
    assert_eq!(app.send(&terra_says::deauth(user), &[("x-terra-ordering-timestamp", &later)]).await, 200);
    eventually("one is revoked, none is active", || async {
        app.metric(&gauge("revoked")).await == 1.0 && app.metric(&gauge("active")).await == 0.0
    })
    .await;
    app.end().await;
}

#[tokio::test]
async fn verify_says_which_part_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("body.json");
    let body = "{\"type\":\"healthcheck\"}";
    std::fs::write(&file, body).unwrap();
    let given = format!("@{}", file.display());
    let good = simulator::sign(SECRET, now_seconds(), body.as_bytes());
    let stale = simulator::sign(SECRET, now_seconds() - 3_600, body.as_bytes());
    let other = simulator::sign("another-secret-of-someone", now_seconds(), body.as_bytes());
    let with_a_line_break = simulator::sign(SECRET, now_seconds(), format!("{body}\n").as_bytes());
    let milliseconds = simulator::sign(SECRET, now_seconds() * 1_000, body.as_bytes());
    let cases = [
        (good.as_str(), 0, "✓ secret and body"),
        (&stale, 5, "s old, 300 s are allowed"),
        (&other, 5, "✗ secret or body"),
        (&with_a_line_break, 5, "✗ body: changed since it was signed. It fits with a line break at its end"),
        (&milliseconds, 5, "✗ time: t looks like milliseconds"),
        ("nonsense", 5, "✗ header"),
    ];
    for (header, expected, text) in cases {
        let (code, said) = run_with(&["verify", "--header", header, "--body", &given], &[]).await;
        assert_eq!(code, expected, "{said}");
        assert!(said.contains(text), "{text}: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[tokio::test]
async fn config_shows_where_values_come_from_and_no_secrets() {
    let secrets = [
        ("LANDFALL_TERRA_SIGNING_SECRETS", "canary-secret-0123456789"),
        ("LANDFALL_TERRA_DEV_ID", "dev"),
        ("LANDFALL_TERRA_API_KEY", "canary-key"),
        ("LANDFALL_API_TOKENS", "app:admin:canary-token-0123456789"),
        ("LANDFALL_QUEUE_URL", "amqp://u:canary@127.0.0.1:1/%2f"),
        ("LANDFALL_STORE_URL", "postgres://u:canary@127.0.0.1:1/db"),
        ("LANDFALL_WIDGET", "legacy"),
    ];
    let (code, said) = run_with(&["config", "show", "-o", "json"], &secrets).await;
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("canary"), "{said}");
    let rows: Vec<Value> = serde_json::from_str(&said).unwrap();
    let find = |name: &str| rows.iter().find(|row| row["environment"] == name).unwrap();
    assert_eq!(
        (&find("LANDFALL_WIDGET")["value"], &find("LANDFALL_WIDGET")["from"]),
        (&"legacy".into(), &"LANDFALL_WIDGET".into())
    );
    assert_eq!(find("LANDFALL_MAX_BODY")["from"], "default");

    // The template is a file that changes nothing, and it has every setting.
    let (code, template) = run_with(&["config", "template"], &[]).await;
    assert_eq!(code, 0);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("landfall.toml");
    std::fs::write(&file, &template).unwrap();
    for row in &rows {
        assert!(template.contains(&format!("\n#{} = ", row["setting"].as_str().unwrap())), "{row}");
    }
    let (code, said) = run_with(&["config", "check", "--config", file.to_str().unwrap()], &[]).await;
    assert_eq!(code, 0, "{said}");
    let table: toml::Table = template.parse().unwrap();
    assert!(table.is_empty(), "the template sets something");
}

#[tokio::test]
async fn bench_prints_a_rate() {
    let (code, said) = run_with(&["bench", "receive", "--seconds", "1", "--connections", "4"], &[]).await;
    assert_eq!(code, 0, "{said}");
    let line = said.lines().find(|line| line.starts_with("accepted ")).unwrap_or_else(|| panic!("{said}"));
    let rate: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(rate > 0.0 && line.contains("webhooks/s") && line.contains("0 refused"), "{line}");
}

/// Settings for commands, with a database and a prefix of their own.
#[cfg(feature = "services")]
async fn on_servers(
    dir: &std::path::Path,
) -> (std::collections::BTreeMap<String, String>, crate::harness::database::Database) {
    let mut settings = bare_settings(dir);
    let database = crate::harness::database::Database::create(&mut settings).await;
    (settings, database)
}

#[cfg(feature = "services")]
mod schema_and_topology {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn the_schema_is_made_once_and_never_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, database) = on_servers(dir.path()).await;
        let run = async |arguments: &[&str]| Process::run(arguments, &settings).await;
        assert_eq!(run(&["topology", "apply"]).await.0, 0);
        let (code, said) = run(&["serve"]).await;
        assert_eq!(code, 6, "{said}");
        assert!(said.contains("landfall migrate up"), "{said}");
        let (code, said) = run(&["migrate", "status"]).await;
        assert_eq!(code, 6, "{said}");
        let (code, said) = run(&["migrate", "plan"]).await;
        assert_eq!((code, said.contains("V0001")), (0, true), "{said}");
        let (code, said) = run(&["migrate", "up"]).await;
        assert_eq!((code, said.contains("applied V0001")), (0, true), "{said}");
        let (code, said) = run(&["migrate", "up"]).await;
        assert_eq!((code, said.contains("up to date")), (0, true), "{said}");
        let (code, said) = run(&["migrate", "status"]).await;
        assert_eq!((code, said.contains("fits")), (0, true), "{said}");
        database.drop_all().await;
    }

    #[tokio::test]
    async fn many_may_migrate_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, database) = on_servers(dir.path()).await;
        let mut running = JoinSet::new();
        for _ in 0..8 {
            let settings = settings.clone();
            running.spawn(async move { Process::run(&["migrate", "up"], &settings).await });
        }
        let ended = running.join_all().await;
        assert!(ended.iter().all(|(code, _)| *code == 0), "{ended:?}");
        assert_eq!(ended.iter().filter(|(_, said)| said.contains("applied")).count(), 1, "{ended:?}");
        database.drop_all().await;
    }

    #[tokio::test]
    async fn the_topology_is_compared_and_applied() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, database) = on_servers(dir.path()).await;
        let run = async |arguments: &[&str]| Process::run(arguments, &settings).await;
        let (code, shown) = run(&["topology", "show"]).await;
        assert_eq!(code, 0, "{shown}");
        let (code, said) = run(&["topology", "diff"]).await;
        assert_eq!(code, 6, "{said}");
        assert!(said.contains("landfall topology apply"), "{said}");
        for lane in ["auth", "urgent", "live", "bulk"] {
            let queue = format!("queue {}.deliveries.{lane}", database.prefix);
            assert!(shown.contains(&queue) && said.contains(&format!("{queue} is missing")), "{said}");
        }
        let (code, said) = run(&["topology", "apply", "--dry-run"]).await;
        assert_eq!(code, 0, "{said}");
        assert_eq!(run(&["topology", "diff"]).await.0, 6, "a dry run made something");
        for _ in 0..2 {
            let (code, said) = run(&["topology", "apply"]).await;
            assert_eq!(code, 0, "{said}");
        }
        let (code, said) = run(&["topology", "diff"]).await;
        assert_eq!(code, 0, "{said}");
        database.drop_all().await;
    }

    #[tokio::test]
    async fn servers_that_are_away_are_exit_code_4() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let changes = [
            ("LANDFALL_QUEUE_URL", format!("amqp://u:canary@{nobody}/%2f")),
            ("LANDFALL_STORE_URL", format!("postgres://u:canary@{nobody}/db")),
        ];
        let changes: Vec<(&str, &str)> = changes.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for arguments in [["migrate", "up"], ["migrate", "status"], ["topology", "diff"], ["topology", "apply"]] {
            let (code, said) = run_with(&arguments, &changes).await;
            assert_eq!(code, 4, "{arguments:?}: {said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }

    /// A connect, data, and a search of the ledger.
    async fn check_end_to_end(app: &TestApp, round: &str) {
        let user = terra_says::user(&format!("terra-{round}"), Some(round));
        let trace = format!("trace-{round}");
        assert_eq!(app.send(&terra_says::auth(user.clone()), &[]).await, 200);
        assert_eq!(
            app.send(&terra_says::activity(user, &format!("run-{round}"), 5_000.0), &[("x-terra-trace-id", &trace)])
                .await,
            200
        );
        app.quiet().await;
        assert_eq!(app.all(&format!("/v1/users/{round}/activities")).await.len(), 1);
        assert_eq!(app.all(&format!("/v1/users/{round}/connections")).await.len(), 1);
        assert_eq!(app.all(&format!("/v1/deliveries?trace_id={trace}")).await.len(), 1);
        assert!(
            app.events()
                .await
                .iter()
                .any(|event| event["type"] == "landfall.connection.connected.v1" && event["subject"] == round)
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_binary_works_with_a_range_of_schemas() {
        let mut app = TestApp::start(Engine::Cluster).await;
        let changes = [(
            "newer",
            "INSERT INTO landfall.refinery_schema_history (version, name, applied_on, checksum)
                 VALUES (99, 'of_tomorrow', '2026-01-01T00:00:00Z', '1');
                 ALTER TABLE landfall.activity ADD COLUMN of_tomorrow text;
                 ALTER TABLE landfall.alias ADD COLUMN of_tomorrow text;
                 ALTER TABLE landfall.delivery ADD COLUMN of_tomorrow text;
                 ALTER TABLE landfall.event ADD COLUMN of_tomorrow text",
        )];
        for (round, sql) in changes {
            app.end_process().await;
            app.database.as_ref().unwrap().execute(sql).await;
            app.start_again().await;
            check_end_to_end(&app, round).await;
            let (code, said) = Process::run(&["migrate", "status"], &app.settings).await;
            assert_eq!(code, 0, "{said}");
        }
        // And one that says it is not for us.
        app.end_process().await;
        app.database.as_ref().unwrap().execute("UPDATE landfall.schema_level SET readable_from = 99").await;
        for arguments in [&["serve"][..], &["migrate", "status"]] {
            let (code, said) = Process::run(arguments, &app.settings).await;
            assert_eq!(code, 6, "{said}");
            assert!(said.contains("run a newer landfall"), "{said}");
        }
        app.terra.stop().await;
        app.database.take().unwrap().drop_all().await;
    }
}
