//! What an order asks for, made into a delivery.

use bytes::Bytes;
use serde_json::Value;

use crate::catalog::scopes;
use crate::control::events::{Order, OrderingTimestamp, Size};
use crate::dice::Dice;
use crate::event::{SampleInput, null_scores, sample, set_upload_type};
use crate::generate::{Detail, shifted};
use crate::lock::lock;
use crate::payload::Ping;
use crate::server::subject_of;
use crate::set_path::set_path;
use crate::user::User;
use crate::webhook::{Parcel, Subject};
use crate::world::World;

/// The delivery that an order asks for; of several events, the one with this number. An error says
/// what is wrong with the order.
pub(super) fn parcel(world: &World, order: &Order, number: u32) -> Result<Parcel, String> {
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
    let of_destination = || {
        world.dials().ping.filter(|ping| order.body.is_none() && ping.fits(event["type"].as_str().unwrap_or_default()))
    };
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
