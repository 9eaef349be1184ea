//! What one event states.

use bytes::Bytes;
use serde_json::json;
use terra::event::{DataKind, Event};

use super::failed_attempt::FailedAttempt;
use super::speaker::Speaker;
use super::{Context, Disposition, Plan, Sighting, records};
use crate::backfill;
use crate::delivery::Delivery;
use crate::id::{AliasKey, ReferenceId};
use crate::identity::{Edge, Fact, Said};

/// The provider of lab reports: they come from no wearable.
pub const LAB_PROVIDER: &str = "LAB_REPORT";

/// Lab reports name no user of Terra's but the reference of who uploaded them. They belong to an alias of their own, made
/// of this and the reference, so that whose they are is found out, held and decided as for any other data.
pub const LAB_ALIAS_PREFIX: &str = "lab-report:";

pub(super) fn plan_event(delivery: Delivery, event: Event<'_>, body: &Bytes, context: &Context) -> Plan {
    let speaker = Speaker {
        environment: delivery.environment.clone(),
        order: delivery.order(),
        inferred: delivery.order_is_inferred(),
        kind: delivery.kind().label(),
    };
    let time = delivery.received_at;
    let id = delivery.id;
    let cause = *id.0.as_bytes();
    let noted = backfill::note(&delivery, &event);
    let mut plan = Plan { noted, ..Plan::empty(delivery, Disposition::Process) };
    match event {
        Event::AuthSucceeded { user, widget_session_id } => {
            plan.backfill = Some(speaker.history(&user, time, &cause, context));
            plan.session = Some(speaker.connected(&user, None, widget_session_id.clone()));
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
            let (reference, session) = (given(reference_id.as_deref()), given(session_id.as_deref()));
            let alias = lab_alias(reference, session).unwrap_or_else(|| format!("{LAB_ALIAS_PREFIX}delivery:{id}"));
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
                reference: reference.map(ReferenceId::new),
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

/// The alias of a lab report; `None` where the report names nobody at all. One without a reference belongs to nobody yet:
/// a person can say whose it is, and says so of no other's.
pub(crate) fn lab_alias(reference: Option<&str>, session: Option<&str>) -> Option<String> {
    let session = session.map(|session| format!("session:{session}"));
    let name = reference.map(str::to_owned).or(session)?;
    Some(format!("{LAB_ALIAS_PREFIX}{name}"))
}

/// An empty name is none.
fn given(name: Option<&str>) -> Option<&str> {
    name.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::delivery::{Admission, Receipt};
    use crate::id::{DeliveryId, Environment};

    fn alias(body: &str, delivery: u128) -> String {
        let receipt = Receipt {
            id: DeliveryId(Uuid::from_u128(delivery)),
            environment: Environment::new("default"),
            received_at: Timestamp::UNIX_EPOCH,
            t_seconds: 0,
            headers: terra::headers::DeliveryHeaders { trace_id: None, reference: None, ordering_ms: None },
            body_digest: [0; 32],
            signed_digest: [0; 32],
            size_bytes: body.len() as u64,
            admission: Admission::Fresh,
        };
        let delivery = Delivery::new(receipt, terra::event::peek(body.as_bytes()));
        let plan = crate::plan::plan(delivery, &Bytes::from(body.to_owned()), &Context::default());
        plan.facts[0].alias.terra_user_id.to_string()
    }

    #[test]
    fn reports_that_name_nobody_belong_to_no_one_alias() {
        for nobody in [
            r#"{"type":"lab_report.completed","data":{}}"#,
            r#"{"type":"lab_report.completed","reference_id":"","session_id":"","data":{}}"#,
        ] {
            assert_ne!(alias(nobody, 1), alias(nobody, 2), "{nobody}");
            assert_eq!(alias(nobody, 1), alias(nobody, 1), "{nobody}");
        }
        let of_session = r#"{"type":"lab_report.completed","reference_id":"","session_id":"s","data":{}}"#;
        assert_eq!(alias(of_session, 1), "lab-report:session:s");
        let of_ann = r#"{"type":"lab_report.completed","reference_id":"ann","session_id":"s","data":{}}"#;
        assert_eq!(alias(of_ann, 1), "lab-report:ann");
    }
}
