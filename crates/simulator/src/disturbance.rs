//! What goes wrong, on order, while the next large requests are sent.
//!
//! Terra promises neither that the announcement comes before the chunks nor that every chunk comes
//! once; a receiver that counts chunks has to cope with each of these.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lock::lock;
use crate::webhook::Parcel;
use crate::world::World;

/// When the announcements of a large request come, seen from its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Announce {
    /// Both before the first chunk.
    #[default]
    First,
    /// Both after the first chunk.
    AfterFirstChunk,
    /// Both after the last chunk.
    Last,
    /// `large_request_processing` alone: nobody says how many chunks there are.
    Uncounted,
    /// Neither.
    Never,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disturbance {
    /// How many large requests it spoils. A later request for the same days is answered whole.
    #[serde(default = "once")]
    pub(crate) times: u32,
    /// Only requests for this type of data.
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) user_id: Option<String>,
    /// Chunks that never come, counted from 1. They stay announced.
    #[serde(default)]
    pub(crate) lose: Vec<usize>,
    #[serde(default)]
    pub(crate) announce: Announce,
    /// Chunks that come once more, under the same trace id, when all else was sent.
    #[serde(default)]
    pub(crate) duplicate: Vec<usize>,
    #[serde(default)]
    pub(crate) duplicate_after_ms: u64,
    /// Concerns small requests too, whose one webhook is their chunk 1.
    #[serde(default)]
    pub(crate) small: bool,
    /// Sends the chunks last to first.
    #[serde(default)]
    pub(crate) reverse: bool,
}

fn once() -> u32 {
    1
}

/// A large request on its way: what is sent now, and what comes again later.
pub(crate) struct Sending {
    pub(crate) parcels: Vec<Parcel>,
    pub(crate) again: Vec<Parcel>,
    pub(crate) again_after: Duration,
}

/// The disturbance that is ordered for such a request, if there is one; it is used up by that.
pub(crate) fn take(world: &World, kind: &str, user_id: &str, is_large: bool) -> Option<Disturbance> {
    let mut ordered = lock(&world.disturbances);
    let place = ordered.iter().position(|one| (is_large || one.small) && one.fits(kind, user_id))?;
    let taken = ordered[place].clone();
    ordered[place].times = ordered[place].times.saturating_sub(1);
    ordered.retain(|one| one.times > 0);
    Some(taken)
}

impl Disturbance {
    fn fits(&self, kind: &str, user_id: &str) -> bool {
        self.kind.as_deref().is_none_or(|wanted| wanted == kind)
            && self.user_id.as_deref().is_none_or(|wanted| wanted == user_id)
    }

    /// Puts the parcels of a large request in the order that is wanted. The announcements are
    /// `large_request_processing` and `large_request_sending`, in this order; a small request
    /// has none.
    pub(crate) fn apply(&self, announcements: Vec<Parcel>, chunks: Vec<Parcel>) -> Sending {
        let again = chunks.iter().enumerate().filter(|(place, _)| self.duplicate.contains(&(place + 1)));
        let again: Vec<Parcel> = again.map(|(_, chunk)| chunk.clone()).collect();
        let kept = chunks.into_iter().enumerate().filter(|(place, _)| !self.lose.contains(&(place + 1)));
        let mut parcels: Vec<Parcel> = kept.map(|(_, chunk)| chunk).collect();
        if self.reverse {
            parcels.reverse();
        }
        match self.announce {
            Announce::First => drop(parcels.splice(0..0, announcements)),
            Announce::AfterFirstChunk => {
                let place = parcels.len().min(1);
                drop(parcels.splice(place..place, announcements));
            }
            Announce::Last => parcels.extend(announcements),
            Announce::Uncounted => drop(parcels.splice(0..0, announcements.into_iter().take(1))),
            Announce::Never => {}
        }
        Sending { parcels, again, again_after: Duration::from_millis(self.duplicate_after_ms) }
    }
}

impl Default for Disturbance {
    fn default() -> Self {
        Self {
            times: once(),
            kind: None,
            user_id: None,
            lose: Vec::new(),
            announce: Announce::default(),
            duplicate: Vec::new(),
            duplicate_after_ms: 0,
            small: false,
            reverse: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parcel(name: &str) -> Parcel {
        Parcel {
            kind: name.to_owned(),
            trace_id: None,
            reference: None,
            ordering_ms: None,
            event_id: None,
            subject: crate::webhook::Subject::default(),
            body: bytes::Bytes::new(),
        }
    }

    #[track_caller]
    fn check(order: serde_json::Value, expected: &str, again: &str) {
        let order: Disturbance = serde_json::from_value(order).unwrap();
        let chunks = ["1", "2", "3"].map(parcel).to_vec();
        let sending = order.apply(vec![parcel("p"), parcel("s")], chunks);
        let names = |parcels: &[Parcel]| parcels.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!((names(&sending.parcels).as_str(), names(&sending.again).as_str()), (expected, again));
    }

    #[test]
    fn chunks_are_lost_repeated_and_reordered() {
        check(json!({}), "p s 1 2 3", "");
        check(json!({ "lose": [2] }), "p s 1 3", "");
        check(json!({ "lose": [2], "duplicate": [1, 2] }), "p s 1 3", "1 2");
        check(json!({ "reverse": true }), "p s 3 2 1", "");
    }

    #[test]
    fn announcements_come_when_they_are_wanted() {
        check(json!({ "announce": "after_first_chunk" }), "1 p s 2 3", "");
        check(json!({ "announce": "last" }), "1 2 3 p s", "");
        check(json!({ "announce": "uncounted" }), "p 1 2 3", "");
        check(json!({ "announce": "never" }), "1 2 3", "");
        check(json!({ "announce": "after_first_chunk", "lose": [1, 2, 3] }), "p s", "");
    }
}
