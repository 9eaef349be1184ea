//! Which deliveries a person means: the body of whatever works on many of them.

use adapters::store::LedgerOutcome;
use domain::id::DeliveryId;
use domain::replay::Selection;
use domain::settle::class::Class;
use serde::Deserialize;

use super::{given, moment, one_of};
use crate::http::problem::Problem;

const IDS_MAX: usize = 1_000;
const RATE_MAX: u32 = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    ids: Vec<DeliveryId>,
    outcome: Option<String>,
    #[serde(rename = "type")]
    type_name: Option<String>,
    user: Option<String>,
    provider: Option<String>,
    terra_user_id: Option<String>,
    trace_id: Option<String>,
    environment: Option<String>,
    class: Option<String>,
    fingerprint: Option<String>,
    /// A time, or a date for its first moment, as is `to`.
    from: Option<String>,
    to: Option<String>,
    /// Of a replay: deliveries a second.
    rate: Option<u32>,
    /// Of a discard.
    reason: Option<String>,
    pub(super) dry_run: bool,
}

impl Asked {
    pub(super) fn selection(&self) -> Result<Selection, Problem> {
        let in_body = |problem: Problem| Problem::bad_body(problem.detail);
        let text = |text: &Option<String>| given(text.clone());
        let labels = LedgerOutcome::ALL.map(LedgerOutcome::label);
        let outcome = one_of("outcome", self.outcome.clone(), LedgerOutcome::parse, &labels).map_err(in_body)?;
        if self.ids.len() > IDS_MAX {
            return Err(Problem::bad_body(format!("ids: at most {IDS_MAX}; a filter chooses more")));
        }
        let selection = Selection {
            ids: self.ids.clone(),
            outcome: outcome.map(|outcome| outcome.label().to_owned()),
            type_name: text(&self.type_name),
            user: text(&self.user),
            provider: text(&self.provider),
            terra_user_id: text(&self.terra_user_id),
            trace_id: text(&self.trace_id),
            environment: text(&self.environment),
            class: one_of("class", self.class.clone(), Class::parse, &Class::LABELS).map_err(in_body)?,
            fingerprint: text(&self.fingerprint),
            from: moment("from", self.from.clone()).map_err(in_body)?,
            to: moment("to", self.to.clone()).map_err(in_body)?,
        };
        if selection.from.zip(selection.to).is_some_and(|(from, to)| from >= to) {
            return Err(Problem::bad_body("from, to: from before to"));
        }
        Ok(selection)
    }

    /// For what must not be everything because somebody forgot to say what.
    pub(super) fn something(&self) -> Result<Selection, Problem> {
        let selection = self.selection()?;
        if selection == Selection::default() {
            return Err(Problem::bad_body(
                "name some deliveries: ids, or one of outcome, type, user, provider, terra_user_id, trace_id, environment, class, fingerprint, from, to",
            ));
        }
        Ok(selection)
    }

    pub(super) fn rate(&self, default: u32) -> Result<u32, Problem> {
        if self.reason.is_some() {
            return Err(Problem::bad_body("reason: a replay takes none"));
        }
        match self.rate {
            None => Ok(default),
            Some(rate) if (1..=RATE_MAX).contains(&rate) => Ok(rate),
            Some(_) => Err(Problem::bad_body(format!("rate: 1 to {RATE_MAX} deliveries a second"))),
        }
    }

    pub(super) fn reason(&self) -> Result<String, Problem> {
        if self.rate.is_some() {
            return Err(Problem::bad_body("rate: a discard takes none"));
        }
        let reason = self.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        match reason {
            Some(reason) if reason.chars().count() <= 500 && !reason.chars().any(char::is_control) => Ok(reason.into()),
            Some(_) => Err(Problem::bad_body("reason: one line of at most 500 characters")),
            None => Err(Problem::bad_body("reason: why nobody will replay them")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(body: Value) -> Asked {
        serde_json::from_value(body).unwrap()
    }

    #[track_caller]
    fn refused(body: Value, text: &str) {
        let problem = asked(body).something().unwrap_err();
        assert_eq!(problem.code, "bad_body");
        assert!(problem.detail.contains(text), "{}", problem.detail);
    }

    #[test]
    fn a_selection_names_something_that_there_is() {
        refused(json!({}), "name some deliveries");
        refused(json!({ "outcome": "lost" }), "outcome: one of");
        refused(json!({ "class": "bad" }), "class: one of");
        refused(json!({ "from": "yesterday" }), "from:");
        refused(json!({ "from": "2026-03-02", "to": "2026-03-02" }), "from before to");
        refused(json!({ "ids": vec![DeliveryId(uuid::Uuid::nil()); 1_001] }), "at most 1000");
        let selection = asked(json!({ "type": "sleep", "from": "2026-03-01" })).something().unwrap();
        assert_eq!((selection.type_name.as_deref(), selection.ids.len()), (Some("sleep"), 0));
        assert!(serde_json::from_value::<Asked>(json!({ "typ": "sleep" })).is_err());
    }

    #[test]
    fn a_rate_is_of_a_replay_and_a_reason_of_a_discard() {
        assert_eq!(asked(json!({})).rate(7).ok(), Some(7));
        assert_eq!(asked(json!({ "rate": 3 })).rate(7).ok(), Some(3));
        assert!(asked(json!({ "rate": 0 })).rate(7).is_err() && asked(json!({ "reason": "x" })).rate(7).is_err());
        assert_eq!(asked(json!({ "reason": " test data " })).reason().ok().as_deref(), Some("test data"));
        assert!(
            asked(json!({ "reason": " " })).reason().is_err() && asked(json!({ "reason": "a\nb" })).reason().is_err()
        );
        assert!(asked(json!({ "reason": "x", "rate": 1 })).reason().is_err());
    }
}
