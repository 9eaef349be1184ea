//! Sending an event of one's choice.

mod make;

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::bad_request;
use crate::courier::Once;
use crate::event::EVENT_TYPES;
use crate::payload::Ping;
use crate::webhook::{SendError, Sent};
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
        match make::parcel(&world, &order, number) {
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
