//! What Terra answered when it was asked, and no delivery said.

use jiff::Timestamp;
use serde_json::json;
use terra::event::User;

use super::speaker::Speaker;
use super::{AuthEvent, Backfill, Cause, Context, Disposition, Plan};
use crate::fetch::{FetchJob, FetchOrigin};
use crate::id::{Environment, SessionId, derived_uuid};
use crate::identity::{Fact, Said};
use crate::order::Order;
use crate::reconcile::{Finding, ReconcileId};

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
        facts: vec![speaker.fact(user, Said::Authenticated)],
        session: Some(speaker.connected(user, Some(session), None)),
        backfill: Some(Backfill { certain: true, ..speaker.history(user, at, &jobs_cause, context) }),
        ..Plan::nothing(cause, Disposition::Process)
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
                ..speaker.history(user, at, id.as_bytes(), context).of(FetchOrigin::Reconcile)
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
        facts: vec![fact],
        auth_event: Some(auth_event),
        backfill: wanted,
        ..Plan::nothing(cause, Disposition::Process)
    }
}

impl Backfill {
    /// The same history, asked for by something else.
    fn of(self, origin: FetchOrigin) -> Backfill {
        let jobs = self.jobs.into_iter().map(|job| FetchJob { origin, ..job }).collect();
        Backfill { jobs, ..self }
    }
}
