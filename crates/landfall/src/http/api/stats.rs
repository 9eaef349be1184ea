//! What Terra delivered and will bill, per connection, kind or provider: as JSON in pages, as CSV whole.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::{HttpRequest, HttpResponse, web};
use adapters::store::view::LIMIT_MAX;
use adapters::store::{Page, StoreError, UsageBy, UsageFilter, UsageTotals, UsageView};
use bytes::Bytes;
use domain::usage::{Tally, month_of, over_free};
use futures_util::stream;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{day, given, items, one_of, page};
use crate::command::output::harmless;
use crate::http::App;
use crate::http::auth::{Authorized, Ops};
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// `2026-03`; left out: the current month (UTC).
    month: Option<String>,
    by: Option<String>,
    /// `true`: only connections over their free events.
    over: Option<String>,
    format: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

pub(super) async fn usage(
    _: Authorized<Ops>,
    app: web::Data<App>,
    request: HttpRequest,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let asked = asked.into_inner();
    let month = month("month", asked.month, app.ports.clock.now())?;
    let by = one_of("by", asked.by, UsageBy::parse, &UsageBy::LABELS)?.unwrap_or(UsageBy::Kind);
    let only_over = one_of("over", asked.over, |text| text.parse::<bool>().ok(), &["true", "false"])?;
    let free = app.config.usage_free_monthly;
    let above = if only_over == Some(true) { free } else { 0 };
    if above > 0 && by != UsageBy::Connection {
        return Err(Problem::bad_parameter("over: only with by=connection, which the free events are counted by"));
    }
    let filter = UsageFilter { month, by, above };
    let wants = |text: &str| matches!(text, "json" | "csv").then_some(text == "csv");
    let format = one_of("format", asked.format, wants, &["json", "csv"])?;
    if format.unwrap_or_else(|| accepts_csv(&request)) {
        return Ok(whole_csv(&app, filter, free));
    }
    let listing = app.ports.store.usage(&filter, &page(asked.after, asked.limit)?).await?;
    let rows = listing.items.iter().map(|view| row(&filter, view, free)).collect();
    Ok(items(rows, listing.next))
}

fn accepts_csv(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.split(',').any(|kind| kind.trim().starts_with("text/csv")))
}

/// A month as people write it, as its first day.
fn month(name: &str, text: Option<String>, now: Timestamp) -> Result<Date, Problem> {
    let Some(text) = given(text) else { return Ok(month_of(now)) };
    day(&format!("{text}-01")).ok_or_else(|| Problem::bad_parameter(format!("{name}: a month (2026-03)")))
}

fn month_text(month: Date) -> String {
    month.strftime("%Y-%m").to_string()
}

/// The numbers of one sum, as every answer shows them.
fn numbers(tally: &Tally, live: u64) -> Value {
    json!({
        "deliveries": tally.deliveries,
        "unchanged": tally.unchanged,
        "duplicates": tally.duplicates,
        // Four digits: a share of 0.1234 is 12.34 %.
        "unchanged_share": (tally.unchanged_share() * 10_000.0).round() / 10_000.0,
        "bytes": tally.bytes,
        "live": live,
        "ours": tally.deliveries.saturating_sub(live),
    })
}

fn row(filter: &UsageFilter, view: &UsageView, free: u64) -> Value {
    let mut row = json!({ "month": month_text(filter.month) });
    match filter.by {
        UsageBy::Connection => {
            row["connection"] = json!(view.connection);
            row["user"] = json!(view.user);
            row["environment"] = json!(view.environment);
            row["terra_user_id"] = json!(view.terra_user_id);
            row["provider"] = json!(view.provider);
            let over = if view.connection.is_some() { over_free(view.tally.deliveries, free) } else { 0 };
            row["over_free"] = json!(over);
        }
        UsageBy::Kind => row["type"] = json!(view.kind),
        UsageBy::Provider => row["provider"] = json!(view.provider),
    }
    if let (Value::Object(row), Value::Object(numbers)) = (&mut row, numbers(&view.tally, view.live)) {
        row.extend(numbers);
    }
    row
}

/// The columns of CSV, in their order.
fn columns(by: UsageBy) -> Vec<&'static str> {
    let named: &[&str] = match by {
        UsageBy::Connection => &["connection", "user", "environment", "terra_user_id", "provider", "over_free"],
        UsageBy::Kind => &["type"],
        UsageBy::Provider => &["provider"],
    };
    let numbers = ["deliveries", "unchanged", "duplicates", "unchanged_share", "bytes", "live", "ours"];
    std::iter::once("month").chain(named.iter().copied()).chain(numbers).collect()
}

/// All rows, read page by page while they are sent. A store that goes away cuts the answer short instead of ending it.
fn whole_csv(app: &web::Data<App>, filter: UsageFilter, free: u64) -> HttpResponse {
    let store = app.ports.store.clone();
    let columns = columns(filter.by);
    let name = format!("usage-{}.csv", month_text(filter.month));
    let lines = stream::try_unfold(Some(Page { after: None, limit: LIMIT_MAX }), move |next| {
        let (store, filter, columns) = (store.clone(), filter.clone(), columns.clone());
        async move {
            let Some(page) = next else { return Ok::<_, Cut>(None) };
            let listing = store.usage(&filter, &page).await?;
            let mut text = if page.after.is_none() { format!("{}\r\n", columns.join(",")) } else { String::new() };
            for view in &listing.items {
                let row = row(&filter, view, free);
                let cells: Vec<String> = columns.iter().map(|column| harmless(&row[*column])).collect();
                text.push_str(&cells.join(","));
                text.push_str("\r\n");
            }
            let next = listing.next.map(|after| Page { after: Some(after), limit: LIMIT_MAX });
            Ok(Some((Bytes::from(text), next)))
        }
    });
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("content-disposition", format!("attachment; filename=\"{name}\"")))
        .content_type("text/csv; charset=utf-8")
        .streaming(Box::pin(lines))
}

/// The store went away while an answer was being sent.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut short")]
struct Cut(#[from] StoreError);

impl actix_web::ResponseError for Cut {
    fn status_code(&self) -> StatusCode {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// The current month, as `/v1/stats` has it.
pub(super) async fn overview(app: &App) -> Result<Value, StoreError> {
    let (month, free) = (month_of(app.ports.clock.now()), app.config.usage_free_monthly);
    let totals = app.ports.store.usage_totals(month, free).await?;
    let mut shown = json!({ "month": month_text(month), "text": text(month, &totals, free) });
    let rest = json!({
        "connections": totals.connections,
        "free_per_connection": free,
        "connections_over_free": totals.connections_over,
        "events_over_free": totals.events_over,
    });
    if let (Value::Object(shown), Value::Object(numbers), Value::Object(rest)) =
        (&mut shown, numbers(&totals.tally, totals.live), rest)
    {
        shown.extend(numbers);
        shown.extend(rest);
    }
    for (name, by) in [("by_type", UsageBy::Kind), ("by_provider", UsageBy::Provider)] {
        let filter = UsageFilter { month, by, above: 0 };
        let listing = app.ports.store.usage(&filter, &Page { after: None, limit: LIMIT_MAX }).await?;
        shown[name] = listing.items.iter().map(|view| row(&filter, view, free)).collect();
    }
    Ok(shown)
}

fn text(month: Date, totals: &UsageTotals, free: u64) -> String {
    let share = (totals.tally.unchanged_share() * 100.0).round();
    format!(
        "Terra delivered {} events for {} connections in {}; {share} % of what came changed nothing, {} were asked for \
         by us. {} connections are over their {free} free events, by {} events in all.",
        totals.tally.deliveries,
        totals.connections,
        month_text(month),
        totals.tally.deliveries.saturating_sub(totals.live),
        totals.connections_over,
        totals.events_over,
    )
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[track_caller]
    fn check(text: Option<&str>, expected: Option<Date>) {
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        assert_eq!(month("month", text.map(str::to_owned), now).ok(), expected, "{text:?}");
    }

    #[test]
    fn a_month_is_year_and_month_and_the_current_one_if_not_said() {
        check(None, Some(date(2026, 11, 1)));
        check(Some("2026-02"), Some(date(2026, 2, 1)));
        for bad in ["2026", "2026-13", "2026-02-01", "11-2026", "2026-2"] {
            check(Some(bad), None);
        }
    }

    #[test]
    fn the_bill_reads_as_a_sentence() {
        let tally = Tally { deliveries: 1_000, unchanged: 100, duplicates: 0, bytes: 7 };
        let totals = UsageTotals { tally, live: 900, connections: 3, connections_over: 1, events_over: 12 };
        assert_eq!(
            text(date(2026, 11, 1), &totals, 400),
            "Terra delivered 1000 events for 3 connections in 2026-11; 10 % of what came changed nothing, 100 were asked \
             for by us. 1 connections are over their 400 free events, by 12 events in all."
        );
    }
}
