//! Decoding the largest chunk that Terra sends takes little memory besides the chunk itself.
//!
//! The peak is that of a process of its own, which is this test again: a variable tells it what to do with the body on
//! its standard input. What it takes is the same every time, whatever else the machine does.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![expect(clippy::disallowed_methods, reason = "it measures processes of its own")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use terra::event::{Event, decode};
use terra::record::{Reading, read};

const CHUNK_BYTES: usize = 10_000_000;
const TASK: &str = "LANDFALL_TEST_PEAK";
const THIS: &str = "decoding_a_chunk_takes_at_most_three_times_its_size_besides_it";

#[test]
fn decoding_a_chunk_takes_at_most_three_times_its_size_besides_it() {
    if let Ok(task) = std::env::var(TASK) {
        return work(&task);
    }
    let chunk = chunk();
    let [held, decoded] = ["hold", "decode"].map(|task| peak_of_process(task, &chunk));
    assert!(held > chunk.len(), "{held} bytes to hold {}", chunk.len());
    let own = decoded.saturating_sub(held);
    assert!(own <= 3 * chunk.len(), "{own} bytes besides the {} of the chunk", chunk.len());
}

fn work(task: &str) {
    let mut body = Vec::with_capacity(2 * CHUNK_BYTES);
    std::io::stdin().read_to_end(&mut body).unwrap();
    let readings = if task == "decode" { readings(&body) } else { Vec::new() };
    assert!(readings.iter().all(|reading| reading.key.is_some() && reading.strange.is_empty()));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("\n{}", status.lines().find(|line| line.starts_with("VmHWM:")).unwrap());
}

fn readings(body: &[u8]) -> Vec<Reading> {
    let Ok(Event::Data { kind, items, .. }) = decode(body) else { panic!("not a data event") };
    assert_eq!(items.len(), 10);
    items.iter().map(|item| read(kind, item)).collect()
}

fn peak_of_process(task: &str, body: &[u8]) -> usize {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([THIS, "--exact", "--nocapture", "--test-threads=1"]).env(TASK, task);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{task}: {}", output.status);
    let printed = String::from_utf8(output.stdout).unwrap();
    let peak = printed.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1_024
}

/// Ten activities, mostly samples.
fn chunk() -> Vec<u8> {
    let sample = r#"{"timestamp":"2026-03-14T08:00:00.000000+00:00","bpm":141.5,"timer_duration_seconds":7}"#;
    let samples = vec![sample; CHUNK_BYTES / 10 / sample.len()].join(",");
    let one = |number: usize| {
        format!(
            r#"{{"metadata":{{"summary_id":"a-{number}"}},"heart_rate_data":{{"detailed":{{"hr_samples":[{samples}]}}}}}}"#
        )
    };
    let items: Vec<String> = (0..10).map(one).collect();
    format!(r#"{{"type":"activity","user":{{"user_id":"u"}},"data":[{}]}}"#, items.join(",")).into_bytes()
}
