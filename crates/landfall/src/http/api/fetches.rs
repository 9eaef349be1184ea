//! Asking Terra for a person's data again, and how those requests are getting on.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::store::view::{ConnectionView, LIMIT_MAX};
use adapters::store::{ConnectionFilter, FetchFilter, Page};
use domain::fetch::{self, FetchJob, FetchOrigin, HISTORY_KINDS, Window, Wish};
use domain::id::{AliasKey, BackfillId, UserId};
use domain::identity::AliasStatus;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};
use terra::event::DataKind;
use tracing::info;
use uuid::Uuid;

use super::{day, given, listed, one_of, page, private, user_of};
use crate::http::App;
use crate::http::auth::{Authorized, Ops, OpsWrite};
use crate::http::problem::Problem;

const STATES: [&str; 6] = ["queued", "requested", "done", "nothing", "failed", "merged"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Terra's names of kinds, such as `activity`; empty or left out: all that have a history.
    #[serde(default)]
    types: Vec<String>,
    /// A date, as is `to`.
    from: String,
    /// Not itself included; left out: up to and including today (UTC).
    to: Option<String>,
    /// Only tell what would be asked.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    user: Option<String>,
    terra_user_id: Option<String>,
    state: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

pub(super) async fn request(
    caller: Authorized<OpsWrite>,
    app: web::Data<App>,
    user: web::Path<String>,
    wanted: web::Json<Wanted>,
) -> Result<HttpResponse, Problem> {
    let user = user_of(&user)?;
    let now = app.ports.clock.now();
    let asked = Asked::check(&wanted, now)?;
    let aliases = open_aliases(&app, &user).await?;
    if aliases.is_empty() {
        return Err(Problem::conflict("no_connection", "the user has no open connection to ask Terra about"));
    }
    let jobs: Vec<FetchJob> = aliases
        .iter()
        .flat_map(|(alias, provider)| asked.jobs(alias, provider.as_deref(), app.config.fetch_window_days))
        .collect();
    if wanted.dry_run {
        return Ok(private(StatusCode::OK, &answer(jobs.iter().map(planned).collect(), &jobs)));
    }
    app.ports.store.enqueue_fetches(&jobs, now).await?;
    info!(actor = %caller.actor.0, requests = jobs.len(), "queued {} fetches", jobs.len());
    Ok(private(StatusCode::ACCEPTED, &answer(queued(&app, &jobs, now).await?, &jobs)))
}

fn answer(items: Vec<Value>, jobs: &[FetchJob]) -> Value {
    json!({ "items": items, "backfills": backfills_of(jobs), "next": null })
}

fn backfills_of(jobs: &[FetchJob]) -> BTreeSet<BackfillId> {
    jobs.iter().map(|job| job.backfill).collect()
}

fn planned(job: &FetchJob) -> Value {
    json!({
        "id": job.id,
        "backfill": job.backfill,
        "environment": job.alias.environment,
        "terra_user_id": job.alias.terra_user_id,
        "type": job.kind.label(),
        "start": job.window.start,
        "end": job.window.end,
    })
}

/// What asks for these days now. Days that somebody was waiting for already are asked for once: by the job that was there,
/// under its own id, or by one of ours that has grown.
async fn queued(app: &App, jobs: &[FetchJob], now: Timestamp) -> Result<Vec<Value>, Problem> {
    let mut queued = Vec::new();
    for id in backfills_of(jobs) {
        // Whoever was erased just now has none.
        let Some(backfill) = app.ports.store.backfill(id, now, app.config.backfill_stall).await? else { continue };
        for request in backfill.requests.iter().flatten() {
            queued.push(json!({
                "id": request.fetch,
                "backfill": id,
                "environment": backfill.environment,
                "terra_user_id": backfill.terra_user_id,
                "type": request.days.as_ref().map(|days| &days.kind),
                "start": request.days.as_ref().map(|days| &days.start),
                "end": request.days.as_ref().map(|days| &days.end),
            }));
        }
    }
    Ok(queued)
}

/// Which kinds and days, checked.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    kinds: Vec<DataKind>,
    days: Window,
}

impl Asked {
    fn check(wanted: &Wanted, now: Timestamp) -> Result<Asked, Problem> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let date =
            |name: &str, text: &str| day(text).ok_or_else(|| Problem::bad_body(format!("{name}: a date (2026-03-01)")));
        let end = match &wanted.to {
            Some(to) => date("to", to)?,
            None => today.tomorrow().map_err(|_| Problem::bad_body("to: too late"))?,
        };
        let days = Window { start: date("from", &wanted.from)?, end };
        if days.is_empty() {
            return Err(Problem::bad_body("from, to: at least one day; `to` is not itself included"));
        }
        Ok(Asked { kinds: kinds(&wanted.types)?, days: days.newest() })
    }

    fn jobs(&self, alias: &AliasKey, provider: Option<&str>, window_days_max: u32) -> Vec<FetchJob> {
        fetch::jobs(&Wish {
            alias,
            provider,
            kinds: &self.kinds,
            days: self.days,
            origin: FetchOrigin::Request,
            cause: Uuid::now_v7().as_bytes(),
            window_days_max,
        })
    }
}

fn kinds(types: &[String]) -> Result<Vec<DataKind>, Problem> {
    if types.is_empty() {
        return Ok(HISTORY_KINDS.to_vec());
    }
    let known = |name: &String| HISTORY_KINDS.into_iter().find(|kind| kind.label() == name);
    let mut kinds = Vec::new();
    for name in types {
        let kind = known(name).ok_or_else(|| {
            let names = HISTORY_KINDS.map(DataKind::label);
            Problem::bad_body(format!("types: each one of {}", names.join(", ")))
        })?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

async fn open_aliases(app: &App, user: &UserId) -> Result<Vec<(AliasKey, Option<String>)>, Problem> {
    let filter = ConnectionFilter { user: Some(user.clone()), ..ConnectionFilter::default() };
    // One page is everything: nobody has a thousand connections.
    let connections = app.ports.store.connections(&filter, &Page { after: None, limit: LIMIT_MAX }).await?;
    Ok(connections.items.iter().flat_map(open_aliases_of).collect())
}

fn open_aliases_of(connection: &ConnectionView) -> impl Iterator<Item = (AliasKey, Option<String>)> {
    let open = connection.aliases.iter().filter(|alias| alias.status != AliasStatus::Revoked.label());
    open.map(|alias| (AliasKey::new(&connection.environment, &alias.terra_user_id), connection.provider.clone()))
}

pub(super) async fn list(
    _: Authorized<Ops>,
    app: web::Data<App>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let filter = filter.into_inner();
    let page = page(filter.after, filter.limit)?;
    let known = |label: &str| STATES.into_iter().find(|state| *state == label);
    let filter = FetchFilter {
        user: given(filter.user).map(|user| user_of(&user)).transpose()?,
        terra_user_id: given(filter.terra_user_id),
        state: one_of("state", filter.state, known, &STATES)?.map(str::to_owned),
        reference: None,
    };
    Ok(listed(&app.ports.store.fetches(&filter, &page).await?))
}

pub(super) async fn show(
    _: Authorized<Ops>,
    app: web::Data<App>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let unknown = || Problem::not_found("unknown_fetch", format!("there is no fetch {id}"));
    let id = id.parse().map_err(|_| unknown())?;
    let fetch = app.ports.store.fetch(id).await?.ok_or_else(unknown)?;
    Ok(private(StatusCode::OK, &fetch))
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Date, date};

    use super::*;

    #[track_caller]
    fn check(from: Date, to: Option<Date>, days: Option<i64>) {
        let now = date(2026, 3, 10).to_zoned(TimeZone::UTC).unwrap().timestamp();
        let asked = Asked::check(
            &Wanted { types: Vec::new(), from: from.to_string(), to: to.map(|to| to.to_string()), dry_run: false },
            now,
        );
        assert_eq!(asked.ok().map(|asked| asked.days.days()), days, "{from} to {to:?}");
    }

    #[test]
    fn the_last_day_is_the_one_before_to() {
        check(date(2026, 3, 1), Some(date(2026, 3, 2)), Some(1));
        check(date(2026, 1, 1), Some(date(2026, 3, 1)), Some(59));
        check(date(2026, 3, 1), None, Some(10));
        check(date(2026, 3, 1), Some(date(2026, 3, 1)), None);
        check(date(2026, 3, 2), Some(date(2026, 3, 1)), None);
        check(date(2010, 1, 1), None, Some(1_825));
    }

    #[test]
    fn windows_cover_what_was_asked_for_and_ids_differ_per_alias() {
        let days = Window { start: date(2026, 1, 1), end: date(2026, 3, 1) };
        let asked = Asked { kinds: vec![DataKind::Sleep], days };
        let environment = domain::id::Environment::new("default");
        let jobs = asked.jobs(&AliasKey::new(&environment, "u1"), Some("GARMIN"), 28);
        assert_eq!(jobs.iter().map(|job| job.window.days()).sum::<i64>(), 59);
        assert_eq!(jobs.iter().map(|job| job.window.start).min(), Some(date(2026, 1, 1)));
        assert_eq!(jobs.iter().map(|job| job.window.end).max(), Some(date(2026, 3, 1)));
        let others = asked.jobs(&AliasKey::new(&environment, "u2"), None, 28);
        assert_ne!(jobs[0].id, others[0].id);
    }

    #[test]
    fn only_kinds_with_a_history_can_be_asked_for() {
        assert_eq!(kinds(&["sleep".into(), "sleep".into()]).unwrap(), [DataKind::Sleep]);
        assert!(kinds(&["hormone".into()]).is_err());
        assert_eq!(kinds(&[]).unwrap().len(), HISTORY_KINDS.len());
    }
}
