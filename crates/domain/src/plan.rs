//! Delivery → plan: the rows that follow from one delivery, as plain data.
//!
//! A plan says what was stated, never what is concluded: conclusions need the other facts and are drawn in the
//! transaction that stores them.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::backfill::Noted;
use crate::delivery::{Admission, Delivery};
use crate::fetch::FetchJob;
use crate::id::{AliasKey, Environment, ReferenceId, SessionId};
use crate::identity::{Edge, Fact};
use crate::order::Order;
use crate::outgoing::Outgoing;
use crate::record::Record;
use crate::session::SessionResult;

mod answer;
mod context;
pub mod effects;
mod event;
mod failed_attempt;
mod records;
mod speaker;
mod stored;

pub use answer::{confirmed, reconciled};
pub use context::{Capabilities, Context};
pub(crate) use event::lab_alias;
use event::plan_event;
pub use event::{LAB_ALIAS_PREFIX, LAB_PROVIDER};
pub use records::{Sighting, UnreadPart, UnreadParts};
pub use stored::{Asked, Stored, stored_payload, unavailable};

/// The rows one cause calls for.
#[derive(Debug, Clone)]
pub struct Plan {
    pub cause: Cause,
    pub disposition: Disposition,
    pub facts: Vec<Fact>,
    pub edges: Vec<Edge>,
    pub records: Vec<Record>,
    /// What of the delivery could not be read; its ledger row names it.
    pub unread: UnreadParts,
    /// What of it Terra's schema does not have.
    pub strange: Vec<Sighting>,
    pub auth_event: Option<AuthEvent>,
    pub session: Option<SessionResult>,
    pub backfill: Option<Backfill>,
    /// What to ask Terra for because this delivery cannot bring it.
    pub instead: Vec<FetchJob>,
    /// A word for the ledger about a delivery that was processed.
    pub remark: Option<&'static str>,
    /// What it says of a request for data, ours or not.
    pub noted: Option<Noted>,
    /// Events that follow from this cause alone, such as a failed attempt to connect.
    pub notices: Vec<Outgoing>,
}

#[derive(Debug, Clone)]
pub enum Cause {
    Delivery(Box<Delivery>),
    /// Terra's own list told something of a user that no delivery had.
    Reconcile {
        /// Of this run and user: ids are derived from it.
        id: Uuid,
        environment: Environment,
        at: Timestamp,
    },
    /// Terra answered our own question about a user who came back from the widget.
    Confirmation {
        session: SessionId,
        environment: Environment,
        at: Timestamp,
    },
}

impl Cause {
    /// Stable bytes for ids that are derived from this cause.
    pub fn id_bytes(&self) -> [u8; 16] {
        match self {
            Cause::Delivery(delivery) => *delivery.id.0.as_bytes(),
            Cause::Confirmation { session, .. } => *session.0.as_bytes(),
            Cause::Reconcile { id, .. } => *id.as_bytes(),
        }
    }

    pub fn time(&self) -> Timestamp {
        match self {
            Cause::Delivery(delivery) => delivery.received_at,
            Cause::Confirmation { at, .. } | Cause::Reconcile { at, .. } => *at,
        }
    }

    pub fn environment(&self) -> &Environment {
        match self {
            Cause::Delivery(delivery) => &delivery.environment,
            Cause::Confirmation { environment, .. } | Cause::Reconcile { environment, .. } => environment,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    Process,
    /// Genuine, but nothing can be made of it: kept, with the reason.
    SetAside {
        reason: String,
    },
    /// Genuine, but too old to be trusted with effects.
    Quarantine {
        reason: String,
    },
    /// It names somebody who was erased: nothing of it is kept.
    Bury,
}

/// A row of the append-only history of connects and disconnects.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthEvent {
    pub environment: Environment,
    pub kind: String,
    /// True for successful and informational events, false for a failed attempt.
    pub succeeded: bool,
    pub terra_user_id: Option<String>,
    pub reference: Option<ReferenceId>,
    pub provider: Option<String>,
    pub order: Order,
    /// Reason, old and new ids, scopes: nothing about health.
    pub detail: Value,
}

/// History to ask for, if this connect happened before our eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    pub alias: AliasKey,
    /// True: the user is new at Terra. False: only if a connect session of ours belongs to it.
    pub certain: bool,
    pub jobs: Vec<FetchJob>,
}

/// Says which rows follow from a delivery.
///
/// - Shapes: `body` is the raw bytes; anything at all is a valid input.
/// - Errors: none. What cannot be read is set aside with its reason.
pub fn plan(delivery: Delivery, body: &Bytes, context: &Context) -> Plan {
    if delivery.admission == Admission::Quarantined {
        return Plan::empty(delivery, Disposition::Quarantine { reason: "too_old".into() });
    }
    match terra::event::decode(body) {
        Ok(event) => plan_event(delivery, event, body, context),
        Err(unreadable) => Plan::empty(delivery, Disposition::SetAside { reason: unreadable.reason().into() }),
    }
}

impl Plan {
    fn empty(delivery: Delivery, disposition: Disposition) -> Plan {
        Plan::nothing(Cause::Delivery(Box::new(delivery)), disposition)
    }

    /// A plan that calls for no row but that of the ledger.
    pub(crate) fn nothing(cause: Cause, disposition: Disposition) -> Plan {
        Plan {
            cause,
            disposition,
            facts: Vec::new(),
            edges: Vec::new(),
            records: Vec::new(),
            unread: UnreadParts::default(),
            strange: Vec::new(),
            auth_event: None,
            session: None,
            backfill: None,
            instead: Vec::new(),
            remark: None,
            noted: None,
            notices: Vec::new(),
        }
    }
}
