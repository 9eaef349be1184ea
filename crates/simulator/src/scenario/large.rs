//! Large requests: an announcement and chunks that share a reference, not always in this order. They
//! come unasked, as when somebody else asked for the data.

use serde_json::{Value, json};

use crate::event::{large_request_processing, large_request_sending};
use crate::scenario::end::{Connection, End, EndUser, Item, LargeRequest};
use crate::scenario::script::{Cast, Delivery, Script, Step, connect, event};
use crate::scenario::{Line, NONE};
use crate::user::User;

pub(super) const ALL: &[Line] = &[
    (
        "backfill-in-chunks",
        "35 days in four chunks under one reference, announced before.",
        "35 days; the request is complete with four of four chunks.",
        NONE,
        in_order,
    ),
    (
        "chunk-before-announcement",
        "The first chunk comes before the announcement, the others after it and last to first.",
        "35 days; the request is complete with four of four chunks.",
        NONE,
        early,
    ),
    (
        "late-duplicate-chunk",
        "All chunks, then newer totals of one of their days, then the chunk of that day once more.",
        "35 days, one with the newer totals; four different chunks were received.",
        NONE,
        late_duplicate,
    ),
];

const DAYS: i64 = 35;
const CHUNK: usize = 10;

/// The parts of a large request for 35 days that end yesterday.
struct Large {
    user: User,
    reference: String,
    days: Vec<Value>,
}

impl Large {
    fn of(cast: &Cast) -> Self {
        let user = cast.user(0, "GARMIN", 1);
        let days = (1..=DAYS).rev().map(|ago| cast.record("daily", &user, ago)).collect();
        Self { reference: cast.id("large request"), user, days }
    }

    fn chunks(&self) -> usize {
        self.days.len().div_ceil(CHUNK)
    }

    fn announcements(&self) -> [Step; 2] {
        let (user, reference) = (&self.user, self.reference.as_str());
        let events = [large_request_processing(user, reference), large_request_sending(user, reference, self.chunks())];
        let mut made = 0;
        events.map(|event| {
            made += 1;
            self.part(made, event, None)
        })
    }

    /// Counted from 1.
    fn chunk(&self, number: usize) -> Step {
        let days = self.days.chunks(CHUNK).nth(number - 1).unwrap_or_default().to_vec();
        let trace_id = format!("{}:chunk:{number}", self.reference);
        self.part(2 + number, event("daily", &self.user, days), Some(trace_id))
    }

    fn part(&self, made: usize, event: Value, trace_id: Option<String>) -> Step {
        Delivery { reference: Some(self.reference.clone()), trace_id, ..Delivery::of(made, event) }.send()
    }

    fn script(self, steps: Vec<Step>, days: &[Value]) -> Script {
        let items = days.iter().map(|day| Item::of("daily", day)).collect();
        let user = EndUser::of(&self.user, Connection::Connected).only("daily", items);
        let request =
            LargeRequest { expected_payloads: Some(self.chunks()), received: self.chunks(), reference: self.reference };
        Script { steps, end: End { users: vec![user], large_requests: vec![request], ..End::default() } }
    }
}

fn in_order(cast: &Cast) -> Script {
    let large = Large::of(cast);
    let mut steps = Vec::from(connect(&large.user, 0));
    steps.extend(large.announcements());
    steps.extend((1..=large.chunks()).map(|number| large.chunk(number)));
    let days = large.days.clone();
    large.script(steps, &days)
}

fn early(cast: &Cast) -> Script {
    let large = Large::of(cast);
    let mut steps = Vec::from(connect(&large.user, 0));
    steps.push(large.chunk(1));
    steps.extend(large.announcements());
    steps.extend((2..=large.chunks()).rev().map(|number| large.chunk(number)));
    let days = large.days.clone();
    large.script(steps, &days)
}

fn late_duplicate(cast: &Cast) -> Script {
    let large = Large::of(cast);
    let mut steps = Vec::from(connect(&large.user, 0));
    steps.extend(large.announcements());
    steps.extend((1..=large.chunks()).map(|number| large.chunk(number)));
    let mut days = large.days.clone();
    let newer = &mut days[CHUNK];
    newer["distance_data"]["steps"] = json!(54_321);
    steps.push(Delivery::of(20, event("daily", &large.user, vec![newer.clone()])).send());
    // After auth and both announcements: the second chunk has that day.
    steps.push(Step::Again(4));
    large.script(steps, &days)
}
