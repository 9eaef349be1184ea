//! Bodies that wait for download, as those of a destination in ping mode do: the webhook then carries
//! a URL that expires, and who is slow finds nothing.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Payloads kept, and their bytes together. Beyond either the oldest vanish.
const PAYLOADS_MAX: usize = 5_000;
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// How the event is spelt: Terra's enumeration has one name, its schema the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spelling {
    #[default]
    S3Payload,
    S3Upload,
}

impl Spelling {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::S3Payload => "s3_payload",
            Self::S3Upload => "s3_upload",
        }
    }
}

/// Ping mode: a setting of the destination, or an option of one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ping {
    pub(crate) spelling: Spelling,
    /// What the event says, in seconds.
    pub(crate) expires_in: u64,
    /// When it really expires, if not then.
    pub(crate) expires_after_ms: Option<u64>,
    /// The form of the queue destinations, which names `user_id` and `reference_id`.
    pub(crate) names_user: bool,
    /// `self`: a redirect to the payload elsewhere on this host; or any URL.
    pub(crate) redirect: Option<String>,
    pub(crate) delay_ms: u64,
    /// Blanks after the JSON that `HEAD` did not announce; the body then comes without a length.
    pub(crate) extra_bytes: u64,
    /// The URL answers 404 from the start.
    pub(crate) vanish: bool,
    /// Only events of these types; else every event with data.
    pub(crate) types: Option<Vec<String>>,
}

impl Default for Ping {
    fn default() -> Self {
        Self {
            spelling: Spelling::default(),
            expires_in: 300,
            expires_after_ms: None,
            names_user: false,
            redirect: None,
            delay_ms: 0,
            extra_bytes: 0,
            vanish: false,
            types: None,
        }
    }
}

/// What carries records of people, and so may be too heavy for a webhook.
const DATA_KINDS: [&str; 10] = [
    "activity",
    "athlete",
    "body",
    "daily",
    "health_observation",
    "hormone",
    "menstruation",
    "nutrition",
    "planned_workout",
    "sleep",
];

impl Ping {
    /// Terra says that such a destination gets the URL "instead of the data"; whether lifecycle
    /// events still come whole is not said, and taken for granted here [verify live].
    pub(crate) fn fits(&self, kind: &str) -> bool {
        match &self.types {
            Some(types) => types.iter().any(|wanted| wanted == kind),
            None => DATA_KINDS.contains(&kind),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) id: String,
    pub(crate) signature: String,
    pub(crate) body: Bytes,
    pub(crate) expires_at_ms: i64,
    pub(crate) ping: Ping,
}

#[derive(Default)]
pub(crate) struct Payloads {
    kept: VecDeque<Payload>,
    bytes: usize,
}

impl Payloads {
    pub(crate) fn keep(&mut self, payload: Payload) {
        self.bytes += payload.body.len();
        self.kept.push_back(payload);
        while self.kept.len() > PAYLOADS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes -= oldest.body.len();
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<Payload> {
        self.kept.iter().rev().find(|payload| payload.id == id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_payloads_make_room() {
        let mut payloads = Payloads::default();
        for number in 0..=PAYLOADS_MAX {
            payloads.keep(Payload {
                id: number.to_string(),
                signature: String::new(),
                body: Bytes::from_static(b"{}"),
                expires_at_ms: 0,
                ping: Ping::default(),
            });
        }
        assert!(payloads.find("0").is_none());
        assert!(payloads.find("1").is_some());
        assert_eq!(payloads.bytes, 2 * PAYLOADS_MAX);
    }

    #[test]
    fn by_default_data_is_pinged_and_lifecycle_is_not() {
        assert!(Ping::default().fits("sleep"));
        assert!(!Ping::default().fits("auth"));
        let some = Ping { types: Some(vec!["auth".to_owned()]), ..Ping::default() };
        assert!(some.fits("auth") && !some.fits("sleep"));
    }
}
