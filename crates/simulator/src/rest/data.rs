//! Reading health data: who may ask for what, and within which budget.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::generate::Detail;
use crate::lock::lock;
use crate::outage::{Answer, Outage};
use crate::rate_limit::{Budget, Verdict};
use crate::refusal::Refusal;
use crate::rest::answer::{Asked, add_budget, answer_now, rate_limit, send_later, send_when_well};
use crate::rest::credentials::Caller;
use crate::rest::not_found;
use crate::rest::window::Window;
use crate::whims::budget_of;
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
    if asked.to_webhook && lock(&world.dials).webhook_url.is_none() {
        return Err(refuse(StatusCode::BAD_REQUEST, "no destination is configured"));
    }
    let budget = budget_of(&world, &asked.user.user_id);
    let verdict = lock(&world.spent).entry(asked.user.user_id.clone()).or_default().ask(
        budget,
        asked.window.cost_days(),
        world.clock.unix_ms(),
    );
    over_budget(&request, budget, verdict)?;
    let outage = lock(&world.outages).of(&asked.user.provider, world.clock.unix_ms());
    if let Some(outage) = outage {
        let kept = flag("retry_if_rate_limited") == Some(true) && asked.to_webhook && outage.is_rate_limit();
        return if kept { Ok(send_when_well(&world, asked, &outage)) } else { failed(&request, &asked, &outage) };
    }
    let mut answer = if asked.to_webhook { send_later(&world, &asked) } else { answer_now(&world, &asked) };
    add_budget(&mut answer, budget, verdict);
    Ok(answer)
}

/// A profile has no dates; asking for it counts as a day.
fn window(kind: &str, query: &HashMap<String, String>, world: &World) -> Result<Window, &'static str> {
    let today = world.clock.today();
    if kind == "athlete" && !query.contains_key("start_date") {
        return Ok(Window { start: today, end: today });
    }
    Window::parse(query, today)
}

fn over_budget(request: &HttpRequest, budget: Budget, verdict: Verdict) -> Result<(), Refusal> {
    let refuse = |detail: &str, rule: &str, limit: i64| {
        Refusal::of(request, StatusCode::TOO_MANY_REQUESTS, detail)
            .with_header("X-Terra-RateLimit-Rule", rule.to_owned())
            .with_header("X-Terra-RateLimit-Limit", limit.to_string())
            .with_header("X-Terra-RateLimit-Remaining", "0".to_owned())
    };
    match verdict {
        Verdict::Granted { .. } => Ok(()),
        Verdict::TooWide => Err(refuse("too many days in one request", "r1", budget.days_per_request)),
        Verdict::Exhausted { retry_after_seconds } => {
            Err(refuse("too many days in an hour", "r2", budget.days_per_window)
                .with_header("X-Terra-RateLimit-Reset-After", retry_after_seconds.to_string())
                .with_header("Retry-After", retry_after_seconds.to_string()))
        }
    }
}

fn failed(request: &HttpRequest, asked: &Asked, outage: &Outage) -> Result<HttpResponse, Refusal> {
    let refuse = |status| {
        let refusal = Refusal::of(request, status, &outage.message);
        let wait = outage.retry_after.map(|seconds| ("Retry-After", seconds.to_string()));
        wait.into_iter().fold(refusal, |refusal, (name, value)| refusal.with_header(name, value))
    };
    match outage.answer {
        Answer::Failed => Err(refuse(StatusCode::FAILED_DEPENDENCY)),
        Answer::TooMany => Err(refuse(StatusCode::TOO_MANY_REQUESTS)),
        Answer::RateLimit => Ok(rate_limit(asked, outage)),
    }
}
