//! What the simulated Terra knows: one value, shared by all routes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::clock::{Clock, amz_stamp_of};
use crate::courier::Courier;
use crate::dials::Dials;
use crate::dice::Dice;
use crate::disturbance::Disturbance;
use crate::event::s3_payload;
use crate::fault::Fault;
use crate::lock::lock;
use crate::outage::Outages;
use crate::payload::{Payload, Payloads, Ping};
use crate::rate_limit::Spent;
use crate::request_log::RequestEntry;
use crate::ring::Ring;
use crate::session::Sessions;
use crate::settings::{Dialect, Settings};
use crate::user::{User, Users};
use crate::webhook::{Parcel, Subject};
use crate::whims::Whims;

const REQUEST_ENTRIES_MAX: usize = 20_000;

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dev_id: String,
    pub(crate) api_key: String,
    /// Where browsers find the widget, without a slash at the end.
    pub(crate) public_url: String,
    pub(crate) clock: Arc<Clock>,
    pub(crate) dials: Arc<Mutex<Dials>>,
    pub(crate) courier: Courier,
    pub(crate) users: Mutex<Users>,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) faults: Mutex<Vec<Fault>>,
    /// Calls that a fault of this name spoilt.
    pub(crate) acted: Mutex<BTreeMap<String, u64>>,
    pub(crate) requests: Mutex<Ring<RequestEntry>>,
    pub(crate) spent: Mutex<HashMap<String, Spent>>,
    /// For the next large requests.
    pub(crate) disturbances: Mutex<Vec<Disturbance>>,
    pub(crate) outages: Mutex<Outages>,
    /// By user id.
    pub(crate) whims: Mutex<HashMap<String, Whims>>,
    /// Bodies that an `s3_payload` event points to.
    pub(crate) payloads: Mutex<Payloads>,
    ids: Mutex<Dice>,
}

impl World {
    pub(crate) fn new(
        settings: &Settings,
        public_url: String,
        clock: Arc<Clock>,
        dials: Arc<Mutex<Dials>>,
        courier: Courier,
    ) -> Self {
        let run = settings.start_unix_seconds.unwrap_or_else(|| clock.unix_ms());
        Self {
            seed: settings.seed,
            dev_id: settings.dev_id.clone(),
            api_key: settings.api_key.clone(),
            public_url,
            clock,
            dials,
            courier,
            users: Mutex::default(),
            sessions: Mutex::default(),
            faults: Mutex::default(),
            acted: Mutex::default(),
            requests: Mutex::new(Ring::holding(REQUEST_ENTRIES_MAX)),
            spent: Mutex::default(),
            disturbances: Mutex::default(),
            outages: Mutex::default(),
            whims: Mutex::default(),
            payloads: Mutex::default(),
            ids: Mutex::new(Dice::of(settings.seed, &["ids", &run.to_string()])),
        }
    }

    pub(crate) fn new_id(&self) -> Uuid {
        lock(&self.ids).uuid()
    }

    pub(crate) fn dials(&self) -> Dials {
        lock(&self.dials).clone()
    }

    pub(crate) fn dialect(&self) -> Dialect {
        lock(&self.dials).dialect
    }

    pub(crate) fn user(&self, user_id: &str) -> Option<User> {
        lock(&self.users).find(user_id).cloned()
    }

    /// Keeps an event for download and makes the event that points to it.
    pub(crate) fn pinged(&self, event: &Value, ping: &Ping) -> Value {
        let (id, signature) = (self.new_id().to_string(), self.new_id().simple().to_string());
        let made_at_ms = self.clock.unix_ms();
        let lifetime_ms = ping.expires_after_ms.unwrap_or(ping.expires_in.saturating_mul(1_000));
        let url = format!(
            "{}/_simulator/payloads/{id}?X-Amz-Date={}&X-Amz-Expires={}&X-Amz-Signature={signature}",
            self.public_url,
            amz_stamp_of(made_at_ms),
            ping.expires_in
        );
        lock(&self.payloads).keep(Payload {
            id,
            signature,
            body: event.to_string().into(),
            expires_at_ms: made_at_ms.saturating_add(i64::try_from(lifetime_ms).unwrap_or(i64::MAX)),
            ping: ping.clone(),
        });
        let mut pointer = s3_payload(&url, ping.expires_in);
        pointer["type"] = ping.spelling.kind().into();
        if ping.names_user {
            pointer["user_id"] = event["user"]["user_id"].clone();
            pointer["reference_id"] = event["user"]["reference_id"].clone();
        }
        pointer
    }

    /// Wraps an event for its way, with a trace id and an order of its own. In ping mode an event
    /// with data stays behind, and one that points to it travels.
    pub(crate) fn parcel(&self, event: &Value) -> Parcel {
        let kind = event["type"].as_str().unwrap_or_default();
        let ping = lock(&self.dials).ping.clone().filter(|ping| ping.fits(kind));
        let subject = Subject::of(event);
        let pointer = ping.map(|ping| self.pinged(event, &ping));
        let event = pointer.as_ref().unwrap_or(event);
        Parcel {
            kind: event["type"].as_str().unwrap_or_default().to_owned(),
            trace_id: Some(self.new_id().to_string()),
            reference: None,
            ordering_ms: Some(self.clock.order_ms()),
            event_id: None,
            subject,
            body: event.to_string().into(),
        }
    }

    /// Sends events nobody asked for, such as `auth` or `deauth`.
    pub(crate) fn announce(&self, events: &[Value], delay: Duration) -> JoinHandle<Option<()>> {
        self.dispatch(events.iter().map(|event| self.parcel(event)).collect(), delay)
    }

    pub(crate) fn shuffle(&self, parcels: &mut [Parcel]) {
        lock(&self.ids).shuffle(parcels);
    }

    /// Hands parcels to the courier, as the dials want them: twice, or out of order.
    pub(crate) fn dispatch(&self, parcels: Vec<Parcel>, delay: Duration) -> JoinHandle<Option<()>> {
        let dials = self.dials();
        let copies = dials.copies.max(1);
        let mut parcels: Vec<Parcel> =
            parcels.into_iter().flat_map(|parcel| std::iter::repeat_n(parcel, copies as usize)).collect();
        if dials.shuffle {
            self.shuffle(&mut parcels);
        }
        self.courier.dispatch(parcels, dials.webhook_delay + delay)
    }
}
