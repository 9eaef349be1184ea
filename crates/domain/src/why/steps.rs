//! One function per layer: what the evidence says of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use terra::event::DataKind;

use super::{DeliverySeen, Evidence, JobSeen, Layer, LogSeen, Outcome, State, Step};
use crate::identity::{AliasStatus, Status};

/// Deliveries that are named among the facts.
const NAMED_MAX: usize = 5;

fn step(layer: Layer, state: State, words: impl Into<String>, facts: Value) -> Step {
    Step { layer, state, words: words.into(), facts }
}

fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).date().to_string()
}

pub(super) fn connection(evidence: &Evidence) -> Step {
    let seen = &evidence.connection;
    let facts = json!({
        "connection": seen.id, "status": seen.status, "user": seen.user, "terra_user_id": seen.terra_user_id,
        "connected_at": seen.connected_at, "revoked_at": seen.revoked_at, "failed_at": seen.failed_at,
    });
    let (state, words) = match seen.health {
        AliasStatus::Revoked => match seen.revoked_at {
            Some(at) if at < evidence.day_end() => {
                (State::Fault, format!("the connection was revoked on {}, before that day ended", day(at)))
            }
            Some(at) => (State::Ok, format!("the connection was revoked on {}, after that day", day(at))),
            None => (State::Unknown, "the connection is revoked; since when is not known".into()),
        },
        AliasStatus::Degraded => {
            let since = seen.failed_at.map(|at| format!(" since {}", day(at))).unwrap_or_default();
            let words = format!("{} refuses Terra{since}: the person has to connect again", evidence.provider());
            match seen.failed_at {
                Some(at) if at >= evidence.day_end() => (State::Ok, format!("{words}; that was after that day")),
                Some(_) | None => (State::Fault, words),
            }
        }
        AliasStatus::Active => (State::Ok, connected(evidence)),
    };
    step(Layer::Connection, state, words, facts)
}

fn connected(evidence: &Evidence) -> String {
    let since = match evidence.connection.connected_at {
        None => "connected; since when is not known".to_owned(),
        Some(at) if at >= evidence.day_end() => {
            format!("connected on {}, after that day: only history that was asked for can bring it", day(at))
        }
        Some(at) => format!("connected since {}", day(at)),
    };
    match evidence.connection.status {
        Status::Unresolved => format!("{since}; whose it is is not known"),
        Status::Disputed => format!("{since}; whose it is is disputed"),
        Status::Active | Status::Degraded | Status::Revoked => since,
    }
}

pub(super) fn provider(evidence: &Evidence) -> Step {
    let (provider, kind) = (evidence.provider(), evidence.kind.label());
    let facts = json!({ "provider": evidence.connection.provider, "serves": evidence.serves });
    match evidence.serves {
        Some(true) => step(Layer::Provider, State::Ok, format!("{provider} serves {kind}"), facts),
        Some(false) => {
            let words = format!("{provider} does not serve {kind}: nothing will ever come");
            step(Layer::Provider, State::Fault, words, facts)
        }
        None => {
            let words = format!("whether {provider} serves {kind} is not known: Terra's list does not say");
            step(Layer::Provider, State::Unknown, words, facts)
        }
    }
}

/// Providers have words of their own for what a person allows; only scopes that all speak of our kinds are understood.
pub(super) fn scopes(evidence: &Evidence) -> Step {
    let (scopes, kind) = (&evidence.connection.scopes, evidence.kind);
    let facts = json!({ "scopes": scopes });
    let listed = scopes.join(", ");
    let named: Vec<Option<DataKind>> = scopes.iter().map(|scope| kind_of(scope)).collect();
    let (state, words) = if scopes.is_empty() {
        (State::Unknown, "Terra named no scopes".to_owned())
    } else if named.contains(&Some(kind)) {
        (State::Ok, format!("the person allowed {}", kind.label()))
    } else if named.iter().all(Option::is_some) {
        (State::Fault, format!("the person did not allow {}: the scopes are {listed}", kind.label()))
    } else {
        (State::Unknown, format!("the scopes are the provider's own words and do not say: {listed}"))
    };
    step(Layer::Scopes, state, words, facts)
}

/// `sleep`, `sleep:read`, `sleep.read`.
fn kind_of(scope: &str) -> Option<DataKind> {
    let name = scope.split([':', '.']).next().unwrap_or_default();
    DataKind::parse(&name.trim().to_lowercase())
}

pub(super) fn terra(evidence: &Evidence) -> Step {
    let jobs: Vec<Value> = evidence
        .jobs
        .iter()
        .map(|job| json!({ "id": job.id, "state": job.state, "reason": job.reason, "status": job.status, "reference": job.reference, "run_at": job.run_at }))
        .collect();
    let mut facts = json!({ "requests": jobs });
    if let (Value::Object(facts), Ok(Value::Object(log))) = (&mut facts, serde_json::to_value(evidence.log)) {
        facts.extend(log);
    }
    if !evidence.deliveries.is_empty() {
        return of_delivered(evidence, facts);
    }
    if evidence.day_start() > evidence.now {
        return step(Layer::Terra, State::Fault, "that day has not come yet", facts);
    }
    let (state, words) = match telling(&evidence.jobs) {
        Some(job) => of_job(job),
        None => of_log(evidence),
    };
    step(Layer::Terra, state, words, facts)
}

/// Nothing came and nothing was asked for: only Terra's own log can tell.
fn of_log(evidence: &Evidence) -> (State, String) {
    let kind = evidence.kind.label();
    match evidence.log {
        LogSeen::NotAsked => {
            (State::Unknown, "nobody asked Terra for that day; Terra's own log was not asked (no admin token)".into())
        }
        LogSeen::Unreachable => (State::Unknown, "Terra's own log did not answer".into()),
        LogSeen::Asked { delivered: 0, failed: 0, .. } => {
            (State::Fault, format!("Terra's own log has no {kind} of this person around that day: it sent nothing"))
        }
        LogSeen::Asked { delivered: 0, failed, .. } => {
            (State::Ok, format!("Terra tried to deliver, {failed} times without success"))
        }
        LogSeen::Asked { delivered, .. } => {
            (State::Ok, format!("Terra delivered {delivered} times and was answered with success"))
        }
    }
}

/// Why nothing arrived though Terra sent it, as far as its log tells.
fn of_nothing_received(evidence: &Evidence) -> String {
    let kind = evidence.kind.label();
    match evidence.log {
        LogSeen::Asked { delivered: 0, failed, last_status } if failed > 0 => {
            let answer =
                last_status.map_or_else(|| "nobody answered".to_owned(), |status| format!("our answer was {status}"));
            format!("Terra tried to deliver {kind} around that day and {answer}: `landfall recover` asks for it again")
        }
        LogSeen::Asked { delivered, .. } if delivered > 0 => {
            format!(
                "Terra's log says that {kind} was delivered around that day, and no delivery is here: look at its other destinations"
            )
        }
        LogSeen::Asked { .. } | LogSeen::NotAsked | LogSeen::Unreachable => {
            format!("no {kind} of this person arrived around that day")
        }
    }
}

/// What came around the day need not be about it: where Terra was asked for the day itself, its answer counts.
fn of_delivered(evidence: &Evidence, facts: Value) -> Step {
    let said_nothing = telling(&evidence.jobs).filter(|job| job.state == "nothing");
    match said_nothing {
        Some(job) if evidence.records.is_empty() && stuck(&evidence.deliveries).is_none() => {
            let (state, words) = of_job(job);
            step(Layer::Terra, state, words, facts)
        }
        Some(_) | None => step(Layer::Terra, State::Ok, "Terra delivered", facts),
    }
}

/// Of several requests the one that has got furthest; of equals the last one.
fn telling(jobs: &[JobSeen]) -> Option<&JobSeen> {
    jobs.iter().max_by_key(|job| match job.state.as_str() {
        "done" => 4,
        "requested" => 3,
        "nothing" => 2,
        "queued" => 1,
        _ => 0,
    })
}

fn of_job(job: &JobSeen) -> (State, String) {
    let reason = job.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let status = job.status.map(|status| format!(", status {status}")).unwrap_or_default();
    match job.state.as_str() {
        "nothing" => (State::Fault, "Terra was asked for that day and answered: no data".into()),
        "failed" => (State::Fault, format!("Terra was asked for that day, and it failed{reason}{status}")),
        "queued" => (
            State::Fault,
            format!("Terra is yet to be asked for that day: the request waits until {}{reason}", job.run_at),
        ),
        "requested" => {
            let reference = job.reference.as_deref().unwrap_or("none");
            (State::Fault, format!("Terra took our request for that day (reference {reference}) and has not delivered"))
        }
        "done" => (State::Unknown, "Terra answered for that day; the ledger has no row of its answer any more".into()),
        other => (State::Unknown, format!("our request for that day is {other}{reason}")),
    }
}

pub(super) fn received(evidence: &Evidence) -> Step {
    let deliveries = &evidence.deliveries;
    let facts = json!({
        "deliveries": deliveries.len(),
        "newest": deliveries.iter().take(NAMED_MAX).map(|one| one.id).collect::<Vec<_>>(),
        "ledger_from": evidence.ledger_from,
    });
    let kind = evidence.kind.label();
    match deliveries.len() {
        0 if evidence.day_start() < evidence.ledger_from => {
            let words = format!(
                "the ledger keeps nothing from before {}: what came then is not known",
                day(evidence.ledger_from)
            );
            step(Layer::Received, State::Unknown, words, facts)
        }
        0 => step(Layer::Received, State::Fault, of_nothing_received(evidence), facts),
        1 => step(Layer::Received, State::Ok, format!("1 delivery of {kind} around that day"), facts),
        count => step(Layer::Received, State::Ok, format!("{count} deliveries of {kind} around that day"), facts),
    }
}

pub(super) fn decision(evidence: &Evidence) -> Step {
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for delivery in &evidence.deliveries {
        *outcomes.entry(label(delivery.outcome).to_owned()).or_default() += 1;
    }
    let stuck = stuck(&evidence.deliveries);
    let facts = json!({
        "outcomes": outcomes,
        "delivery": stuck.map(|delivery| delivery.id),
        "reason": stuck.and_then(|delivery| delivery.reason.as_deref()),
        "order_inferred": evidence.records.iter().any(|record| record.order_inferred),
    });
    let (state, words) = match stuck {
        Some(delivery) => (State::Fault, of_stuck(delivery)),
        None => of_applied(evidence),
    };
    step(Layer::Decision, state, words, facts)
}

fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Processed => "processed",
        Outcome::Duplicate => "duplicate",
        Outcome::SetAside => "set_aside",
        Outcome::Quarantined => "quarantined",
        Outcome::Retry => "retry",
        Outcome::Dead => "dead",
    }
}

/// The delivery that somebody has to look at, if there is one.
fn stuck(deliveries: &[DeliverySeen]) -> Option<&DeliverySeen> {
    [Outcome::Dead, Outcome::Quarantined, Outcome::SetAside, Outcome::Retry]
        .into_iter()
        .find_map(|outcome| deliveries.iter().find(|delivery| delivery.outcome == outcome))
}

fn of_stuck(delivery: &DeliverySeen) -> String {
    let reason = delivery.reason.as_deref().unwrap_or("no reason was kept");
    let what = match delivery.outcome {
        Outcome::Dead => format!("the delivery is dead: {reason}"),
        Outcome::Quarantined => format!("the delivery is quarantined: {reason}"),
        Outcome::Retry => match delivery.retry_at {
            Some(at) => format!("the delivery failed and is tried again at {at}: {reason}"),
            None => format!("the delivery failed and is tried again: {reason}"),
        },
        Outcome::SetAside | Outcome::Processed | Outcome::Duplicate => {
            format!("the delivery was set aside, because nothing could be made of it: {reason}")
        }
    };
    format!("{what}; `landfall deliveries show {}`", delivery.id)
}

fn of_applied(evidence: &Evidence) -> (State, String) {
    if evidence.deliveries.is_empty() {
        return (State::Unknown, "there is no delivery to decide about".into());
    }
    let mut words = "what arrived was applied".to_owned();
    if evidence.deliveries.iter().all(|delivery| delivery.outcome == Outcome::Duplicate) {
        words = "what arrived were duplicates of what had been applied".into();
    }
    if let Some(delivery) = evidence.deliveries.iter().find(|delivery| delivery.unread > 0) {
        words =
            format!("{words}; parts of {} could not be read: `landfall deliveries show {}`", delivery.id, delivery.id);
        // Where nothing of the day is there, what could not be read may have been it.
        let state = if evidence.records.is_empty() { State::Unknown } else { State::Ok };
        return (state, words);
    }
    if evidence.records.iter().any(|record| record.order_inferred) {
        words.push_str("; its order comes from the signed time, because Terra sent no ordering header");
    }
    (State::Ok, words)
}

pub(super) fn record(evidence: &Evidence) -> Step {
    let facts = json!({
        "records": evidence.records.iter().take(NAMED_MAX).map(|record| json!({
            "id": record.id, "key": record.key, "deleted": record.deleted, "sent_at": record.sent_at,
            "updated_at": record.updated_at, "order_inferred": record.order_inferred,
        })).collect::<Vec<_>>(),
        "count": evidence.records.len(),
    });
    let (state, words) = match (evidence.alive().count(), evidence.records.first()) {
        (0, Some(gone)) => (
            State::Fault,
            format!("Terra deleted it: of record {} a tombstone of {} is the newest word", gone.id, gone.sent_at),
        ),
        (0, None) => (State::Fault, absent(evidence)),
        (1, _) => (State::Ok, format!("1 {} of that day is kept", evidence.kind.label())),
        (count, _) => (State::Ok, format!("{count} {} of that day are kept", evidence.kind.label())),
    };
    step(Layer::Record, state, words, facts)
}

fn absent(evidence: &Evidence) -> String {
    let kind = evidence.kind.label();
    let unread = evidence.deliveries.iter().find(|delivery| delivery.unread > 0);
    match (evidence.deliveries.is_empty(), unread) {
        (true, _) => {
            format!("no {kind} of that day is kept, and what came then is not known: ask Terra for that day again")
        }
        (false, Some(delivery)) => format!(
            "no {kind} of that day is kept; parts of what arrived could not be read: `landfall deliveries show {}`",
            delivery.id
        ),
        (false, None) => format!("no {kind} of that day is kept: what arrived around it was about other days"),
    }
}

pub(super) fn event(evidence: &Evidence) -> Step {
    let facts = json!({
        "events": evidence.events.iter().map(|event| json!({
            "record": event.record, "verb": event.verb, "position": event.position, "held": event.held,
        })).collect::<Vec<_>>(),
    });
    if evidence.records.is_empty() {
        return step(Layer::Event, State::Unknown, "there is no record to tell of", facts);
    }
    let held = evidence.events.iter().rev().find(|event| event.held);
    let told = evidence.events.iter().rev().find_map(|event| Some((event, event.position?)));
    let (state, words) = match (held, told) {
        (Some(_), _) => (State::Fault, of_held(evidence)),
        (None, Some((event, position))) => {
            (State::Ok, format!("services were told ({}) at position {position}", event.verb))
        }
        (None, None) if !evidence.events.is_empty() => {
            (State::Unknown, "the event waits to be numbered: its services are told within seconds".into())
        }
        (None, None) => (State::Unknown, "the ledger no longer says which delivery told of it".into()),
    };
    step(Layer::Event, state, words, facts)
}

fn of_held(evidence: &Evidence) -> String {
    let id = evidence.connection.id;
    let why = match evidence.connection.status {
        Status::Disputed => "its connection is disputed between users",
        Status::Active | Status::Degraded | Status::Revoked | Status::Unresolved => "no internal user is known for it",
    };
    format!("the record is there, and its event is held because {why}: `landfall connections assign {id} USER`")
}
