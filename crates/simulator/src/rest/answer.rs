//! What is answered to who asks for health data: the data, or that it will come as webhooks.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::catalog::worn;
use crate::clock::stamp_of;
use crate::disturbance::{self, Sending};
use crate::event::{athlete_event, data_event, rate_limit_hit};
use crate::generate::{Detail, athlete};
use crate::history;
use crate::large_request;
use crate::lock::lock;
use crate::outage::{self, Outage};
use crate::rate_limit::{Budget, Verdict};
use crate::rest::window::Window;
use crate::settings::Dialect;
use crate::user::User;
use crate::webhook::Parcel;
use crate::whims::seed_of;
use crate::world::World;

pub(crate) struct Asked {
    pub(crate) kind: String,
    pub(crate) user: User,
    pub(crate) window: Window,
    pub(crate) detail: Detail,
    pub(crate) to_webhook: bool,
}

impl Asked {
    fn is_large(&self) -> bool {
        self.window.cost_days() > large_request::DAYS_MAX && self.kind != "athlete"
    }
}

pub(crate) fn answer_now(world: &World, asked: &Asked) -> HttpResponse {
    let user = asked.user.to_json();
    if asked.kind == "athlete" {
        let athlete = athlete(seed_of(world, &asked.user.user_id), &asked.user.user_id, world.clock.today());
        return HttpResponse::Ok().json(json!({ "athlete": athlete, "type": "athlete", "user": user }));
    }
    let wearing = |record| worn(record, &asked.user.provider);
    let data: Vec<Value> = records(world, asked).into_iter().map(wearing).collect();
    if data.is_empty() && world.dialect() == Dialect::Older {
        return HttpResponse::Ok().json(json!({
            "status": "error",
            "message": "No data available for specified time range",
            "type": "no_data",
            "user": user,
        }));
    }
    HttpResponse::Ok().json(json!({ "data": data, "type": asked.kind, "user": user }))
}

pub(crate) fn send_later(world: &World, asked: &Asked) -> HttpResponse {
    let reference = world.new_id().to_string();
    let answer = accepted(world.dialect(), asked, &reference);
    deliver(world, asked, &reference);
    answer
}

/// Accepts a request that the provider refuses at the moment; its data comes when the provider is
/// well again. The older platform says so by a webhook.
pub(crate) fn send_when_well(world: &web::Data<World>, asked: Asked, outage: &Outage) -> HttpResponse {
    let reference = world.new_id().to_string();
    let answer = accepted(world.dialect(), &asked, &reference);
    match world.dialect() {
        Dialect::Older => {
            let retrying_at = stamp_of(outage.retrying_at_ms(world.clock.unix_ms()));
            let (start, end) = (asked.window.start.to_string(), asked.window.end.to_string());
            let mut event = rate_limit_hit(&asked.user, &start, &end, &retrying_at);
            event["message"] = json!(outage.message);
            // Nobody waits for it.
            drop(world.announce(&[event], Duration::ZERO));
        }
        Dialect::Newer => {}
    }
    let later: Arc<World> = world.clone().into_inner();
    drop(world.courier.beside(async move {
        outage::over(&later, &asked.user.provider).await;
        deliver(&later, &asked, &reference);
    }));
    answer
}

/// How the older platform says that the provider refuses: with a success status.
pub(crate) fn rate_limit(asked: &Asked, outage: &Outage) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "status": "error",
        "type": "rate_limit",
        "message": outage.message,
        "user": asked.user.to_json(),
    }))
}

/// Sends what was asked for, beside the answer to the call.
fn deliver(world: &World, asked: &Asked, reference: &str) {
    let mut user = asked.user.clone();
    user.last_webhook_update = Some(world.clock.stamp());
    lock(&world.users).touch(&user.user_id, &user.last_webhook_update);
    let (announcements, chunks) = if asked.is_large() {
        let (announcements, chunks) =
            large_request::parcels(world, &asked.kind, &user, reference, records(world, asked));
        (Vec::from(announcements), chunks)
    } else {
        let event = if asked.kind == "athlete" {
            athlete_event(&user, athlete(seed_of(world, &user.user_id), &user.user_id, world.clock.today()))
        } else {
            data_event(&asked.kind, &user, records(world, asked))
        };
        let reference = Some(reference.to_owned());
        (vec![], vec![Parcel { trace_id: reference.clone(), reference, ..world.parcel(&event) }])
    };
    let disturbance = disturbance::take(world, &asked.kind, &user.user_id, asked.is_large()).unwrap_or_default();
    let Sending { parcels, again, again_after } = disturbance.apply(announcements, chunks);
    let sent = world.dispatch(parcels, Duration::ZERO);
    if again.is_empty() {
        // The answer to this call does not wait for the webhooks.
        drop(sent);
        return;
    }
    let courier = world.courier.clone();
    drop(world.courier.beside(async move {
        // A simulator that stops sends nothing more; otherwise the first sending cannot fail.
        sent.await.ok();
        drop(courier.dispatch(again, again_after));
    }));
}

fn accepted(dialect: Dialect, asked: &Asked, reference: &str) -> HttpResponse {
    let user = asked.user.to_json();
    let answer = match dialect {
        Dialect::Newer => {
            let mut answer = json!({
                "status": "success",
                "type": asked.kind,
                "reference": reference,
                "trace_id": reference,
                "user": user,
            });
            if asked.is_large() {
                answer["message"] = json!("Large request accepted; its data will be sent in chunks");
            }
            answer
        }
        Dialect::Older => json!({
            "reference": reference,
            "message": "Data will be sent to webhook",
            "type": "webhook",
            "user": user,
        }),
    };
    HttpResponse::Ok().insert_header(("Terra-Reference", reference)).json(answer)
}

fn records(world: &World, asked: &Asked) -> Vec<Value> {
    history::records(world, &asked.kind, &asked.user, asked.window, asked.detail)
}

pub(crate) fn add_budget(answer: &mut HttpResponse, budget: Budget, verdict: Verdict) {
    let Verdict::Granted { remaining, reset_after_seconds } = verdict else { return };
    let numbers = [
        ("x-terra-ratelimit-limit", budget.days_per_window),
        ("x-terra-ratelimit-remaining", remaining),
        ("x-terra-ratelimit-reset-after", reset_after_seconds),
    ];
    for (name, number) in numbers {
        let name = actix_web::http::header::HeaderName::from_static(name);
        answer.headers_mut().insert(name, number.into());
    }
}
