//! Terra's Admin API, as far as its event log goes: what was delivered, what was not, once more; and whether the
//! destination is still active.
//!
//! Source: `tryterra/agent-skills` (`skills/terra-cli/references/webhook-debugging.md`, `scripting.md`,
//! `skills/terra-mcp/SKILL.md`) and `tryterra/terra-cli` (`CHANGELOG.md`, v0.8.0) name the commands,
//! their filters, the columns of a row, `next_cursor` and `has_more`, the token's prefix `terra_at_`,
//! the 202 of a resend, its three parameters, and that it may arrive twice. They do not show a path or a
//! whole body. [verify live]: the base `/api/v3/admin` (it is that of the admin MCP server), the
//! environment as a part of the path, `data` as the name of a page's rows, `Authorization: Bearer`,
//! the body of the 202, the fields of `stats`, and the path of `destinations`.

mod problem;

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::stamp_of;
use crate::courier::Once;
use crate::event_log::{DEFAULT_WINDOW_MS, Filter, RETENTION_MS, Row};
use crate::lock::lock;
use crate::rest::admin::problem::Problem;
use crate::world::World;

pub(crate) const BASE: &str = "/api/v3/admin";
/// Rows of a page, if not said, and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 500;

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.route(&format!("{BASE}/environments/{{dev_id}}/destinations"), web::get().to(destinations));
    config.service(
        web::scope(&format!("{BASE}/environments/{{dev_id}}/events"))
            .route("", web::get().to(list))
            .route("/stats", web::get().to(stats))
            .route("/resend", web::post().to(resend))
            .route("/{event_id}", web::get().to(retrieve))
            .route("/{event_id}/payload", web::get().to(payload)),
    );
}

/// The one destination there is, if there is one.
async fn destinations(request: HttpRequest, world: web::Data<World>) -> Result<HttpResponse, Problem> {
    admitted(&request, &world)?;
    let dials = world.dials();
    let one = |url: String| json!({ "id": "destination-1", "type": "webhook", "url": url, "active": dials.destination_active, "event_types": [] });
    let data: Vec<Value> = dials.webhook_url.clone().map(one).into_iter().collect();
    Ok(HttpResponse::Ok().json(json!({ "data": data })))
}

/// Newest first. `cursor` is the number of rows to pass over, written as text that means nothing.
async fn list(request: HttpRequest, world: web::Data<World>) -> Result<HttpResponse, Problem> {
    let query = admitted(&request, &world)?;
    let now_ms = world.clock.unix_ms();
    let filter = filter(&query, now_ms)?;
    let first = |name: &str| query.get(name).and_then(|values| values.first());
    let limit = first("limit").and_then(|text| text.parse().ok()).unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let skipped: usize = match first("cursor") {
        None => 0,
        Some(cursor) => {
            let number = cursor.strip_prefix("after_").and_then(|text| text.parse().ok());
            number.ok_or_else(|| Problem::invalid("invalid cursor"))?
        }
    };
    let log = lock(world.courier.events());
    let rows = log.list(&filter, now_ms);
    let has_more = rows.len() > skipped + limit;
    let data: Vec<Value> = rows.into_iter().skip(skipped).take(limit).map(shown).collect();
    let next_cursor = has_more.then(|| format!("after_{}", skipped + limit));
    Ok(HttpResponse::Ok().json(json!({ "data": data, "has_more": has_more, "next_cursor": next_cursor })))
}

async fn retrieve(
    request: HttpRequest,
    world: web::Data<World>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(shown(&found(&request, &world, &path.1)?)))
}

/// The body that Terra tried to deliver, as it was.
async fn payload(
    request: HttpRequest,
    world: web::Data<World>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let row = found(&request, &world, &path.1)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(row.parcel.body))
}

async fn stats(request: HttpRequest, world: web::Data<World>) -> Result<HttpResponse, Problem> {
    let now_ms = world.clock.unix_ms();
    let filter = filter(&admitted(&request, &world)?, now_ms)?;
    Ok(HttpResponse::Ok().json(lock(world.courier.events()).stats(&filter, now_ms)))
}

#[derive(Debug, Deserialize)]
struct Resend {
    event_id: String,
    event_type: String,
    user_id: String,
}

/// Queued, not delivered: the answer says nothing about the outcome. The guide says that a resend to
/// a destination that is still broken adds one failed row, so it is not tried again.
async fn resend(request: HttpRequest, world: web::Data<World>, body: web::Bytes) -> Result<HttpResponse, Problem> {
    admitted(&request, &world)?;
    let wanted: Resend = serde_json::from_slice(&body).map_err(|error| Problem::invalid(error.to_string()))?;
    let row = found(&request, &world, &wanted.event_id)?;
    let fits = row.parcel.kind == wanted.event_type
        && row.parcel.subject.user_id.as_deref().unwrap_or_default() == wanted.user_id;
    if !fits {
        return Err(Problem::not_found("event_not_found", "no event of this id has this type and user"));
    }
    let dials = world.dials();
    let mut parcel = row.parcel;
    if !dials.resend_keeps_trace_id {
        parcel.event_id = Some(row.event_id);
        parcel.trace_id = Some(world.new_id().to_string());
    }
    let courier = world.courier.clone();
    drop(world.courier.beside(async move {
        for _ in 0..dials.resend_copies.max(1) {
            // The log tells the outcome; nobody waits for it.
            drop(courier.send_once(parcel.clone(), Once::default()).await);
        }
    }));
    Ok(HttpResponse::Accepted().json(json!({ "status": "queued", "event_id": wanted.event_id })))
}

fn shown(row: &Row) -> Value {
    json!({
        "event_id": row.event_id,
        "data_type": row.parcel.kind,
        "event_type": row.parcel.kind,
        "provider": row.parcel.subject.provider,
        "user_id": row.parcel.subject.user_id,
        "reference_id": row.parcel.subject.reference_id,
        "http_status": row.http_status,
        "sent_at": stamp_of(row.sent_at_ms),
        "destination_type": "webhook",
        "bytes": row.parcel.body.len(),
        "response_time_ms": row.response_time_ms,
    })
}

type Query = HashMap<String, Vec<String>>;

/// The query of a caller who has shown the token and named our environment.
fn admitted(request: &HttpRequest, world: &World) -> Result<Query, Problem> {
    let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let token = shown.and_then(|value| value.strip_prefix("Bearer "));
    if token != Some(world.dials().admin_token.as_str()) {
        return Err(Problem::unauthorized());
    }
    if request.match_info().get("dev_id") != Some(world.dev_id.as_str()) {
        return Err(Problem::not_found("dev_id_not_found", "no such environment"));
    }
    let mut query = Query::new();
    for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
        query.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    Ok(query)
}

fn found(request: &HttpRequest, world: &World, event_id: &str) -> Result<Row, Problem> {
    admitted(request, world)?;
    let row = lock(world.courier.events()).find(event_id, world.clock.unix_ms()).cloned();
    row.ok_or_else(|| Problem::not_found("event_not_found", "no such event within 14 days"))
}

/// Reads the filters. An exact event is looked for in all that is kept, the others in a week.
fn filter(query: &Query, now_ms: i64) -> Result<Filter, Problem> {
    let all = |name: &str| query.get(name).cloned().unwrap_or_default();
    let one = |name: &str| query.get(name).and_then(|values| values.first()).cloned();
    let moment = |name: &str| match one(name) {
        None => Ok(None),
        Some(text) => match text.parse::<Timestamp>() {
            Ok(moment) => Ok(Some(moment.as_millisecond())),
            Err(_) => Err(Problem::invalid(format!("{name} is no RFC 3339 time"))),
        },
    };
    let delivered = match one("outcome").as_deref() {
        None => None,
        Some("delivered") => Some(true),
        Some("failed") => Some(false),
        Some(_) => return Err(Problem::invalid("outcome is delivered or failed")),
    };
    let event_id = one("event_id");
    let window_ms = if event_id.is_some() { RETENTION_MS } else { DEFAULT_WINDOW_MS };
    Ok(Filter {
        delivered,
        data_types: all("data_type"),
        providers: all("provider"),
        user_id: one("user_id"),
        reference_id: one("reference_id"),
        event_id,
        summary_id: one("summary_id"),
        since_ms: moment("since")?.unwrap_or(now_ms - window_ms),
        until_ms: moment("until")?.unwrap_or(i64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_780_315_200_000;
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], since_days_ago: i64) {
        let query = pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        let since_ms = filter(&query, NOW_MS).map(|filter| filter.since_ms).ok();
        assert_eq!(since_ms, Some(NOW_MS - since_days_ago * DAY_MS));
    }

    #[test]
    fn a_week_is_listed_and_one_event_is_looked_for_in_a_fortnight() {
        check(&[], 7);
        check(&[("outcome", "failed")], 7);
        check(&[("event_id", "e")], 14);
        check(&[("since", "2026-05-22T12:00:00Z")], 10);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for pair in [("outcome", "lost"), ("since", "yesterday"), ("until", "2026-13-01T00:00:00Z")] {
            let query = Query::from([(pair.0.to_owned(), vec![pair.1.to_owned()])]);
            assert!(filter(&query, NOW_MS).is_err(), "{pair:?}");
        }
    }
}
