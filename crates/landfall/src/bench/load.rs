//! A closed loop over raw sockets: the generator must cost far less than what it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use terra::signature::{self, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is sent: activities of `users` people, each delivery with a trace id, a summary id and a signature of its own.
pub(crate) struct Load {
    addr: SocketAddr,
    path: String,
    secret: Secret,
    connections: usize,
    body: usize,
    users: usize,
    /// Makes ids of different runs differ.
    run: uuid::Uuid,
    next: AtomicU64,
}

pub(crate) enum Until {
    Elapsed(Duration),
    Sent(u64),
}

pub(crate) struct Outcome {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// Microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Load {
    pub(crate) fn new(
        url: &str,
        secret: Secret,
        connections: usize,
        body: usize,
        users: usize,
    ) -> anyhow::Result<Self> {
        let url = url::Url::parse(url).context("read the webhook URL")?;
        let addr = url
            .socket_addrs(|| None)
            .context("resolve the webhook URL")?
            .into_iter()
            .next()
            .context("the webhook URL names no address")?;
        anyhow::ensure!(addr.ip().is_loopback(), "load goes to loopback only");
        let run = uuid::Uuid::now_v7();
        Ok(Load {
            addr,
            path: url.path().to_owned(),
            secret,
            connections,
            body,
            users: users.max(1),
            run,
            next: AtomicU64::new(0),
        })
    }

    /// One request, ready to be written.
    fn request(&self, number: u64, into: &mut Vec<u8>) {
        let body = self.body_of(number);
        let signature = signature::sign(&self.secret, seconds_now(), body.as_bytes());
        into.clear();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-terra-signature: {signature}\r\nx-terra-trace-id: {}-{number}\r\nx-terra-ordering-timestamp: {}000\r\n\r\n",
            self.path,
            self.addr,
            body.len(),
            self.run,
            seconds_now(),
        );
        into.extend_from_slice(head.as_bytes());
        into.extend_from_slice(body.as_bytes());
    }

    fn body_of(&self, number: u64) -> String {
        let user = number % self.users as u64;
        let head = format!(
            r#"{{"type":"activity","user":{{"user_id":"bench-{user}","provider":"GARMIN","reference_id":"bench-user-{user}","scopes":"activity"}},"version":"2022-03-16","data":[{{"metadata":{{"summary_id":"{}-{number}","start_time":"2026-01-02T03:04:05.000000+01:00","end_time":"2026-01-02T04:04:05.000000+01:00","type":8,"upload_type":1}},"distance_data":{{"summary":{{"distance_meters":10000.5,"steps":9000}}}},"calories_data":{{"total_burned_calories":640.5}},"heart_rate_data":{{"summary":{{"avg_hr_bpm":142,"max_hr_bpm":181,"min_hr_bpm":88}},"detailed":{{"hr_samples":["#,
            self.run
        );
        const TAIL: &str = "]}}}]}";
        let mut body = head;
        let mut second = 0_u64;
        loop {
            let sample = format!(
                r#"{{"timestamp":"2026-01-02T03:{:02}:{:02}.000000+01:00","bpm":{}}}"#,
                second / 60 % 60,
                second % 60,
                120 + (number + second * 7) % 50
            );
            if body.len() + sample.len() + TAIL.len() + 1 > self.body {
                break;
            }
            if second > 0 {
                body.push(',');
            }
            body.push_str(&sample);
            second += 1;
        }
        body.push_str(TAIL);
        body
    }
}

#[expect(clippy::disallowed_methods, reason = "signatures carry the wall clock's time")]
fn seconds_now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Drives the load until it is over; every connection keeps one request in flight.
pub(crate) async fn run(load: &Load, until: Until) -> anyhow::Result<Outcome> {
    let deadline = match until {
        Until::Elapsed(time) => Instant::now() + time,
        Until::Sent(_) => Instant::now() + Duration::from_secs(3_600),
    };
    let left = Arc::new(AtomicU64::new(match until {
        Until::Elapsed(_) => u64::MAX,
        Until::Sent(count) => count,
    }));
    let outcomes = try_join_all((0..load.connections).map(|_| one_connection(load, deadline, left.clone()))).await?;
    let mut total = Outcome { accepted: 0, refused: 0, latency: histogram()? };
    for outcome in outcomes {
        total.accepted += outcome.accepted;
        total.refused += outcome.refused;
        total.latency.add(outcome.latency).context("add up latencies")?;
    }
    Ok(total)
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).context("make a histogram")
}

async fn one_connection(load: &Load, deadline: Instant, left: Arc<AtomicU64>) -> anyhow::Result<Outcome> {
    let mut stream = TcpStream::connect(load.addr).await.context("connect to the receiver")?;
    stream.set_nodelay(true).context("set the socket up")?;
    let mut outcome = Outcome { accepted: 0, refused: 0, latency: histogram()? };
    let mut request = Vec::with_capacity(load.body + 512);
    let mut answer = Vec::with_capacity(1_024);
    while Instant::now() < deadline
        && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    {
        load.request(load.next.fetch_add(1, Ordering::Relaxed), &mut request);
        let started = Instant::now();
        stream.write_all(&request).await.context("send a webhook")?;
        let status = read_answer(&mut stream, &mut answer).await?;
        outcome.latency.saturating_record(started.elapsed().as_micros() as u64);
        if (200..300).contains(&status) {
            outcome.accepted += 1;
        } else {
            outcome.refused += 1;
        }
    }
    Ok(outcome)
}

/// Reads one answer with a Content-Length; answers its status.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<u16> {
    buffer.clear();
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = std::str::from_utf8(&buffer[..end]).context("read an answer's head")?;
            let status = head.get(9..12).and_then(|digits| digits.parse().ok()).context("read an answer's status")?;
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.trim().parse::<usize>().ok())
                .unwrap_or(0);
            while buffer.len() < end + 4 + length {
                read_some(stream, buffer).await?;
            }
            return Ok(status);
        }
        read_some(stream, buffer).await?;
    }
}

async fn read_some(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    let read = stream.read_buf(buffer).await.context("read an answer")?;
    anyhow::ensure!(read > 0, "the receiver closed the connection");
    Ok(())
}
