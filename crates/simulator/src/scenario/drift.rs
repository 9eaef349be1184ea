//! What nobody has documented, and what nobody should send.

use serde_json::{Value, json};

use crate::scenario::end::{Connection, End, EndUser, Item, Raw};
use crate::scenario::script::{Body, Cast, Delivery, Script, connect, event};
use crate::scenario::{Line, NONE};

pub(super) const ALL: &[Line] = &[
    (
        "unknown-kind-and-fields",
        "Events of types nobody knows, a workout with unknown fields and values, numbers as text and as floats.",
        "The workout with all that is known of it; the unknown events are kept as they came.",
        NONE,
        unknown,
    ),
    (
        "bad-records",
        "Between good records: no key, an impossible date, a number no float holds, data that is an object or missing, a NUL in a text, one record twice, one name twice.",
        "The good records as they were, and nothing under the impossible date; what else can be read may be kept; every delivery was accepted; the connection still works.",
        NONE,
        bad,
    ),
];

fn unknown(cast: &Cast) -> Script {
    let user = cast.user(0, "GARMIN", 1);
    let known = cast.record("activity", &user, 1);
    let mut drifted = known.clone();
    drifted["metadata"]["type"] = json!(9_999);
    drifted["metadata"]["weather"] = json!({ "sky": "clear" });
    drifted["brand_new_data"] = json!([{ "value": 1 }]);
    drifted["device_data"]["data_provided"] = json!(["STEPS", "TELEPATHY"]);
    drifted["active_durations_data"]["activity_seconds"] = json!(3_600.0);
    drifted["calories_data"]["BMR_calories"] = json!("71.5");
    let mut route = event("route", &user, vec![json!({ "id": "route-1", "waypoints": 12 })]);
    route["flavour"] = json!("unknown");
    let steps = connect(&user, 0).into_iter().chain([
        Delivery::of(1, event("activity", &user, vec![drifted])).send(),
        Delivery::of(2, route).send(),
        Delivery::of(3, json!({ "type": "moon_phase", "user": user.to_json(), "phase": 0.5 })).send(),
        Delivery::of(4, json!({ "type": "coach.registered", "message": "hello", "data": {} })).send(),
    ]);
    let raw = ["route", "moon_phase", "coach.registered"].map(|kind| Raw { kind: kind.to_owned(), count: 1 });
    let user = EndUser::of(&user, Connection::Connected).only("activity", vec![Item::of("activity", &known)]);
    Script { steps: steps.collect(), end: End { users: vec![user], stored_raw: raw.into(), ..End::default() } }
}

fn bad(cast: &Cast) -> Script {
    let user = cast.user(0, "GARMIN", 1);
    let good: Vec<Value> = (1..=4).map(|ago| cast.record("activity", &user, ago)).collect();
    let day = cast.record("daily", &user, 1);
    let mut keyless = cast.record("activity", &user, 5);
    keyless["metadata"]["summary_id"] = Value::Null;
    let mut impossible = cast.record("daily", &user, 2);
    impossible["metadata"]["start_time"] = json!("2026-02-30T00:00:00.000000+00:00");
    let mut with_nul = good[1].clone();
    with_nul["metadata"]["name"] = json!("Evening\u{0}Run");
    // What becomes of that name is the receiver's choice; the other values are as they were.
    let nul = Item::of("activity", &with_nul);

    let mut endless = event("activity", &user, vec![cast.record("activity", &user, 6)]);
    endless["data"][0]["distance_data"]["summary"]["distance_meters"] = json!("@");
    let endless = endless.to_string().replace("\"@\"", "1e400");
    let twice = event("daily", &user, vec![day.clone()]).to_string().replacen('{', "{\"type\":\"daily\",", 1);
    let mut object = event("activity", &user, vec![]);
    object["data"] = cast.record("activity", &user, 7);
    let mut missing = event("sleep", &user, vec![]);
    missing.as_object_mut().map(|fields| fields.remove("data"));

    let mut steps = Vec::from(connect(&user, 0));
    let bodies = [
        Body::Event(event("activity", &user, vec![good[0].clone(), keyless, good[0].clone()])),
        Body::Event(event("daily", &user, vec![impossible])),
        Body::Event(event("activity", &user, vec![with_nul])),
        Body::Text("activity", endless),
        Body::Text("daily", twice),
        Body::Event(object),
        Body::Event(missing),
        Body::Event(event("activity", &user, vec![json!("no object"), json!(null), good[2].clone()])),
        Body::Event(event("activity", &user, vec![good[3].clone()])),
    ];
    for (place, body) in bodies.into_iter().enumerate() {
        let delivery = match body {
            Body::Event(event) => Delivery::of(place + 1, event),
            Body::Text(kind, text) => Delivery::text(place + 1, kind, text),
        };
        steps.push(delivery.send());
    }
    let items =
        vec![Item::of("activity", &good[0]), nul, Item::of("activity", &good[2]), Item::of("activity", &good[3])];
    let mut end = EndUser::of(&user, Connection::Connected)
        .only("activity", items)
        .only("daily", vec![Item::of("daily", &day)])
        .absent("daily", "2026-02-30".to_owned());
    // A receiver may save the rest of the workout whose distance is no number, or a lone record
    // that stands where a list should: neither is a mistake.
    if let Some(records) = end.records.get_mut("activity") {
        records.count = None;
    }
    Script { steps, end: End { users: vec![end], ..End::default() } }
}
