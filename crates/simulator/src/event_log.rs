//! Terra's own history of deliveries: every attempt, with what the destination answered.
//!
//! Terra keeps it about 14 days and lists the last 7 if no window is named. Known from Terra's
//! published guide to its command line (`tryterra/agent-skills`, `webhook-debugging.md`): the columns
//! of a row, that the outcome is a filter and no column, and that a resend adds a row of its own.
//! [verify live]: that Terra's own retries are rows too, and that the event id is the trace id.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::dice::Dice;
use crate::webhook::{Parcel, Subject};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
pub(crate) const RETENTION_MS: i64 = 14 * DAY_MS;
pub(crate) const DEFAULT_WINDOW_MS: i64 = 7 * DAY_MS;
/// Rows kept, and the bytes of their bodies together. Beyond either the oldest are forgotten.
const ROWS_MAX: usize = 20_000;
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// One attempt.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) event_id: String,
    pub(crate) sent_at_ms: i64,
    /// None when nobody answered.
    pub(crate) http_status: Option<u16>,
    pub(crate) response_time_ms: i64,
    pub(crate) parcel: Parcel,
}

impl Row {
    pub(crate) fn is_delivered(&self) -> bool {
        self.http_status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// Which rows are wanted.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) delivered: Option<bool>,
    pub(crate) data_types: Vec<String>,
    pub(crate) providers: Vec<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) reference_id: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) summary_id: Option<String>,
    pub(crate) since_ms: i64,
    pub(crate) until_ms: i64,
}

#[derive(Debug, Default)]
pub(crate) struct EventLog {
    rows: VecDeque<Row>,
    bytes: usize,
}

/// Counts over a window.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Stats {
    pub(crate) total: usize,
    pub(crate) delivered: usize,
    pub(crate) failed: usize,
    pub(crate) by_data_type: BTreeMap<String, usize>,
}

impl EventLog {
    pub(crate) fn note(&mut self, row: Row) {
        self.bytes += row.parcel.body.len();
        self.rows.push_back(row);
        while self.rows.len() > ROWS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.rows.pop_front() else { return };
            self.bytes -= oldest.parcel.body.len();
        }
    }

    /// Rows that are still kept and wanted, newest first.
    pub(crate) fn list(&self, filter: &Filter, now_ms: i64) -> Vec<&Row> {
        let kept = self.rows.iter().rev().filter(|row| now_ms - row.sent_at_ms < RETENTION_MS);
        kept.filter(|row| filter.fits(row)).collect()
    }

    /// The newest attempt of an event.
    pub(crate) fn find(&self, event_id: &str, now_ms: i64) -> Option<&Row> {
        let filter = Filter { event_id: Some(event_id.to_owned()), until_ms: i64::MAX, ..Filter::default() };
        self.list(&filter, now_ms).into_iter().next()
    }

    pub(crate) fn stats(&self, filter: &Filter, now_ms: i64) -> Stats {
        let mut stats = Stats::default();
        for row in self.list(filter, now_ms) {
            stats.total += 1;
            stats.delivered += usize::from(row.is_delivered());
            stats.failed += usize::from(!row.is_delivered());
            *stats.by_data_type.entry(row.parcel.kind.clone()).or_default() += 1;
        }
        stats
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }
}

impl Filter {
    fn fits(&self, row: &Row) -> bool {
        let Subject { user_id, reference_id, provider } = &row.parcel.subject;
        let is = |wanted: &Option<String>, value: &Option<String>| wanted.is_none() || wanted == value;
        let among = |wanted: &[String], value: &str| wanted.is_empty() || wanted.iter().any(|one| one == value);
        (self.since_ms..=self.until_ms).contains(&row.sent_at_ms)
            && self.delivered.is_none_or(|wanted| wanted == row.is_delivered())
            && among(&self.data_types, &row.parcel.kind)
            && among(&self.providers, provider.as_deref().unwrap_or_default())
            && is(&self.user_id, user_id)
            && is(&self.reference_id, reference_id)
            && self.event_id.as_ref().is_none_or(|wanted| *wanted == row.event_id)
            && self.summary_id.as_ref().is_none_or(|wanted| holds(&row.parcel.body, wanted))
    }
}

fn holds(body: &Bytes, summary_id: &str) -> bool {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let records = event["data"].as_array().into_iter().flatten();
    records.into_iter().any(|record| record["metadata"]["summary_id"] == summary_id)
}

/// Terra's id of an event: the trace id its deliveries carry; for one that carries none, or if ids
/// shall differ, an id that follows from its body.
pub(crate) fn event_id_of(parcel: &Parcel, is_trace_id: bool) -> String {
    if let Some(event_id) = &parcel.event_id {
        return event_id.clone();
    }
    match &parcel.trace_id {
        Some(trace_id) if is_trace_id => trace_id.clone(),
        Some(_) | None => {
            let trace_id = parcel.trace_id.as_deref().unwrap_or_default();
            let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&parcel.body));
            let id: Uuid = Dice::of(0, &["event", trace_id, &hash]).uuid();
            id.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(event_id: &str, user_id: &str, status: Option<u16>, sent_at_ms: i64) -> Row {
        let body = Bytes::from(r#"{"type":"sleep","data":[{"metadata":{"summary_id":"s-1"}}]}"#);
        Row {
            event_id: event_id.to_owned(),
            sent_at_ms,
            http_status: status,
            response_time_ms: 1,
            parcel: Parcel {
                kind: "sleep".to_owned(),
                trace_id: None,
                reference: None,
                ordering_ms: None,
                event_id: None,
                subject: Subject { user_id: Some(user_id.to_owned()), ..Subject::default() },
                body,
            },
        }
    }

    fn log() -> EventLog {
        let mut log = EventLog::default();
        for row in [
            row("old", "u-1", Some(500), 0),
            row("a", "u-1", Some(500), 10 * DAY_MS),
            row("a", "u-1", Some(200), 11 * DAY_MS),
            row("b", "u-2", None, 12 * DAY_MS),
        ] {
            log.note(row);
        }
        log
    }

    #[track_caller]
    fn check(filter: Filter, expected: &[&str]) {
        let log = log();
        let ids: Vec<&str> = log.list(&filter, RETENTION_MS).iter().map(|row| row.event_id.as_str()).collect();
        assert_eq!(ids, expected);
    }

    fn all() -> Filter {
        Filter { until_ms: i64::MAX, ..Filter::default() }
    }

    #[test]
    fn attempts_are_found_by_outcome_user_and_time_and_are_forgotten_after_a_fortnight() {
        check(all(), &["b", "a", "a"]);
        check(Filter { delivered: Some(false), ..all() }, &["b", "a"]);
        check(Filter { user_id: Some("u-2".to_owned()), ..all() }, &["b"]);
        check(Filter { since_ms: 11 * DAY_MS, until_ms: 11 * DAY_MS, ..all() }, &["a"]);
        check(Filter { summary_id: Some("s-2".to_owned()), ..all() }, &[]);
        check(Filter { data_types: vec!["daily".to_owned()], ..all() }, &[]);
        assert_eq!(log().find("a", RETENTION_MS).unwrap().http_status, Some(200));
        assert!(log().find("old", RETENTION_MS).is_none());
    }

    #[test]
    fn attempts_are_counted() {
        let stats = log().stats(&all(), RETENTION_MS);
        assert_eq!((stats.total, stats.delivered, stats.failed), (3, 1, 2));
        assert_eq!(stats.by_data_type["sleep"], 3);
    }
}
