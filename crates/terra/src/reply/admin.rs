//! Answers of the Admin API: Terra's own log of deliveries, and where it delivers to.
//!
//! Source: `tryterra/agent-skills`, `skills/terra-cli/references/webhook-debugging.md` (read 2026-11-22) names the columns
//! of a row and `next_cursor`; the name of a page's list is not shown there, so several are taken. Of destinations the Admin
//! API has `type`, `url`, `active` and `event_types`. Not tried live.

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

/// Where Terra delivers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// `webhook`, or a database, a bucket, a queue; `None` where Terra does not say.
    pub kind: Option<String>,
    pub url: Option<String>,
    /// False once Terra has given up on it.
    pub active: bool,
}

impl Destination {
    pub fn is_webhook(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("webhook"))
    }
}

/// Reads the list of destinations: bare, or below `data` or `destinations`. One that does not say is active.
pub fn destinations(body: &[u8]) -> Option<Vec<Destination>> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    let [data, named] = json::section(Some(raw), ["data", "destinations"]);
    let rows = json::elements(data.or(named).unwrap_or(raw), ROWS_MAX)?;
    let destination = |raw: &RawValue| {
        let [kind, url, active] = json::section(Some(raw), ["type", "url", "active"]);
        Destination {
            kind: label(kind),
            url: url.and_then(json::string).map(|url| url.into_owned()),
            active: active.is_none_or(|active| active.get() != "false"),
        }
    };
    Some(rows.into_iter().map(destination).collect())
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
