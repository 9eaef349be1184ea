//! What must be true when a scenario is over, as data that a test can compare with what a receiver
//! answers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::scenario::keys::{fields, key};
use crate::user::User;

#[derive(Debug, Default, Serialize)]
pub(crate) struct End {
    pub(crate) users: Vec<EndUser>,
    /// Reports belong to no user of Terra's.
    pub(crate) lab_reports: Vec<Item>,
    /// Events that carry nothing to store as a record, and must be kept as they came.
    pub(crate) stored_raw: Vec<Raw>,
    pub(crate) large_requests: Vec<LargeRequest>,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Connection {
    Connected,
    /// It works no more at the moment; the person should connect again. Its data stays.
    Degraded,
    Revoked,
    /// The same connection goes on under another user id.
    Replaced,
    /// There must be none.
    Absent,
}

#[derive(Debug, Serialize)]
pub(crate) struct EndUser {
    pub(crate) user_id: String,
    pub(crate) provider: String,
    pub(crate) reference_id: Option<String>,
    pub(crate) connection: Connection,
    /// The id under which it goes on.
    pub(crate) replaced_by: Option<String>,
    /// By kind. Records of a replaced user are found under the one that goes on.
    pub(crate) records: BTreeMap<String, Records>,
    pub(crate) backfill: Option<Backfill>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Records {
    pub(crate) items: Vec<Item>,
    /// Keys of records that were there and must be marked as deleted, or be gone.
    pub(crate) deleted: Vec<String>,
    /// Keys that must not be there.
    pub(crate) absent: Vec<String>,
    /// How many there must be in all, if others than `items` would be a mistake.
    pub(crate) count: Option<usize>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Item {
    pub(crate) key: String,
    /// By the name of Terra's leaf. Others may be there too.
    pub(crate) fields: Map<String, Value>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Raw {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) count: usize,
}

/// A large request whose chunks can be counted.
#[derive(Debug, Serialize)]
pub(crate) struct LargeRequest {
    pub(crate) reference: String,
    /// As announced, if it was.
    pub(crate) expected_payloads: Option<usize>,
    /// Different chunks that came.
    pub(crate) received: usize,
}

/// History that the receiver asked for by itself: all of it must be there in the end.
#[derive(Debug, Serialize)]
pub(crate) struct Backfill {
    pub(crate) kinds: Vec<String>,
    /// First day with data, and the day after the last; before and after there is none.
    pub(crate) start_date: String,
    pub(crate) end_date: String,
    pub(crate) complete: bool,
}

impl Item {
    pub(crate) fn of(kind: &str, record: &Value) -> Self {
        Self { key: key(kind, record), fields: fields(kind, record) }
    }

    /// As [`Self::of`], where some values must be others: those of an earlier delivery.
    pub(crate) fn with(mut self, values: &[(&str, &Value)]) -> Self {
        self.fields.extend(values.iter().map(|(leaf, value)| ((*leaf).to_owned(), (*value).clone())));
        self
    }
}

impl EndUser {
    pub(crate) fn of(user: &User, connection: Connection) -> Self {
        Self {
            user_id: user.user_id.clone(),
            provider: user.provider.clone(),
            reference_id: user.reference_id.clone(),
            connection,
            replaced_by: None,
            records: BTreeMap::new(),
            backfill: None,
        }
    }

    /// Expects these records, and no others of their kind.
    pub(crate) fn only(mut self, kind: &str, items: Vec<Item>) -> Self {
        let records = self.records.entry(kind.to_owned()).or_default();
        records.count = Some(records.count.unwrap_or_default() + items.len());
        records.items.extend(items);
        self
    }

    pub(crate) fn deleted(mut self, kind: &str, key: String) -> Self {
        self.records.entry(kind.to_owned()).or_default().deleted.push(key);
        self
    }

    pub(crate) fn absent(mut self, kind: &str, key: String) -> Self {
        self.records.entry(kind.to_owned()).or_default().absent.push(key);
        self
    }
}

/// A whole end state as it is answered: who ran what, and what must be.
pub(crate) fn shown(name: &str, seed: u64, requires: &[&str], end: &End, accepted: usize, sent: usize) -> Value {
    let mut shown = json!(end);
    shown["scenario"] = json!(name);
    shown["seed"] = json!(seed);
    shown["requires"] = json!(requires);
    // At the first try; the others are tried again.
    shown["deliveries"] = json!({ "sent": sent, "accepted": accepted });
    shown
}
