//! Outgoing events: what the company's own services are told, as rows of the event log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::delivery::Origin;
use crate::id::{AliasKey, ConnectionId, Environment, EventId, RecordId, UserId, derived_uuid};
use crate::identity::Connection;
use crate::identity::changes::Change;
use crate::record::{Change as RecordChange, Record};

/// One event before it has a position in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    pub id: EventId,
    pub alias: Option<AliasKey>,
    pub environment: Environment,
    pub connection: Option<ConnectionId>,
    /// The internal user; `None` holds the event until one is known.
    pub subject: Option<UserId>,
    pub entity: String,
    pub verb: String,
    pub provider: Option<String>,
    /// Set for events about records: a held one gives way to a later one of the same record.
    pub record: Option<RecordId>,
    pub time: Timestamp,
    pub data: Value,
}

/// An event as the log has it: with its position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    pub position: i64,
    pub id: EventId,
    pub environment: Environment,
    pub subject: Option<UserId>,
    pub entity: String,
    pub verb: String,
    pub provider: Option<String>,
    pub time: Timestamp,
    pub data: Value,
}

impl Published {
    /// CloudEvents `type`.
    pub fn event_type(&self) -> String {
        format!("landfall.{}.{}.v1", self.entity, self.verb)
    }

    /// CloudEvents `source`.
    pub fn source(&self) -> String {
        format!("/terra/{}", self.environment)
    }

    /// `<entity>.<verb>.<provider>`: the topic services bind to.
    pub fn routing_key(&self) -> String {
        format!(
            "{}.{}.{}",
            self.entity,
            self.verb,
            self.provider.as_deref().map_or_else(|| "unknown".into(), |provider| provider.to_lowercase())
        )
    }

    /// The event in CloudEvents' structured form (1.0, JSON format), as the API pages and streams it.
    pub fn structured(&self) -> Value {
        json!({
            "specversion": "1.0",
            "id": self.id,
            "source": self.source(),
            "type": self.event_type(),
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": "application/json",
            "position": self.position,
            "data": self.data,
        })
    }
}

/// What all events of one delivery have in common.
pub struct Happening<'a> {
    /// The delivery's or confirmation's id: makes event ids stable.
    pub cause: &'a [u8],
    pub time: Timestamp,
    pub origin: Origin,
}

/// The event of a change of a connection.
pub fn of_change(change: &Change, after: &[Connection], happening: &Happening<'_>) -> Option<Outgoing> {
    let (id, verb, details) = match change {
        Change::Connected { id } => (id, "connected", json!({})),
        Change::Reconnected { id } => (id, "reconnected", json!({})),
        Change::Degraded { id } => (id, "degraded", json!({})),
        Change::Revoked { id } => (id, "revoked", json!({})),
        Change::ScopesChanged { id, added, removed } => {
            (id, "scopes_changed", json!({ "added": added, "removed": removed }))
        }
        Change::Merged { gone, into } => (into, "merged", json!({ "merged_connection": gone })),
        Change::Split { id, from } => (id, "split", json!({ "from_connection": from })),
    };
    let connection = after.iter().find(|connection| connection.id == *id)?;
    let mut data = json!({
        "connection": connection.id,
        "terra_user_id": connection.current.terra_user_id,
        "reference_id": connection.reference,
        "provider": connection.provider,
        "status": connection.status,
        "scopes": connection.scopes,
        "origin": happening.origin,
    });
    merge_into(&mut data, details);
    let detail = data.to_string();
    Some(Outgoing {
        id: EventId(derived_uuid(&[
            b"event",
            happening.cause,
            b"connection",
            verb.as_bytes(),
            connection.id.0.as_bytes(),
            detail.as_bytes(),
        ])),
        alias: Some(connection.current.clone()),
        environment: connection.current.environment.clone(),
        connection: Some(connection.id),
        subject: connection.owner().cloned(),
        entity: "connection".into(),
        verb: verb.into(),
        provider: connection.provider.clone(),
        record: None,
        time: happening.time,
        data,
    })
}

/// The event of a record's merge; `None` where nothing changed for those who read.
pub fn of_record(
    record: &Record,
    change: &RecordChange,
    owner: Option<&Connection>,
    happening: &Happening<'_>,
) -> Option<Outgoing> {
    let (verb, fields) = match change {
        RecordChange::Inserted => ("upserted", None),
        RecordChange::Changed { fields } => ("upserted", Some(fields)),
        RecordChange::Deleted => ("deleted", None),
        RecordChange::None => return None,
    };
    let id = record.key.id();
    let kind = record.key.kind.label();
    Some(Outgoing {
        id: record_event_id(happening.cause, kind, verb, id),
        alias: Some(record.key.alias.clone()),
        environment: record.key.alias.environment.clone(),
        connection: owner.map(|connection| connection.id),
        subject: owner.and_then(Connection::owner).cloned(),
        entity: kind.into(),
        verb: verb.into(),
        provider: owner.and_then(|connection| connection.provider.clone()),
        record: Some(id),
        time: happening.time,
        data: json!({
            "record": id,
            "key": record.key.natural,
            "connection": owner.map(|connection| connection.id),
            "terra_user_id": record.key.alias.terra_user_id,
            "start_time": record.reading.start_time,
            "end_time": record.reading.end_time,
            "changed": fields,
            "origin": happening.origin,
        }),
    })
}

/// The id of the event that a cause brought about for a record: whoever knows the delivery finds the event.
pub fn record_event_id(cause: &[u8], kind: &str, verb: &str, record: RecordId) -> EventId {
    EventId(derived_uuid(&[b"event", cause, kind.as_bytes(), verb.as_bytes(), record.0.as_bytes()]))
}

fn merge_into(data: &mut Value, details: Value) {
    if let (Value::Object(data), Value::Object(details)) = (data, details) {
        data.extend(details);
    }
}
