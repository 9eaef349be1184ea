//! The event log by position, for services without RabbitMQ.

use actix_web::{HttpResponse, web};
use domain::outgoing::Published;
use serde::Deserialize;

use super::{given, items, limit_of};
use crate::http::App;
use crate::http::auth::{Authorized, Events};
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    after: Option<String>,
    limit: Option<String>,
}

/// `next` is null at the end of the log; the last item's `position` is then what to ask after next time.
pub(super) async fn list(
    _: Authorized<Events>,
    app: web::Data<App>,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let filter = filter.into_inner();
    let limit = limit_of(filter.limit)?;
    let after = position(given(filter.after))?;
    let events = app.ports.store.events_after(after, limit).await?;
    let is_full = events.len() >= limit as usize;
    let next = events.last().filter(|_| is_full).map(|event| event.position.to_string());
    Ok(items(events.iter().map(Published::structured).collect(), next))
}

/// Where a reader stands: 0 is before the first event.
pub(crate) fn position(text: Option<String>) -> Result<i64, Problem> {
    let Some(text) = text else { return Ok(0) };
    let position = text.parse().ok().filter(|position| *position >= 0);
    position.ok_or_else(|| {
        Problem::new(
            actix_web::http::StatusCode::BAD_REQUEST,
            "bad_cursor",
            "The cursor does not fit",
            "after: a position of the event log, 0 or more",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_number_from_0() {
        assert_eq!(position(None).unwrap(), 0);
        assert_eq!(position(Some("42".into())).unwrap(), 42);
        for bad in ["-1", "x", "1.0", ""] {
            assert_eq!(position(Some(bad.into())).unwrap_err().code, "bad_cursor");
        }
    }
}
