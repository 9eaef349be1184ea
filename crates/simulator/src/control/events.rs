//! Sending an event of one's choice.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalog::scopes;
use crate::control::bad_request;
use crate::courier::Once;
use crate::dice::Dice;
use crate::event::{EVENT_TYPES, SampleInput, null_scores, sample, set_upload_type};
use crate::generate::{Detail, shifted};
use crate::lock::lock;
use crate::payload::Ping;
use crate::server::subject_of;
use crate::set_path::set_path;
use crate::user::User;
use crate::webhook::{Parcel, SendError, Sent, Subject};
use crate::world::World;

/// Deliveries that one control call may cause.
const SENDINGS_MAX: u32 = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    #[serde(rename = "type")]
    kind: Option<String>,
    user_id: Option<String>,
    reference_id: Option<String>,
    provider: Option<String>,
    /// Fields to change in the event, by dotted path.
    #[serde(default)]
    set: BTreeMap<String, Value>,
    /// Sent as it is, instead of a made-up event.
    body: Option<Value>,
    /// As `body`, for bytes that are not JSON.
    body_text: Option<String>,
    trace_id: Option<String>,
    reference: Option<String>,
    ordering_timestamp: Option<OrderingTimestamp>,
    t: Option<i64>,
    secret: Option<String>,
    url: Option<String>,
    #[serde(default)]
    bad_signature: bool,
    size: Option<Size>,
    date: Option<Date>,
    /// How often the same delivery is sent: duplicates.
    #[serde(default = "one")]
    times: u32,
    /// How many different events are sent, each a day earlier than the one before.
    #[serde(default = "one")]
    count: u32,
    /// Of every record: 4 marks it as deleted.
    upload_type: Option<i64>,
    /// Sends the scores of every record as null, as a later delivery of one may.
    #[serde(default)]
    nulled_scores: bool,
    /// Sends all deliveries of this order in another order.
    #[serde(default)]
    shuffle: bool,
    /// Sends a pointer to the event instead of the event, whatever mode the destination is in.
    ping: Option<Ping>,
    /// Delivers with retries, and answers at once.
    #[serde(default)]
    retry: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OrderingTimestamp {
    At(i64),
    Text(String),
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Size {
    #[serde(rename = "1kB")]
    OneKilobyte,
    #[serde(rename = "60kB")]
    SixtyKilobytes,
    #[serde(rename = "5MB")]
    FiveMegabytes,
    /// Every field that Terra's schema has.
    #[serde(rename = "complete")]
    Complete,
}

fn one() -> u32 {
    1
}

pub(crate) async fn types() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "items": EVENT_TYPES }))
}

pub(crate) async fn send(world: web::Data<World>, order: web::Json<Order>) -> HttpResponse {
    if order.times.saturating_mul(order.count) > SENDINGS_MAX {
        return bad_request("too many deliveries in one call");
    }
    let mut parcels = Vec::new();
    for number in 0..order.count {
        match parcel(&world, &order, number) {
            Ok(parcel) => {
                parcels.extend(std::iter::repeat_n(parcel, order.times as usize));
            }
            Err(detail) => return bad_request(&detail),
        }
    }
    if order.shuffle {
        world.shuffle(&mut parcels);
    }
    if order.retry {
        let trace_ids: Vec<_> = parcels.iter().map(|parcel| parcel.trace_id.clone()).collect();
        // The answer does not wait for the deliveries: the log tells how they went.
        drop(world.dispatch(parcels, Duration::ZERO));
        return HttpResponse::Accepted().json(json!({ "trace_ids": trace_ids }));
    }
    let mut sent = Vec::new();
    for parcel in parcels {
        match world.courier.send_once(parcel, once(&order)).await {
            Ok(answer) => sent.push(answer),
            Err(SendError::NoDestination) => {
                return bad_request(&SendError::NoDestination.to_string());
            }
            Err(error @ (SendError::Unreachable { .. } | SendError::Stopping)) => {
                return HttpResponse::BadGateway().json(json!({ "error": error.line(), "sent": sent }));
            }
        }
    }
    answer(&sent)
}

/// The last answer on top, because most orders cause one delivery; all of them below.
fn answer(sent: &[Sent]) -> HttpResponse {
    let last = sent.last();
    HttpResponse::Ok().json(json!({
        "status": last.map(|sent| sent.status),
        "body": last.map(|sent| &sent.body),
        "trace_id": last.and_then(|sent| sent.trace_id.as_ref()),
        "elapsed_ms": last.map(|sent| sent.elapsed_ms),
        "sent": sent,
    }))
}

fn once(order: &Order) -> Once {
    Once { url: order.url.clone(), secret: order.secret.clone(), t: order.t, bad_signature: order.bad_signature }
}

fn parcel(world: &World, order: &Order, number: u32) -> Result<Parcel, String> {
    let (kind, subject, body) = body(world, order, number)?;
    let ordering_ms = match &order.ordering_timestamp {
        None => Some(world.clock.order_ms()),
        Some(OrderingTimestamp::At(at)) => Some(*at),
        Some(OrderingTimestamp::Text(text)) if text == "none" => None,
        Some(OrderingTimestamp::Text(text)) => {
            return Err(format!("ordering_timestamp is a number or \"none\", not {text:?}"));
        }
    };
    let trace_id = match order.trace_id.as_deref() {
        None => Some(world.new_id().to_string()),
        Some("none") => None,
        Some(given) if number == 0 => Some(given.to_owned()),
        // Different events must not share a trace id.
        Some(given) => Some(format!("{given}-{number}")),
    };
    let reference = order.reference.clone();
    Ok(Parcel { kind, trace_id, reference, ordering_ms, event_id: None, subject, body })
}

fn body(world: &World, order: &Order, number: u32) -> Result<(String, Subject, Bytes), String> {
    let named = order.kind.clone().unwrap_or_default();
    if let Some(text) = &order.body_text {
        return Ok((named, subject_of(text.as_bytes()), text.clone().into()));
    }
    let mut event = match &order.body {
        Some(body) => body.clone(),
        None => made_up(world, order, number)?,
    };
    if let Some(upload_type) = order.upload_type {
        set_upload_type(&mut event, upload_type);
    }
    if order.nulled_scores {
        null_scores(&mut event);
    }
    for (path, value) in &order.set {
        set_path(&mut event, path, value.clone()).map_err(|error| error.to_string())?;
    }
    let subject = Subject::of(&event);
    let of_destination = || world.dials().ping.filter(|ping| ping.fits(event["type"].as_str().unwrap_or_default()));
    if let Some(ping) = order.ping.clone().or_else(of_destination) {
        event = world.pinged(&event, &ping);
    }
    let kind = event["type"].as_str().map_or(named, str::to_owned);
    Ok((kind, subject, event.to_string().into()))
}

fn made_up(world: &World, order: &Order, number: u32) -> Result<Value, String> {
    let kind = order.kind.as_deref().ok_or("type or body is missing")?;
    let newest = order.date.unwrap_or_else(|| shifted(world.clock.today(), -1));
    let user = user(world, order);
    let now = world.clock.stamp();
    let mut input = SampleInput {
        seed: world.seed,
        dialect: world.dialect(),
        user: &user,
        date: shifted(newest, -i64::from(number)),
        now: &now,
        detail: detail(kind, order.size)?,
        reference: "",
    };
    let reference = if matches!(kind, "s3_payload" | "s3_upload") {
        let inner = sample("activity", &input).unwrap_or_default();
        world.pinged(&inner, &Ping::default())["url"].as_str().unwrap_or_default().to_owned()
    } else {
        order.reference.clone().unwrap_or_else(|| world.new_id().to_string())
    };
    input.reference = &reference;
    sample(kind, &input).ok_or_else(|| format!("unknown event type {kind}"))
}

fn detail(kind: &str, size: Option<Size>) -> Result<Detail, String> {
    match size {
        None => Ok(Detail::Summary),
        Some(Size::OneKilobyte) => Ok(Detail::Brief),
        Some(Size::Complete) => Ok(Detail::Complete),
        Some(Size::SixtyKilobytes) => Ok(Detail::Samples),
        Some(Size::FiveMegabytes) if matches!(kind, "activity" | "s3_payload") => Ok(Detail::PerSecond),
        Some(Size::FiveMegabytes) => Err("only an activity grows to 5MB".to_owned()),
    }
}

/// A connected user if one is named, or the first one; else somebody who is not connected, whose id
/// follows from what was given.
fn user(world: &World, order: &Order) -> User {
    let users = lock(&world.users);
    let known = match (&order.user_id, &order.reference_id) {
        (Some(user_id), _) => users.find(user_id),
        (None, Some(reference_id)) => {
            let fits = |user: &&User| order.provider.as_ref().is_none_or(|provider| user.provider == *provider);
            users.of_reference(reference_id).into_iter().find(fits)
        }
        (None, None) => users.all().next(),
    };
    if let Some(known) = known {
        return known.clone();
    }
    let provider = order.provider.clone().unwrap_or_else(|| "GARMIN".to_owned());
    let names = ["stranger", order.reference_id.as_deref().unwrap_or_default(), &provider];
    let user_id = order.user_id.clone().unwrap_or_else(|| Dice::of(world.seed, &names).uuid().to_string());
    User {
        user_id,
        scopes: scopes(&provider),
        provider,
        reference_id: order.reference_id.clone(),
        active: true,
        created_at: world.clock.stamp(),
        last_webhook_update: None,
    }
}
