//! A receiver in small, which does what the documentation asks: newest wins by the order of making,
//! scores are never erased, deletions stay, payloads are fetched.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::receiver::Received;
use crate::stage::Stage;

/// User, kind and key.
type Place = (String, String, String);
/// When it was made, and its leaves.
type Stored = (i64, Map<String, Value>);

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) connections: BTreeMap<String, &'static str>,
    pub(crate) replaced_by: BTreeMap<String, String>,
    records: BTreeMap<Place, Stored>,
    deleted: BTreeMap<Place, i64>,
    pub(crate) lab_reports: BTreeMap<String, Map<String, Value>>,
    pub(crate) raw: BTreeMap<String, usize>,
    /// Chunks by reference.
    pub(crate) chunks: BTreeMap<String, BTreeSet<String>>,
    seen: BTreeSet<String>,
}

impl Model {
    pub(crate) async fn take(&mut self, stage: &Stage, delivery: &Received) {
        // What no JSON library reads is kept as it came.
        let Ok(event) = serde_json::from_slice::<Value>(&delivery.body) else { return };
        let number = |name| delivery.header(name).and_then(|text| text.parse::<i64>().ok());
        let t = delivery.header("x-terra-signature").unwrap().split([',', '=']).nth(1).unwrap().parse::<i64>().unwrap();
        // Without the header the order of arrival is all there is.
        let made = number("x-terra-ordering-timestamp").unwrap_or(t * 1_000 + 999);
        if let (Some(reference), Some(trace_id)) =
            (delivery.header("terra-reference"), delivery.header("x-terra-trace-id"))
            && trace_id.contains(":chunk:")
        {
            self.chunks.entry(reference.to_owned()).or_default().insert(trace_id.to_owned());
        }
        if let Some(trace_id) = delivery.header("x-terra-trace-id")
            && !self.seen.insert(trace_id.to_owned())
        {
            return;
        }
        self.take_event(stage, event, made).await;
    }

    async fn take_event(&mut self, stage: &Stage, event: Value, made: i64) {
        let user_id = event["user"]["user_id"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "auth" if event["status"] == "success" => drop(self.connections.insert(user_id, "connected")),
            "deauth" | "access_revoked" if self.connections.get(&user_id) != Some(&"replaced") => {
                self.connections.insert(user_id, "revoked");
            }
            "connection_error" => drop(self.connections.insert(user_id, "degraded")),
            "user_reauth" => {
                let id = |field: &str| event[field]["user_id"].as_str().unwrap().to_owned();
                self.connections.insert(id("old_user"), "replaced");
                self.replaced_by.insert(id("old_user"), id("new_user"));
            }
            "s3_payload" | "s3_upload" => {
                let answer = stage.client.get(event["url"].as_str().unwrap()).send().await.unwrap();
                if answer.status() == 200 {
                    let inner = answer.json().await.unwrap();
                    Box::pin(self.take_event(stage, inner, made)).await;
                }
            }
            "athlete" => self.store(&user_id, "athlete", &event["athlete"], made),
            "lab_report.completed" => self.report(&event["data"]),
            "lab_report" => self.report(&event),
            kind @ ("activity" | "body" | "daily" | "health_observation" | "hormone" | "menstruation" | "nutrition"
            | "planned_workout" | "sleep") => {
                for record in event["data"].as_array().into_iter().flatten() {
                    self.store(&user_id, kind, record, made);
                }
            }
            "auth"
            | "auth_cancelled"
            | "deauth"
            | "access_revoked"
            | "permission_change"
            | "processing"
            | "healthcheck"
            | "large_request_processing"
            | "large_request_sending"
            | "rate_limit_hit" => {}
            unknown => *self.raw.entry(unknown.to_owned()).or_default() += 1,
        }
    }

    fn report(&mut self, data: &Value) {
        self.lab_reports.insert(data["session_id"].as_str().unwrap().to_owned(), leaves(data));
    }

    fn store(&mut self, user_id: &str, kind: &str, record: &Value, made: i64) {
        let Some(key) = key(kind, record) else { return };
        let place = (user_id.to_owned(), kind.to_owned(), key);
        if record["metadata"]["upload_type"] == 4 {
            self.records.remove(&place);
            self.deleted.insert(place, made);
            return;
        }
        if self.deleted.get(&place).is_some_and(|deleted| made <= *deleted) {
            return;
        }
        let mut leaves = leaves(record);
        if let Some((known, old)) = self.records.get(&place) {
            if made < *known {
                return;
            }
            for (leaf, value) in old {
                leaves.entry(leaf.clone()).or_insert_with(|| value.clone());
            }
        }
        self.records.insert(place, (made, leaves));
    }

    /// The ids under which the data of a user is found.
    fn ids(&self, user_id: &str) -> Vec<String> {
        let earlier = self.replaced_by.iter().filter(|(_, new)| *new == user_id).map(|(old, _)| old.clone());
        earlier.chain([user_id.to_owned()]).collect()
    }

    pub(crate) fn of(&self, user_id: &str, kind: &str) -> BTreeMap<String, &Map<String, Value>> {
        let ids = self.ids(user_id);
        let fits = self.records.iter().filter(|((user, of, _), _)| ids.contains(user) && of == kind);
        fits.map(|((_, _, key), (_, leaves))| (key.clone(), leaves)).collect()
    }

    pub(crate) fn is_deleted(&self, user_id: &str, kind: &str, key: &str) -> bool {
        self.deleted.contains_key(&(user_id.to_owned(), kind.to_owned(), key.to_owned()))
    }
}

fn key(kind: &str, record: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let metadata = &record["metadata"];
    match kind {
        "athlete" => Some("athlete".to_owned()),
        "hormone" => text(&record["timestamp"]),
        "planned_workout" => text(&record["planned_workout_id"]),
        "activity" | "health_observation" | "sleep" => text(&metadata["summary_id"]),
        _ => {
            let start = text(&metadata["start_time"])?;
            // A day that no calendar has is no key.
            start.get(..10)?.parse::<jiff::civil::Date>().ok().map(|date| date.to_string())
        }
    }
}

/// Every leaf by its own name; of two of one name the shallower stays. Nulls are left out.
fn leaves(value: &Value) -> Map<String, Value> {
    let mut found = Map::new();
    let mut level: Vec<&Value> = vec![value];
    while !level.is_empty() {
        let mut below = Vec::new();
        for (name, value) in level.iter().filter_map(|value| value.as_object()).flatten() {
            if value.is_object() {
                below.push(value);
            } else if !value.is_null() {
                found.entry(name).or_insert_with(|| value.clone());
            }
        }
        level = below;
    }
    found
}
