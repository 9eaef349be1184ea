//! Data that a receiver has to ask for, and what goes wrong while it does.

use crate::disturbance::Disturbance;
use crate::event::auth_success;
use crate::fault::Fault;
use crate::generate::{Detail, activities};
use crate::outage::{Answer, Outage};
use crate::rate_limit::Budget;
use crate::scenario::end::{Backfill, Connection, End, EndUser, Item};
use crate::scenario::script::{Cast, Delivery, Script, Step, connect, event};
use crate::scenario::{BACKFILL, EVENT_LOG, Line};
use crate::settings::{Amount, Dialect};
use crate::user::User;
use crate::whims::Whims;

pub(super) const ALL: &[Line] = &[
    ("history", "Somebody connects who has 40 days of history.", "All 40 days are there.", &[BACKFILL], |cast| {
        asked(cast, "GARMIN", None, |_| vec![])
    }),
    (
        "lost-chunks",
        "As history; of each kind of data the first answer loses a chunk, or its only webhook.",
        "All 40 days are there: what did not come was asked for again.",
        &[BACKFILL],
        |cast| asked(cast, "GARMIN", None, lose),
    ),
    (
        "provider-outage",
        "As history; for three seconds the provider refuses (429 without a rule of Terra's), and then fails once (424).",
        "All 40 days are there.",
        &[BACKFILL],
        |cast| asked(cast, "POLAR", None, fail),
    ),
    (
        "day-budget",
        "As history, where 400 days may be asked for in a second, not 6,000 in an hour: beyond it 429 with r2 and Retry-After.",
        "All 40 days are there, and no request beyond the budget was repeated at once.",
        &[BACKFILL],
        |cast| {
            asked(
                cast,
                "GARMIN",
                Some(Budget { days_per_window: 400, window_ms: 1_000, ..Budget::default() }),
                |_| vec![],
            )
        },
    ),
    (
        "html-500",
        "As history; the first calls are answered by a gateway with a web page and 500.",
        "All 40 days are there.",
        &[BACKFILL],
        |cast| asked(cast, "GARMIN", None, break_down),
    ),
    (
        "outage-and-recover",
        "Webhooks of an outage of the receiver: an auth, a night, a day and a workout failed, were given up, and stand in Terra's event log.",
        "Both connections are connected, and the night, the day and the workout are there.",
        &[EVENT_LOG],
        recover,
    ),
];

const DAYS: u32 = 40;
const KINDS: [&str; 3] = ["activity", "daily", "sleep"];

fn asked(cast: &Cast, provider: &str, budget: Option<Budget>, faults: fn(&User) -> Vec<Step>) -> Script {
    // New at Terra today: only then does a receiver ask for history by itself.
    let created_at = format!("{}T00:00:00.000000+00:00", cast.today);
    let user = User { created_at, ..cast.user(0, provider, 1) };
    let whims = Whims { seed: Some(cast.seed), data: Some(Amount::Full), history_days: Some(DAYS), budget };
    let mut steps = vec![Step::Register(Box::new(user.clone()), whims)];
    steps.extend(faults(&user));
    steps.push(Delivery::of(0, auth_success(Dialect::Newer, &user, None)).send());
    let mut end = EndUser::of(&user, Connection::Connected);
    for kind in KINDS {
        end = end.only(kind, days(cast, kind, &user));
        if let Some(records) = end.records.get_mut(kind) {
            // Today is still growing, so that nobody can say how many there are.
            records.count = None;
        }
    }
    end.backfill = Some(Backfill {
        kinds: KINDS.map(str::to_owned).to_vec(),
        start_date: cast.day(i64::from(DAYS)).to_string(),
        end_date: cast.today.to_string(),
        complete: true,
    });
    Script { steps, end: End { users: vec![end], ..End::default() } }
}

/// What must be there: all days that are over everywhere on earth.
fn days(cast: &Cast, kind: &str, user: &User) -> Vec<Item> {
    let of_day = |ago| match kind {
        "activity" => activities(cast.seed, &user.user_id, cast.day(ago), Detail::Summary),
        _ => vec![cast.record(kind, user, ago)],
    };
    (2..=i64::from(DAYS)).rev().flat_map(of_day).map(|record| Item::of(kind, &record)).collect()
}

fn lose(user: &User) -> Vec<Step> {
    let kinds = ["activity", "body", "daily", "sleep"];
    let lost = |kind: &str| Disturbance {
        kind: Some(kind.to_owned()),
        user_id: Some(user.user_id.clone()),
        lose: vec![1],
        small: true,
        ..Disturbance::default()
    };
    kinds.map(|kind| Step::Disturb(lost(kind))).into()
}

fn fail(user: &User) -> Vec<Step> {
    let message = "Polar: too many requests";
    let outage = Outage::of(&user.provider, Answer::TooMany, 3.0, message);
    let fault = Fault {
        path: "/sleep".to_owned(),
        user_id: Some(user.user_id.clone()),
        times: 1,
        status: Some(424),
        ..Fault::default()
    };
    vec![Step::Outage(outage), Step::Fault(Box::new(fault))]
}

fn break_down(user: &User) -> Vec<Step> {
    let broken = |kind: &str| Fault {
        path: format!("/{kind}"),
        user_id: Some(user.user_id.clone()),
        times: 2,
        status: Some(500),
        html: true,
        ..Fault::default()
    };
    KINDS.map(|kind| Step::Fault(Box::new(broken(kind)))).into()
}

fn recover(cast: &Cast) -> Script {
    let (known, unseen) = (cast.user(0, "GARMIN", 1), cast.user(1, "OURA", 1));
    let mut steps = Vec::from(connect(&known, 0));
    let mut end = EndUser::of(&known, Connection::Connected);
    for (place, kind) in ["sleep", "daily", "activity"].into_iter().enumerate() {
        let record = cast.record(kind, &known, 1);
        end = end.only(kind, vec![Item::of(kind, &record)]);
        steps.push(Step::Miss(Box::new(Delivery::of(place + 1, event(kind, &known, vec![record])))));
    }
    steps.push(crate::scenario::script::register(&unseen));
    let auth = auth_success(Dialect::Newer, &unseen, None);
    steps.push(Step::Miss(Box::new(Delivery::of(4, auth))));
    let users = vec![end, EndUser::of(&unseen, Connection::Connected)];
    Script { steps, end: End { users, ..End::default() } }
}
