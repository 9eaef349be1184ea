//! One webhook as received: what it is, whose it is, under which key it is unique, in which lane it travels.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use terra::event::{Kind, Peek};
use terra::headers::DeliveryHeaders;

use crate::id::{DeliveryId, Environment};
use crate::order::Order;

/// A genuine delivery's metadata. The bytes travel beside it, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub id: DeliveryId,
    pub environment: Environment,
    pub received_at: Timestamp,
    /// The signed `t`: seconds since the Unix epoch.
    pub t_seconds: i64,
    pub headers: DeliveryHeaders,
    /// Terra's name of the event as sent, cut to 256 characters; absent where the body is no event.
    pub type_name: Option<String>,
    pub terra_user_id: Option<String>,
    pub event_id: Option<String>,
    #[serde(with = "digest_text")]
    pub body_digest: [u8; 32],
    /// SHA-256 of `t.body`, what the signature covers.
    #[serde(with = "digest_text")]
    pub signed_digest: [u8; 32],
    pub size_bytes: u64,
    pub admission: Admission,
    pub origin: Origin,
}

/// How the time window judged a delivery whose signature is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    Fresh,
    /// Genuine but older than the tolerance: processed only if neither its trace id nor its signed bytes were.
    Late,
    /// Genuine but too old, or the policy says so: kept, never processed by itself.
    Quarantined,
}

/// Why a delivery came, told to the services that get its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Live,
    Backfill,
    Replay,
    Reconcile,
}

impl Origin {
    pub fn label(self) -> &'static str {
        match self {
            Origin::Live => "live",
            Origin::Backfill => "backfill",
            Origin::Replay => "replay",
            Origin::Reconcile => "reconcile",
        }
    }
}

/// The queues that keep a backfill of years from delaying a live event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// The lifecycle events.
    Auth,
    /// `s3_payload`: its link lives for minutes.
    Urgent,
    Live,
    /// Chunks of large requests and answers to our own fetches.
    Bulk,
}

impl Lane {
    pub const ALL: [Lane; 4] = [Lane::Auth, Lane::Urgent, Lane::Live, Lane::Bulk];

    pub fn label(self) -> &'static str {
        match self {
            Lane::Auth => "auth",
            Lane::Urgent => "urgent",
            Lane::Live => "live",
            Lane::Bulk => "bulk",
        }
    }

    /// Jobs taken from this lane in one round of serving all lanes.
    pub fn weight(self) -> usize {
        match self {
            Lane::Auth => 64,
            Lane::Urgent => 32,
            Lane::Live => 128,
            Lane::Bulk => 32,
        }
    }

    pub fn parse(label: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.label() == label)
    }
}

/// What the receiver knows of a genuine request before its body is parsed.
pub struct Receipt {
    pub id: DeliveryId,
    pub environment: Environment,
    pub received_at: Timestamp,
    pub t_seconds: i64,
    pub headers: DeliveryHeaders,
    pub body_digest: [u8; 32],
    pub signed_digest: [u8; 32],
    pub size_bytes: u64,
    pub admission: Admission,
}

impl Delivery {
    /// Puts together what was received and what a glance at the body tells.
    pub fn new(receipt: Receipt, peek: Peek) -> Self {
        let origin =
            if receipt.headers.trace_id.as_deref().is_some_and(is_chunk) { Origin::Backfill } else { Origin::Live };
        Delivery {
            id: receipt.id,
            environment: receipt.environment,
            received_at: receipt.received_at,
            t_seconds: receipt.t_seconds,
            headers: receipt.headers,
            type_name: peek.kind,
            terra_user_id: peek.user_id,
            event_id: peek.event_id,
            body_digest: receipt.body_digest,
            signed_digest: receipt.signed_digest,
            size_bytes: receipt.size_bytes,
            admission: receipt.admission,
            origin,
        }
    }

    /// The delivery as if its payload had come with it. Its order and its key stay those of the webhook.
    pub fn with_payload(self, peek: Peek, size_bytes: u64) -> Self {
        Delivery {
            type_name: peek.kind,
            terra_user_id: peek.user_id.or(self.terra_user_id),
            event_id: peek.event_id,
            size_bytes,
            ..self
        }
    }

    pub fn kind(&self) -> Kind {
        self.type_name.as_deref().map_or(Kind::Other, Kind::parse)
    }

    pub fn order(&self) -> Order {
        Order::of_delivery(self.headers.ordering_ms, self.t_seconds, &self.body_digest)
    }

    /// True where the order comes from the signed time alone, because the ordering header was missing.
    pub fn order_is_inferred(&self) -> bool {
        self.headers.ordering_ms.is_none()
    }

    pub fn lane(&self) -> Lane {
        let kind = self.kind();
        if kind.is_lifecycle() {
            Lane::Auth
        } else if kind == Kind::S3Payload {
            Lane::Urgent
        } else if self.origin != Origin::Live {
            Lane::Bulk
        } else {
            Lane::Live
        }
    }

    /// The key under which this delivery takes effect once: the trace id; without one the signed bytes; for lab
    /// reports the body's `event_id`, because a reprocessed report keeps its trace id. Never `terra-reference`,
    /// which all chunks of a large request share.
    pub fn dedupe_key(&self) -> String {
        match (self.kind(), &self.event_id, &self.headers.trace_id) {
            (Kind::LabReportCompleted | Kind::LabReportFailed, Some(event_id), _) => format!("event:{event_id}"),
            (_, _, Some(trace_id)) => format!("trace:{trace_id}"),
            (_, _, None) => self.signed_key(),
        }
    }

    /// The fallback key: SHA-256 of `t.body`.
    pub fn signed_key(&self) -> String {
        format!("signed:{}", hex::encode(self.signed_digest))
    }

    /// The key for a second body under a trace id that was already used: the header is unsigned, so nobody may
    /// suppress a genuine delivery with it.
    pub fn conflict_key(&self) -> String {
        format!("{}#{}", self.dedupe_key(), hex::encode(self.body_digest))
    }
}

/// Chunks of a large request are named `<id>:chunk:<n>`.
fn is_chunk(trace_id: &str) -> bool {
    trace_id.contains(":chunk:")
}

mod digest_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(&text, &mut digest).map_err(D::Error::custom)?;
        Ok(digest)
    }
}
