//! What a scenario is made of: people, and steps in their order.

use jiff::civil::Date;
use serde_json::Value;

use crate::catalog::scopes;
use crate::dice::Dice;
use crate::disturbance::Disturbance;
use crate::event::{athlete_event, auth_success, data_event};
use crate::fault::Fault;
use crate::generate::{Detail, record, shifted};
use crate::outage::Outage;
use crate::payload::Ping;
use crate::scenario::end::End;
use crate::settings::{Amount, Dialect};
use crate::user::User;
use crate::whims::Whims;

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
}

pub(crate) enum Step {
    /// Terra knows the user from now on. Nothing is sent.
    Register(Box<User>, Whims),
    /// Terra knows the user no more. Nothing is sent.
    Forget(String),
    Send(Box<Delivery>),
    /// The delivery of an earlier [`Step::Send`], counted from 0, once more: same body, same ids.
    Again(usize),
    /// A delivery that reaches nobody and is given up. Terra's event log has it.
    Miss(Box<Delivery>),
    Disturb(Disturbance),
    Fault(Box<Fault>),
    Outage(Outage),
}

pub(crate) struct Delivery {
    pub(crate) body: Body,
    /// When Terra made it, as a number: deliveries may come in another order than they were made.
    pub(crate) made: usize,
    /// Without trace id and ordering timestamp, as from the older platform.
    pub(crate) older: bool,
    pub(crate) reference: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) ping: Option<Ping>,
    /// How long before it is sent Terra made it.
    pub(crate) seconds_ago: i64,
}

pub(crate) enum Body {
    Event(Value),
    /// Bytes that a JSON library would not write: its type, for the log, and the text.
    Text(&'static str, String),
}

impl Delivery {
    pub(crate) fn of(made: usize, event: Value) -> Self {
        Self {
            body: Body::Event(event),
            made,
            older: false,
            reference: None,
            trace_id: None,
            ping: None,
            seconds_ago: 0,
        }
    }

    pub(crate) fn text(made: usize, kind: &'static str, text: String) -> Self {
        Self { body: Body::Text(kind, text), ..Self::of(made, Value::Null) }
    }

    pub(crate) fn send(self) -> Step {
        Step::Send(Box::new(self))
    }
}

/// Who plays: everything that a script depends on.
pub(crate) struct Cast {
    pub(crate) seed: u64,
    pub(crate) name: &'static str,
    pub(crate) today: Date,
    /// The app's ids of the people, in their order; made up where there are too few.
    pub(crate) references: Vec<String>,
}

impl Cast {
    /// The n-th person of the scenario at a provider. Each connection of one person, told apart by
    /// its number, has an id of its own.
    pub(crate) fn user(&self, person: usize, provider: &str, connection: u32) -> User {
        let names = ["scenario", self.name, &person.to_string(), provider, &connection.to_string()];
        let reference = self.references.get(person).cloned();
        User {
            user_id: Dice::of(self.seed, &names).uuid().to_string(),
            provider: provider.to_owned(),
            reference_id: Some(reference.unwrap_or_else(|| format!("scenario-{}-{}", self.name, person + 1))),
            scopes: scopes(provider),
            active: true,
            created_at: format!("{}T06:00:00.000000+00:00", self.day(2)),
            last_webhook_update: None,
        }
    }

    /// The day so many days ago.
    pub(crate) fn day(&self, ago: i64) -> Date {
        shifted(self.today, -ago)
    }

    pub(crate) fn record(&self, kind: &str, user: &User, ago: i64) -> Value {
        record(kind, self.seed, &user.user_id, self.day(ago), Detail::Summary).unwrap_or_default()
    }

    /// An id that belongs to the scenario and is the same in each run.
    pub(crate) fn id(&self, what: &str) -> String {
        Dice::of(self.seed, &["scenario", self.name, what]).uuid().to_string()
    }
}

/// The event that carries some records of a kind.
pub(crate) fn event(kind: &str, user: &User, records: Vec<Value>) -> Value {
    match records.as_slice() {
        [profile] if kind == "athlete" => athlete_event(user, profile.clone()),
        _ => data_event(kind, user, records),
    }
}

/// Terra registers somebody without history of their own, and says so.
pub(crate) fn connect(user: &User, made: usize) -> [Step; 2] {
    [register(user), Delivery::of(made, auth_success(Dialect::Newer, user, None)).send()]
}

pub(crate) fn register(user: &User) -> Step {
    Step::Register(Box::new(user.clone()), Whims { data: Some(Amount::Empty), ..Whims::default() })
}
