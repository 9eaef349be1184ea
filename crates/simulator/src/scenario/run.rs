//! Playing a script.

use bytes::Bytes;
use serde_json::Value;
use thiserror::Error;

use crate::courier::Once;
use crate::lock::lock;
use crate::scenario::end::shown;
use crate::scenario::scenarios;
use crate::scenario::script::{Body, Cast, Delivery, Step};
use crate::server::subject_of;
use crate::webhook::{Parcel, SendError, Subject};
use crate::world::World;

/// Where deliveries go that reach nobody: the discard port of this machine, on which nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9/nobody";
/// How long ago the first delivery of an older scenario was signed.
const OLDER_SECONDS: i64 = 60;
/// Rows that a missed delivery leaves in the event log.
const MISSES: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct RunOptions {
    /// The world's, if not said.
    pub(crate) seed: Option<u64>,
    pub(crate) references: Vec<String>,
}

#[derive(Debug, Error)]
pub enum RunError {
    #[error("there is no scenario {name}")]
    Unknown { name: String },
    #[error("no destination is set")]
    NoDestination,
}

/// Plays a scenario to its end and answers what must be true then. Every delivery was tried once when
/// this returns; what was not accepted is tried again as always.
pub(crate) async fn run(world: &World, name: &str, options: RunOptions) -> Result<Value, RunError> {
    let all = scenarios();
    let scenario = all.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.ok_or_else(|| RunError::Unknown { name: name.to_owned() })?;
    if world.dials().webhook_url.is_none() {
        return Err(RunError::NoDestination);
    }
    let seed = options.seed.unwrap_or(world.seed);
    let cast = Cast { seed, name: scenario.name, today: world.clock.today(), references: options.references };
    let script = (scenario.write)(&cast);
    let orders = orders(world, &script.steps);
    let (mut sent, mut accepted) = (Vec::new(), 0);
    for step in script.steps {
        // The older platform has no ordering timestamp: what was made later is signed later, and a second is its unit.
        let (parcel, once) = match step {
            Step::Send(delivery) if delivery.older => {
                let t = world.clock.unix_seconds() - OLDER_SECONDS + i64::try_from(delivery.made).unwrap_or_default();
                (parcel(world, *delivery, &orders), Once { t: Some(t), ..Once::default() })
            }
            Step::Send(delivery) => (parcel(world, *delivery, &orders), Once::default()),
            Step::Again(number) => match sent.get(number).cloned() {
                Some(parcel) => (parcel, Once::default()),
                None => continue,
            },
            Step::Miss(delivery) => {
                miss(world, &parcel(world, *delivery, &orders)).await;
                continue;
            }
            Step::Register(_, _) | Step::Forget(_) | Step::Disturb(_) | Step::Fault(_) | Step::Outage(_) => {
                prepare(world, step);
                continue;
            }
        };
        sent.push(parcel.clone());
        if deliver(world, parcel, once).await {
            accepted += 1;
        }
    }
    Ok(shown(name, seed, scenario.requires, &script.end, accepted, sent.len()))
}

/// The ordering timestamps of everything that was made, by its number. They are all reserved at
/// once, so that two runs never mix.
fn orders(world: &World, steps: &[Step]) -> Vec<i64> {
    let made = steps.iter().filter_map(|step| match step {
        Step::Send(delivery) | Step::Miss(delivery) => Some(delivery.made),
        Step::Register(_, _)
        | Step::Forget(_)
        | Step::Again(_)
        | Step::Disturb(_)
        | Step::Fault(_)
        | Step::Outage(_) => None,
    });
    let last = made.max().unwrap_or_default();
    (0..=last).map(|_| world.clock.order_ms()).collect()
}

fn prepare(world: &World, step: Step) {
    match step {
        Step::Register(user, whims) => {
            lock(&world.whims).insert(user.user_id.clone(), whims);
            lock(&world.users).put(*user);
        }
        Step::Forget(user_id) => drop(lock(&world.users).remove(&user_id)),
        Step::Disturb(disturbance) => lock(&world.disturbances).push(disturbance),
        Step::Fault(fault) => lock(&world.faults).push(*fault),
        Step::Outage(outage) => lock(&world.outages).begin(outage, world.clock.unix_ms()),
        Step::Send(_) | Step::Again(_) | Step::Miss(_) => {}
    }
}

fn parcel(world: &World, delivery: Delivery, orders: &[i64]) -> Parcel {
    let (kind, subject, body) = match delivery.body {
        Body::Event(event) => {
            let subject = Subject::of(&event);
            let event = delivery.ping.map_or_else(|| event.clone(), |ping| world.pinged(&event, &ping));
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            (kind, subject, Bytes::from(event.to_string()))
        }
        Body::Text(kind, text) => (kind.to_owned(), subject_of(text.as_bytes()), Bytes::from(text)),
    };
    Parcel {
        kind,
        trace_id: (!delivery.older).then(|| delivery.trace_id.unwrap_or_else(|| world.new_id().to_string())),
        reference: delivery.reference,
        ordering_ms: orders
            .get(delivery.made)
            .map(|made_ms| made_ms - delivery.seconds_ago * 1_000)
            .filter(|_| !delivery.older),
        event_id: None,
        subject,
        body,
    }
}

/// Whether the first try was accepted.
async fn deliver(world: &World, parcel: Parcel, once: Once) -> bool {
    let sent = world.courier.send_once(parcel.clone(), once).await;
    let accepted = match sent {
        Ok(sent) => sent.accepted(),
        Err(SendError::NoDestination | SendError::Unreachable { .. } | SendError::Stopping) => false,
    };
    if !accepted {
        // It goes on beside the scenario, as it does at Terra.
        drop(world.courier.dispatch(vec![parcel], std::time::Duration::ZERO));
    }
    accepted
}

async fn miss(world: &World, parcel: &Parcel) {
    for _ in 0..MISSES {
        let once = Once { url: Some(NOWHERE.to_owned()), ..Once::default() };
        // That it fails is the point.
        drop(world.courier.send_once(parcel.clone(), once).await);
    }
}
