//! CPU and memory of a process, from `/proc` (Linux).

use std::time::Duration;

use anyhow::Context;

/// The kernel's clock ticks per second in `/proc/<pid>/stat`: 100 on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Usage {
    /// User and system time of all threads since its start.
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_max_bytes: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .context("read the process's CPU time (needs Linux)")?;
        // The second field is the name in parentheses and may hold spaces; utime and stime are the 14th and 15th.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: f64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read the process's memory")?;
        Ok(Usage {
            cpu: Duration::from_secs_f64(ticks / TICKS_PER_SECOND),
            rss_bytes: kilobytes(&status, "VmRSS:"),
            rss_max_bytes: kilobytes(&status, "VmHWM:"),
        })
    }
}

fn kilobytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1_024
}
