//! A recovery in sentences: what was missed and what it will cost, and what is still missing in the end.

use std::collections::BTreeMap;

use super::{Progress, Recovery, Step};
use crate::silence::words::length;

/// Pauses that a preview names.
const PAUSES_NAMED: usize = 3;

/// Before anything is changed: what was missed, what will be done, how long it takes and what it costs.
pub fn preview(recovery: &Recovery) -> String {
    let progress = &recovery.progress;
    let mut sentences = Vec::new();
    let pauses: Vec<String> = progress
        .pauses
        .iter()
        .take(PAUSES_NAMED)
        .map(|pause| format!("{} to {} ({})", pause.from, pause.to, length(pause.to.duration_since(pause.from))))
        .collect();
    sentences.push(if pauses.is_empty() {
        "Deliveries came in without a pause.".to_owned()
    } else {
        format!("We received nothing from {}.", pauses.join(", from "))
    });
    sentences.push(match (progress.has_log, progress.events) {
        (false, _) => "Terra's log of deliveries is not read: LANDFALL_TERRA_ADMIN_TOKEN is not set.".into(),
        (true, 0) => "Terra's log has no event that it could not deliver.".into(),
        (true, events) => format!(
            "Terra's log has {events} events that it could not deliver ({}); they are sent again.",
            listed(&progress.events_by_type)
        ),
    });
    if let Some(pause) = progress.unlogged {
        sentences.push(format!(
            "Its log tells nothing of {} to {}: {} connections are asked for their data.",
            pause.from, pause.to, progress.connections
        ));
    }
    sentences.push(format!(
        "That is about {} of work, {} requests for data, and at least {} events on Terra's bill.",
        duration(progress.seconds),
        progress.requests,
        progress.cost_events
    ));
    sentences.join(" ")
}

/// How it is going, or how it ended.
pub fn sentence(recovery: &Recovery) -> String {
    let progress = &recovery.progress;
    match recovery.step {
        Step::Queued => "Waiting to begin.".into(),
        Step::Counting => "Comparing connections and reading Terra's log.".into(),
        Step::Previewed => preview(recovery),
        Step::Resending => format!("{} of {} events were sent again.", progress.resent, progress.events),
        Step::Arriving => format!("{} of {} events have arrived.", progress.arrived, progress.events),
        Step::Fetching => {
            format!("{} of {} requests for data are open.", progress.requests_open, progress.requests)
        }
        Step::Complete => format!("Complete: {}.", done(progress)),
        Step::Incomplete => format!("Incomplete: {}; {}.", missing(progress), done(progress)),
        Step::Failed => format!("Failed: {}.", recovery.reason.as_deref().unwrap_or("no reason given")),
    }
}

fn done(progress: &Progress) -> String {
    format!(
        "{} of {} events that Terra could not deliver have arrived, and Terra took {} requests for data for the rest",
        progress.arrived,
        progress.events,
        progress.requests.saturating_sub(progress.requests_failed)
    )
}

fn missing(progress: &Progress) -> String {
    let mut parts = Vec::new();
    if !progress.beyond_reach.is_empty() {
        parts.push(format!("events that nothing brings back ({})", listed(&progress.beyond_reach)));
    }
    if progress.requests_failed > 0 {
        parts.push(format!(
            "{} of {} requests for data failed (/v1/fetches?state=failed)",
            progress.requests_failed, progress.requests
        ));
    }
    if let Some(reason) = &progress.reconcile_failed {
        parts.push(format!("who is connected could not be compared ({reason})"));
    }
    format!("still missing are {}", parts.join(", and "))
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

fn duration(seconds: u64) -> String {
    if seconds < 90 { format!("{seconds} s") } else { length(jiff::SignedDuration::from_secs(seconds as i64)) }
}
