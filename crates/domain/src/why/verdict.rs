//! Steps → the layer at fault.

use super::{Evidence, Layer, State, Step, Verdict};

/// What is there settles what comes before it: a record needs no connection that is active today, and a delivery that
/// came no scope that allows it.
pub(super) fn of_steps(evidence: &Evidence, steps: &[Step]) -> Verdict {
    let first = if evidence.alive().next().is_some() {
        Layer::Event
    } else if !evidence.records.is_empty() {
        Layer::Record
    } else if !evidence.deliveries.is_empty() {
        Layer::Terra
    } else {
        Layer::Connection
    };
    let fault = steps.iter().find(|step| step.layer >= first && step.state == State::Fault);
    match fault {
        Some(step) => Verdict { layer: Some(step.layer), words: step.words.clone() },
        None => Verdict { layer: None, words: nothing_missing(evidence, steps) },
    }
}

fn nothing_missing(evidence: &Evidence, steps: &[Step]) -> String {
    let event = steps.iter().find(|step| step.layer == Layer::Event);
    let event = event.map(|step| step.words.as_str()).unwrap_or_default();
    let count = evidence.alive().count();
    format!("nothing is missing: {count} {} of {}; {event}", evidence.kind.label(), evidence.date)
}
