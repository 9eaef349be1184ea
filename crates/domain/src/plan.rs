//! Delivery → plan: the rows that follow from one delivery, as plain data.
//!
//! A plan says what was stated, never what is concluded: conclusions need the other facts and are drawn in the
//! transaction that stores them.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use terra::event::{DataKind, Event, User};
use uuid::Uuid;

use crate::backfill::{self, Noted};
use crate::delivery::{Admission, Delivery};
use crate::fetch::{self, FetchJob, FetchOrigin, Window, Wish};
use crate::id::{AliasKey, Environment, ReferenceId, SessionId, derived_uuid};
use crate::identity::{Edge, Fact, Said};
use crate::order::Order;
use crate::outgoing::Outgoing;
use crate::reconcile::{Finding, ReconcileId};
use crate::record::Record;
use crate::session::{SessionOutcome, SessionResult};

pub mod effects;
mod records;
mod stored;

use records::Source;
pub use records::{Sighting, UnreadPart, UnreadParts};
pub use stored::{Asked, Stored, stored_payload, unavailable};

/// An `auth` whose user is older than this is no connect before our eyes: it starts no backfill.
const NEW_USER_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The provider of lab reports: they come from no wearable.
pub const LAB_PROVIDER: &str = "LAB_REPORT";

/// Lab reports name no user of Terra's but the reference of who uploaded them. They belong to an alias of their own, made
/// of this and the reference, so that whose they are is found out, held and decided as for any other data.
pub const LAB_ALIAS_PREFIX: &str = "lab-report:";

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

/// What planning needs to know besides the delivery.
#[derive(Debug, Clone)]
pub struct Context {
    pub backfill_days: u32,
    /// Of one request for data.
    pub window_days_max: u32,
    pub capabilities: Capabilities,
}

impl Default for Context {
    fn default() -> Self {
        Context { backfill_days: 0, window_days_max: fetch::WINDOW_DAYS_MAX, capabilities: Capabilities::default() }
    }
}

/// Which kinds each provider serves, from Terra's list of integrations.
#[derive(Debug, Clone, Default)]
pub struct Capabilities(BTreeMap<String, Vec<DataKind>>);

impl Capabilities {
    pub fn new(by_provider: impl IntoIterator<Item = (String, Vec<DataKind>)>) -> Self {
        Self(by_provider.into_iter().map(|(provider, kinds)| (provider.to_uppercase(), kinds)).collect())
    }

    /// The kinds worth asking for: all that REST serves where the provider is not known.
    pub fn history_kinds(&self, provider: Option<&str>) -> Vec<DataKind> {
        match provider.and_then(|provider| self.0.get(&provider.to_uppercase())) {
            Some(kinds) => fetch::HISTORY_KINDS.into_iter().filter(|kind| kinds.contains(kind)).collect(),
            None => fetch::HISTORY_KINDS.to_vec(),
        }
    }

    /// Whether a provider serves a kind; `None` where Terra's list does not say. It speaks of what has days.
    pub fn serves(&self, provider: Option<&str>, kind: DataKind) -> Option<bool> {
        let kinds = self.0.get(&provider?.to_uppercase())?;
        let is_listed = fetch::HISTORY_KINDS.contains(&kind) && kind != DataKind::Athlete;
        is_listed.then(|| kinds.contains(&kind))
    }
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

fn plan_event(delivery: Delivery, event: Event<'_>, body: &Bytes, context: &Context) -> Plan {
    let speaker = Speaker {
        environment: delivery.environment.clone(),
        order: delivery.order(),
        inferred: delivery.order_is_inferred(),
        kind: delivery.kind().label(),
    };
    let time = delivery.received_at;
    let cause = *delivery.id.0.as_bytes();
    let noted = backfill::note(&delivery, &event);
    let mut plan = Plan { noted, ..Plan::empty(delivery, Disposition::Process) };
    match event {
        Event::AuthSucceeded { user, widget_session_id } => {
            plan.backfill = Some(history(&speaker, &user, time, &cause, context));
            plan.session = Some(connected(&speaker, &user, None, widget_session_id.clone()));
            plan.auth_event = Some(
                speaker.auth_event(&user, json!({ "widget_session_id": widget_session_id, "scopes": user.scopes })),
            );
            plan.facts.push(speaker.fact(&user, Said::Authenticated));
        }
        Event::AuthFailed { user_id, provider, reference_id, reason, widget_session_id } => {
            let failed = FailedAttempt {
                user_id,
                provider,
                reference_id,
                reason: reason.unwrap_or_else(|| "not_given".into()),
                widget_session_id,
            };
            failed.fill(&mut plan, &speaker, time, &cause);
        }
        Event::UserReauth { old, new } => {
            let old_id = old.as_ref().map(|old| old.user_id.clone());
            plan.auth_event =
                Some(speaker.auth_event(&new, json!({ "old_user_id": old_id, "new_user_id": new.user_id })));
            if let Some(old) = old {
                plan.facts.push(speaker.fact(&old, Said::Mentioned));
                if old.user_id != new.user_id {
                    plan.edges.push(Edge {
                        old: speaker.alias(&old),
                        new: speaker.alias(&new),
                        order: speaker.order,
                        severed: false,
                    });
                }
            }
            plan.facts.push(speaker.fact(&new, Said::Reauthenticated));
        }
        Event::Deauth { user } | Event::AccessRevoked { user } => {
            plan.auth_event = Some(speaker.auth_event(&user, json!({})));
            plan.facts.push(speaker.fact(&user, Said::Closed));
        }
        Event::ConnectionError { user } => {
            plan.auth_event = Some(speaker.auth_event(&user, json!({})));
            plan.facts.push(speaker.fact(&user, Said::Failed));
        }
        Event::PermissionChange { user, added, removed } => {
            plan.auth_event =
                Some(speaker.auth_event(&user, json!({ "scopes": user.scopes, "added": added, "removed": removed })));
            plan.facts.push(speaker.fact(&user, Said::Mentioned));
        }
        Event::Data { kind, user: Some(user), items, lone } => {
            let source = speaker.source(speaker.alias(&user), user.provider.as_deref(), kind, body);
            records::fill(&mut plan, &source, &items, lone);
            plan.facts.push(speaker.fact(&user, Said::Seen));
        }
        Event::Data { user: None, .. } => plan.disposition = Disposition::SetAside { reason: "missing_user".into() },
        Event::LabReport { reference_id, session_id, failed, item, .. } => {
            let alias = lab_alias(reference_id.as_deref(), session_id.as_deref());
            let source = speaker.source(
                AliasKey::new(&speaker.environment, &alias),
                Some(LAB_PROVIDER),
                DataKind::LabReport,
                body,
            );
            records::fill(&mut plan, &source, &[item], false);
            // A report that could be read stays, whatever becomes of reading it again.
            for record in plan.records.iter_mut().filter(|_| failed) {
                record.key.natural.insert_str(0, "failed:");
            }
            plan.facts.push(Fact {
                alias: source.alias.clone(),
                order: speaker.order,
                said: Said::Seen,
                provider: Some(LAB_PROVIDER.into()),
                reference: reference_id.as_deref().map(ReferenceId::new),
                scopes: None,
            });
        }
        Event::Unknown { name, user } => {
            plan.strange.push(Sighting::of_event(name, user.and_then(|user| user.provider)));
        }
        // Kept in the ledger with their bytes and counted; they state nothing of anybody.
        Event::LargeRequestProcessing { .. }
        | Event::LargeRequestSending { .. }
        | Event::S3Payload { .. }
        | Event::Informational { .. } => {}
    }
    plan.noted = plan.noted.map(|noted| noted.with_days(plan.records.iter()));
    plan
}

/// The plan of Terra's own answer that `user` is authenticated: the other road of a connect.
///
/// - Shapes: `user` is from `GET /userInfo`, its reference already compared with the session's.
pub fn confirmed(session: SessionId, environment: &Environment, user: &User, at: Timestamp, context: &Context) -> Plan {
    let speaker = Speaker {
        environment: environment.clone(),
        order: Order::at(at.as_millisecond()),
        inferred: true,
        kind: "auth",
    };
    let cause = Cause::Confirmation { session, environment: environment.clone(), at };
    let jobs_cause = cause.id_bytes();
    Plan {
        cause,
        disposition: Disposition::Process,
        facts: vec![speaker.fact(user, Said::Authenticated)],
        edges: Vec::new(),
        records: Vec::new(),
        unread: UnreadParts::default(),
        strange: Vec::new(),
        auth_event: None,
        session: Some(connected(&speaker, user, Some(session), None)),
        instead: Vec::new(),
        remark: None,
        backfill: Some(Backfill { certain: true, ..history(&speaker, user, at, &jobs_cause, context) }),
        noted: None,
        notices: Vec::new(),
    }
}

/// The plan of something that Terra's list of users told and no delivery did. Who connected recently gets the history that
/// the `auth` would have asked for.
pub fn reconciled(
    run: ReconcileId,
    environment: &Environment,
    finding: &Finding,
    at: Timestamp,
    context: &Context,
) -> Plan {
    let id = derived_uuid(&[
        b"reconcile",
        run.0.as_bytes(),
        environment.as_str().as_bytes(),
        finding.terra_user_id().as_bytes(),
        finding.label().as_bytes(),
    ]);
    let cause = Cause::Reconcile { id, environment: environment.clone(), at };
    let speaker =
        |order: &Order| Speaker { environment: environment.clone(), order: *order, inferred: true, kind: "reconcile" };
    let detail = json!({ "found": finding.label(), "origin": "reconcile" });
    let (fact, auth_event, wanted) = match finding {
        Finding::Opened { user, order, is_recent } => {
            let speaker = speaker(order);
            let wanted = is_recent.then(|| Backfill {
                certain: true,
                ..history(&speaker, user, at, id.as_bytes(), context).of(FetchOrigin::Reconcile)
            });
            (speaker.fact(user, Said::Authenticated), speaker.auth_event(user, detail), wanted)
        }
        Finding::Reopened { user, order } => {
            let speaker = speaker(order);
            (speaker.fact(user, Said::Authenticated), speaker.auth_event(user, detail), None)
        }
        Finding::Changed { user, order } => {
            let speaker = speaker(order);
            (speaker.fact(user, Said::Mentioned), speaker.auth_event(user, detail), None)
        }
        Finding::Gone { alias, provider, reference, order } => {
            let fact = Fact {
                alias: alias.clone(),
                order: *order,
                said: Said::Closed,
                provider: None,
                reference: None,
                scopes: None,
            };
            let auth_event = AuthEvent {
                environment: environment.clone(),
                kind: "reconcile".into(),
                succeeded: true,
                terra_user_id: Some(alias.terra_user_id.to_string()),
                reference: reference.clone(),
                provider: provider.clone(),
                order: *order,
                detail,
            };
            (fact, auth_event, None)
        }
    };
    Plan {
        cause,
        disposition: Disposition::Process,
        facts: vec![fact],
        edges: Vec::new(),
        records: Vec::new(),
        unread: UnreadParts::default(),
        strange: Vec::new(),
        auth_event: Some(auth_event),
        session: None,
        backfill: wanted,
        instead: Vec::new(),
        remark: None,
        noted: None,
        notices: Vec::new(),
    }
}

impl Backfill {
    /// The same history, asked for by something else.
    fn of(self, origin: FetchOrigin) -> Backfill {
        let jobs = self.jobs.into_iter().map(|job| FetchJob { origin, ..job }).collect();
        Backfill { jobs, ..self }
    }
}

/// Who says it, and when: what all facts of one delivery share.
struct Speaker {
    environment: Environment,
    order: Order,
    inferred: bool,
    kind: &'static str,
}

impl Speaker {
    fn alias(&self, user: &User) -> AliasKey {
        AliasKey::new(&self.environment, &user.user_id)
    }

    fn fact(&self, user: &User, said: Said) -> Fact {
        Fact {
            alias: self.alias(user),
            order: self.order,
            said,
            provider: user.provider.clone(),
            reference: user.reference_id.as_deref().filter(|reference| !reference.is_empty()).map(ReferenceId::new),
            scopes: user.scopes.clone(),
        }
    }

    fn source<'a>(&self, alias: AliasKey, provider: Option<&'a str>, kind: DataKind, body: &'a Bytes) -> Source<'a> {
        Source { alias, provider, kind, order: self.order, order_inferred: self.inferred, body }
    }

    fn auth_event(&self, user: &User, detail: Value) -> AuthEvent {
        AuthEvent {
            environment: self.environment.clone(),
            kind: self.kind.into(),
            succeeded: true,
            terra_user_id: Some(user.user_id.clone()),
            reference: user.reference_id.as_deref().map(ReferenceId::new),
            provider: user.provider.clone(),
            order: self.order,
            detail,
        }
    }
}

/// A report without a reference belongs to nobody yet: a person can say whose it is.
pub(crate) fn lab_alias(reference: Option<&str>, session: Option<&str>) -> String {
    match (reference, session) {
        (Some(reference), _) => format!("{LAB_ALIAS_PREFIX}{reference}"),
        (None, Some(session)) => format!("{LAB_ALIAS_PREFIX}session:{session}"),
        (None, None) => format!("{LAB_ALIAS_PREFIX}unknown"),
    }
}

fn connected(
    speaker: &Speaker,
    user: &User,
    session: Option<SessionId>,
    widget_session_id: Option<String>,
) -> SessionResult {
    SessionResult {
        environment: speaker.environment.clone(),
        session,
        widget_session_id,
        reference: user.reference_id.as_deref().map(ReferenceId::new),
        outcome: SessionOutcome::Connected { alias: speaker.alias(user), provider: user.provider.clone() },
    }
}

fn history(speaker: &Speaker, user: &User, time: Timestamp, cause: &[u8], context: &Context) -> Backfill {
    let alias = speaker.alias(user);
    let kinds = context.capabilities.history_kinds(user.provider.as_deref());
    let today = time.to_zoned(jiff::tz::TimeZone::UTC).date();
    Backfill {
        certain: user.created_at.is_some_and(|created| time.duration_since(created) < NEW_USER_AGE_MAX),
        jobs: fetch::jobs(&Wish {
            alias: &alias,
            provider: user.provider.as_deref(),
            kinds: &kinds,
            days: Window::last(context.backfill_days, today),
            origin: FetchOrigin::Connect,
            cause,
            window_days_max: context.window_days_max,
        }),
        alias,
    }
}

struct FailedAttempt {
    user_id: Option<String>,
    provider: Option<String>,
    reference_id: Option<String>,
    reason: String,
    widget_session_id: Option<String>,
}

impl FailedAttempt {
    /// A failed attempt is history and news, never a connection.
    fn fill(self, plan: &mut Plan, speaker: &Speaker, time: Timestamp, cause: &[u8]) {
        let reference = self.reference_id.as_deref().filter(|reference| !reference.is_empty()).map(ReferenceId::new);
        plan.notices.push(Outgoing {
            id: crate::id::EventId(derived_uuid(&[b"event", cause, b"auth", b"failed"])),
            alias: None,
            environment: speaker.environment.clone(),
            connection: None,
            subject: reference.as_ref().map(|reference| crate::id::UserId::new(reference.as_str())),
            entity: "auth".into(),
            verb: "failed".into(),
            provider: self.provider.clone(),
            record: None,
            time,
            data: json!({ "reason": self.reason, "reference_id": reference, "provider": self.provider }),
        });
        plan.auth_event = Some(AuthEvent {
            environment: speaker.environment.clone(),
            kind: speaker.kind.into(),
            succeeded: false,
            terra_user_id: self.user_id,
            reference: reference.clone(),
            provider: self.provider,
            order: speaker.order,
            detail: json!({ "reason": self.reason, "widget_session_id": self.widget_session_id }),
        });
        plan.session = Some(SessionResult {
            environment: speaker.environment.clone(),
            session: None,
            widget_session_id: self.widget_session_id,
            reference,
            outcome: SessionOutcome::Failed { reason: self.reason },
        });
    }
}
