//! The routes of `/v1`, and what they share: pages, times and listings as parameters.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use adapters::store::view::{LIMIT_DEFAULT, LIMIT_MAX};
use adapters::store::{Listing, Page};
use domain::id::UserId;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth;
use super::events_stream;
use super::problem::{self, Problem};
use crate::connect::check_label;

mod audit;
mod backfills;
mod connections;
mod dead_letters;
mod drift;
mod erasures;
pub(crate) mod events;
mod export;
mod fetches;
mod ledger;
mod overview;
mod quarantine;
mod reconciles;
mod records;
mod recoveries;
mod replays;
mod reproject;
mod selection;
mod sessions;
mod silence;
mod stats;
mod why;

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1")
            .configure(problem::extractors)
            .wrap(from_fn(auth::authenticate))
            .route("/connect-sessions", web::post().to(sessions::create))
            .route("/connect-sessions/{id}", web::get().to(sessions::show))
            .route("/mobile-tokens", web::post().to(sessions::mobile_token))
            .route("/connections", web::get().to(connections::list))
            .route("/connections/{id}", web::get().to(connections::show))
            .route("/connections/{id}", web::delete().to(connections::disconnect))
            .route("/connections/{id}/user", web::put().to(connections::assign))
            .route("/connections/{id}/split", web::post().to(connections::split))
            .route("/users/{user}/connections", web::get().to(connections::of_user))
            .route("/users/{user}/fetches", web::post().to(fetches::request))
            .route("/users/{user}/export", web::get().to(export::stream))
            .route("/users/{user}/{kind}", web::get().to(records::list))
            .route("/records/read", web::post().to(records::read))
            .route("/records/{id}", web::get().to(records::show))
            .route("/records/{id}/document", web::get().to(records::document))
            .route("/auth-events", web::get().to(ledger::auth_events))
            .route("/reprojections", web::post().to(reproject::page))
            .route("/why", web::get().to(why::explain))
            .route("/drift", web::get().to(drift::list))
            .route("/deliveries", web::get().to(ledger::deliveries))
            .route("/deliveries/{id}", web::get().to(ledger::delivery))
            .route("/deliveries/{id}/payload", web::get().to(ledger::payload))
            .route("/dead-letters", web::get().to(dead_letters::list))
            .route("/dead-letters/groups", web::get().to(dead_letters::groups))
            .route("/dead-letters/replay", web::post().to(dead_letters::replay))
            .route("/dead-letters/discard", web::post().to(dead_letters::discard))
            .route("/replays", web::get().to(replays::list))
            .route("/replays", web::post().to(replays::create))
            .route("/replays/{id}", web::get().to(replays::show))
            .route("/replays/{id}/deliveries", web::get().to(replays::deliveries))
            .route("/replays/{id}/start", web::post().to(replays::start))
            .route("/replays/{id}/cancel", web::post().to(replays::cancel))
            .route("/audit", web::get().to(audit::list))
            .route("/quarantine", web::get().to(quarantine::list))
            .route("/quarantine/reverify", web::post().to(quarantine::reverify))
            .route("/fetches", web::get().to(fetches::list))
            .route("/fetches/{id}", web::get().to(fetches::show))
            .route("/backfills", web::get().to(backfills::list))
            .route("/backfills/{id}", web::get().to(backfills::show))
            .route("/events", web::get().to(events::list))
            .route("/events/stream", web::get().to(events_stream::stream))
            .route("/stats", web::get().to(overview::stats))
            .route("/stats/usage", web::get().to(stats::usage))
            .route("/stats/stale", web::get().to(silence::stale))
            .route("/reconciles", web::get().to(reconciles::list))
            .route("/reconciles", web::post().to(reconciles::create))
            .route("/reconciles/{id}", web::get().to(reconciles::show))
            .route("/recoveries", web::get().to(recoveries::list))
            .route("/recoveries", web::post().to(recoveries::create))
            .route("/recoveries/{id}", web::get().to(recoveries::show))
            .route("/erasures", web::get().to(erasures::list))
            .route("/erasures", web::post().to(erasures::create))
            .route("/erasures/{id}", web::get().to(erasures::show))
            .route("/queues", web::get().to(overview::queues))
            .default_service(web::to(problem::unknown_route)),
    );
}

/// A parameter that is there and not empty: `?status=` filters nothing.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The parameters of a listing that has none of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paged {
    after: Option<String>,
    limit: Option<String>,
}

impl Paged {
    fn page(self) -> Result<Page, Problem> {
        page(self.after, self.limit)
    }
}

fn page(after: Option<String>, limit: Option<String>) -> Result<Page, Problem> {
    Ok(Page { after: given(after), limit: limit_of(limit)? })
}

fn limit_of(limit: Option<String>) -> Result<u32, Problem> {
    let Some(text) = given(limit) else { return Ok(LIMIT_DEFAULT) };
    match text.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Ok(_) | Err(_) => Err(Problem::bad_parameter(format!("limit: a whole number from 1 to {LIMIT_MAX}"))),
    }
}

/// One of ours, by its label; the answer to any other names all there are.
fn one_of<T: Copy>(
    name: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Option<T>,
    labels: &[&str],
) -> Result<Option<T>, Problem> {
    let Some(text) = given(text) else { return Ok(None) };
    let found = parse(&text).ok_or_else(|| Problem::bad_parameter(format!("{name}: one of {}", labels.join(", "))))?;
    Ok(Some(found))
}

/// A moment: RFC 3339, or a date for its first moment in UTC.
fn moment(name: &str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = given(text) else { return Ok(None) };
    let midnight = || Some(day(&text)?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let found = text.parse::<Timestamp>().ok().or_else(midnight);
    found
        .map(Some)
        .ok_or_else(|| Problem::bad_parameter(format!("{name}: a date (2026-03-01) or a time (2026-03-01T08:00:00Z)")))
}

/// A date and nothing more: jiff itself would take a time and drop its hours.
fn day(text: &str) -> Option<Date> {
    text.parse().ok().filter(|_| text.len() == "2026-03-01".len())
}

fn user_of(text: &str) -> Result<UserId, Problem> {
    let text = check_label("user", text).map_err(Problem::bad_parameter)?;
    Ok(UserId::new(text))
}

/// Health data and tokens stay out of caches.
fn private(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(body)
}

fn listed<T: Serialize>(listing: &Listing<T>) -> HttpResponse {
    private(StatusCode::OK, listing)
}

fn items(items: Vec<Value>, next: Option<String>) -> HttpResponse {
    private(StatusCode::OK, &json!({ "items": items, "next": next }))
}

fn moved(location: String) -> HttpResponse {
    HttpResponse::build(StatusCode::PERMANENT_REDIRECT)
        .insert_header((LOCATION, location))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn limit(text: Option<&str>, expected: Option<u32>) {
        assert_eq!(limit_of(text.map(str::to_owned)).ok(), expected, "{text:?}");
    }

    #[test]
    fn a_limit_is_1_to_1000() {
        limit(None, Some(100));
        limit(Some(""), Some(100));
        limit(Some("1"), Some(1));
        limit(Some("1000"), Some(1_000));
        for bad in ["0", "1001", "-1", "1.5", "ten", "99999999999"] {
            limit(Some(bad), None);
        }
    }

    #[track_caller]
    fn at(text: &str, expected: Option<&str>) {
        let found = moment("from", Some(text.to_owned())).ok().flatten();
        assert_eq!(found, expected.map(|expected| expected.parse().unwrap()), "{text}");
    }

    #[test]
    fn a_moment_is_a_date_or_a_time() {
        at("2026-03-01", Some("2026-03-01T00:00:00Z"));
        at("2026-03-01T08:00:00+02:00", Some("2026-03-01T06:00:00Z"));
        at("2026-03-01T08:00:00.5Z", Some("2026-03-01T08:00:00.5Z"));
        for bad in ["yesterday", "2026-13-01", "1700000000", "2026-03-01T08:00:00"] {
            at(bad, None);
        }
    }
}
