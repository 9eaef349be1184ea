//! Simulated streams: stories of people, made from a seed, arrive in order in one environment and anyhow in another, and
//! both end alike.
//!
//! Anyhow: shuffled over a window of ten thousand deliveries, three in ten twice, some a day late, in batches of any size
//! that mix people. A failure prints the seed; `LANDFALL_TEST_SEED` set to it makes the same streams again.

use std::collections::BTreeMap;

use adapters::store::{ConnectionView, RecordView, ReferencePolicy, Span, Store};
use domain::delivery::Admission;
use domain::id::{Environment, UserId};
use serde_json::{Value, json};
use terra::event::DataKind;
use terra::record::{Column, columns};

use super::any_order::connections_by_environment;
use super::support::{DAY, Sandbox, Sent, activities, apply, auth, deauth, everything, reauth, sent, user};
use crate::harness::dice::Dice;
use crate::harness::{now_seconds, rounds};

/// Stories in one stream, and streams, of a full run.
const FULL: (u32, u32) = (1_000, 10);
#[cfg(feature = "services")]
const FULL_ON_POSTGRES: (u32, u32) = (1_000, 2);

const WINDOW: u64 = 10_000;
const TWICE_PERCENT: u64 = 30;
const LATE_PERCENT: u64 = 5;
const BATCH_MAX: u64 = 64;

/// Two people, of whom nobody knows at first which Terra users are theirs.
const PEOPLE: [&str; 2] = ["ada", "bob"];
const TERRA_USERS: [&str; 3] = ["u", "v", "w"];
const KEYS: u64 = 4;

mod embedded {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn any_arrival_ends_as_the_ordered_one() {
        let (stories, streams) = super::in_every_run_or_in_full((100, 2), super::FULL);
        super::simulate(stories, streams, async || super::Sandbox::embedded(super::ReferencePolicy::IsTheUser).await)
            .await;
    }
}

#[cfg(feature = "services")]
mod on_postgres {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn any_arrival_ends_as_the_ordered_one() {
        let (stories, streams) = super::in_every_run_or_in_full((50, 1), super::FULL_ON_POSTGRES);
        super::simulate(stories, streams, async || super::Sandbox::postgres(super::ReferencePolicy::IsTheUser).await)
            .await;
    }
}

fn in_every_run_or_in_full(usual: (u32, u32), full: (u32, u32)) -> (u32, u32) {
    (rounds(usual.0, full.0), rounds(usual.1, full.1))
}

async fn simulate(stories: u32, streams: u32, sandbox: impl AsyncFn() -> Sandbox) {
    let seed = std::env::var("LANDFALL_TEST_SEED").map_or_else(
        |_| u64::from(std::process::id()) ^ now_seconds().unsigned_abs(),
        |seed| seed.parse().expect("LANDFALL_TEST_SEED is a number"),
    );
    println!("seed {seed}: {streams} streams of {stories} stories");
    let mut dice = Dice::new(seed);
    for stream in 0..streams {
        let sandbox = sandbox().await;
        stream_of(&*sandbox.store, &mut dice, stories, &format!("LANDFALL_TEST_SEED={seed}, stream {stream}")).await;
        sandbox.end().await;
    }
}

/// Which deliveries of a story carry the header that orders them.
#[derive(Clone, Copy)]
enum Header {
    Always,
    Never,
    Some,
}

struct Story {
    /// In the order in which they were made, in the environment of the ordered run.
    made: Vec<Sent>,
    ordered: String,
    anyhow: String,
}

/// A chapter of somebody's life with Terra.
fn story(number: u32, dice: &mut Dice) -> Story {
    let (ordered, anyhow) = (format!("{number}-ordered"), format!("{number}-anyhow"));
    let header = *dice.pick(&[Header::Always, Header::Never, Header::Some]);
    // Whose each Terra user is; mostly one person's.
    let owners = TERRA_USERS.map(|_| if dice.percent(80) { PEOPLE[0] } else { PEOPLE[1] });
    let made = (0..6 + dice.up_to(9))
        .map(|place| {
            let mut one = sent(body(&owners, dice), i64::try_from(place).unwrap() * 10);
            let is_ordered = match header {
                Header::Always => true,
                Header::Never => false,
                Header::Some => dice.percent(50),
            };
            one.ordering = is_ordered.then_some(one.t);
            one.trace_id = one.trace_id.filter(|_| dice.percent(80));
            in_environment(&one, &ordered)
        })
        .collect();
    Story { made, ordered, anyhow }
}

fn body(owners: &[&str; 3], dice: &mut Dice) -> Value {
    let mut somebody = |named_percent: u64| {
        let number = usize::try_from(dice.up_to(3)).unwrap();
        user(TERRA_USERS[number], dice.percent(named_percent).then_some(owners[number]))
    };
    let (said, other) = (somebody(70), somebody(70));
    match dice.up_to(100) {
        0..50 => {
            let keys = (0..KEYS).filter(|_| dice.percent(50)).collect::<Vec<_>>();
            activities(said, keys.into_iter().map(|key| item(key, dice)).collect())
        }
        50..65 => auth(said),
        65..85 => reauth(said, other),
        85..93 => deauth(said),
        _ => json!({ "type": "access_revoked", "status": "warning", "user": said }),
    }
}

fn item(key: u64, dice: &mut Dice) -> Value {
    let score = |dice: &mut Dice| dice.percent(50).then(|| dice.up_to(3));
    json!({
        "metadata": { "summary_id": format!("run-{key}"), "start_time": "2026-02-03T07:00:00Z", "upload_type": if dice.percent(15) { 4 } else { 1 } },
        "distance_data": { "summary": { "steps": dice.up_to(1_000) } },
        "data_enrichment": { "strain_score": score(dice), "rcrs_score": score(dice) },
    })
}

/// The same delivery to another environment, where it is about people of that environment.
fn in_environment(one: &Sent, environment: &str) -> Sent {
    let mut body = one.body.clone();
    for said_by in ["user", "old_user", "new_user"] {
        if let Some(name) = body[said_by]["reference_id"].as_str() {
            let person = name.split('-').next().unwrap_or_default();
            body[said_by]["reference_id"] = json!(format!("{person}-{environment}"));
        }
    }
    // One trace id in two environments is two deliveries.
    Sent { body, environment: Environment::new(environment), ..one.again() }
}

async fn stream_of(store: &dyn Store, dice: &mut Dice, stories: u32, name: &str) {
    let stories: Vec<Story> = (0..stories).map(|number| story(number, dice)).collect();
    let longest = stories.iter().map(|story| story.made.len()).max().unwrap_or_default();
    for step in 0..longest {
        let batch: Vec<&Sent> = stories.iter().filter_map(|story| story.made.get(step)).collect();
        for some in batch.chunks(usize::try_from(BATCH_MAX).unwrap()) {
            apply(store, some).await;
        }
    }
    let arrivals = arrivals(&stories, dice);
    let mut rest = &arrivals[..];
    while !rest.is_empty() {
        let size = usize::try_from(1 + dice.up_to(BATCH_MAX)).unwrap().min(rest.len());
        let (batch, later) = rest.split_at(size);
        apply(store, &batch.iter().collect::<Vec<_>>()).await;
        rest = later;
    }
    println!(
        "{name}: {} deliveries in order, {} anyhow",
        stories.iter().map(|one| one.made.len()).sum::<usize>(),
        arrivals.len()
    );
    let connections = connections_by_environment(store).await;
    for story in &stories {
        let of = |environment: &str| connections.get(environment).map(Vec::as_slice).unwrap_or_default();
        let ordered = seen(store, &story.ordered, of(&story.ordered)).await;
        let found = seen(store, &story.anyhow, of(&story.anyhow)).await;
        if ordered != found {
            let arrived = arrivals.iter().filter(|one| one.environment.as_str() == story.anyhow);
            let lines: Vec<String> = arrived
                .map(|one| format!("t {} header {:?} at {}: {}", one.t, one.ordering, one.received, one.body))
                .collect();
            panic!(
                "{name}, story {}\nordered: {ordered:#}\nanyhow: {found:#}\narrived:\n{}",
                story.ordered,
                lines.join("\n")
            );
        }
    }
}

/// The whole stream as it arrives anyhow.
fn arrivals(stories: &[Story], dice: &mut Dice) -> Vec<Sent> {
    let mut places: Vec<(u64, Sent)> = Vec::new();
    let longest = stories.iter().map(|story| story.made.len()).max().unwrap_or_default();
    let mut place = 0;
    for step in 0..longest {
        for story in stories {
            let Some(one) = story.made.get(step) else { continue };
            let one = in_environment(one, &story.anyhow);
            place += 1;
            let twice = dice.percent(TWICE_PERCENT).then(|| one.again());
            for copy in [Some(one), twice].into_iter().flatten() {
                let is_late = dice.percent(LATE_PERCENT);
                places.push((place + dice.up_to(WINDOW) + if is_late { 1 << 32 } else { 0 }, copy));
            }
        }
    }
    places.sort_by_key(|(place, _)| *place);
    let mut received = 1_000;
    let mut arrived = Vec::new();
    for (place, mut one) in places {
        received += 1;
        let is_late = place > 1 << 32;
        one.received = if is_late { received + DAY } else { received };
        if one.ordering.is_some() && one.trace_id.is_some() {
            // Sent again, and signed again.
            one.t = one.received;
        } else if is_late {
            one.admission = Admission::Late;
        }
        arrived.push(one);
    }
    arrived
}

/// Everything that readers see, without ids: they are made when something arrives.
async fn seen(store: &dyn Store, environment: &str, connections: &[ConnectionView]) -> Value {
    let mut shown: Vec<Value> = Vec::new();
    for view in connections {
        let aliases: BTreeMap<&str, Value> = view
            .aliases
            .iter()
            .map(|alias| (alias.terra_user_id.as_str(), json!([alias.status, alias.since])))
            .collect();
        shown.push(json!({
            "user": view.user.as_ref().map(|user| user.as_str().split('-').next()),
            "reference": view.reference_id.as_ref().map(|reference| reference.split('-').next()),
            "status": view.status,
            "aliases": aliases,
            "current": view.terra_user_id,
            "provider": view.provider,
            "scopes": view.scopes,
            "connected_at": view.connected_at,
            "last_data_at": view.last_data_at,
        }));
    }
    shown.sort_by_key(Value::to_string);
    let mut records: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for person in PEOPLE {
        let user = UserId::new(format!("{person}-{environment}"));
        let listing = store.records(&user, DataKind::Activity, Span::default(), &everything()).await.unwrap();
        let line = |view: RecordView| {
            let named = columns(DataKind::Activity).iter().map(Column::name).zip(&view.values);
            let values: BTreeMap<_, _> = named.filter(|(_, value)| value.is_some()).collect();
            json!([view.key, view.terra_user_id, view.start_time, view.deleted, view.order_inferred, values])
        };
        let mut lines: Vec<Value> = listing.items.into_iter().map(line).collect();
        lines.sort_by_key(Value::to_string);
        records.insert(person, lines);
    }
    json!({ "connections": shown, "activities": records })
}
