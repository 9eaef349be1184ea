//! An erasure in one sentence.

use super::{Erasure, Found, State};

pub fn sentence(erasure: &Erasure) -> String {
    let progress = &erasure.progress;
    let gone = format!(
        "{} connections with {} Terra users, {} records, {} deliveries, {} events and {} other rows",
        progress.connections,
        progress.terra_users,
        progress.records,
        progress.deliveries,
        progress.events,
        progress.other
    );
    match (erasure.state, &erasure.reason) {
        (State::Erasing, _) => format!("Erasing; gone so far: {gone}."),
        (State::Telling, None) => format!("Erased here: {gone}. Terra is being told."),
        (State::Telling, Some(reason)) => {
            format!("Erased here: {gone}. Terra has not agreed yet ({reason}); it is asked again.")
        }
        (State::Done, _) => format!("Done: {gone}, and Terra holds nothing any more."),
    }
}

/// What an erasure would erase.
pub fn preview(found: &Found) -> String {
    format!(
        "{} connections with {} Terra users, {} records, {} deliveries and {} events would be erased, and each Terra \
         user deauthenticated at Terra. This cannot be taken back.",
        found.connections, found.terra_users, found.records, found.deliveries, found.events
    )
}
