//! Answers of the Admin API: Terra's own log of deliveries.
//!
//! Source: `tryterra/agent-skills`, `skills/terra-cli/references/webhook-debugging.md` (read 2026-11-22) names the columns
//! of a row and `next_cursor`; the name of a page's list is not shown there, so several are taken. Not tried live.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::event::user::{identifier, label};
use crate::json;
use crate::record::lenient;

/// Rows of one page that we take.
const ROWS_MAX: usize = 10_000;

const CURSOR_BYTES_MAX: usize = 4_096;

/// One attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    pub event_id: String,
    /// Terra's name of the event.
    pub event_type: String,
    pub user_id: Option<String>,
    /// What the destination answered; `None` where nobody did.
    pub http_status: Option<u16>,
    pub sent_at: Timestamp,
}

impl LoggedEvent {
    pub fn is_delivered(&self) -> bool {
        self.http_status.is_some_and(|status| (200..300).contains(&status))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    pub events: Vec<LoggedEvent>,
    /// Of the page after this one.
    pub next_cursor: Option<String>,
    /// Rows that could not be read.
    pub unread: usize,
}

/// Reads a page of the log.
pub fn event_log(body: &[u8]) -> Option<LogPage> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    if !json::is_object(raw) {
        return page(raw, None);
    }
    let [data, events, items, next_cursor] = json::section(Some(raw), ["data", "events", "items", "next_cursor"]);
    let cursor = next_cursor
        .and_then(json::string)
        .filter(|cursor| !cursor.is_empty() && cursor.len() <= CURSOR_BYTES_MAX)
        .map(|cursor| cursor.into_owned());
    page(data.or(events).or(items)?, cursor)
}

fn page(rows: &RawValue, next_cursor: Option<String>) -> Option<LogPage> {
    let rows = json::elements(rows, ROWS_MAX)?;
    let count = rows.len();
    let events: Vec<LoggedEvent> = rows.into_iter().filter_map(row).collect();
    Some(LogPage { unread: count - events.len(), events, next_cursor })
}

/// Reads one event of the log, bare or below `data`.
pub fn logged_event(body: &[u8]) -> Option<LoggedEvent> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    let [data] = json::section(Some(raw), ["data"]);
    row(data.filter(|data| json::is_object(data)).unwrap_or(raw))
}

fn row(raw: &RawValue) -> Option<LoggedEvent> {
    let names = ["event_id", "id", "event_type", "data_type", "user_id", "http_status", "sent_at"];
    let [event_id, id, event_type, data_type, user_id, http_status, sent_at] = json::section(Some(raw), names);
    Some(LoggedEvent {
        event_id: identifier(event_id).or_else(|| identifier(id))?,
        event_type: label(event_type).or_else(|| label(data_type))?,
        user_id: identifier(user_id),
        http_status: http_status
            .map(RawValue::get)
            .and_then(lenient::count)
            .and_then(|status| u16::try_from(status).ok()),
        sent_at: json::string(sent_at?)?.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"event_id":"e-1","data_type":"sleep","user_id":"u-1","http_status":503,"sent_at":"2026-06-01T12:00:00Z","bytes":7}"#;

    #[test]
    fn a_page_of_the_log_is_read_whatever_its_list_is_called() {
        for body in
            [format!(r#"{{"data":[{ROW}],"next_cursor":"c"}}"#), format!(r#"{{"events":[{ROW}],"next_cursor":"c"}}"#)]
        {
            let page = event_log(body.as_bytes()).unwrap();
            assert_eq!((page.events.len(), page.next_cursor.as_deref(), page.unread), (1, Some("c"), 0));
            let event = &page.events[0];
            assert_eq!((event.event_id.as_str(), event.event_type.as_str()), ("e-1", "sleep"));
            assert!(!event.is_delivered());
        }
        let page = event_log(format!("[{ROW},{{}}]").as_bytes()).unwrap();
        assert_eq!((page.events.len(), page.next_cursor, page.unread), (1, None, 1));
        for strange in ["{}", "7", "<html>", r#"{"data":7}"#] {
            assert_eq!(event_log(strange.as_bytes()), None, "{strange}");
        }
    }

    #[test]
    fn an_event_nobody_answered_for_is_not_delivered() {
        let event = logged_event(ROW.replace("503", "null").as_bytes()).unwrap();
        assert!(event.http_status.is_none() && !event.is_delivered());
        let event = logged_event(format!(r#"{{"data":{}}}"#, ROW.replace("503", "204")).as_bytes()).unwrap();
        assert!(event.is_delivered());
    }
}
