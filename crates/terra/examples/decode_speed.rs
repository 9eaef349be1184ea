//! How fast a payload is decoded, and how much memory that takes: `cargo run --release -p terra --example decode_speed`.
//!
//! Measured is the whole way of a data event, `event::decode` and then `record::read` of each item, over a night of 60 kB
//! with samples, and over a chunk of 10 MB of ten activities. The payloads are always the same bytes. Memory is the peak
//! of a process of its own, over that of one that only holds the payload.

#![expect(clippy::disallowed_methods, reason = "it measures time, and memory in processes of its own")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on ends here")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{Read, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use terra::event::{Event, decode};
use terra::record::{Reading, read};

const USER: &str = r#""user":{"user_id":"0b7f4f3e-6d5a-4c5e-9a53-0d7c1f6f2a11","provider":"GARMIN","reference_id":"person-1","scopes":"activity:read,daily:read","active":true,"created_at":"2026-03-01T09:00:00.000000+00:00"}"#;

const NIGHT_BYTES: usize = 60_000;
const ACTIVITY_BYTES: usize = 1_000_000;
const ACTIVITIES: usize = 10;
/// Of the measurement of one payload: long enough to be steady on a busy machine.
const MEASURED_FOR: Duration = Duration::from_secs(2);

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("hold") => println!("{}", peak_of(|_| ())),
        Some("decode") => println!("{}", peak_of(through)),
        _ => measure(),
    }
}

fn measure() {
    let night = night();
    let chunk = chunk();
    speed("a night with samples", &night);
    speed("a chunk of ten activities", &chunk);
    let [held, decoded] = ["hold", "decode"].map(|what| peak_of_process(what, &chunk));
    let own = decoded.saturating_sub(held) as f64 / chunk.len() as f64;
    let whole = own + 1.0;
    println!("peak memory of the chunk: {whole:.2} times its size ({own:.2} besides the body)");
}

/// By the time that the processor gave us, for others may need it too.
fn speed(name: &str, body: &[u8]) {
    through(body);
    let started = Instant::now();
    let used = processor_time();
    let mut rounds = 0_usize;
    while started.elapsed() < MEASURED_FOR {
        through(body);
        rounds += 1;
    }
    let used = processor_time() - used;
    let rate = (rounds * body.len()) as f64 / used.as_secs_f64() / 1e6;
    println!("{name}: {} bytes, {rate:.0} MB/s per core", body.len());
}

fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn through(body: &[u8]) {
    let Ok(Event::Data { kind, items, .. }) = decode(black_box(body)) else { panic!("not a data event") };
    // All are kept at the same time, as a plan does.
    let readings: Vec<Reading> = items.iter().map(|item| read(kind, item)).collect();
    black_box(readings);
}

/// The peak of this process, in bytes, with the body from standard input: to make it takes more than to read it.
fn peak_of(work: impl Fn(&[u8])) -> u64 {
    let mut body = Vec::with_capacity(2 * ACTIVITIES * ACTIVITY_BYTES);
    std::io::stdin().read_to_end(&mut body).unwrap();
    work(&body);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1_024
}

fn peak_of_process(what: &str, body: &[u8]) -> u64 {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program).arg(what).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// One sleep, mostly samples.
fn night() -> Vec<u8> {
    let summary = r#""metadata":{"summary_id":"n-1","start_time":"2026-03-13T22:00:00.000000+00:00","end_time":"2026-03-14T04:43:00.000000+00:00","is_nap":false,"upload_type":2},"sleep_durations_data":{"asleep":{"duration_asleep_state_seconds":21840,"duration_REM_sleep_state_seconds":3931.0},"sleep_efficiency":90.3},"temperature_data":{"delta":-0.53}"#;
    let hr = samples(NIGHT_BYTES * 6 / 10, |at, text| {
        write!(text, r#"{{"timestamp":"{}","bpm":{}}}"#, stamp(at), 48 + at * 7 % 31).unwrap();
    });
    let hrv = samples(NIGHT_BYTES * 3 / 10, |at, text| {
        write!(text, r#"{{"timestamp":"{}","hrv_rmssd":{}.{}}}"#, stamp(at), 30 + at * 11 % 60, at % 10).unwrap();
    });
    let body = format!(
        r#"{{"type":"sleep",{USER},"version":"2022-03-16","data":[{{{summary},"heart_rate_data":{{"summary":{{"avg_hr_bpm":56}},"detailed":{{"hr_samples":{hr},"hrv_samples_rmssd":{hrv}}}}}}}]}}"#
    );
    body.into_bytes()
}

/// Ten activities with a sample per second.
fn chunk() -> Vec<u8> {
    let one = |number: usize| {
        let hr = samples(ACTIVITY_BYTES * 4 / 10, |at, text| {
            write!(text, r#"{{"timestamp":"{}","bpm":{},"timer_duration_seconds":{at}}}"#, stamp(at), 90 + at * 7 % 70)
                .unwrap();
        });
        let position = samples(ACTIVITY_BYTES * 6 / 10, |at, text| {
            write!(
                text,
                r#"{{"timestamp":"{}","coords_lat_lng_deg":[51.{:06},-0.{:06}]}}"#,
                stamp(at),
                at * 13 % 999_983,
                at * 17 % 999_979
            )
            .unwrap();
        });
        format!(
            r#"{{"metadata":{{"summary_id":"a-{number}","start_time":"2026-03-14T08:00:00.000000+00:00","end_time":"2026-03-14T10:00:00.000000+00:00","type":8,"upload_type":1}},"heart_rate_data":{{"detailed":{{"hr_samples":{hr}}}}},"position_data":{{"position_samples":{position}}}}}"#
        )
    };
    let items: Vec<String> = (0..ACTIVITIES).map(one).collect();
    format!(r#"{{"type":"activity",{USER},"version":"2022-03-16","data":[{}]}}"#, items.join(",")).into_bytes()
}

fn samples(bytes: usize, one: impl Fn(usize, &mut String)) -> String {
    let mut text = String::from("[");
    let mut at = 0;
    while text.len() < bytes {
        if at > 0 {
            text.push(',');
        }
        one(at, &mut text);
        at += 1;
    }
    text.push(']');
    text
}

fn stamp(second: usize) -> String {
    format!("2026-03-14T{:02}:{:02}:{:02}.000000+00:00", second / 3_600 % 24, second / 60 % 60, second % 60)
}
