//! Data behind URLs.

use crate::payload::{Ping, Spelling};
use crate::scenario::end::{Connection, End, EndUser, Item};
use crate::scenario::script::{Cast, Delivery, Script, connect, event};
use crate::scenario::{DOWNLOAD, Line};

pub(super) const ALL: &[Line] = &[
    (
        "s3-payload",
        "A night, a workout and a day as URLs: in both spellings, with and without the user named, one larger than announced.",
        "A night, a workout and a day, as if they had come whole.",
        &[DOWNLOAD],
        fetched,
    ),
    (
        "s3-payload-expired",
        "A night whose URL has expired when it arrives, a workout whose URL leads to nothing, and a day that can be fetched.",
        "The day; neither night nor workout. The two lost payloads are reported, not dropped in silence.",
        &[DOWNLOAD],
        expired,
    ),
];

fn fetched(cast: &Cast) -> Script {
    let user = cast.user(0, "GARMIN", 1);
    let mut steps = Vec::from(connect(&user, 0));
    let mut end = EndUser::of(&user, Connection::Connected);
    let pings = [
        ("sleep", Ping::default()),
        ("activity", Ping { spelling: Spelling::S3Upload, names_user: true, ..Ping::default() }),
        ("daily", Ping { extra_bytes: 4_096, ..Ping::default() }),
    ];
    for (place, (kind, ping)) in pings.into_iter().enumerate() {
        let record = cast.record(kind, &user, 1);
        end = end.only(kind, vec![Item::of(kind, &record)]);
        steps.push(Delivery { ping: Some(ping), ..Delivery::of(place + 1, event(kind, &user, vec![record])) }.send());
    }
    Script { steps, end: End { users: vec![end], ..End::default() } }
}

fn expired(cast: &Cast) -> Script {
    let user = cast.user(0, "GARMIN", 1);
    let (night, workout, day) =
        (cast.record("sleep", &user, 1), cast.record("activity", &user, 1), cast.record("daily", &user, 1));
    let end = EndUser::of(&user, Connection::Connected)
        .only("daily", vec![Item::of("daily", &day)])
        .absent("sleep", Item::of("sleep", &night).key)
        .absent("activity", Item::of("activity", &workout).key);
    let ping = |made, kind, record, ping| {
        Delivery { ping: Some(ping), ..Delivery::of(made, event(kind, &user, vec![record])) }.send()
    };
    let mut steps = Vec::from(connect(&user, 0));
    steps.extend([
        ping(1, "sleep", night, Ping { expires_after_ms: Some(0), ..Ping::default() }),
        ping(2, "activity", workout, Ping { vanish: true, ..Ping::default() }),
        ping(3, "daily", day, Ping::default()),
    ]);
    Script { steps, end: End { users: vec![end], ..End::default() } }
}
