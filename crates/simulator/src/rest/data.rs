//! Reading health data: at once in the answer, or later as webhooks.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use crate::catalog::worn;
use crate::event::{athlete_event, data_event};
use crate::generate::{Detail, athlete};
use crate::history;
use crate::large_request;
use crate::lock::lock;
use crate::rate_limit::{DAYS_PER_HOUR_MAX, Verdict};
use crate::refusal::Refusal;
use crate::rest::credentials::Caller;
use crate::rest::not_found;
use crate::rest::window::Window;
use crate::settings::Dialect;
use crate::user::User;
use crate::world::World;

const KINDS: [&str; 7] = ["activity", "athlete", "body", "daily", "menstruation", "nutrition", "sleep"];

pub(crate) async fn read(
    request: HttpRequest,
    _caller: Caller,
    world: web::Data<World>,
    kind: web::Path<String>,
    query: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, Refusal> {
    if !KINDS.contains(&kind.as_str()) {
        return Ok(not_found(request).await);
    }
    let refuse = |status, detail: &str| Refusal::of(&request, status, detail);
    let Some(user_id) = query.get("user_id") else {
        return Err(refuse(StatusCode::BAD_REQUEST, "user_id is missing"));
    };
    let Some(user) = world.user(user_id) else {
        return Err(refuse(StatusCode::NOT_FOUND, "user not found"));
    };
    if !user.active {
        let detail = "the provider refused the connection of this user";
        return Err(refuse(StatusCode::FAILED_DEPENDENCY, detail));
    }
    let flag = |name: &str| query.get(name).map(|value| value.eq_ignore_ascii_case("true"));
    let asked = Asked {
        window: window(&kind, &query, &world).map_err(|detail| refuse(StatusCode::BAD_REQUEST, detail))?,
        detail: if flag("with_samples") == Some(true) { Detail::Samples } else { Detail::Summary },
        // Terra's default, and a surprise to many.
        to_webhook: flag("to_webhook").unwrap_or(true),
        kind: kind.into_inner(),
        user,
    };
    if asked.to_webhook && world.dials().webhook_url.is_none() {
        return Err(refuse(StatusCode::BAD_REQUEST, "no destination is configured"));
    }
    let verdict = lock(&world.spent)
        .entry(asked.user.user_id.clone())
        .or_default()
        .ask(asked.window.cost_days(), world.clock.unix_seconds());
    let mut answer = match verdict {
        Verdict::Granted { .. } if asked.to_webhook => send_later(&world, &asked),
        Verdict::Granted { .. } => answer_now(&world, &asked),
        Verdict::TooWide => {
            return Err(refuse(StatusCode::TOO_MANY_REQUESTS, "too many days in one request")
                .with_header("X-Terra-RateLimit-Rule", "r1".to_owned()));
        }
        Verdict::Exhausted { retry_after_seconds } => {
            return Err(refuse(StatusCode::TOO_MANY_REQUESTS, "too many days in an hour")
                .with_header("X-Terra-RateLimit-Rule", "r2".to_owned())
                .with_header("Retry-After", retry_after_seconds.to_string()));
        }
    };
    add_budget(&mut answer, verdict);
    Ok(answer)
}

struct Asked {
    kind: String,
    user: User,
    window: Window,
    detail: Detail,
    to_webhook: bool,
}

/// A profile has no dates; asking for it counts as a day.
fn window(kind: &str, query: &HashMap<String, String>, world: &World) -> Result<Window, &'static str> {
    let today = world.clock.today();
    if kind == "athlete" && !query.contains_key("start_date") {
        return Ok(Window { start: today, end: today });
    }
    Window::parse(query, today)
}

fn answer_now(world: &World, asked: &Asked) -> HttpResponse {
    let user = asked.user.to_json();
    if asked.kind == "athlete" {
        let athlete = athlete(world.seed, &asked.user.user_id, world.clock.today());
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

fn send_later(world: &World, asked: &Asked) -> HttpResponse {
    let reference = world.new_id().to_string();
    let large = asked.window.cost_days() > large_request::DAYS_MAX && asked.kind != "athlete";
    let answer = accepted(world.dialect(), asked, &reference, large);
    let mut user = asked.user.clone();
    user.last_webhook_update = Some(world.clock.stamp());
    lock(&world.users).put(user.clone());
    let parcels = if large {
        let records = records(world, asked);
        large_request::parcels(world, &asked.kind, &user, &reference, records)
    } else {
        let event = if asked.kind == "athlete" {
            athlete_event(&user, athlete(world.seed, &user.user_id, world.clock.today()))
        } else {
            data_event(&asked.kind, &user, records(world, asked))
        };
        let mut parcel = world.parcel(&event);
        parcel.trace_id = Some(reference.clone());
        parcel.reference = Some(reference.clone());
        vec![parcel]
    };
    // The answer to this call does not wait for the webhooks.
    drop(world.dispatch(parcels, Duration::ZERO));
    HttpResponse::Ok().insert_header(("Terra-Reference", reference)).json(answer)
}

fn accepted(dialect: Dialect, asked: &Asked, reference: &str, large: bool) -> Value {
    let user = asked.user.to_json();
    match dialect {
        Dialect::Newer => {
            let mut answer = json!({
                "status": "success",
                "type": asked.kind,
                "reference": reference,
                "trace_id": reference,
                "user": user,
            });
            if large {
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
    }
}

fn records(world: &World, asked: &Asked) -> Vec<Value> {
    history::records(world, &asked.kind, &asked.user, asked.window, asked.detail)
}

fn add_budget(answer: &mut HttpResponse, verdict: Verdict) {
    let Verdict::Granted { remaining, reset_after_seconds } = verdict else { return };
    let numbers = [
        ("x-terra-ratelimit-limit", DAYS_PER_HOUR_MAX),
        ("x-terra-ratelimit-remaining", remaining),
        ("x-terra-ratelimit-reset-after", reset_after_seconds),
    ];
    for (name, number) in numbers {
        let name = actix_web::http::header::HeaderName::from_static(name);
        answer.headers_mut().insert(name, number.into());
    }
}
