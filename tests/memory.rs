//! What large payloads may take of a worker's memory.

use serde_json::json;

use crate::harness::process::Process;
use crate::harness::{Engine, Options, TestApp, rounds, terra_says, within};

crate::on_every_engine!(a_backlog_of_large_payloads_is_worked_in_little_memory);

const MIB: usize = 1_024 * 1_024;
/// A batch of 16 MiB, what planning takes of it, and the process itself. The 192 MiB of a full run would be more if they
/// were in memory at once.
const BYTES_MAX: usize = 128 * MIB;

/// What the process has taken at most.
fn peak_bytes(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

async fn a_backlog_of_large_payloads_is_worked_in_little_memory(engine: Engine) {
    let mut app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    app.settings.insert("LANDFALL_PUBLIC_ADDR".into(), app.public.to_string());
    app.settings.insert("LANDFALL_INTERNAL_ADDR".into(), app.internal.to_string());
    app.end_process().await;
    app.processes[0] = Process::serve("receive,api", &app.settings, false).await;
    let payloads = rounds(4, 24) as usize;
    let padding = "x".repeat(8 * MIB);
    for number in 0..payloads {
        let user = terra_says::user("terra-ann", Some("ann"));
        let mut body = terra_says::activity(user, &format!("run-{number}"), 5_000.0);
        body["data"][0]["padding"] = json!(padding);
        assert_eq!(app.send(&body, &[]).await, 200);
    }
    app.end_process().await;
    app.processes[0] = Process::serve("receive,work,api", &app.settings, false).await;
    within(std::time::Duration::from_secs(120), "all are processed", || async {
        app.all("/v1/users/ann/activities").await.len() == payloads
    })
    .await;
    let peak = peak_bytes(&app.processes[0]);
    println!("{payloads} payloads of 8 MiB were worked in {} MiB", peak / MIB);
    assert!(peak < BYTES_MAX, "{} MiB: as if they were all in memory at once", peak / MIB);
    app.end().await;
}
